"""What was worked out of tables is kept until a table, the query or the file changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmp_assets.home import Home
from dmp_assets.platform.lake.worked_out import WorkedOut

Count = Callable[[], dict[str, Any]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").prepare("sandbox")


@pytest.fixture
def done() -> list[int]:
    return []


@pytest.fixture
def count(done: list[int]) -> Count:
    def work_out() -> dict[str, Any]:
        done.append(len(done))
        return {"offending": 0, "rows": 3, "share": 0.25, "cause": None}

    return work_out


def test_a_result_comes_back_as_it_was_until_what_it_is_made_of_changes(
    home: Home, count: Count, done: list[int]
) -> None:
    for made_of in (["sql", 1], ["sql", 1], ["sql", 2], ["other sql", 2]):
        known = WorkedOut(home)
        assert known.get("check few", made_of, count) == {
            "offending": 0, "rows": 3, "share": 0.25, "cause": None,
        }  # fmt: skip
        known.keep()
    assert len(done) == 3


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"check few": 7}', '{"check few": {}}'])
def test_a_damaged_file_means_working_it_out_again(
    home: Home, count: Count, done: list[int], content: str
) -> None:
    (home.root / "worked_out.json").write_text(content)
    known = WorkedOut(home)
    assert known.get("check few", ["sql", 1], count)["rows"] == 3
    known.keep()
    assert WorkedOut(home).peek("check few", ["sql", 1]) is not None
    assert len(done) == 1


def test_results_of_checks_that_are_gone_are_dropped(home: Home, count: Count) -> None:
    known = WorkedOut(home)
    for name in ("t check a", "t check b", "u check a"):
        known.get(name, 1, count)
    known.forget("t check ", ["t check b"])
    known.keep()
    after = WorkedOut(home)
    found = [after.peek(name, 1) for name in ("t check a", "t check b", "u check a")]
    assert [one is None for one in found] == [True, False, False]


def test_a_result_that_is_changed_by_its_reader_is_kept_as_it_was(home: Home, count: Count) -> None:
    known = WorkedOut(home)
    known.get("check few", 1, count).clear()
    assert known.get("check few", 1, count)["rows"] == 3


def test_what_several_keep_at_the_same_time_is_all_kept(home: Home, count: Count) -> None:
    several = [WorkedOut(home) for _ in range(3)]
    for number, known in enumerate(several):
        known.note(f"preview {number}", 1, number)
    several[1].forget("preview 9", ())
    for known in several:
        known.keep()
    assert [WorkedOut(home).peek(f"preview {n}", 1) for n in range(3)] == [0, 1, 2]
