"""START–END as people write it."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmp_assets.platform.lake.date_range import RangeError, parse_range
from dmp_assets.platform.lake.window import Window


def test_the_last_day_is_included() -> None:
    assert parse_range("2024-01-01", "2024-01-31") == (date(2024, 1, 1), date(2024, 2, 1))
    assert parse_range("2024-02-29", "2024-02-29") == (date(2024, 2, 29), date(2024, 3, 1))


def test_no_range_is_no_range() -> None:
    assert parse_range("", "") is None
    assert Window().days() is None


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2024-01-01", "", "needs both START and END"),
        ("", "2024-01-01", "needs both START and END"),
        ("2024-02-01", "2024-01-31", "END 2024-01-31 is before START 2024-02-01"),
        ("2024-02-30", "2024-03-01", "START=2024-02-30 is not a date"),
        ("2024-01-01", "31.01.2024", "END=31.01.2024 is not a date"),
        ("2024-01-01", "9999-12-31", "END=9999-12-31 is the last day"),
        ("yesterday", "today", "START=yesterday is not a date"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused_in_words(start: str, end: str, said: str) -> None:
    with pytest.raises(RangeError, match=said):
        Window(start=start, end=end).days()


@given(st.dates(max_value=date(9000, 1, 1)), st.integers(0, 4000))
def test_a_range_has_as_many_days_as_people_count(start: date, more: int) -> None:
    end = start + timedelta(days=more)
    days = parse_range(start.isoformat(), end.isoformat())
    assert days is not None
    assert (days[1] - days[0]).days == more + 1
