"""A small file is there whole or not at all."""

import os
from pathlib import Path

import pytest

from dmp_assets.platform.base import whole_file


def test_a_file_is_replaced_whole_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for text in ("one", "Grüße"):
        whole_file.write(path, text)
        assert path.read_text(encoding="utf-8") == text
        assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["state.json"]


def test_what_cannot_be_written_leaves_the_old_text_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    whole_file.write(path, "one")
    with pytest.raises(UnicodeEncodeError):
        whole_file.write(path, "half \ud800")
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["state.json"]
    with pytest.raises(FileNotFoundError):
        whole_file.write(tmp_path / "nowhere" / "state.json", "one")
