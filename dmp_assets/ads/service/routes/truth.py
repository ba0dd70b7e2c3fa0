"""The truth bridge: from what Meta claims to the orders that there are; and who claims them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from dmp_assets.ads.service import charts, numbers
from dmp_assets.ads.service.charts import Chart, Line, Step
from dmp_assets.ads.service.routes.reading import Bridge, Claim
from dmp_assets.ads.service.store import reading
from dmp_assets.ads.service.store.schema import (
    ad_accounts,
    ads_claims_daily,
    ads_orders_daily,
    conversion_bridge,
)
from dmp_assets.ads.service.viewing import Days, Focus, Views, ads_page, file_of, within
from dmp_assets.ads.settings import currency_of_sums
from dmp_assets.platform.api.routes.pages import PageRoute
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/ads", include_in_schema=False, route_class=PageRoute)
PARTS: Mapping[str, tuple[str, str]] = {
    "claimed": ("Claimed by Meta", "purchases that Meta says are of its ads"),
    "matched": ("Matched", "the buyer clicked an ad before, by our own data"),
    "reversed": ("Reversed", "such orders, cancelled or gone back whole; Meta claims them still"),
    "test": ("Test orders", "the pixel reports them as it does others"),
    "boundary": ("Day boundary", "the account's day ends at another hour than the shop's"),
    "view_through": ("View-through", "claimed of ads that were seen and not clicked"),
    "unexplained": ("Unexplained", "claimed twice, or by people whom we did not see; below 0: seen "
                    "by us, and not claimed"),
}  # fmt: skip
"""Part of the bridge → what it is called, and what it is."""
MOST_CHARTS = 6


@dataclass(frozen=True)
class AccountBridge:
    """The bridge of an account over the days: a row of each part, and what it adds up to."""

    account_id: str
    name: str
    currency: str
    row: Mapping[Any, Any]
    steps: Sequence[Step]
    chart: Chart

    @property
    def parts(self) -> list[tuple[str, Step]]:
        """Each part with its bar."""
        return list(zip(PARTS, self.steps, strict=True))

    def orders(self, part: str) -> int:
        return int(self.row[f"{part}_orders"])

    @property
    def adds_up(self) -> bool:
        """Whether the parts are what Meta claims, to the cent."""
        return all(
            self.row[f"claimed_{unit}"]
            == sum(self.row[f"{part}_{unit}"] for part in PARTS if part != "claimed")
            for unit in ("orders", "value")
        )


@router.get("/bridge")
def bridge(request: Request, viewer: Views, asked: Days) -> HTMLResponse:
    """By account, how what Meta claims is made up."""

    def read(store: sa.Connection, focus: Focus) -> dict[str, Any]:
        accounts = _bridges(store, focus)
        return {"accounts": accounts, "closing": _closing(accounts)}

    return ads_page(
        request, viewer, "bridge", "ads_bridge.html", read, asked=asked,
        tables=("conversion_bridge",), most_charts=MOST_CHARTS, width=charts.WIDTH,
    )  # fmt: skip


@router.get("/bridge.csv")
def bridge_file(request: Request, viewer: Views, asked: Days) -> Response:
    """The same by day."""
    return file_of(
        request, viewer, asked, "bridge", Bridge,
        lambda store, focus: store.execute(
            within(reading.bridge("day"), conversion_bridge, focus)
        ).mappings().all(),
    )  # fmt: skip


def _bridges(store: sa.Connection, focus: Focus) -> list[AccountBridge]:
    names = {
        row.account_id: row.name
        for row in store.execute(
            sa.select(ad_accounts.c.account_id, ad_accounts.c.name).where(
                ad_accounts.c.advertiser_id == focus.advertiser_id
            )
        )
    }
    daily: dict[tuple[str, str | None], dict[date, Mapping[Any, Any]]] = defaultdict(dict)
    query = within(reading.bridge("day"), conversion_bridge, focus)
    for row in store.execute(query).mappings():
        daily[row["account_id"], row["currency"]][row["date"]] = row
    found = []
    whole = within(reading.bridge("range"), conversion_bridge, focus)
    for row in store.execute(whole).mappings():
        account, currency = row["account_id"], row["currency"] or ""
        steps = [
            (name, about, row[f"{part}_value"], part == "claimed")
            for part, (name, about) in PARTS.items()
        ]
        days = daily[account, row["currency"]]
        chart = Chart(
            f"bridge-{account}-{currency}",
            "Of the orders that Meta claims a day, how many did we see coming?",
            focus.span,
            [
                Line("Claimed", {day: one["claimed_orders"] for day, one in days.items()},
                     "orange"),
                Line("Matched", {day: one["matched_orders"] for day, one in days.items()}, "blue"),
            ],
            "count",
            open_from=focus.open_from,
        )  # fmt: skip
        shown = names.get(account) or account
        found.append(AccountBridge(account, shown, currency, row, _taken_apart(steps), chart))
    return found


def _taken_apart(parts: Sequence[tuple[str, str, Decimal, bool]]) -> Sequence[Step]:
    """The whole first, then the parts that it is made of, each beginning where the last ended."""
    (whole, *rest) = parts
    *steps, total = charts.waterfall([*rest, whole])
    return [total, *steps]


def _closing(accounts: Sequence[AccountBridge]) -> str:
    """The page's answer in one line: what share of the claimed orders was matched."""
    claimed = sum(one.orders("claimed") for one in accounts)
    matched = sum(one.orders("matched") for one in accounts)
    if not claimed:
        return "Meta claims nothing of these days"
    said = numbers.share(matched / claimed)
    return f"Of {claimed:,} orders that Meta claims, {matched:,} ({said}) are matched by our data"


# who claims --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Claimant:
    """Who says of orders that they are theirs. `by_channel`: channel → (orders, value with tax,
    bar); a value without a rate is None."""

    name: str
    label: str
    by_channel: Mapping[str, tuple[float, Decimal | None, int]]

    @property
    def orders(self) -> float:
        return sum(orders for orders, _, _ in self.by_channel.values())

    @property
    def value(self) -> Decimal | None:
        known = [value for _, value, _ in self.by_channel.values() if value is not None]
        return sum(known, Decimal(0)) if len(known) == len(self.by_channel) else None


def claimant_label(name: str) -> str:
    """A claimant in words."""
    plain = {"first_utm": "First visit", "last_utm": "Last visit", "meta": "Meta"}
    kind, _, model = name.partition(":")
    if kind in ("model", "experiment"):
        return f"{kind.capitalize()} {model.replace('_', ' ')}"
    return plain.get(name, name.replace("_", " "))


@router.get("/claims")
def claims(request: Request, viewer: Views, asked: Days) -> HTMLResponse:
    """What each claimant gives to each channel."""

    def read(store: sa.Connection, focus: Focus) -> dict[str, Any]:
        rows = store.execute(within(reading.claims("range"), ads_claims_daily, focus)).all()
        placed = sa.select(sa.func.sum(ads_orders_daily.c.orders))
        total: dict[str, float] = defaultdict(float)
        for row in rows:
            total[row.channel] += row.orders
        greatest = max((row.orders for row in rows), default=0)
        by: dict[str, dict[str, tuple[float, Decimal | None, int]]] = defaultdict(dict)
        for row in rows:
            wide = charts.bar(row.orders, greatest)
            by[row.claimant][row.channel] = (row.orders, row.value, wide)
        return {
            "claimants": [
                Claimant(name, claimant_label(name), channels)
                for name, channels in sorted(by.items())
            ],
            "channels": sorted(total, key=lambda channel: (-total[channel], channel)),
            "meta": {row.channel for row in rows if row.is_meta},
            "placed": store.scalar(within(placed, ads_orders_daily, focus)),
        }

    return ads_page(
        request, viewer, "claims", "ads_claims.html", read, asked=asked,
        tables=("ads_claims_daily",), width=charts.WIDTH,
    )  # fmt: skip


@router.get("/claims.csv")
def claims_file(request: Request, viewer: Views, asked: Days) -> Response:
    """The same over the range."""
    return file_of(
        request, viewer, asked, "claims", Claim,
        lambda store, focus: store.execute(
            within(reading.claims("range"), ads_claims_daily, focus)
        ).mappings().all(),
        currency=currency_of_sums(service_of(request).settings),
    )  # fmt: skip
