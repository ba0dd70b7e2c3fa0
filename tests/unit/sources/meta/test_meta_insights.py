"""Insights over real HTTP: by the day, by reports that fail, restated as the clock goes on."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from dmp_assets.platform.connect.errors import UnreadableAnswerError
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.days import KEPT_DAYS, Days
from dmp_assets.sources.meta.errors import ObjectGoneError
from dmp_assets.sources.meta.insights import InsightsReader, ReportFailedError, StuckReportsError
from dmp_assets.sources.meta.purchases import purchases
from tests.support.meta import BERLIN, BUDAPEST, HONOLULU, NOW, TOKYO, Meta, Waiting

ACCOUNT = f"act_{BERLIN}"
DAY = date(2026, 10, 20)  # an even day, closed: all four ads
RANGE = Days(date(2026, 10, 1), date(2026, 10, 16))
BREAKDOWN = ("age", "gender")


@pytest.fixture
def time(meta: Meta) -> Waiting:
    return Waiting(meta)


@pytest.fixture
def client(meta: Meta, token: str, time: Waiting) -> Iterator[MetaClient]:
    with meta.client(token, governor=time.governor()) as client:
        yield client


@pytest.fixture
def reader(client: MetaClient) -> InsightsReader:
    return InsightsReader(client, ACCOUNT)


def keys(rows: Any) -> list[tuple[str, str]]:
    return sorted((row["ad_id"], row["date_start"]) for row in rows)


def delivered(meta: Meta, account: str, days: Days) -> list[tuple[str, str]]:
    """What the stand-in's world holds of these days."""
    rows = meta.world.rows(
        "SELECT ad_id, day FROM delivery JOIN ad USING (ad_id) WHERE account_id = ? "
        "AND day BETWEEN ? AND ? ORDER BY 1, 2",
        account, days.first.isoformat(), days.last.isoformat(),
    )  # fmt: skip
    return [(row["ad_id"], row["day"]) for row in rows]


# by the day and by reports -----------------------------------------------------------------------
def test_a_day_and_a_report_give_what_was_delivered_to_the_cent(
    meta: Meta, reader: InsightsReader
) -> None:
    (part,) = reader.day(DAY)
    assert keys(part.rows) == delivered(meta, BERLIN, Days(DAY, DAY))
    assert part.rows[0]["attribution_setting"] == "7d_click_1d_view"
    (part,) = reader.history(RANGE)
    assert keys(part.rows) == delivered(meta, BERLIN, RANGE)
    spent = meta.world.rows(
        "SELECT sum(spend_cents) AS n FROM delivery JOIN ad USING (ad_id) WHERE account_id = ? "
        "AND day BETWEEN ? AND ?", BERLIN, "2026-10-01", "2026-10-16",
    )[0]["n"]  # fmt: skip
    assert sum(Decimal(row["spend"]) for row in part.rows) == Decimal(spent) / 100


def test_an_account_without_anything_has_no_rows(client: MetaClient) -> None:
    (part,) = InsightsReader(client, f"act_{BUDAPEST}").day(DAY)
    assert part.rows == []


@pytest.mark.parametrize("manner", [{"page": 3}, {"page": 5, "empty_pages": 2}])
def test_pages_of_a_report_are_all_read(
    meta: Meta, reader: InsightsReader, manner: dict[str, int]
) -> None:
    meta.behave(**manner)
    (part,) = reader.history(RANGE)
    assert keys(part.rows) == delivered(meta, BERLIN, RANGE)


def test_a_report_that_takes_an_hour_is_waited_for(
    meta: Meta, reader: InsightsReader, time: Waiting
) -> None:
    meta.behave(job_seconds=1_800)
    (part,) = reader.history(RANGE)
    assert keys(part.rows) == delivered(meta, BERLIN, RANGE)
    assert 1_800 <= sum(time.waits) < 1_860 and max(time.waits) == 30


def test_a_report_that_is_not_there_yet_is_looked_at_again_three_times(
    meta: Meta, reader: InsightsReader
) -> None:
    meta.behave(missing_run=3)
    (part,) = reader.history(RANGE)
    assert part.rows
    meta.behave(missing_run=9)
    with pytest.raises(ObjectGoneError):
        list(reader.history(RANGE))


def test_a_report_that_was_skipped_is_asked_for_anew(meta: Meta, reader: InsightsReader) -> None:
    meta.behave(job="skipped", job_times=1)
    (part,) = reader.history(RANGE)
    assert keys(part.rows) == delivered(meta, BERLIN, RANGE)
    assert len(meta.calls("insights", "POST")) == 2


@pytest.mark.parametrize("job", ["fails", "stuck"])
def test_days_of_a_report_that_fails_at_100_percent_or_never_ends_are_halved(
    meta: Meta, reader: InsightsReader, job: str
) -> None:
    meta.behave(job=job, job_times=2)
    parts = list(reader.history(RANGE))
    assert [part.days.count for part in parts] == [4, 4, 8]
    assert parts[0].days.last == RANGE.last  # the newest first
    found = keys(row for part in parts for row in part.rows)
    assert found == delivered(meta, BERLIN, RANGE)


def test_reports_that_never_end_are_given_up_after_three_hours(
    meta: Meta, reader: InsightsReader, time: Waiting
) -> None:
    meta.behave(job="stuck")
    with pytest.raises(StuckReportsError):
        list(reader.history(RANGE))
    assert 3 * 3_600 <= sum(time.waits) < 3 * 3_700
    meta.behave()
    (part,) = reader.history(RANGE)
    assert part.rows


@pytest.mark.parametrize("code", [1, 100])
def test_a_range_that_is_too_much_is_halved_until_it_is_not(
    meta: Meta, reader: InsightsReader, code: int
) -> None:
    meta.behave(most_days=4, too_much=code)
    parts = list(reader.history(RANGE))
    assert [part.days.count for part in parts] == [4, 4, 4, 4]
    found = keys(row for part in parts for row in part.rows)
    assert found == delivered(meta, BERLIN, RANGE)


@pytest.mark.parametrize("refusal", [{"code": 1, "status": 500, "times": 2},
                                     {"code": 100, "subcode": 1_487_534}])  # fmt: skip
def test_a_day_that_is_too_much_at_once_goes_by_a_report(
    meta: Meta, reader: InsightsReader, refusal: dict[str, Any]
) -> None:
    meta.refuse(path="insights", method="GET", **refusal)
    (part,) = reader.day(DAY)
    assert keys(part.rows) == delivered(meta, BERLIN, Days(DAY, DAY))
    assert len(meta.calls("insights", "POST")) == 1


def test_a_single_day_that_fails_goes_by_campaign_ad_set_and_ad(
    meta: Meta, reader: InsightsReader
) -> None:
    meta.behave(most_ads=1)
    meta.world.add("adset", [
        row | {"status": "PAUSED"}
        for row in meta.world.rows("SELECT * FROM adset WHERE adset_id = ?", f"{BERLIN}20")
    ])  # fmt: skip
    (part,) = reader.history(Days(DAY, DAY))
    assert keys(part.rows) == delivered(meta, BERLIN, Days(DAY, DAY))
    levels = {call["path"].split("/")[0] for call in meta.calls("insights", "POST")}
    assert {ACCOUNT, f"{BERLIN}10", f"{BERLIN}21", f"{BERLIN}300003"} <= levels


def test_an_ad_alone_that_fails_is_told(meta: Meta, reader: InsightsReader) -> None:
    meta.behave(most_ads=0)
    with pytest.raises(ReportFailedError):
        list(reader.history(Days(DAY, DAY)))


@pytest.mark.parametrize("status", ["PAUSED", "ARCHIVED", "DELETED"])
@pytest.mark.parametrize("table", ["campaign", "ad"])
def test_what_was_removed_since_is_still_told_of(
    meta: Meta, reader: InsightsReader, status: str, table: str
) -> None:
    own = {"campaign": f"{BERLIN}10", "ad": f"{BERLIN}300000"}[table]
    sql = f"SELECT * FROM {table} WHERE {table}_id = ?"
    row = meta.world.rows(sql, own)[0]
    meta.world.add(table, [row | {"status": status}])
    try:
        (at_once,), (reported,) = reader.day(DAY), list(reader.history(Days(DAY, DAY)))
    finally:
        meta.world.add(table, [row])
    assert keys(at_once.rows) == keys(reported.rows) == delivered(meta, BERLIN, Days(DAY, DAY))


def test_a_refused_scope_is_not_halved(meta: Meta, reader: InsightsReader) -> None:
    meta.refuse(path="insights", code=200, status=403)
    with pytest.raises(Exception, match="not granted"):
        list(reader.history(RANGE))
    assert len(meta.calls("insights")) == 1


# the edge of 37 months ---------------------------------------------------------------------------
def test_days_beyond_the_edge_are_said_to_be_too_old_and_others_are_read(
    meta: Meta, reader: InsightsReader
) -> None:
    edge = NOW.date() - timedelta(days=KEPT_DAYS + 6)
    parts = list(reader.history(Days(edge - timedelta(days=10), edge + timedelta(days=10))))
    days = {day: part.is_too_old for part in parts for day in part.days}
    assert len(days) == 21 and days[max(days)] is False and days[min(days)] is True
    (old,) = reader.day(date(2020, 1, 1))
    assert old.is_too_old and old.rows == ()


def test_the_oldest_day_that_is_ever_asked_for_is_kept(meta: Meta, client: MetaClient) -> None:
    oldest = NOW.date() + timedelta(days=1) - timedelta(days=KEPT_DAYS - 1)
    for account in (HONOLULU, TOKYO, BERLIN):
        (part,) = InsightsReader(client, f"act_{account}").day(oldest)
        assert not part.is_too_old


# restatement -------------------------------------------------------------------------------------
def test_purchases_rise_for_28_days_and_then_stand(meta: Meta, reader: InsightsReader) -> None:
    day = NOW.date()
    seen = []
    for days in range(32):
        meta.set_clock(NOW + timedelta(days=days))
        (part,) = reader.day(day)
        seen.append(sum(purchases(row).count.get("28d_click", 0) for row in part.rows))
    assert seen == sorted(seen) and seen[0] < seen[3] < seen[10] < seen[28]
    assert seen[28] == seen[29] == seen[31]


def test_the_day_that_runs_has_what_its_hours_delivered(meta: Meta, reader: InsightsReader) -> None:
    day = NOW.date()
    shown = []
    for hour in (6, 12, 21):
        meta.set_clock(datetime(2026, 11, 28, hour, tzinfo=UTC))
        (part,) = reader.day(day)
        shown.append(sum(int(row["impressions"]) for row in part.rows))
    meta.set_clock(NOW + timedelta(days=1))
    (part,) = reader.day(day)
    assert 0 < shown[0] < shown[1] < shown[2] < sum(int(row["impressions"]) for row in part.rows)


@pytest.mark.parametrize(("account", "has_begun"), [(TOKYO, True), (BERLIN, False)])
def test_tomorrow_has_begun_in_the_east_alone(
    client: MetaClient, account: str, has_begun: bool
) -> None:
    (part,) = InsightsReader(client, f"act_{account}").day(date(2026, 11, 29))
    assert bool(part.rows) is has_begun


# breakdowns, corrections, other answers ----------------------------------------------------------
def test_a_breakdown_adds_up_to_the_whole(client: MetaClient, reader: InsightsReader) -> None:
    (whole,) = reader.day(DAY)
    (split,) = InsightsReader(client, ACCOUNT, BREAKDOWN).day(DAY)
    assert len(split.rows) == 3 * len(whole.rows)

    def total(rows: Any, what: str) -> Decimal:
        return sum((Decimal(row[what]) for row in rows), Decimal())

    for what in ("spend", "impressions", "clicks"):
        assert total(split.rows, what) == total(whole.rows, what)
    for window in ("value", "7d_click"):
        sums = [
            sum((purchases(row).value.get(window, Decimal()) for row in rows), Decimal())
            for rows in (split.rows, whole.rows)
        ]
        assert sums[0] == sums[1] > 0


def test_an_ad_with_spend_and_no_impressions_and_a_correction_are_read(
    meta: Meta, reader: InsightsReader
) -> None:
    ad = f"{BERLIN}300000"
    old = date(2026, 7, 1)
    nothing = {"impressions": 0, "reach": 0, "clicks": 0, "link_clicks": 0}
    meta.world.add("delivery", [
        {"ad_id": ad, "day": old.isoformat(), **nothing, "spend_cents": 250},
        {"ad_id": f"{BERLIN}300001", "day": old.isoformat(), **nothing, "spend_cents": -125},
    ])  # fmt: skip
    (part,) = reader.day(old)
    assert [(row["spend"], row["impressions"]) for row in part.rows] == [
        ("2.5", "0"),
        ("-1.25", "0"),
    ]
    assert "cpm" not in part.rows[0] and "frequency" not in part.rows[0]


@pytest.mark.parametrize("types", [("purchase",), ("offsite_conversion.fb_pixel_purchase",)])
def test_another_type_of_action_is_taken_when_the_widest_is_gone(
    meta: Meta, reader: InsightsReader, types: tuple[str, ...]
) -> None:
    (before,) = reader.day(DAY)
    meta.behave(purchase_types=types)
    (after,) = reader.day(DAY)
    assert {purchases(row).type for row in after.rows} == set(types)
    assert [purchases(row).count for row in before.rows] == [
        purchases(row).count for row in after.rows
    ]


def test_rows_of_another_account_or_day_are_refused(client: MetaClient) -> None:
    own = InsightsReader(client, ACCOUNT)
    rows = [{"account_id": BERLIN, "date_start": "2026-10-20", "date_stop": "2026-10-20",
             "ad_id": "1"}]  # fmt: skip
    assert len(own._checked(Days(DAY, DAY), iter(rows))) == 1
    for wrong in ({"account_id": TOKYO}, {"date_start": "2026-10-21"}, {"date_stop": "2026-10-22"},
                  {"ad_id": None}):  # fmt: skip
        with pytest.raises(UnreadableAnswerError):
            own._checked(Days(DAY, DAY), iter([rows[0] | wrong]))
