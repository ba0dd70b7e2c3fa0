"""Figures of ad performance that its summary, reports and messages share; see docs/ads.md.

All are of one advertiser and of some days: of the ad accounts for spend and claims, of the shop for
orders. Amounts are in the currency of sums, those of a bridge in that of its account. What is not
known is None and never 0: a sum a part of which has no exchange rate, what is modelled of an
advertiser of whom no visit is known, what is sold without a shop; so is a ratio that means nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from dmp_assets.platform.reporting.period import Period
from dmp_assets.platform.reporting.reader import Report

ROI, BRIDGE, LEDGER = "modeled/ad_roi_daily", "modeled/conversion_bridge", "modeled/order_ledger"
ADS = "modeled/ad_performance_daily"
PARTS = ("matched", "reversed", "test", "boundary", "view_through", "unexplained")


@dataclass(frozen=True)
class Totals:
    """Sums of some days of an advertiser, whose names are those of modeled/ad_roi_daily.

    `known_customers`: orders whose customer is known, new or not. `modelled_spend`, `sold_spend`:
    the spend of those of whom visits, and orders, are known, by which their ratios are.
    """

    spend: Decimal | None
    platform_value: Decimal | None
    modelled_revenue: Decimal | None
    modelled_contribution: Decimal | None
    modelled_spend: Decimal | None
    revenue: Decimal | None
    contribution: Decimal | None
    sold_spend: Decimal | None
    orders: int | None
    new_customers: int | None
    known_customers: int | None

    @property
    def mer(self) -> float | None:
        """Marketing efficiency ratio: revenue of the shop / spend."""
        return ratio(self.revenue, self.sold_spend)

    @property
    def platform_roas(self) -> float | None:
        """What the platform claims / spend."""
        return ratio(self.platform_value, self.spend)

    @property
    def modelled_roas(self) -> float | None:
        """Revenue that the reporting model gives to the ads / spend."""
        return ratio(self.modelled_revenue, self.modelled_spend)

    @property
    def profit_roas(self) -> float | None:
        """Contribution that the reporting model gives to the ads / spend."""
        return ratio(self.modelled_contribution, self.modelled_spend)

    @property
    def cac(self) -> float | None:
        """Customer acquisition cost: spend / orders of new customers; None without spend."""
        return ratio(self.sold_spend, self.new_customers) if self.sold_spend else None

    @property
    def new_customer_share(self) -> float | None:
        """Orders of new customers / orders of known ones."""
        return ratio(self.new_customers, self.known_customers)

    def named(self) -> Mapping[str, float | None]:
        """Figure of the catalogue → its value."""
        return {
            "ad_spend": _float(self.spend),
            "ads_revenue": _float(self.revenue),
            "ads_contribution": _float(self.contribution),
            "mer": self.mer,
            "platform_roas": self.platform_roas,
            "modelled_roas": self.modelled_roas,
            "profit_roas": self.profit_roas,
            "cac": self.cac,
            "new_customer_share": self.new_customer_share,
        }


@dataclass(frozen=True)
class Bridge:
    """From what the platform claims for an account to the orders that there are.

    `orders`, `value`: part of `PARTS` → how many and how much; they add up to what is claimed.
    """

    account_id: str
    currency: str
    claimed_orders: int
    claimed_value: Decimal
    orders: Mapping[str, int]
    value: Mapping[str, Decimal]

    @property
    def line(self) -> str:
        """The value and its parts, as a sum."""
        parts = " + ".join(f"{self.value[part]:,.2f} {part.replace('_', '-')}" for part in PARTS)
        return f"{self.claimed_value:,.2f} {self.currency} claimed = {parts}"


@dataclass(frozen=True)
class Unrated:
    """What has no exchange rate. `of`: `account 7`, or the shop; `currency`: None: not known."""

    advertiser_id: str
    of: str
    currency: str | None

    @property
    def line(self) -> str:
        """What is missing, and what mends it."""
        lacks = f"no exchange rate of {self.currency}" if self.currency else "no currency"
        return (
            f"{self.advertiser_id} is in no sum: {lacks} is known for {self.of} "
            "(DMP_ADS_EXCHANGE_RATES, or DMP_ADS_CURRENCY where there is one currency)."
        )


def ratio(above: Decimal | int | None, below: Decimal | int | None) -> float | None:
    """above / below; None where that means nothing."""
    if above is None or below is None or below <= 0:
        return None
    return float(above) / float(below)


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def advertisers(report: Report) -> Sequence[str]:
    """Ids of the advertisers of whom there is anything."""
    if not report.has(ROI):
        return ()
    found = report.rows("SELECT DISTINCT advertiser_id FROM modeled.ad_roi_daily ORDER BY 1")
    return [row["advertiser_id"] for row in found]


def period(report: Report, advertiser_id: str) -> Period | None:
    """The days on which the advertiser's ads cost anything; None where there are none."""
    days = report.row(
        "SELECT min(date) AS first, max(date) AS last FROM modeled.ad_roi_daily "
        "WHERE advertiser_id = $1 AND campaign_id = '' AND spend IS DISTINCT FROM 0",
        [advertiser_id],
    )
    return None if days["first"] is None else Period(days["first"], days["last"])


def open_since(report: Report, advertiser_id: str, days: Period) -> date | None:
    """The first of the days that the platform may still restate; None where all are closed."""
    found = report.row(
        "SELECT min(date) AS first FROM modeled.ad_roi_daily WHERE advertiser_id = $1 "
        "AND campaign_id = '' AND is_open AND date BETWEEN $2 AND $3",
        [advertiser_id, *days.bounds],
    )
    first: date | None = found["first"]
    return first


def totals(report: Report, advertiser_id: str, days: Period) -> Totals:
    """Sums of the days."""
    found = report.row(
        f"""
        SELECT coalesce(count(modelled_orders), 0) > 0 AS is_modelled, count(orders) > 0 AS is_sold,
               {_known("spend")}, {_known("platform_value")}, {_known("modelled_revenue")},
               {_known("modelled_contribution")}, {_known("revenue")}, {_known("contribution")},
               sum(orders)::BIGINT AS orders, sum(new_customers)::BIGINT AS new_customers,
               (SELECT count(*) FROM modeled.order_ledger
                WHERE advertiser_id = $1 AND entry = 'sale' AND is_new_customer IS NOT NULL
                  AND date BETWEEN $2 AND $3) AS known_customers
        FROM modeled.ad_roi_daily
        WHERE advertiser_id = $1 AND campaign_id = '' AND date BETWEEN $2 AND $3""",
        [advertiser_id, *days.bounds],
    )
    is_modelled, is_sold = found.pop("is_modelled"), found.pop("is_sold")
    return Totals(
        **found,
        modelled_spend=found["spend"] if is_modelled else None,
        sold_spend=found["spend"] if is_sold else None,
    )


def _known(name: str) -> str:
    return f"CASE WHEN count(*) = count({name}) THEN coalesce(sum({name}), 0) END AS {name}"


def unrated(report: Report, days: Period) -> Sequence[Unrated]:
    """What had no exchange rate on the days, of every advertiser."""
    found = []
    if report.has(ADS):
        found += report.rows(
            "SELECT DISTINCT advertiser_id, 'account ' || account_id AS of, currency "
            "FROM modeled.ad_performance_daily WHERE date BETWEEN $1 AND $2 AND rate IS NULL "
            "AND (spend <> 0 OR purchase_value <> 0)",
            [*days.bounds],
        )
    if report.has(LEDGER):
        found += report.rows(
            "SELECT DISTINCT advertiser_id, shop AS of, currency FROM modeled.order_ledger "
            "WHERE date BETWEEN $1 AND $2 AND rate IS NULL "
            "AND (revenue <> 0 OR contribution <> 0)",
            [*days.bounds],
        )
    by_name = sorted(found, key=lambda row: (row["advertiser_id"], row["of"]))
    return [Unrated(row["advertiser_id"], row["of"], row["currency"]) for row in by_name]


def whole_from(report: Report, advertiser_id: str) -> date | None:
    """The first day of which both ads and orders are known."""
    found = report.row(
        "SELECT greatest(min(date) FILTER (campaign_id <> ''), min(date) FILTER (orders > 0)) "
        "AS first FROM modeled.ad_roi_daily WHERE advertiser_id = $1",
        [advertiser_id],
    )
    first: date | None = found["first"]
    return first


def bridges(report: Report, advertiser_id: str, days: Period) -> Sequence[Bridge]:
    """The bridge of each of the advertiser's accounts."""
    if not report.has(BRIDGE):
        return ()
    summed = ", ".join(
        f"sum({part}_orders)::BIGINT AS {part}_orders, sum({part}_value) AS {part}_value"
        for part in ("claimed", *PARTS)
    )
    found = report.rows(
        f"SELECT account_id, currency, {summed} FROM modeled.conversion_bridge "
        "WHERE advertiser_id = $1 AND date BETWEEN $2 AND $3 GROUP BY ALL ORDER BY account_id",
        [advertiser_id, *days.bounds],
    )
    return [
        Bridge(
            account_id=row["account_id"],
            currency=row["currency"],
            claimed_orders=row["claimed_orders"],
            claimed_value=row["claimed_value"],
            orders={part: row[f"{part}_orders"] for part in PARTS},
            value={part: row[f"{part}_value"] for part in PARTS},
        )
        for row in found
    ]
