"""Which days are read, in the account's own zone, and money and purchases as Meta tells them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmp_assets.sources.meta.days import (
    KEPT_DAYS,
    MOST_AT_ONCE,
    OPEN_DAYS,
    Days,
    ZoneError,
    closes_at,
    due,
    is_due,
    today,
    zone_of,
)
from dmp_assets.sources.meta.insights import with_idle_days
from dmp_assets.sources.meta.money import AmountError, from_minor, offset, to_minor
from dmp_assets.sources.meta.purchases import TYPES, purchases, widest

NOW = datetime(2026, 11, 28, 15, 30, tzinfo=UTC)
BERLIN = zone_of("Europe/Berlin")


# days --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("zone", "now", "day"),
    [
        ("Asia/Tokyo", "2026-11-28T15:30", "2026-11-29"),
        ("Pacific/Honolulu", "2026-11-28T09:30", "2026-11-27"),
        ("Europe/Berlin", "2026-10-25T22:59", "2026-10-25"),  # an hour more on that day
        ("Europe/Berlin", "2026-10-25T23:00", "2026-10-26"),
        ("Europe/Berlin", "2026-03-28T23:00", "2026-03-29"),
        ("Europe/Berlin", "2026-03-29T22:00", "2026-03-30"),  # an hour less
    ],
)
def test_a_day_is_that_of_the_accounts_zone(zone: str, now: str, day: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert today(zone_of(zone), moment) == date.fromisoformat(day)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_a_zone_that_nobody_knows_is_told(name: str) -> None:
    with pytest.raises(ZoneError):
        zone_of(name)


@pytest.mark.parametrize(
    ("age", "hours", "wanted"),
    [
        (0, 0.9, False), (0, 1, True), (2, 1, True), (3, 1, False), (3, 24, True),
        (27, 23, False), (27, 24, True),
        (29, 24 * 20, True),  # read before it was closed: once more
        (40, 24, False), (40, 24 * 30, True), (400, 24 * 300, False),
    ],
)  # fmt: skip
def test_three_days_are_read_hourly_28_daily_and_a_closed_one_once_more(
    age: int, hours: float, wanted: bool
) -> None:
    day = today(BERLIN, NOW) - timedelta(days=age)
    assert is_due(day, NOW - timedelta(hours=hours), BERLIN, NOW) is wanted
    assert is_due(day, None, BERLIN, NOW)


def test_a_new_account_is_read_from_today_back_its_history_in_ranges() -> None:
    found = due({}, BERLIN, NOW, history_days=100)
    last = today(BERLIN, NOW)
    assert found.single == tuple(last - timedelta(days=n) for n in range(OPEN_DAYS + 1))
    assert [part.count for part in found.ranges] == [30, 30, 11]
    days = [day for part in found.ranges for day in part]
    assert len(set(days)) == len(days) == 100 - OPEN_DAYS - 1
    assert found.ranges[0].last == last - timedelta(days=OPEN_DAYS + 1)
    assert found.count == 100
    assert due({}, BERLIN, NOW, history_days=10**6).count == KEPT_DAYS


@given(st.sets(st.integers(0, 199)), st.integers(28, 200))
def test_what_is_due_is_each_day_that_was_not_read_once(read: set[int], history: int) -> None:
    last = today(BERLIN, NOW)
    readings = {last - timedelta(days=n): NOW for n in read}
    found = due(readings, BERLIN, NOW, history_days=history)
    days = [*found.single, *(day for part in found.ranges for day in part)]
    assert sorted((last - day).days for day in days) == [n for n in range(history) if n not in read]
    assert all(part.count <= MOST_AT_ONCE for part in found.ranges)


def test_after_all_was_read_nothing_is_due_and_an_hour_later_three_days() -> None:
    last = today(BERLIN, NOW)
    readings = {last - timedelta(days=n): NOW for n in range(100)}
    assert due(readings, BERLIN, NOW, history_days=100).count == 0
    later = due(readings, BERLIN, NOW + timedelta(hours=1), history_days=100)
    assert later.single == (last, last - timedelta(days=1), last - timedelta(days=2))


@given(st.integers(2, 60))
def test_halves_are_the_whole(count: int) -> None:
    whole = Days(date(2026, 1, 1), date(2026, 1, 1) + timedelta(days=count - 1))
    newer, older = whole.halves()
    assert [*older, *newer] == list(whole) and abs(newer.count - older.count) <= 1


def test_a_day_closes_28_days_after_its_end_there() -> None:
    assert closes_at(date(2026, 10, 1), BERLIN) == datetime(2026, 10, 29, 23, tzinfo=UTC)


def test_an_idle_day_of_an_ad_is_a_zero() -> None:
    rows = [{"ad_id": "1", "date_start": "2026-11-01", "account_id": "9", "spend": "3",
             "campaign_id": "c", "adset_id": "s"}]  # fmt: skip
    idle = {"2": {"account_id": "9", "campaign_id": "c", "adset_id": "t"}}
    found = with_idle_days(rows, Days(date(2026, 11, 1), date(2026, 11, 2)), idle)
    assert [(r["ad_id"], r["date_start"], r["spend"], r["adset_id"]) for r in found] == [
        ("1", "2026-11-01", "3", "s"),
        ("1", "2026-11-02", "0", "s"),
        ("2", "2026-11-01", "0", "t"),
        ("2", "2026-11-02", "0", "t"),
    ]


# money -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [("EUR", "15.00", 1500), ("USD", "391.25", 39_125), ("JPY", "1500", 1500),
     ("HUF", "1500", 1500), ("clp", "9", 9), ("KWD", "1.25", 125), ("EUR", "0", 0)],
)  # fmt: skip
def test_minor_units_are_metas_own(currency: str, amount: str, minor: int) -> None:
    assert to_minor(Decimal(amount), currency) == minor
    assert from_minor(str(minor), currency) == Decimal(amount)


@pytest.mark.parametrize(
    ("currency", "amount"),
    [("JPY", "1.5"), ("EUR", "1.005"), ("EUR", "-1"), ("EUR", "NaN"), ("EUR", "Infinity")],
)
def test_an_amount_that_meta_cannot_be_told_is_refused(currency: str, amount: str) -> None:
    with pytest.raises(AmountError):
        to_minor(Decimal(amount), currency)


@given(st.integers(0, 10**12), st.sampled_from(["EUR", "JPY", "HUF", "USD", "KWD"]))
def test_minor_units_there_and_back(minor: int, currency: str) -> None:
    amount = from_minor(minor, currency)
    assert to_minor(amount, currency) == minor and amount * offset(currency) == minor


@pytest.mark.parametrize("text", ["", "1.5", "x", "1e3"])
def test_minor_units_that_are_none_are_told(text: str) -> None:
    with pytest.raises(AmountError):
        from_minor(text, "EUR")


# purchases ---------------------------------------------------------------------------------------
def row(*types: str, value: str = "6", **windows: str) -> dict[str, Any]:
    actions = [{"action_type": "link_click", "value": "160"}]
    actions += [{"action_type": one, "value": value, **windows} for one in types]
    return {"actions": actions, "action_values": [{"action_type": one, "value": "431.70"}
                                                  for one in types]}  # fmt: skip


@pytest.mark.parametrize(
    ("types", "chosen"),
    [
        (("omni_purchase", "purchase", "offsite_conversion.fb_pixel_purchase"), "omni_purchase"),
        (("offsite_conversion.fb_pixel_purchase", "purchase"), "purchase"),
        (("offsite_conversion.fb_pixel_purchase",), "offsite_conversion.fb_pixel_purchase"),
        (("onsite_web_purchase",), None),
        ((), None),
    ],
)
def test_the_same_purchases_are_counted_once(types: tuple[str, ...], chosen: str | None) -> None:
    found = purchases(row(*types, **{"7d_click": "5", "1d_view": "1"}))
    assert found.type == chosen
    if chosen:
        assert found.count == {"value": 6, "7d_click": 5, "1d_view": 1}
        assert found.value == {"value": Decimal("431.70")}
    else:
        assert found.count == found.value == {}


def test_an_accounts_choice_is_the_widest_of_its_rows() -> None:
    assert widest([None, "purchase", "omni_purchase"]) == TYPES[0] == "omni_purchase"
    assert widest([None, "link_click"]) is None


@pytest.mark.parametrize(
    "actions", [None, "x", "[1, 2]", {}, [{"action_type": "purchase", "value": "NaN"}], [7]]
)
def test_actions_that_cannot_be_read_are_no_purchases(actions: Any) -> None:
    assert purchases({"actions": actions}).count == {}
