"""Notices: what is found in daily series, what is not, and whom it is told when."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dmp_assets.ads.model.notices import delays, detect
from dmp_assets.ads.model.notices.delivery import (
    Due,
    Key,
    Mute,
    Preference,
    Told,
    messages,
    next_time,
    planned,
)
from dmp_assets.ads.model.notices.detect import (
    Finding,
    Subject,
    budget_used_up,
    cost_per_order_spike,
    outside_forecast,
    pacing,
    spend_spike,
    tracking_broken,
)
from dmp_assets.ads.model.notices.series import (
    LEAST_HISTORY,
    Daily,
    NoticeError,
    completeness,
    usual,
)

MONDAY = date(2026, 6, 1)
SUBJECT = Subject("shop-1", "act_1")
WEEK = np.array([1.0, 0.9, 0.9, 1.0, 1.2, 1.6, 1.4])
DAYS = 90


def spend_of(days: int = DAYS, seed: int = 0, level: float = 200.0) -> npt.NDArray[np.float64]:
    """A quiet account: weekdays and a noise of 10 %."""
    random = np.random.default_rng(seed)
    return level * WEEK[np.arange(days) % 7] * np.exp(random.normal(0, 0.1, days))


def orders_of(spend: npt.NDArray[np.float64], cost: float, seed: int = 1) -> Any:
    return np.random.default_rng(seed).poisson(spend / cost).astype(float)


def daily(values: npt.ArrayLike, **given: Any) -> Daily:
    return Daily.of(MONDAY, values, **given)


# what is usual -----------------------------------------------------------------------------------
def test_the_usual_of_a_day_is_that_of_its_weekday() -> None:
    series = daily(spend_of())
    for at in range(80, 87):
        found = usual(series, at, width=5.0)
        assert found is not None
        assert found.expected == pytest.approx(200 * WEEK[at % 7], rel=0.12)
        assert found.low < found.expected < found.high


def test_past_spikes_and_outages_hardly_move_what_is_usual() -> None:
    values = spend_of()
    spoilt = values.copy()
    spoilt[[60, 71, 75]] *= 10
    spoilt[[65, 78]] = 0
    for at in range(81, 88):
        clean, robust = (usual(daily(one), at, width=5.0) for one in (values, spoilt))
        assert clean is not None and robust is not None
        assert robust.expected == pytest.approx(clean.expected, rel=0.15)
        assert robust.high < 1.5 * clean.high


def test_what_grows_slowly_is_usual() -> None:
    values = spend_of() * np.exp(0.005 * np.arange(DAYS))
    assert [at for at in range(60, DAYS) if spend_spike(SUBJECT, daily(values), at)] == []


@pytest.mark.parametrize("days", [0, 5, LEAST_HISTORY - 1])
def test_of_a_new_account_nothing_is_said(days: int) -> None:
    values = np.append(spend_of(days), 1e6)
    assert usual(daily(values), days, width=5.0) is None
    assert spend_spike(SUBJECT, daily(values), days) is None


def test_an_account_that_never_spent_or_was_long_not_read_has_nothing_unusual() -> None:
    idle = np.zeros(DAYS)
    idle[-1] = 500.0
    assert spend_spike(SUBJECT, daily(idle), DAYS - 1) is None
    unread = tuple(range(DAYS - 12, DAYS - 1))
    values = spend_of()
    values[-1] *= 10
    values[list(unread)] = math.nan
    assert usual(daily(values, unread=unread), DAYS - 1, width=5.0) is None


def test_a_constant_series_has_a_range_all_the_same() -> None:
    found = usual(daily(np.full(DAYS, 50.0)), DAYS - 1, width=5.0)
    assert found is not None
    assert found.expected == pytest.approx(50) and found.low < 45 < 55 < found.high


def test_values_that_are_none_are_refused_and_those_not_read_are_not() -> None:
    values = spend_of()
    values[3] = math.nan
    with pytest.raises(NoticeError, match="no delivery is 0"):
        daily(values)
    assert len(daily(values, unread=(3,))) == DAYS
    with pytest.raises(NoticeError, match="a value and two marks"):
        Daily(MONDAY, np.zeros(3), np.ones(2, dtype=bool), np.zeros(3, dtype=bool))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-1e9, 1e9), min_size=30, max_size=70))
def test_the_range_of_anything_holds_its_middle_and_is_finite(values: list[float]) -> None:
    found = usual(daily(values), len(values) - 1, width=5.0)
    assert found is not None
    assert 0 <= found.low <= found.expected <= found.high < math.inf


# spend -------------------------------------------------------------------------------------------
def test_a_spike_of_spend_is_found_with_its_usual_range_and_since_when() -> None:
    values = spend_of()
    values[-2:] *= 3
    found = spend_spike(SUBJECT, daily(values, open_days=2), DAYS - 1)
    assert found is not None
    assert (found.kind, found.subject) == ("spend_spike", SUBJECT)
    assert found.figure == values[-1] > (found.high or 0) > (found.low or 0) > 0
    assert (found.day, found.since) == (MONDAY + timedelta(DAYS - 1), MONDAY + timedelta(DAYS - 2))


def test_less_spend_and_a_strong_weekday_are_no_spike() -> None:
    values = spend_of()
    values[-1] *= 0.2
    assert spend_spike(SUBJECT, daily(values), DAYS - 1) is None
    saturday = next(at for at in range(DAYS - 7, DAYS) if at % 7 == 5)
    assert spend_spike(SUBJECT, daily(spend_of()), saturday) is None


# orders ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cost", [2.0, 40.0])
def test_a_dearer_order_is_found_with_many_orders_and_with_few(cost: float) -> None:
    spend = spend_of()
    orders = orders_of(spend, cost)
    orders[-1] = 0.1 * spend[-1] / cost if cost == 2.0 else 0.0
    spend[-1] *= 1 if cost == 2.0 else 2.5
    found = cost_per_order_spike(SUBJECT, daily(spend), daily(orders), DAYS - 1)
    assert found is not None
    assert found.figure > (found.high or 0) > cost
    assert found.since == found.day


def test_a_bad_day_of_a_small_account_is_chance() -> None:
    spend = spend_of(level=60.0)
    orders = orders_of(spend, 30.0)
    orders[-1] = 0
    assert cost_per_order_spike(SUBJECT, daily(spend), daily(orders), DAYS - 1) is None


def test_orders_that_are_still_to_come_are_not_missed() -> None:
    spend = spend_of(level=1_000.0)
    orders = orders_of(spend, 5.0)
    shown = orders.copy()
    shown[-3:] = np.floor(orders[-3:] * [0.95, 0.8, 0.5])
    series = daily(spend, open_days=3), daily(shown, open_days=3)
    assert cost_per_order_spike(SUBJECT, *series, DAYS - 1) is not None
    complete = [0.5, 0.8, 0.95]
    assert cost_per_order_spike(SUBJECT, *series, DAYS - 1, complete=complete) is None
    shown[-1] *= 0.2
    late = daily(spend, open_days=3), daily(shown, open_days=3)
    assert cost_per_order_spike(SUBJECT, *late, DAYS - 1, complete=complete) is not None


def test_the_usual_rate_is_of_closed_days_alone() -> None:
    spend = spend_of(level=1_000.0)
    orders = orders_of(spend, 20.0)
    orders[-28:-1] = np.floor(orders[-28:-1] * 0.4)
    orders[-1] = np.floor(orders[-1] * 0.4)
    series = daily(spend, open_days=28), daily(orders, open_days=28)
    complete = [0.4] * 28
    assert cost_per_order_spike(SUBJECT, *series, DAYS - 1, complete=complete) is None
    found = cost_per_order_spike(SUBJECT, *series, DAYS - 1)
    assert found is not None and found.high == pytest.approx(1.3 * 20.0, rel=0.1)


def test_how_complete_a_day_is_follows_from_days_that_are_closed() -> None:
    final = [100.0, 10.0, 0.0]
    seen = [[50.0, 90.0, 100.0], [4.0, 9.0, 10.0], [0.0, 0.0, 0.0]]
    assert completeness(seen, final) == pytest.approx([54 / 110, 99 / 110, 1.0])
    assert completeness([[120.0, 90.0]], [100.0]).tolist() == [1.0, 1.0]
    assert completeness([[0.0, 0.0]], [0.0]).tolist() == [1.0, 1.0]
    with pytest.raises(NoticeError, match="lacks what it showed"):
        completeness([[math.nan]], [1.0])
    with pytest.raises(NoticeError, match="each closed day needs"):
        completeness([[1.0]], [1.0, 2.0])


def test_the_chance_of_a_count_is_the_exact_one() -> None:
    rate = detect._Rate(events=200.0, units=1_000.0, spread=1.0)
    for count, units in ((0, 20.0), (3, 40.0), (7, 40.0)):
        by_scipy = stats.nbinom.cdf(count, 200.5, 1_000 / (1_000 + units))
        assert rate.chance_of_at_most(count, units) == pytest.approx(by_scipy)
    endless = detect._Rate(events=2e9, units=1e10, spread=1.0)
    assert endless.chance_of_at_most(0, 20.0) == pytest.approx(math.exp(-4.0), rel=1e-4)
    assert rate.chance_of_at_most(5, 0.0) == 1


# tracking ----------------------------------------------------------------------------------------
def broken(cost: float, silent: int, **given: Any) -> tuple[Finding | None, int]:
    spend = spend_of(level=100.0)
    clicks = np.round(spend / 0.5)
    conversions = orders_of(spend, cost)
    conversions[DAYS - silent :] = 0
    series = daily(spend), daily(clicks), daily(conversions)
    return tracking_broken(SUBJECT, *series, DAYS - 1, **given), DAYS - silent


def test_clicks_without_conversions_are_found_in_a_day_or_in_several() -> None:
    often, first = broken(cost=5.0, silent=1)
    assert often is not None and often.figure == 0 and (often.low or 0) >= 1
    assert often.since == MONDAY + timedelta(first)
    assert broken(cost=40.0, silent=2)[0] is None
    seldom, first = broken(cost=40.0, silent=7)
    assert seldom is not None and seldom.since == MONDAY + timedelta(first)


def test_a_day_that_is_hardly_complete_yet_is_not_broken() -> None:
    assert broken(cost=5.0, silent=1, complete=[0.02])[0] is None


def test_without_clicks_spend_or_any_conversion_ever_nothing_is_broken() -> None:
    spend = spend_of()
    none, idle = np.zeros(DAYS), spend.copy()
    idle[-3:] = 0
    assert tracking_broken(SUBJECT, daily(spend), daily(spend), daily(none), DAYS - 1) is None
    orders = orders_of(spend, 5.0)
    orders[-3:] = 0
    assert tracking_broken(SUBJECT, daily(idle), daily(spend), daily(orders), DAYS - 1) is None
    assert tracking_broken(SUBJECT, daily(spend), daily(idle), daily(orders), DAYS - 1) is None
    unread = daily(orders, unread=(DAYS - 1,))
    assert tracking_broken(SUBJECT, daily(spend), daily(spend), unread, DAYS - 1) is None
    with pytest.raises(NoticeError, match="begin and end on the same days"):
        tracking_broken(SUBJECT, daily(spend), daily(spend[1:]), daily(orders), DAYS - 1)


# forecasts ---------------------------------------------------------------------------------------
def forecast(values: Sequence[float], level: float = 0.8, **given: Any) -> Finding | None:
    series = daily(values, **given)
    low, high = np.full(len(series), 2.0), np.full(len(series), 4.0)
    return outside_forecast(
        SUBJECT, "roas_outside_forecast", series, low, high, len(series) - 1, level=level
    )


def test_a_ratio_is_outside_of_its_forecast_when_chance_does_not_explain_it() -> None:
    assert forecast([3, 3, 1, 1, 1]) is None
    found = forecast([3, 3, 1, 1, 1, 1])
    assert found is not None
    assert (found.figure, found.low, found.high) == (1, 2, 4)
    assert found.since == MONDAY + timedelta(2)
    assert forecast([3, 1, 1, 1], level=0.95) is not None
    assert forecast([3, 3, 1, 1, 5, 1]) is None
    assert forecast([3, 3, 1, 1, 1, 3]) is None


def test_days_that_are_open_or_unread_are_not_judged_and_do_not_end_a_run() -> None:
    assert forecast([1, 1, 1, 1, 1], open_days=1) is None
    found = forecast([3, 1, 1, 9, 1, 1], unread=(3,))
    assert found is not None and found.since == MONDAY + timedelta(1)


def test_an_interval_that_is_none_is_refused() -> None:
    with pytest.raises(NoticeError, match=r"from 0\.5 to under 1"):
        forecast([1, 1], level=1.0)
    with pytest.raises(NoticeError, match="each day needs the interval"):
        outside_forecast(SUBJECT, "mer_outside_forecast", daily([1.0]), [1], [2, 3], 0, level=0.8)


# budgets -----------------------------------------------------------------------------------------
def test_a_budget_that_is_gone_at_noon_is_found_and_one_at_night_is_not() -> None:
    found = budget_used_up(SUBJECT, MONDAY, 96.0, 100.0, 0.5)
    assert found is not None and found.figure == 0.5
    assert found.low == pytest.approx(20 / 24)
    assert budget_used_up(SUBJECT, MONDAY, 96.0, 100.0, 0.9) is None
    assert budget_used_up(SUBJECT, MONDAY, 90.0, 100.0, 0.5) is None
    assert budget_used_up(SUBJECT, MONDAY, 96.0, 100.0, 0.9, usually=[1.0] * 9) is None
    early = [0.45, 0.5, 0.55] * 5
    assert budget_used_up(SUBJECT, MONDAY, 96.0, 100.0, 0.5, usually=early) is None
    assert budget_used_up(SUBJECT, MONDAY, 96.0, 100.0, 0.3, usually=early) is not None


@pytest.mark.parametrize(("budget", "passed"), [(0.0, 0.5), (math.nan, 0.5), (10.0, 1.5)])
def test_a_budget_or_a_time_that_is_none_is_refused(budget: float, passed: float) -> None:
    with pytest.raises(NoticeError):
        budget_used_up(SUBJECT, MONDAY, 5.0, budget, passed)


def test_pacing_tells_what_the_flight_will_have_spent() -> None:
    series = daily(spend_of())
    starts, ends = MONDAY + timedelta(75), MONDAY + timedelta(104)
    expected = float(spend_of()[75:].sum() + 200 * WEEK[np.arange(DAYS, 105) % 7].sum())
    for budget, is_found in ((expected, False), (expected * 0.6, True), (expected * 1.6, True)):
        found = pacing(SUBJECT, series, DAYS - 1, budget, starts, ends)
        assert (found is not None) is is_found
        if found:
            assert found.figure == pytest.approx(expected, rel=0.05)
            assert found.since == starts
    assert pacing(SUBJECT, series, 78, expected * 0.6, starts, ends) is None
    unread = daily(spend_of(), unread=(80,))
    assert pacing(SUBJECT, unread, DAYS - 1, expected * 0.6, starts, ends) is None
    with pytest.raises(NoticeError, match="ends on the day on which it starts"):
        pacing(SUBJECT, series, DAYS - 1, 100.0, ends, starts)
    with pytest.raises(NoticeError, match="above 0"):
        pacing(SUBJECT, series, DAYS - 1, 0.0, starts, ends)


# whom, when --------------------------------------------------------------------------------------
NOW = datetime(2026, 6, 10, 9, 0, tzinfo=UTC)
SPIKE = Finding(
    SUBJECT, "spend_spike", date(2026, 6, 9), 300.0, 50.0, 200.0, since=date(2026, 6, 9)
)
BROKEN = replace(SPIKE, kind="tracking_broken", figure=0.0, low=5.0, high=None)
ANN = Preference("ann", "shop-1")


def run(
    findings: Sequence[Finding], told: dict[Key, Told], now: datetime, who: Preference = ANN
) -> tuple[list[Finding], dict[Key, Told]]:
    found = planned(findings, [who], told, now)
    return [one.finding for one in found.due], found.told


def test_what_goes_on_is_told_once_then_when_worse_back_or_after_a_week() -> None:
    told: dict[Key, Told] = {}
    heard = []
    figures = {0: 300.0, 1: 310.0, 2: 410.0, 3: 420.0, 9: 420.0}
    for day in range(12):
        now = NOW + timedelta(days=day)
        seen = [replace(SPIKE, day=SPIKE.day + timedelta(day), figure=figures.get(day, 420.0))]
        found, told = run(seen, told, now)
        if found:
            heard.append(day)
    assert heard == [0, 2, 9]
    later = SPIKE.day + timedelta(14)
    back = replace(SPIKE, day=later, since=later)
    found, told = run([back], told, NOW + timedelta(days=14))
    assert found == [back]
    next_day = replace(SPIKE, day=later + timedelta(1), since=later + timedelta(1))
    assert run([next_day], told, NOW + timedelta(days=15))[0] == []


def test_the_same_run_twice_tells_nothing_twice() -> None:
    found, told = run([SPIKE, SPIKE, BROKEN], {}, NOW)
    assert found == [SPIKE, BROKEN]
    assert run([SPIKE, BROKEN], told, NOW)[0] == []
    steady = replace(SPIKE, figure=200.0)
    found, told = run([steady], {}, NOW)
    assert run([steady], told, NOW)[0] == []


def test_nobody_hears_of_another_advertiser_or_of_what_was_not_wanted() -> None:
    other = replace(SPIKE, subject=Subject("shop-2", "act_1"))
    assert run([other], {}, NOW)[0] == []
    assert run([SPIKE, BROKEN], {}, NOW, replace(ANN, kinds=frozenset({"pacing"})))[0] == []
    assert run([SPIKE], {}, NOW, replace(ANN, channels=()))[0] == []


@pytest.mark.parametrize(
    ("mute", "heard"),
    [
        (Mute(NOW + timedelta(days=1)), []),
        (Mute(NOW + timedelta(days=1), kind="spend_spike"), [BROKEN]),
        (Mute(NOW + timedelta(days=1), of="act_1"), []),
        (Mute(NOW + timedelta(days=1), of="act_2"), [SPIKE, BROKEN]),
        (Mute(NOW), [SPIKE, BROKEN]),
    ],
)
def test_what_is_muted_is_silent_until_then(mute: Mute, heard: list[Finding]) -> None:
    quiet = replace(ANN, mutes=(mute,))
    found, told = run([SPIKE, BROKEN], {}, NOW, quiet)
    assert found == heard
    assert run([SPIKE, BROKEN], told, NOW + timedelta(days=2), quiet)[0] == [
        one for one in (SPIKE, BROKEN) if one not in heard
    ]


def test_what_is_muted_while_it_waits_is_not_sent() -> None:
    due = Due("ann", "shop-1", "slack", SPIKE, NOW, is_digest=False)
    muted = replace(ANN, mutes=(Mute(NOW + timedelta(days=1)),))
    assert messages([due], [muted], NOW) == ([], [])
    assert messages([due], [], NOW) == ([], [])
    assert messages([due], [ANN], NOW - timedelta(minutes=1)) == ([], [due])
    (sent,), waiting = messages([due, due], [ANN], NOW)
    assert sent.findings == (SPIKE,) and waiting == []


BERLIN = replace(ANN, zone="Europe/Berlin", quiet=(time(22), time(7)))


@pytest.mark.parametrize(
    ("now", "at"),
    [
        ("2026-06-10T12:00Z", "2026-06-10T12:00Z"),
        ("2026-06-10T20:00Z", "2026-06-11T05:00Z"),
        ("2026-06-10T01:00Z", "2026-06-10T05:00Z"),
        ("2026-06-10T05:00Z", "2026-06-10T05:00Z"),
        ("2026-10-24T23:30Z", "2026-10-25T06:00Z"),
        ("2026-03-28T23:30Z", "2026-03-29T05:00Z"),
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall(now: str, at: str) -> None:
    found = next_time(BERLIN, datetime.fromisoformat(now), is_digest=False)
    assert found == datetime.fromisoformat(at)


def test_a_digest_waits_for_its_hour_and_what_is_urgent_does_not() -> None:
    digest = replace(BERLIN, digest_at=time(8), channels=("slack", "email"))
    found = planned([SPIKE, BROKEN], [digest], {}, NOW)
    at = {one.finding.kind: one.at for one in found.due}
    assert at == {"spend_spike": datetime(2026, 6, 11, 6, tzinfo=UTC), "tracking_broken": NOW}
    sent, waiting = messages(found.due, [digest], NOW)
    assert [(one.channel, one.findings, one.is_digest) for one in sent] == [
        ("slack", (BROKEN,), False), ("email", (BROKEN,), False),
    ]  # fmt: skip
    sent, waiting = messages(waiting, [digest], NOW + timedelta(days=1))
    assert [one.findings for one in sent] == [(SPIKE,), (SPIKE,)] and waiting == []
    night = replace(digest, digest_at=time(5))
    assert next_time(night, NOW, is_digest=True) == datetime(2026, 6, 11, 5, tzinfo=UTC)


@settings(deadline=None, max_examples=100)
@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    st.times(), st.times(), st.none() | st.times(),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)  # fmt: skip
def test_nothing_is_told_early_or_later_than_two_days(
    now: datetime, begin: time, end: time, digest: time | None, zone: str
) -> None:
    if begin == end:
        return
    who = Preference("ann", "shop-1", zone=zone, quiet=(begin, end), digest_at=digest)
    at = next_time(who, now, is_digest=digest is not None)
    assert now <= at <= now + timedelta(days=2, hours=2)
    assert at.tzinfo is UTC


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd"])
def test_a_zone_that_there_is_not_is_refused(zone: str) -> None:
    with pytest.raises(NoticeError, match="no time zone"):
        replace(ANN, zone=zone)


def test_a_time_without_a_zone_and_an_endless_quiet_are_refused() -> None:
    with pytest.raises(NoticeError, match="without a zone"):
        planned([SPIKE], [ANN], {}, NOW.replace(tzinfo=None))
    with pytest.raises(NoticeError, match="end at another time"):
        replace(ANN, quiet=(time(7), time(7)))


# delays ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("newest", "now", "lacking"),
    [
        (date(2026, 6, 9), "2026-06-10T09:00+02:00", None),
        (date(2026, 6, 8), "2026-06-10T08:59+02:00", None),
        (date(2026, 6, 8), "2026-06-10T09:00+02:00", 1.0),
        (date(2026, 6, 5), "2026-06-10T03:00-05:00", 3.0),
    ],
)
def test_yesterday_is_late_from_the_accounts_morning_on(
    newest: date, now: str, lacking: float | None
) -> None:
    found = delays.data_late(SUBJECT, newest, datetime.fromisoformat(now))
    assert (found.figure if found else None) == lacking
    if found:
        assert found.since == newest + timedelta(days=1)


def test_a_time_without_a_zone_has_no_morning() -> None:
    with pytest.raises(NoticeError, match="with a zone"):
        delays.data_late(SUBJECT, MONDAY, datetime(2026, 6, 10, 9))


COMPLETE = [0.5, 0.8, 0.95]


@pytest.mark.parametrize(
    ("before", "after", "ages", "is_found"),
    [
        (50, 80, (0, 1), False),
        (50, 50, (0, 1), True),
        (50, 130, (0, 1), True),
        (3, 5, (0, 1), False),
        (3, 3, (0, 1), False),
        (100, 100, (5, 6), False),
        (100, 108, (5, 40), False),
        (100, 115, (5, 6), True),
        (100, 85, (5, 6), True),
        (0, 0, (0, 3), False),
    ],
)
def test_a_restatement_is_unusual_when_its_age_does_not_explain_it(
    before: float, after: float, ages: tuple[int, int], is_found: bool
) -> None:
    found = delays.restated_unusually(SUBJECT, MONDAY, before, after, ages, COMPLETE)
    assert (found is not None) is is_found
    if found:
        assert not (found.low or 0) <= found.figure <= (found.high or 0)


def test_what_no_day_shows_is_refused() -> None:
    with pytest.raises(NoticeError, match="0 or more"):
        delays.restated_unusually(SUBJECT, MONDAY, -1, 5, (0, 1), COMPLETE)
    with pytest.raises(NoticeError, match="younger"):
        delays.restated_unusually(SUBJECT, MONDAY, 1, 5, (2, 1), COMPLETE)
    assert delays.restated_unusually(SUBJECT, MONDAY, 0, 5, (0, 1), [0.0, 0.5]) is None


def test_a_job_is_stuck_when_it_takes_far_longer_than_the_last_ones() -> None:
    past = [100.0, 120.0, 90.0, 110.0, 95.0]
    for seconds, is_found in ((200, False), (299, False), (400, True)):
        found = delays.job_stuck(SUBJECT, NOW, NOW + timedelta(seconds=seconds), past)
        assert (found is not None) is is_found
    varied = [10.0, 1000.0, 100.0, 300.0, 30.0]
    assert delays.job_stuck(SUBJECT, NOW, NOW + timedelta(seconds=400), varied) is None
    assert delays.job_stuck(SUBJECT, NOW, NOW + timedelta(days=9), past[:4]) is None


def test_who_waits_for_longer_than_a_schedule_is_told() -> None:
    hour = timedelta(hours=1)
    assert delays.throttled_long(SUBJECT, NOW, NOW + hour, hour) is None
    found = delays.throttled_long(SUBJECT, NOW, NOW + 2 * hour, hour)
    assert found is not None and (found.figure, found.high) == (7_200.0, 3_600.0)


def test_every_kind_has_its_meaning() -> None:
    assert set(detect.MEANINGS) == set(get_args(detect.Kind))
