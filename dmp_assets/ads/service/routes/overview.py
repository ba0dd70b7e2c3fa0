"""The first page of ad performance: what advertising cost and earned, and how that changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from dmp_assets.ads.service import numbers
from dmp_assets.ads.service.charts import Chart, Colour, Line, shifted
from dmp_assets.ads.service.numbers import Number
from dmp_assets.ads.service.routes.reading import TotalRoi
from dmp_assets.ads.service.spans import Span
from dmp_assets.ads.service.store import connected, reading
from dmp_assets.ads.service.store.schema import ad_roi_daily
from dmp_assets.ads.service.viewing import (
    Days,
    Focus,
    Views,
    ads_page,
    file_of,
    shops_of,
    within,
)
from dmp_assets.ads.settings import currency_of_sums
from dmp_assets.platform.api.routes.pages import PageRoute
from dmp_assets.platform.api.state import Service, service_of
from dmp_assets.platform.figures.catalogue import figure

router = APIRouter(prefix="/ads", include_in_schema=False, route_class=PageRoute)
TABLES = ("ad_roi_daily", "ads_advertisers")
MOST_CAMPAIGNS = 5
# figure, column of the table
_TILES = (
    ("ad_spend", "spend"),
    ("ads_revenue", "revenue"),
    ("mer", "mer"),
    ("modelled_roas", "modelled_roas"),
    ("ads_contribution", "contribution"),
    ("cac", "cac"),
)


@dataclass(frozen=True)
class Tile:
    """A figure of the days. `before`: the same of the days that they are compared with, and
    `change` since then, where it can be said; `beside`: what stands under it."""

    name: str
    label: str
    value: str
    definition: str
    before: str | None
    change: str | None
    beside: str = ""


@router.get("")
def overview(request: Request, viewer: Views, asked: Days) -> HTMLResponse:
    """What advertising cost and earned over some days."""
    service = service_of(request)
    currency = currency_of_sums(service.settings)

    def read(store: sa.Connection, focus: Focus) -> dict[str, Any]:
        now, before = _total(store, focus, focus.span), None
        if focus.before is not None and not focus.incomparable:
            before = _total(store, focus, focus.before)
        return {
            "tiles": tiles(now, before, currency) if now else [],
            "answer": _answer(now, currency) if now else "",
            "charts": _charts(store, focus, currency),
            "campaigns": _campaigns(store, focus),
            "spend": now["spend"] if now else None,
            "waiting": _waiting(service, store, focus.advertiser_id),
        }

    return ads_page(
        request, viewer, "overview", "ads_overview.html", read, asked=asked, tables=TABLES
    )


@router.get("/overview.csv")
def overview_file(request: Request, viewer: Views, asked: Days) -> Response:
    """The same by day."""
    query = reading.roi("day", campaigns=False).order_by(ad_roi_daily.c.date)
    return file_of(
        request, viewer, asked, "overview", TotalRoi,
        lambda store, focus: store.execute(within(query, ad_roi_daily, focus)).mappings().all(),
        currency=currency_of_sums(service_of(request).settings),
    )  # fmt: skip


def _total(store: sa.Connection, focus: Focus, span: Span) -> Mapping[Any, Any] | None:
    query = within(reading.roi("range", campaigns=False), ad_roi_daily, focus, span)
    return store.execute(query).mappings().one_or_none()


def tiles(now: Mapping[Any, Any], before: Mapping[Any, Any] | None, currency: str) -> list[Tile]:
    """The figures of some days, and how they changed."""
    found = []
    for name, column in _TILES:
        known = figure(name)
        shown = numbers.money if known.unit == "money" else numbers.ratio
        unit = f" {currency}" if known.unit == "money" else ""
        value, was = now[column], before[column] if before else None
        found.append(
            Tile(
                name=name,
                label=known.label,
                value=shown(value) + (unit if value is not None else ""),
                definition=known.definition,
                before=None if was is None else shown(was) + unit,
                change=numbers.change(value, was),
                beside=_beside(name, now),
            )
        )
    return found


def _beside(name: str, now: Mapping[Any, Any]) -> str:
    """What has to be known of a figure."""
    if name != "modelled_roas":
        return ""
    claimed = now["platform_roas"]
    said = [] if is_modelled(now) else ["No visits known"]
    said += [f"Meta claims {numbers.ratio(claimed)}, with tax"] if claimed is not None else []
    return ". ".join(said)


def is_modelled(row: Mapping[Any, Any]) -> bool:
    """Whether the reporting model can claim anything, which takes visits that are known."""
    return row["modelled_orders"] is not None


def _answer(now: Mapping[Any, Any], currency: str) -> str:
    """What a unit of spend brought, by both words."""
    if now["platform_roas"] is None:
        return ""
    ours, theirs = numbers.ratio(now["modelled_roas"]), numbers.ratio(now["platform_roas"])
    if not is_modelled(now):
        return f"Meta claims {theirs} for 1 {currency} of ads; no visits are known to our model"
    if now["modelled_roas"] is None:
        return ""
    return (
        f"1 {currency} of ads brought {ours} by our model, without tax; Meta claims {theirs}, "
        "with tax"
    )


def _charts(store: sa.Connection, focus: Focus, currency: str) -> list[Chart]:
    """Money by day, and the ratios of it."""

    def by_day(span: Span) -> Mapping[date, Mapping[Any, Any]]:
        query = within(reading.roi("day", campaigns=False), ad_roi_daily, focus, span)
        return {row["date"]: row for row in store.execute(query).mappings()}

    rows = by_day(focus.span)

    def line(column: str, label: str, colour: Colour) -> Line:
        return Line(label, {day: row[column] for day, row in rows.items()}, colour)

    spent = [line("revenue", "Revenue", "green"), line("spend", "Spend", "blue")]
    if focus.before is not None:
        before: dict[date, Number | None] = {
            day: row["revenue"] for day, row in by_day(focus.before).items()
        }
        earlier = shifted(before, focus.before, focus.span)
        spent.append(Line("Revenue before", earlier, "grey", dashed=True))
    return [
        Chart("money", f"What do we spend a day, and what does the shop take? {currency}",
              focus.span, spent, "money", currency, focus.open_from),
        Chart("ratios", "What comes back for one unit of spend, by whose word?", focus.span,
              [line("mer", "MER", "green"), line("platform_roas", "Meta claims", "orange"),
               line("modelled_roas", "Our model", "blue")],
              "ratio", open_from=focus.open_from),
    ]  # fmt: skip


def _campaigns(store: sa.Connection, focus: Focus) -> list[Mapping[Any, Any]]:
    """The campaigns with most spend."""
    query = within(reading.roi("range", campaigns=True), ad_roi_daily, focus)
    most: sa.UnaryExpression[Any] = sa.desc("spend").nulls_last()
    ordered = query.order_by(most, ad_roi_daily.c.campaign_id).limit(MOST_CAMPAIGNS)
    return list(store.execute(ordered).mappings().all())


def _waiting(
    service: Service, store: sa.Connection, advertiser_id: str
) -> list[connected.Connected]:
    """Connections that a person has to mend."""
    found = connected.of(store, advertiser_id, shops_of(service, advertiser_id))
    return [one for one in found if one.state != "active"]
