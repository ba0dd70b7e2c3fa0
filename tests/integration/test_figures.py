"""Every figure of the catalogue has one value, whichever place shows it."""

import html
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dmp_assets.abuse.domain import DOMAIN
from dmp_assets.abuse.report import figures
from dmp_assets.abuse.service.store import figures as service
from dmp_assets.attribution.report import figures as attribution_figures
from dmp_assets.attribution.service.store import figures as attribution_service
from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.home import Home
from dmp_assets.platform.figures.catalogue import CATALOGUE, figure
from dmp_assets.platform.reporting.messages import last_full_week
from dmp_assets.platform.reporting.reader import Report
from dmp_assets.platform.store import database, where
from tests.support.demo import Demo

TILE = re.compile(r'data-name="(\w+)"[^>]*>(.*?)</div><div class="tile-value"[^>]*>([^<]*)<')
PAGES = ("promo_abuse", "index", "model_monitoring", "data_quality", "attribution")


def tiles(page: str) -> dict[str, str]:
    """Name → value of the figures that stand at the head of a page."""
    return {name: html.unescape(value) for name, _, value in TILE.findall(page)}


def by_lakehouse(home: Home) -> dict[str, float | None]:
    """Name → value, counted from the tables."""
    report = attribution_figures.opened(home, {})
    found = figures.flagged(report)
    days = attribution_figures.period(report)
    assert found and days
    total = attribution_figures.totals(
        report, report.settings.of(AttributionSettings).reporting_model, days
    )
    used = report.row(
        """SELECT count(*) AS uses, count(DISTINCT user_id) AS users,
        count(DISTINCT promo_code) AS codes FROM cleaned.promo_usages"""
    )
    return {
        "scored_accounts": found.scored,
        "flagged_accounts": found.accounts,
        "accounts_to_block": found.blocked,
        "accounts_to_review": found.reviewed,
        "at_risk": None if found.discounts is None else float(found.discounts),
        "registered_users": report.row("SELECT count(*) AS n FROM cleaned.users")["n"],
        "promo_codes": report.row("SELECT count(*) AS n FROM cleaned.promo_codes")["n"],
        "promo_uses": used["uses"],
        "users_of_codes": used["users"],
        "codes_used": used["codes"],
        "cost": total.cost,
        "cost_per_order": total.cpo,
        "paid_cost_per_order": total.paid_cpo,
        "roas": total.roas,
        "paid_roas": total.paid_roas,
        "attributed_revenue": total.revenue,
        "attributed_conversions": total.conversions,
    }


def by_service(home: Home) -> Mapping[str, float | None]:
    """Name → value, as the service counts them in the store."""
    report = attribution_figures.opened(home, {})
    days = attribution_figures.period(report)
    assert days
    with database.opened(where.store_url(home)) as store, store.connect() as connection:
        model = report.settings.of(AttributionSettings).reporting_model
        first, last = days.bounds
        return {
            **service.accounts(connection),
            **attribution_service.advertising(connection, model, first, last),
        }


def by_summary(home: Home) -> dict[str, float]:
    """Name → value, as a run's summary says them."""
    (line,) = (line for line in DOMAIN.summary(home) if line.startswith("Flagged"))
    return {
        name: float(found[1].replace(",", ""))
        for name in ("flagged_accounts", "accounts_to_block")
        if (found := re.search(rf"(?i){figure(name).label} ([\d,]+)", line))
    }


def by_page(page: str) -> Callable[[Home], Mapping[str, Any]]:
    """Reads the figures at the head of a rendered report."""
    return lambda home: tiles((home.reports / f"{page}.html").read_text())


PLACES: dict[str, Callable[[Home], Mapping[str, Any]]] = {
    **{page: by_page(page) for page in PAGES},
    "the service": by_service,
    "a run's summary": by_summary,
}


@pytest.fixture(scope="module")
def counted(demo: Demo) -> dict[str, float | None]:
    return by_lakehouse(demo.dmp.home)


@pytest.mark.parametrize("place", PLACES)
def test_every_place_shows_the_figures_as_the_tables_count_them(
    demo: Demo, counted: dict[str, float | None], place: str
) -> None:
    shown = PLACES[place](demo.dmp.home)
    assert shown, place
    for name, value in shown.items():
        assert name in CATALOGUE, name
        if name == "data_through":
            through = Report.open(demo.dmp.home, {}).data_through()
            assert through and value == f"{through:%Y-%m-%d}"
            continue
        expected = counted[name]
        assert expected is not None, name
        if isinstance(value, str):  # as it stands on a page, rounded
            places = len(value.partition(".")[2])
            assert value == f"{expected:,.{places}f}", (place, name)
        else:
            assert value == pytest.approx(expected), (place, name)


def test_the_messages_week_is_the_dashboards_same_days(demo: Demo) -> None:
    home = demo.dmp.home
    page = (home.reports / "promo_abuse.html").read_text()
    found = re.search(r'id="dashboard-data">(.*?)</script>', page, re.DOTALL)
    assert found
    carried = json.loads(found[1])
    told = figures.weekly(Report.open(home, {}), as_of=home.now())
    monday, _ = last_full_week(home.now(), "UTC")
    first = (monday - type(monday).fromisoformat(carried["first"])).days
    said = {figure.name: figure.value for figure in told.headline}
    assert said["registered_users"] == sum(carried["registrations"][first : first + 7])
    assert said["promo_uses"] == sum(carried["usages"][first : first + 7])


def test_labels_of_messages_and_pages_are_those_of_the_catalogue(demo: Demo) -> None:
    home = demo.dmp.home
    report = attribution_figures.opened(home, {})
    for told in (
        figures.weekly(report, as_of=home.now()),
        attribution_figures.message(report, as_of=home.now()),
    ):
        assert told.headline
        for one in told.headline:
            assert one.label == figure(one.name).label
    for page in PAGES:
        for name, label, _ in TILE.findall((home.reports / f"{page}.html").read_text()):
            assert figure(name).titled(report.settings.currency) in html.unescape(label), page


def test_a_maturing_week_is_not_compared_with_what_an_older_one_has_become(demo: Demo) -> None:
    home = demo.dmp.home
    report = attribution_figures.opened(home, {})
    days = attribution_figures.period(report)
    assert days
    weeks = attribution_figures.weeks(
        report, report.settings.of(AttributionSettings).reporting_model, days
    )
    changes = weeks["change"].dropna()
    assert len(changes) >= 6
    assert (changes > 0).any(), "equal ages rise and fall; a maturing week only falls"
    assert (changes < 0).any()


def test_the_demos_advertising_is_believable(counted: dict[str, float | None]) -> None:
    assert 1 < (counted["paid_roas"] or 0) < 6
    assert 10 < (counted["paid_cost_per_order"] or 0) < 100
    assert 10 < (counted["cost_per_order"] or 0) < 100
