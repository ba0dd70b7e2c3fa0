"""A small file is there whole or not at all."""

import os
import subprocess
import sys
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


def test_what_a_killed_writer_left_goes_and_what_a_live_one_writes_stays(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    died = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    left, writes = (
        tmp_path / f".big.csv.{pid}.7.part" for pid in (died.stdout.strip(), os.getpid())
    )
    for part in (left, writes):
        part.write_text("half")
    with whole_file.replacing(path) as part:
        part.write_text("whole")
    assert path.read_text() == "whole"
    assert sorted(os.listdir(tmp_path)) == [writes.name, "big.csv"]


def test_a_failure_while_it_is_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), whole_file.replacing(path) as part:
        part.write_text("half \ud800", encoding="utf-8")
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["big.csv"])


COUNT = """
import json, sys
from pathlib import Path
from dmp_assets.platform.base import whole_file
path = Path(sys.argv[1])
for _ in range(100):
    with whole_file.changing(path):
        whole_file.write(path, json.dumps(json.loads(path.read_text()) + 1))
"""


def test_processes_that_change_a_file_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    whole_file.write(path, "0")
    started = [subprocess.Popen([sys.executable, "-c", COUNT, str(path)]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert path.read_text() == "300"
    assert set(os.listdir(tmp_path)) == {"state.json", whole_file.LOCK}
