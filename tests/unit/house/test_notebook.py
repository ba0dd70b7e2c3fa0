"""The notebooks run from top to bottom, and are kept without outputs."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from dmp_assets.platform.reporting.privacy import find_personal_data
from dmp_assets.settings import project_dir
from tests.support import lakehouse

NOTEBOOKS = sorted((project_dir() / "notebooks").glob("*.ipynb"))
CONCLUSIONS = {
    "attribution_models": "on the wrong channels",
    "ads": "times the truth",
}


def read(notebook: Path) -> Any:
    return nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]


def shown(notebook: Any) -> list[str]:
    """Everything that the executed notebook shows."""
    return [
        str(value)
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for value in (output.get("text"), *output.get("data", {}).values())
    ]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook: Path) -> None:
    for cell in read(notebook).cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_and_shows_no_personal_datum(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(lakehouse.build(tmp_path).root))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run = read(notebook)
    NotebookClient(run, timeout=120, kernel_name="python3").execute()
    assert len(shown(run)) > 10
    assert find_personal_data("\n".join(shown(run))) == []
    assert CONCLUSIONS.get(notebook.stem, "") in "\n".join(shown(run))
