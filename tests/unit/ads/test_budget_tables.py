"""Forecasts, their record and advice as tables: kept, scored, and never a failed batch."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmp_assets.ads.model.budgets.scores import scores
from dmp_assets.ads.tables.ads_budget_forecasts import ads_budget_forecasts
from dmp_assets.ads.tables.ads_forecast_scores import ads_forecast_scores
from dmp_assets.ads.tables.budget_rows import QUANTILES
from dmp_assets.home import Home
from dmp_assets.platform.lake.tables import Tables
from tests.support.ads_days import FIRST, Days, DaysHome, varied
from tests.support.materialized import materialized

SIZE = 120


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaysHome:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    return DaysHome(Home(tmp_path / "home").prepare("live"))


def rows(lake: DaysHome, query: str) -> list[dict[str, Any]]:
    return list(Tables.of(lake.home).sql(query).to_pylist())


def days(name: str = "acme", size: int = SIZE, **more: Any) -> Days:
    earned, spent = varied(size)
    return Days(name, earned.tolist(), {k: v.tolist() for k, v in spent.items()}, **more)


def forecasts(lake: DaysHome) -> list[dict[str, Any]]:
    return rows(lake, "SELECT * FROM ml.ads_budget_forecasts ORDER BY made_at, day, days")


def advice(lake: DaysHome) -> dict[tuple[str, str], dict[str, Any]]:
    found = rows(lake, "SELECT * FROM ml.ads_budget_advice")
    return {(row["advertiser_id"], row["campaign_id"]): row for row in found}


def test_a_forecast_is_kept_as_it_was_made_and_nothing_new_appends_nothing(
    lake: DaysHome,
) -> None:
    lake.write(days())
    materialized(ads_budget_forecasts)
    first = forecasts(lake)
    assert len(first) == 28 + 3 and {row["days"] for row in first} == {1, 7, 14, 28}
    last = FIRST + timedelta(days=SIZE - 2)  # the shop told of one later day
    assert {row["learnt_until"] for row in first} == {last}
    assert first[0]["day"] == last + timedelta(days=1)
    for row in first:
        quantiles = [row[name] for name in QUANTILES]
        assert quantiles == sorted(quantiles)
    spent = lake.days[0].spent
    planned = sum(sum(of[SIZE - 29 : SIZE - 1]) / 28 for of in spent.values())
    assert float(first[-1]["planned_spend"]) == pytest.approx(planned, abs=0.001)

    told = advice(lake)
    lake.write(days())  # another version of the tables, and the same in them
    write_again = materialized(ads_budget_forecasts)
    assert write_again.success and forecasts(lake) == first and advice(lake) == told

    lake.write(days(size=SIZE + 1))
    materialized(ads_budget_forecasts)
    now = forecasts(lake)
    assert len(now) == 2 * 31
    assert [row for row in now if row["forecast_id"] == first[0]["forecast_id"]] == first
    newest = advice(lake)["acme", ""]
    assert newest["evidence_version"] != told["acme", ""]["evidence_version"]


def test_the_advice_moves_money_to_what_earns_more_within_its_step(
    lake: DaysHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write(days(size=300))
    materialized(ads_budget_forecasts)
    told = advice(lake)
    of_all, good, bad = (told["acme", name] for name in ("", "c1", "c2"))
    assert of_all["status"] == "advised" and good["campaign_name"] == "campaign c1"
    assert good["advised"] > good["present"] and bad["advised"] < bad["present"]
    for row in (good, bad):
        assert row["least"] <= row["advised"] <= row["most"]
        assert float(row["most"]) == pytest.approx(1.3 * float(row["present"]), abs=0.001)
    assert of_all["advised"] <= of_all["present"] + Decimal("0.01")
    assert 0 < of_all["gain_low"] <= of_all["gain"] <= of_all["gain_high"]
    spend = 28 * of_all["advised"]
    assert of_all["contribution"] - of_all["profit"] == pytest.approx(spend, abs=Decimal("0.05"))
    # sales are twice the contribution in these days
    assert float(of_all["sales"]) == pytest.approx(2 * float(of_all["contribution"]), rel=1e-6)

    monkeypatch.setenv("DMP_ADS_GREATEST_STEP", "0.1")
    monkeypatch.setenv("DMP_ADS_MOST_PER_DAY", f'{{"acme": {of_all["present"] * 95 / 100}}}')
    materialized(ads_budget_forecasts)
    less = advice(lake)
    assert less["acme", ""]["evidence_version"] != of_all["evidence_version"]
    assert less["acme", ""]["advised"] <= of_all["present"] * 95 / 100 + Decimal("0.001")
    assert less["acme", "c1"]["advised"] <= good["present"] * 11 / 10 + Decimal("0.001")
    assert len(forecasts(lake)) == 31  # the forecast is the same one


def test_who_cannot_be_modelled_gets_a_row_that_says_why_and_the_others_go_on(
    lake: DaysHome,
) -> None:
    gaps = frozenset(FIRST + timedelta(days=n) for n in range(10, 60, 2))
    flat = days("flat")
    flat.spent = {"c1": [100.0] * SIZE}
    nothing = days("nothing")
    nothing.spent = {"c1": [0.0] * SIZE}
    lake.write(
        days(), days("young", 40), days("gappy", unread=gaps, size=100), flat, nothing,
        days("unrated", unrated=frozenset(FIRST + timedelta(days=n) for n in range(60, 100))),
    )  # fmt: skip
    made = materialized(ads_budget_forecasts)
    told = {name: row for (name, campaign), row in advice(lake).items() if not campaign}
    assert told["acme"]["status"] != "not_modelled"
    assert told["young"]["reasons"] == ["too_few_days"] and "38 days" in told["young"]["reason"]
    assert "are missing" in told["gappy"]["reason"]
    assert "are missing" in told["unrated"]["reason"]
    assert told["nothing"]["reason"] == "nothing was spent on ads"
    assert told["flat"]["status"] == "no_advice"
    assert told["flat"]["reasons"] == ["spend_hardly_varied"]
    assert "campaign c1" in told["flat"]["reason"] and "in turn" in told["flat"]["experiment"]
    assert {row["advertiser_id"] for row in forecasts(lake)} == {"acme", "flat"}
    [failed] = [check for check in made.get_asset_check_evaluations() if not check.passed]
    assert failed.check_name == "advertisers_modelled"
    why = str(failed.metadata["why"].value)
    assert all(name in why for name in ("young", "gappy", "nothing", "unrated"))


def test_a_day_counts_once_it_was_over_where_the_account_is(lake: DaysHome) -> None:
    noon = datetime.combine(FIRST + timedelta(days=SIZE - 2), time(8), UTC)  # of the day before
    lake.write(
        days("east", zone="Pacific/Auckland", read_at=noon),
        days("west", zone="Pacific/Honolulu", read_at=noon),
        days("nowhere", zone="Mars/Olympus", read_at=noon),
    )
    materialized(ads_budget_forecasts)
    until = {row["advertiser_id"]: row["learnt_until"] for row in forecasts(lake)}
    day = FIRST + timedelta(days=SIZE - 3)
    assert until == {
        "east": day, "west": day - timedelta(days=1), "nowhere": day - timedelta(days=1),
    }  # fmt: skip


def test_forecasts_are_scored_when_all_their_days_are_closed(lake: DaysHome) -> None:
    lake.write(days())
    materialized(ads_budget_forecasts)
    made = forecasts(lake)
    first = made[0]["day"]

    def scored(size: int, **more: Any) -> dict[int, dict[str, Any]]:
        lake.write(days(size=size, **more))
        materialized(ads_forecast_scores)
        found = rows(lake, "SELECT * FROM ml.ads_forecast_scores")
        return {row["horizon"]: row for row in found}

    assert scored(SIZE + 7 + 28 - 1) == {}
    assert set(scored(SIZE + 7 + 28)) == {7}
    assert set(scored(SIZE + 14 + 28)) == {7, 14}
    found = scored(SIZE + 28 + 28)
    assert set(found) == {7, 14, 28}
    for horizon, row in found.items():
        daily = [one for one in made if one["days"] == 1][:horizon]
        begin = (first - FIRST).days
        actual = np.array(lake.days[0].earned[begin : begin + horizon])
        quantiles = np.array([[float(one[name]) for name in QUANTILES] for one in daily])
        learnt = np.array(lake.days[0].earned[1:begin])  # the first day may be one in part
        wanted = scores(actual, quantiles, learnt, 1)
        for name in ("wape", "mase", "coverage_80", "coverage_95", "pinball"):
            assert row[name] == pytest.approx(getattr(wanted, name), rel=1e-3), name
        assert float(row["actual"]) == pytest.approx(actual.sum(), abs=0.01)
        total = next(one for one in made if one["days"] == horizon)
        assert row["within_80"] == (total["q100"] <= row["actual"] <= total["q900"])
        assert row["planned_spend"] == total["planned_spend"]

    gap = frozenset({first + timedelta(days=2)})
    with_gap = scored(SIZE + 28 + 28, unread=gap)[7]
    assert with_gap["days"] == 6 and with_gap["actual"] is None and with_gap["within_80"] is None
    assert with_gap["wape"] is not None
    all_gaps = frozenset(first + timedelta(days=n) for n in range(7))
    unknown = scored(SIZE + 28 + 28, unread=all_gaps)[7]
    assert unknown["days"] == 0 and unknown["wape"] is None and unknown["coverage_80"] is None


def test_nothing_that_was_sold_leaves_scores_empty_that_would_divide_by_zero(
    lake: DaysHome,
) -> None:
    lake.write(days())
    materialized(ads_budget_forecasts)
    later = days(size=SIZE + 28 + 28)
    begin = (forecasts(lake)[0]["day"] - FIRST).days
    later.earned = [*later.earned[:begin], *[0.0] * 28, *later.earned[begin + 28 :]]
    lake.write(later)
    materialized(ads_forecast_scores)
    found = rows(lake, "SELECT wape, mase, naive_wape, pinball FROM ml.ads_forecast_scores")
    assert all(row["wape"] is None and row["naive_wape"] is None for row in found)
    assert all(row["mase"] > 0 and row["pinball"] > 0 for row in found)


def test_small_campaigns_are_one_line(lake: DaysHome) -> None:
    earned, _ = varied(SIZE)
    drawn = np.random.default_rng(2)
    spent = {f"k{n:02}": (drawn.uniform(0.5, 1.5, SIZE) * (40 - n)).tolist() for n in range(14)}
    lake.write(Days("acme", earned.tolist(), spent))
    materialized(ads_budget_forecasts)
    lines = {campaign for _, campaign in advice(lake)}
    assert lines == {"", "others", *(f"k{n:02}" for n in range(12))}
    others = advice(lake)["acme", "others"]
    assert others["campaign_name"] == "the other campaigns"
    mean = sum(np.mean(spent[name][SIZE - 29 : SIZE - 1]) for name in ("k12", "k13"))
    assert float(others["present"]) == pytest.approx(mean, abs=0.001)


def test_public_holidays_are_a_kind_of_day_of_their_own(
    lake: DaysHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sold on them: the forecast knows of those that are ahead."""
    own = days(size=340)  # until 2026-12-06, so that Christmas is among the days ahead
    closed = {date(2026, 4, 3), date(2026, 4, 6), date(2026, 5, 1), date(2026, 5, 14),
              date(2026, 5, 25), date(2026, 10, 3)}  # fmt: skip
    own.earned = [0.0 if d in closed else x for d, x in zip(own.dates, own.earned, strict=True)]
    lake.write(own)

    def expected() -> dict[date, Decimal]:
        known = {row["forecast_id"] for row in forecasts(lake)} if before else set()
        materialized(ads_budget_forecasts)
        made = [row for row in forecasts(lake) if row["forecast_id"] not in known]
        return {row["day"]: row["q500"] for row in made if row["days"] == 1}

    before: dict[date, Decimal] = {}
    before = expected()
    monkeypatch.setenv("DMP_ADS_HOLIDAYS", "DE")
    after = expected()
    assert before.keys() == after.keys()
    ahead = [date(2026, 12, 25), date(2026, 12, 26), date(2027, 1, 1)]
    for day in after:
        if day in ahead:
            assert after[day] < Decimal("0.6") * before[day]
        else:
            assert after[day] > Decimal("0.9") * before[day]
