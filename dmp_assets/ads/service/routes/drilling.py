"""Campaigns, their ad sets and ads: what was spent, delivered and claimed, one level at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse

from dmp_assets.ads.service import numbers
from dmp_assets.ads.service.charts import Chart, Line
from dmp_assets.ads.service.numbers import Number
from dmp_assets.ads.service.routes.reading import Performance
from dmp_assets.ads.service.store import reading
from dmp_assets.ads.service.store.reading import Level
from dmp_assets.ads.service.store.schema import ad_performance_daily, ad_roi_daily, ads
from dmp_assets.ads.service.viewing import (
    Days,
    Focus,
    Views,
    ads_page,
    file_of,
    within,
)
from dmp_assets.ads.settings import currency_of_sums
from dmp_assets.platform.api.problems import NO_CONTROL, FieldError, Problem
from dmp_assets.platform.api.routes.pages import PageRoute
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/ads", include_in_schema=False, route_class=PageRoute)
SHOWN, MOST = 200, 10_000
"""Rows of a page, and of a file."""
LEVELS: Mapping[Level, str] = {"campaign": "Campaign", "adset": "Ad set", "ad": "Ad"}
# column, its header, how it is written; of campaigns alone where `modelled`
COLUMNS = (
    ("spend", "Spend", "money"),
    ("impressions", "Impressions", "count"),
    ("clicks", "Clicks", "count"),
    ("ctr", "CTR", "rate"),
    ("cost_per_click", "Cost per click", "cents"),
    ("purchases", "Purchases claimed", "count"),
    ("purchase_value", "Value claimed", "money"),
    ("platform_roas", "Platform ROAS", "ratio"),
)
MODELLED = (("modelled_roas", "Modelled ROAS", "ratio"), ("profit_roas", "Profit ROAS", "ratio"))
Id = Annotated[str, Query(max_length=100, pattern=NO_CONTROL)]


class PerformanceAndRoi(Performance):
    """What a campaign delivered, and what it earned by our reporting model."""

    modelled_roas: float | None
    profit_roas: float | None


@dataclass(frozen=True)
class Chosen:
    """What was drilled into, how it is sorted, and what its name has to hold."""

    account: str
    campaign: str
    adset: str
    ad: str
    sort: str
    text: str

    @property
    def level(self) -> Level:
        """Of which the rows are: one below what was chosen."""
        return "ad" if self.adset or self.ad else "adset" if self.campaign else "campaign"

    @property
    def ids(self) -> list[tuple[str, str]]:
        """Columns and the ids that rows must have."""
        given = (
            ("account_id", self.account), ("campaign_id", self.campaign),
            ("adset_id", self.adset), ("ad_id", self.ad),
        )  # fmt: skip
        return [(name, value) for name, value in given if value]

    @property
    def columns(self) -> tuple[tuple[str, str, str], ...]:
        """Those of the table, without the name."""
        return COLUMNS + (MODELLED if self.level == "campaign" else ())

    @property
    def order(self) -> tuple[str, bool]:
        """(column, whether the greatest come first). Raises Problem 422."""
        name, descending = self.sort.removeprefix("-"), self.sort.startswith("-")
        if name not in ("name", *(column for column, _, _ in self.columns)):
            wrong = FieldError(field="query.sort", message="there is no such column here")
            raise Problem(422, "invalid", errors=[wrong])
        return name, descending


def _chosen(
    account: Id = "",
    campaign: Id = "",
    adset: Id = "",
    ad: Id = "",
    sort: Annotated[str, Query(max_length=40)] = "-spend",
    q: Annotated[str, Query(max_length=100, pattern=NO_CONTROL)] = "",
) -> Chosen:
    return Chosen(account, campaign, adset, ad, sort, q.strip())


Choice = Annotated[Chosen, Depends(_chosen)]


@router.get("/campaigns")
def campaigns(request: Request, viewer: Views, asked: Days, chosen: Choice) -> HTMLResponse:
    """Campaigns; of one its ad sets, of one of these its ads, of an ad its days."""
    currency, order = currency_of_sums(service_of(request).settings), chosen.order

    def read(store: sa.Connection, focus: Focus) -> dict[str, Any]:
        found: dict[str, Any] = {"named": _named(store, focus, chosen), "drawn": None}
        if chosen.ids:
            found["drawn"] = _chart(store, focus, chosen, currency)
        if chosen.ad:
            query = _by_day(chosen, focus).order_by(ad_performance_daily.c.date.desc())
            return found | {"rows": store.execute(query).mappings().all(), "total": None}
        rows = store.execute(_listed(focus, chosen).limit(SHOWN)).mappings().all()
        modelled = sa.select(sa.func.count(ad_roi_daily.c.modelled_orders))
        return found | {
            "rows": rows,
            "total": rows[0] if rows else None,
            "is_modelled": bool(store.scalar(within(modelled, ad_roi_daily, focus))),
        }

    return ads_page(
        request, viewer, "campaigns", "ads_campaigns.html", read, asked=asked,
        tables=("ad_performance_daily", "ad_roi_daily"), chosen=chosen, order=order,
        level=LEVELS[chosen.level], shown=SHOWN,
    )  # fmt: skip


@router.get("/campaigns.csv")
def campaigns_file(request: Request, viewer: Views, asked: Days, chosen: Choice) -> Response:
    """The same rows, as many as there are."""
    model = PerformanceAndRoi if chosen.level == "campaign" else Performance
    return file_of(
        request, viewer, asked, f"{chosen.level}s", model,
        lambda store, focus: store.execute(_listed(focus, chosen).limit(MOST)).mappings().all(),
        currency=currency_of_sums(service_of(request).settings),
    )  # fmt: skip


def _listed(focus: Focus, chosen: Chosen) -> sa.Select:
    """The rows of the level, with what they add up to: `all_rows`, and `all_` and a column."""
    level = chosen.level
    query = reading.performance(level, "range", chosen.ids)
    bounded = within(query, reading.delivered(level, chosen.ids), focus)
    base = reading.named(bounded, level, focus.advertiser_id).subquery()
    columns: list[sa.ColumnElement] = list(base.c)
    source: sa.FromClause = base
    if level == "campaign":
        earned = within(reading.roi("range", campaigns=True), ad_roi_daily, focus).subquery()
        columns += [earned.c.modelled_roas, earned.c.profit_roas]
        source = base.join(earned, earned.c.campaign_id == base.c.campaign_id, isouter=True)
    sums = [
        sa.case(
            (sa.func.count(base.c[name]).over() == sa.func.count().over(),
             sa.func.sum(base.c[name]).over())
        ).label(f"all_{name}")
        for name in ("spend", "impressions", "clicks", "purchases", "purchase_value")
    ]  # fmt: skip
    count = sa.func.count().over().label("all_rows")
    query = sa.select(*columns, *sums, count).select_from(source)
    if chosen.text:
        query = query.where(base.c.name.icontains(chosen.text, autoescape=True))
    name, descending = chosen.order
    by = next(column for column in columns if column.name == name)
    ordered = by.desc().nulls_last() if descending else by.asc().nulls_last()
    return query.order_by(ordered, base.c.key)


def _by_day(chosen: Chosen, focus: Focus) -> sa.Select:
    """What was chosen, by day."""
    level: Level = "ad" if chosen.ad else "adset" if chosen.adset else "campaign"
    query = reading.performance(level, "day", chosen.ids)
    return within(query, reading.delivered(level, chosen.ids), focus)


def _chart(store: sa.Connection, focus: Focus, chosen: Chosen, currency: str) -> Chart:
    spend: dict[date, Number | None] = {}
    value: dict[date, Number | None] = {}
    query = _by_day(chosen, focus)
    for row in store.execute(query).mappings():
        day = row["date"]
        spend[day] = numbers.plus(spend.get(day, 0), row["spend"])
        value[day] = numbers.plus(value.get(day, 0), row["purchase_value"])
    return Chart(
        "delivered", f"What does it cost a day, and what does Meta claim for it? {currency}",
        focus.span, [Line("Value claimed", value, "orange"), Line("Spend", spend, "blue")],
        "money", currency, focus.open_from,
    )  # fmt: skip


def _named(store: sa.Connection, focus: Focus, chosen: Chosen) -> dict[str, str]:
    """What was chosen, as it is called now; its id where nothing is known."""
    chosen_ids = {"campaign": chosen.campaign, "adset": chosen.adset, "ad": chosen.ad}
    names = {**chosen_ids, "title": "", "body": ""}
    if not chosen.ids:
        return names
    row = store.execute(
        sa.select(ads)
        .where(
            ads.c.advertiser_id == focus.advertiser_id,
            *(ads.c[column] == value for column, value in chosen.ids),
        )
        .limit(1)
    ).one_or_none()
    if row is None:
        return names
    known = {"campaign": row.campaign_name, "adset": row.adset_name, "ad": row.ad_name,
             "title": row.creative_title, "body": row.creative_body}  # fmt: skip
    return {part: known[part] or value for part, value in names.items()}
