"""The weekly report on ad performance and its message, on a small made-up month."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from dmp_assets.ads.report import figures, weekly
from dmp_assets.ads.report.reports import REPORTS, _outline
from dmp_assets.ads.report.weekly_mail import tell
from dmp_assets.home import Home
from dmp_assets.platform.reporting.messages import report_message, warning
from dmp_assets.platform.reporting.period import Period
from dmp_assets.platform.reporting.privacy import find_personal_data
from dmp_assets.platform.reporting.reader import Report
from dmp_assets.platform.reporting.renderer import Renderer
from dmp_assets.settings import project_dir
from tests.support import ads_report
from tests.support.ads_report import CAMPAIGNS, revenue, spend
from tests.support.lakehouse import write
from tests.support.mail import mail_server

WEEK = Period(date(2024, 3, 25), date(2024, 3, 31))
MONDAY = datetime(2024, 4, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return ads_report.build(Home(tmp_path_factory.mktemp("home")).prepare("sandbox"))


@pytest.fixture(scope="module")
def pages(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The report, that of other days, and that of a home without ads."""
    folder = tmp_path_factory.mktemp("pages")
    nothing = Home(tmp_path_factory.mktemp("nothing")).prepare("sandbox")
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUARTO_PATH", "/nonexistent/quarto")
        for name, of, params in (
            ("week", home, {}), ("early", home, {"start": "2024-03-08", "end": "2024-03-10"}),
            ("nothing", nothing, {}),
        ):  # fmt: skip
            with Renderer(project_dir(), of) as engine:
                page = engine.render("ads", params=params, to=folder / f"{name}.html").path
                made[name] = page.read_text()
    return made


def text(page: str) -> str:
    """What the page says, without scripts and marks."""
    body = re.sub(r"(?s)<script.*?</script>|<style.*?</style>", " ", page)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def spent(days: Period, *advertisers: str) -> Decimal:
    return sum(
        (spend(one, campaign, day) for one in advertisers or CAMPAIGNS
         for campaign in CAMPAIGNS[one] for day in days.days()), Decimal(0)
    )  # fmt: skip


def earned(days: Period) -> Decimal:
    return sum((revenue(one, day) for one in CAMPAIGNS for day in days.days()), Decimal(0))


def test_the_page_is_of_the_last_full_week_of_all_advertisers(pages: dict[str, str]) -> None:
    shown = text(pages["week"])
    assert "of 2 advertisers are of 2024-03-25 to 2024-03-31" in shown
    assert f"Ad spend, EUR {spent(WEEK):,.0f}" in shown
    assert f"MER {earned(WEEK) / spent(WEEK):.2f}" in shown
    assert "Platform ROAS 3.00" in shown
    assert "4 days of 7 may still change" in shown
    assert "No forecast is scored yet" in shown


def test_the_page_of_other_days_shows_those(pages: dict[str, str]) -> None:
    days = Period(date(2024, 3, 8), date(2024, 3, 10))
    shown = text(pages["early"])
    assert f"Ad spend, EUR {spent(days):,.0f}" in shown
    assert "may still change" not in shown


def test_a_home_without_ads_is_told_what_to_do(pages: dict[str, str]) -> None:
    assert "No ad has cost anything yet" in text(pages["nothing"])


def test_the_page_shows_no_personal_datum(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert find_personal_data(text(page)) == []


def test_campaigns_are_beside_as_many_days_before_the_greatest_change_first(home: Home) -> None:
    found = weekly.campaigns(Report.open(home, {}), WEEK)
    assert [one.campaign_name for one in found] == ["Spring", "Reach", "Only one"]
    for one in found:
        name, whose = one.campaign_name, one.advertiser_id
        assert one.spend == sum(spend(whose, name, day) for day in WEEK.days())
        assert one.spend_before == sum(spend(whose, name, day) for day in WEEK.before().days())
        assert one.platform_roas == pytest.approx(3)
        assert (one.modelled_roas, one.profit_roas) == pytest.approx((2, 1))


def test_totals_are_those_of_all_advertisers(home: Home) -> None:
    found = weekly.totals(Report.open(home, {}), WEEK)
    assert found.spend == spent(WEEK)
    assert found.revenue == earned(WEEK)
    assert found.orders == 2 * 7 * 4
    assert found.new_customer_share == pytest.approx(0.5)
    assert found.cac == pytest.approx(float(spent(WEEK)) / 28)


def test_the_message_tells_the_week_beside_the_one_before(home: Home) -> None:
    found = weekly.message(Report.open(home, {}), as_of=MONDAY)
    assert (found.period_start, found.period_end) == WEEK.bounds
    assert warning(found, "UTC") is None
    by_name = {one.name: one for one in found.headline}
    assert by_name["ad_spend"].value == spent(WEEK)
    assert by_name["ad_spend"].previous == spent(WEEK.before())
    acme, other = (round(spent(WEEK, one)) for one in CAMPAIGNS)
    assert [row[:2] for row in found.table_rows] == [
        ("acme", acme), ("– Spring", 574), ("– Reach", 154), ("other", other),
        ("– Only one", other),
    ]  # fmt: skip
    assert all(str(row[2]).endswith(" %") for row in found.table_rows)
    assert any("4 of the 7 days are open" in note for note in found.notes)
    assert any(
        "700.00 EUR claimed = 420.00 matched + 70.00 reversed + 35.00 test + 0.00 boundary + "
        "105.00 view-through + 70.00 unexplained" in note
        for note in found.notes
    )


def changed(home: Home, path: Path, **columns: object) -> Home:
    """The same home with other values of `other` in modeled/ad_roi_daily."""
    own = ads_report.build(Home(path).prepare("sandbox"))
    rows = list(ads_report._roi())
    for row in rows:
        if row["advertiser_id"] == "other":
            row |= columns
    write(own, figures.ROI, ads_report._table(figures.ROI, rows), stamp="2")
    return own


def test_who_has_no_visits_is_in_no_modelled_figure(home: Home, tmp_path: Path) -> None:
    unmodelled = dict.fromkeys(("modelled_revenue", "modelled_contribution", "modelled_orders"))
    report = Report.open(changed(home, tmp_path, **unmodelled), {})
    found = weekly.totals(report, WEEK)
    assert found.spend == spent(WEEK) and found.modelled_spend == spent(WEEK, "acme")
    assert found.modelled_roas == pytest.approx(2) and found.profit_roas == pytest.approx(1)
    [row] = [one for one in weekly.campaigns(report, WEEK) if one.advertiser_id == "other"]
    assert row.modelled_roas is None and row.profit_roas is None and row.platform_roas == 3
    alone = weekly.totals(report, WEEK, ["other"])
    assert alone.modelled_roas is None and alone.spend


def test_who_has_no_exchange_rate_is_in_no_sum_and_named(home: Home, tmp_path: Path) -> None:
    own = changed(home, tmp_path, spend=None, platform_value=None)
    day = WEEK.first
    unrated = {"advertiser_id": "other", "account_id": "7", "ad_id": "a", "date": day,
               "currency": "USD", "spend": Decimal(5)}  # fmt: skip
    write(own, figures.ADS, ads_report._table(figures.ADS, [unrated]), stamp="1")
    report = Report.open(own, {})
    found = weekly.message(report, as_of=MONDAY)
    by_name = {one.name: one for one in found.headline}
    assert by_name["ad_spend"].value == spent(WEEK, "acme")
    assert by_name["mer"].value == pytest.approx(
        float(sum(revenue("acme", day) for day in WEEK.days()) / spent(WEEK, "acme"))
    )
    assert found.notes[0] == (
        "other is in no sum: no exchange rate of USD is known for account 7 "
        "(DMP_ADS_EXCHANGE_RATES, or DMP_ADS_CURRENCY where there is one currency)."
    )
    assert [row[0] for row in found.table_rows] == ["Spring", "Reach"]
    [row] = [one for one in weekly.campaigns(report, WEEK) if one.advertiser_id == "other"]
    assert row.spend is None and row.change is None
    assert weekly.drawn(report, WEEK)[0] == [
        float(spent(Period(day, day), "acme")) for day in WEEK.days()
    ]


def test_days_before_of_which_a_part_is_known_tell_no_change(home: Home) -> None:
    report = Report.open(home, {})
    days = Period(date(2024, 3, 4), date(2024, 3, 10))
    assert weekly.incomparable(report, WEEK) == ""
    assert weekly.incomparable(report, days) == "only 3 of 7 days before are known"
    found = weekly.message(report, as_of=MONDAY, days=days)
    assert {one.previous for one in found.headline} == {None}
    assert {one.incomparable for one in found.headline} == {"only 3 of 7 days before are known"}
    assert {row[2] for row in found.table_rows} == {"—"}


@pytest.mark.parametrize(
    ("now", "then", "said"),
    [(112, 100, "▲ 12 %"), (50, 100, "▼ 50 %"), (5, 0, "new"), (100, 100, "0 %"), (None, 1, "—")],
)
def test_a_change_of_spend_is_a_share(now: int | None, then: int, said: str) -> None:
    assert weekly.share(None if now is None else Decimal(now), Decimal(then)) == said


def test_a_message_says_when_there_is_no_data_and_is_built_all_the_same(tmp_path: Path) -> None:
    nothing = Home(tmp_path).prepare("sandbox")
    outline = _outline(nothing, None, None)
    assert warning(outline.figures, "UTC") == "No data has been loaded yet."
    assert outline.image.exists()


def test_the_outline_is_a_message_with_chart_and_page(home: Home) -> None:
    outline = _outline(home, None, WEEK)
    told = report_message(
        outline.figures, report="ads", version="1", channel="C1", tz=outline.zone,
        image=outline.image, image_alt=outline.image_alt, files=outline.files,
    )  # fmt: skip
    assert "Ad spend" in told.text
    assert told.image == outline.image
    assert told.image is not None
    assert told.image.read_bytes().startswith(b"\x89PNG")
    (spec,) = REPORTS
    assert spec.message is not None


def test_the_week_is_mailed_to_each_address_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = ads_report.build(Home(tmp_path / "live").prepare("live"))
    monkeypatch.setattr(Home, "now", lambda own: MONDAY)
    monkeypatch.setenv("DMP_ADS_REPORT_EMAILS", '["ann@mail.example", "bob@mail.example"]')
    with mail_server(tmp_path / "smtp") as server:
        for name, value in server.settings("").items():
            monkeypatch.setenv(f"DMP_{name.upper()}", str(value))
        assert tell(live, "spend_agrees failed") == {"not told": 2}
        assert server.mails() == []
        assert tell(live, None) == {"sent": 2}
        assert tell(live, None) == {"sent": 2}  # told again, and not sent again
        mails = server.mails()
    assert sorted(str(one["To"]) for one in mails) == ["ann@mail.example", "bob@mail.example"]
    told = mails[0].get_body(("plain",))
    assert told is not None
    shown = told.get_content()
    assert "Ad performance, 2024-03-25 to 2024-03-31" in shown
    assert f"Ad spend: {spent(WEEK):,.0f} EUR" in shown
    assert "Spring · 574" in shown
    assert "420.00 matched" in " ".join(shown.split())


def test_a_blocking_check_keeps_numbers_back(home: Home) -> None:
    found = weekly.message(Report.open(home, {}), as_of=MONDAY, problem="spend_agrees failed")
    assert warning(found, "UTC") == "spend_agrees failed"


def test_the_record_of_forecasts_is_told_by_horizon(tmp_path: Path) -> None:
    home = ads_report.build(Home(tmp_path).prepare("sandbox"))
    write(home, weekly.RECORD, pa.table({
        "advertiser_id": ["acme"] * 3, "horizon": [7, 7, 28], "wape": [0.1, 0.2, 0.3],
        "naive_wape": [0.2, 0.2, 0.4], "mase": [0.5, 0.7, 0.9],
        "within_80": [True, False, True], "within_95": [True, True, True],
        "last_day": [date(2024, 2, 1), date(2024, 2, 8), date(2024, 2, 20)],
    }))  # fmt: skip
    found = weekly.record(Report.open(home, {})).to_dict("records")
    assert [(row["horizon"], row["forecasts"]) for row in found] == [(7, 2), (28, 1)]
    assert found[0]["wape"] == pytest.approx(0.15)
    assert found[0]["totals_within_80"] == pytest.approx(0.5)
