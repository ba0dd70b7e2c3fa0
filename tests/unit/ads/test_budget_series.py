"""What the budget model accepts as a series, and what it says of the rest."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from dmp_assets.ads.model.budgets.series import Series, SeriesError, TooShortError
from dmp_assets.platform.base.errors import GivenError

FIRST = date(2026, 1, 1)


def days(count: int, step: int = 1) -> list[date]:
    return [FIRST + timedelta(days=step * n) for n in range(count)]


def series(count: int = 60, step: int = 1, **more: Any) -> Series:
    return Series.of(days(count, step), [1.0] * count, {"search": [2.0] * count}, **more)


def test_rows_are_put_in_order_and_a_missing_day_is_a_gap_between_its_neighbours() -> None:
    order = [n for n in np.random.default_rng(1).permutation(60).tolist() if n != 30]
    given = [days(60)[n] for n in order]
    found = Series.of(given, [float(n) for n in order], {"search": [2.0 * n for n in order]})
    assert found.dates.tolist() == days(60)
    assert np.flatnonzero(~found.known).tolist() == [30]
    assert found.target[30] == 30.0 and found.spend[30, 0] == 60.0


def test_rows_a_week_apart_are_weekly_and_a_missing_week_is_a_gap() -> None:
    weeks = days(30, 7)
    found = Series.of(weeks[:9] + weeks[10:], range(29), {"tv": range(29)})
    assert found.step == 7 and len(found) == 30
    assert np.flatnonzero(~found.known).tolist() == [9]


def test_campaigns_belong_to_channels_in_the_order_in_which_they_come() -> None:
    spend = {"a": [1.0] * 60, "b": [2.0] * 60, "tv": [3.0] * 60}
    found = Series.of(days(60), [1.0] * 60, spend, channel_of={"a": "meta", "b": "meta"})
    assert found.channels == ("meta", "tv")
    assert found.channel_of.tolist() == [0, 0, 1]
    assert found.recent().tolist() == [1.0, 2.0, 3.0]


def test_the_present_budget_is_a_day_s_of_weekly_rows_too_and_never_below_0() -> None:
    spend = {"tv": [70.0] * 20, "corrected": [-7.0] * 20}
    found = Series.of(days(20, 7), [1.0] * 20, spend)
    assert found.recent().tolist() == [10.0, 0.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused_with_its_day(bad: float) -> None:
    target = [1.0] * 60
    target[3] = bad
    with pytest.raises(SeriesError, match="the target of 2026-01-04 is not a finite number"):
        Series.of(days(60), target, {})
    with pytest.raises(SeriesError, match="the spend of tv of 2026-01-04 is not a finite number"):
        Series.of(days(60), [1.0] * 60, {"tv": target})


@pytest.mark.parametrize("count", [0, 1, 7, 55])
def test_a_short_series_is_refused_with_what_it_needs(count: int) -> None:
    with pytest.raises(TooShortError, match=f"{count} days are too few .* it needs 56"):
        series(count)
    assert issubclass(TooShortError, GivenError)


def test_a_series_full_of_holes_is_refused() -> None:
    kept = [day for n, day in enumerate(days(100)) if n % 10 < 7]
    with pytest.raises(SeriesError, match="of 97 rows 27 are missing: more than a fifth"):
        Series.of(kept, [1.0] * 70, {})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dates": [*days(59), days(59)[3]]}, "2026-01-04 comes twice"),
        ({"dates": days(60, 3)}, "neither a day nor a week apart"),
        ({"dates": ["soon"] * 60}, "the dates are not all dates"),
        ({"dates": [*days(59), None]}, "one date a row"),
        ({"target": [1.0] * 59}, "the target has 59 values for 60 dates"),
        ({"channel_of": {"print": "paper"}}, "print has a channel and no spend"),
    ],
)
def test_what_cannot_be_read_is_said(given: dict[str, Any], words: str) -> None:
    usual: dict[str, Any] = {"dates": days(60), "target": [1.0] * 60, "spend": {"tv": [1.0] * 60}}
    with pytest.raises(SeriesError, match=words):
        Series.of(**usual | given)
