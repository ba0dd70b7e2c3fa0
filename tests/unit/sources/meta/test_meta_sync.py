"""Accounts side by side, and what counts as a change."""

import threading
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.connect.errors import ThrottledError
from dmp_assets.sources.meta.sync import changes, side_by_side, text
from dmp_assets.sources.meta.usage import Governor, Pace, Usage


# side by side ------------------------------------------------------------------------------------
def test_each_job_gives_all_it_has_and_one_that_fails_stops_no_other() -> None:
    def work(job: int) -> Iterator[int]:
        yield from range(job)
        if job == 3:
            raise UserError("no")

    found = list(side_by_side([1, 3, 20, 5], work, workers=2))
    for job in (1, 20, 5):
        assert [one for own, one in found if own == job] == list(range(job))
    *given, error = [one for own, one in found if own == 3]
    assert given == [0, 1, 2] and isinstance(error, UserError)


def test_an_error_that_nobody_expects_is_raised_and_ends_the_others() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(job: str) -> Iterator[int]:
        if job == "wrong":
            begun.wait(5)
            raise ZeroDivisionError
        try:
            while True:
                begun.set()
                yield 1
        finally:
            ended.set()

    with pytest.raises(ZeroDivisionError):
        for _ in side_by_side(["endless", "wrong"], work):
            pass
    assert ended.wait(5)


def test_who_stops_reading_ends_the_jobs() -> None:
    ended = threading.Event()

    def work(job: int) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.set()

    for _ in side_by_side([1], work):
        break
    assert ended.wait(5)


def test_a_job_that_waits_long_holds_up_nobody_who_stops() -> None:
    leave = threading.Event()

    def work(job: str) -> Iterator[int]:
        if job == "waits":
            leave.wait(30)
        yield 1

    began = time.monotonic()
    for job, _ in side_by_side(["waits", "quick"], work):
        assert job == "quick"
        break
    assert time.monotonic() - began < 10
    leave.set()


def test_no_jobs_give_nothing() -> None:
    assert list(side_by_side([], lambda job: [job])) == []


# queues ------------------------------------------------------------------------------------------
def test_an_account_has_one_request_at_a_time_and_others_go_on() -> None:
    governor, running, most = Governor(), {"a": 0, "b": 0}, {"a": 0, "b": 0}
    lock, together = threading.Lock(), threading.Event()

    def ask(account: str) -> None:
        with governor.turn(account):
            with lock:
                running[account] += 1
                most[account] = max(most[account], running[account])
                if all(running.values()):
                    together.set()
            together.wait(5)
            with lock:
                running[account] -= 1

    threads = [threading.Thread(target=ask, args=(one,)) for one in "aabbab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == {"a": 1, "b": 1} and together.is_set()


@pytest.mark.parametrize(
    ("usage", "seconds"),
    [
        (Usage(74, 0, 0), 0), (Usage(75, 0, 0), 0), (Usage(82.5, 0, 0), 6), (Usage(90, 0, 0), 60),
        (Usage(90, 0, 240), 240), (Usage(100, 0, 600), 600), (Usage(0, 100, 0), 60),
        (Usage(50, 0, 600), 0),
    ],
)  # fmt: skip
def test_a_queue_is_held_by_what_is_used(usage: Usage, seconds: float) -> None:
    waits: list[float] = []
    governor = Governor(clock=lambda: 0.0, sleep=waits.append)
    governor.note("act_1", usage)
    governor.wait("act_1")
    assert waits == ([seconds] if seconds else [])
    governor.wait("act_2")
    assert len(waits) == bool(seconds) + (usage.app > 0)


def test_a_wait_that_is_too_long_is_refused_at_once() -> None:
    governor = Governor(Pace(longest=10), sleep=time.sleep)
    governor.hold("act_1", 11)
    with pytest.raises(ThrottledError) as raised:
        governor.wait("act_1")
    assert 10 < raised.value.seconds <= 11


# changes -----------------------------------------------------------------------------------------
def test_only_what_differs_in_a_compared_column_is_a_change() -> None:
    known = {("1",): {"id": "1", "n": "2", "at": 1}, ("2",): {"id": "2", "n": None, "at": 1}}
    rows = [{"id": str(n), "n": value, "at": 9} for n, value in ((1, "2"), (2, "0"), (3, ""))]
    assert changes(rows, known, ("id",), ("n",)) == rows[1:]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None), ("1.50", "1.50"), (Decimal("1.50"), "1.50"), (7, "7"), (True, "true"),
        ({"b": 1, "a": Decimal("2.5")}, '{"a": "2.5", "b": 1}'),
        ([{"action_type": "b"}, {"action_type": "a"}],
         '[{"action_type": "a"}, {"action_type": "b"}]'),
        (["b", "a"], '["b", "a"]'),
    ],
)  # fmt: skip
def test_a_value_is_kept_as_text_in_one_order(value: object, kept: str | None) -> None:
    assert text(value) == kept
