"""The notebook of discoveries runs from top to bottom, and is kept without outputs."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from dmp_assets.reporting.privacy import find_personal_data
from dmp_assets.settings import project_dir
from tests.support import lakehouse

NOTEBOOK = project_dir() / "notebooks" / "promo_abuse_discoveries.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def test_the_notebook_is_kept_without_outputs() -> None:
    for cell in read().cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


def test_the_notebook_runs_from_top_to_bottom_and_shows_no_personal_datum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(lakehouse.build(tmp_path).root))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    notebook = read()
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [
        str(value)
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for value in (output.get("text"), *output.get("data", {}).values())
    ]
    assert len(shown) > 10
    assert find_personal_data("\n".join(shown)) == []
