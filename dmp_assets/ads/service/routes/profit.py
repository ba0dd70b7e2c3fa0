"""Orders and profit: from the price of what was ordered to what it contributes."""

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
from dmp_assets.ads.service.routes.reading import Orders
from dmp_assets.ads.service.store import reading
from dmp_assets.ads.service.store.schema import ad_roi_daily, ads_orders_daily
from dmp_assets.ads.service.viewing import (
    Days,
    Focus,
    Views,
    ads_page,
    file_of,
    within,
)
from dmp_assets.ads.settings import AdsSettings, currency_of_sums
from dmp_assets.platform.api.routes.pages import PageRoute
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/ads", include_in_schema=False, route_class=PageRoute)
# column, what it is called, what it is, its sign in the sum; None: what those before add up to
_LEDGER: tuple[tuple[str, str, str, int | None], ...] = (
    ("gross", "Goods and shipping", "at full price, tax included", 1),
    ("discounts", "Discounts", "", -1),
    ("refunds", "Refunds", "on the day they were paid back, tax included", -1),
    ("tax", "Tax", "", -1),
    ("gift_cards", "Gift cards sold", "no sale of goods yet", -1),
    ("revenue", "Revenue", "", None),
    ("cost_of_goods", "Cost of goods", "quantity × unit cost as the shop has it now", -1),
    ("shipping_cost", "Shipping cost", "what sending costs the shop", -1),
    ("payment_fees", "Payment fees", "", -1),
    ("contribution", "Contribution", "before ads", None),
)
MOST_CHARTS = 6


@dataclass(frozen=True)
class ShopLedger:
    """A shop's orders over the days; with what ads cost meanwhile, where it is the only shop and of
    the currency of sums."""

    shop: str
    currency: str
    row: Mapping[Any, Any]
    steps: Sequence[Step]
    chart: Chart


@router.get("/orders")
def orders(request: Request, viewer: Views, asked: Days) -> HTMLResponse:
    """By shop, what orders brought and what of it is left."""
    settings = service_of(request).settings
    currency = currency_of_sums(settings)
    goods_share = settings.of(AdsSettings).ads_goods_share

    def read(store: sa.Connection, focus: Focus) -> dict[str, Any]:
        shops = _shops(store, focus, currency)
        return {"shops": shops, "answer": _answer(shops), "goods_share": goods_share}

    return ads_page(
        request, viewer, "orders", "ads_orders.html", read, asked=asked,
        tables=("ads_orders_daily",), most_charts=MOST_CHARTS, width=charts.WIDTH,
    )  # fmt: skip


@router.get("/orders.csv")
def orders_file(request: Request, viewer: Views, asked: Days) -> Response:
    """The same by day."""
    return file_of(
        request, viewer, asked, "orders", Orders,
        lambda store, focus: store.execute(
            within(reading.orders("day"), ads_orders_daily, focus)
        ).mappings().all(),
    )  # fmt: skip


def _shops(store: sa.Connection, focus: Focus, currency: str) -> list[ShopLedger]:
    rows = store.execute(
        within(reading.orders("range"), ads_orders_daily, focus)
    ).mappings().all()  # fmt: skip
    daily: dict[tuple[str, str | None], dict[date, Mapping[Any, Any]]] = {}
    for row in store.execute(within(reading.orders("day"), ads_orders_daily, focus)).mappings():
        daily.setdefault((row["shop"], row["currency"]), {})[row["date"]] = row
    is_one = len(rows) == 1 and rows[0]["currency"] == currency
    return [
        ShopLedger(
            row["shop"], row["currency"] or "", row,
            ledger(row, _spend(store, focus) if is_one else None),
            _chart(focus, row, daily[row["shop"], row["currency"]]),
        )
        for row in rows
    ]  # fmt: skip


def ledger(row: Mapping[Any, Any], spend: Decimal | None) -> list[Step]:
    """The steps from gross to contribution, and after ads where their cost is known."""
    steps = [
        (label, about, row[column] if sign is None else sign * row[column], sign is None)
        for column, label, about, sign in _LEDGER
    ]
    if spend is not None:
        left = row["contribution"] - spend
        steps += [("Ad spend", "", -spend, False), ("Contribution after ads", "", left, True)]
    return charts.waterfall(steps)


def _answer(shops: Sequence[ShopLedger]) -> str:
    """What of the revenue stayed, of the one shop that there is."""
    if len(shops) != 1 or not shops[0].row["revenue"]:
        return ""
    row, total = shops[0].row, shops[0].steps[-1]
    stayed = numbers.share(numbers.over(total.value, row["revenue"]))
    before = "" if total.label.endswith("ads") else " before ads"
    return (
        f"Of {numbers.money(row['revenue'])} {shops[0].currency} revenue, {stayed} stayed{before}"
    )


def _spend(store: sa.Connection, focus: Focus) -> Decimal | None:
    """What ads cost meanwhile; None where a part of it has no rate."""
    row = within(reading.roi("range", campaigns=False), ad_roi_daily, focus)
    found = store.execute(row).mappings().one_or_none()
    spend: Decimal | None = found["spend"] if found else Decimal(0)
    return spend


def _chart(focus: Focus, row: Mapping[Any, Any], days: Mapping[date, Mapping[Any, Any]]) -> Chart:
    currency = row["currency"] or ""
    return Chart(
        f"orders-{row['shop']}-{currency}",
        f"How much does the shop take a day, and how much of it stays? {currency}",
        focus.span,
        [
            Line("Revenue", {day: one["revenue"] for day, one in days.items()}, "green"),
            Line("Contribution", {day: one["contribution"] for day, one in days.items()}, "blue"),
        ],
        "money",
        currency,
    )
