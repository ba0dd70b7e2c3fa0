"""What is looked at once a run, by however many assets at the same time."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dmp_assets.platform.lake.once import once_a_run


def test_who_asks_at_the_same_time_waits_for_what_the_first_one_finds() -> None:
    looked: list[str] = []

    @once_a_run
    def look(run_id: str) -> list[str]:
        looked.append(run_id)
        time.sleep(0.05)
        return [run_id]

    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(look("one"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert looked == ["one"]
    assert all(one is found[0] for one in found)
    assert look("two") == ["two"]


def test_an_error_is_not_what_was_found() -> None:
    answers: Iterator[Any] = iter([ValueError("the shop sleeps"), "awake"])

    @once_a_run
    def look(run_id: str) -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ValueError, match="sleeps"):
        look("one")
    assert look("one") == "awake"
