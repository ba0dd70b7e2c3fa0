"""Figures of ad performance that its summary, reports and messages share; see docs/ads.md.

All are of one advertiser and of some days: of the ad accounts for spend and claims, of the shop for
orders. Amounts are in the currency of sums, those of a bridge in that of its account. A ratio that
means nothing is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from dmp_assets.platform.reporting.period import Period
from dmp_assets.platform.reporting.reader import Report

ROI, BRIDGE, LEDGER = "modeled/ad_roi_daily", "modeled/conversion_bridge", "modeled/order_ledger"
PARTS = ("matched", "reversed", "test", "boundary", "view_through", "unexplained")


@dataclass(frozen=True)
class Totals:
    """Sums of some days of an advertiser, whose names are those of modeled/ad_roi_daily.

    `known_customers`: orders whose customer is known, new or not. What is modelled is None where no
    visit of the advertiser's is known to attribution.
    """

    spend: Decimal
    platform_value: Decimal
    modelled_revenue: Decimal | None
    modelled_contribution: Decimal | None
    revenue: Decimal
    contribution: Decimal
    orders: int
    new_customers: int
    known_customers: int

    @property
    def mer(self) -> float | None:
        """Marketing efficiency ratio: revenue of the shop / spend."""
        return ratio(self.revenue, self.spend)

    @property
    def platform_roas(self) -> float | None:
        """What the platform claims / spend."""
        return ratio(self.platform_value, self.spend)

    @property
    def modelled_roas(self) -> float | None:
        """Revenue that the reporting model gives to the ads / spend."""
        return ratio(self.modelled_revenue, self.spend)

    @property
    def profit_roas(self) -> float | None:
        """Contribution that the reporting model gives to the ads / spend."""
        return ratio(self.modelled_contribution, self.spend)

    @property
    def cac(self) -> float | None:
        """Customer acquisition cost: spend / orders of new customers; None without spend."""
        return ratio(self.spend, self.new_customers) if self.spend else None

    @property
    def new_customer_share(self) -> float | None:
        """Orders of new customers / orders of known ones."""
        return ratio(self.new_customers, self.known_customers)

    def named(self) -> Mapping[str, float | None]:
        """Figure of the catalogue → its value."""
        return {
            "ad_spend": float(self.spend),
            "ads_revenue": float(self.revenue),
            "ads_contribution": float(self.contribution),
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


def ratio(above: Decimal | int | None, below: Decimal | int) -> float | None:
    """above / below; None where that means nothing."""
    return None if above is None or below <= 0 else float(above) / float(below)


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
        "WHERE advertiser_id = $1 AND campaign_id = '' AND spend <> 0",
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
    (found,) = report.rows(
        """
        SELECT coalesce(sum(spend), 0) AS spend,
               coalesce(sum(platform_value), 0) AS platform_value,
               CASE WHEN any_value(is_modelled) THEN sum(modelled_revenue) END AS modelled_revenue,
               CASE WHEN any_value(is_modelled) THEN sum(modelled_contribution) END
                 AS modelled_contribution,
               coalesce(sum(revenue), 0) AS revenue,
               coalesce(sum(contribution), 0) AS contribution,
               coalesce(sum(orders), 0)::BIGINT AS orders,
               coalesce(sum(new_customers), 0)::BIGINT AS new_customers,
               (SELECT count(*) FROM modeled.order_ledger
                WHERE advertiser_id = $1 AND entry = 'sale' AND is_new_customer IS NOT NULL
                  AND date BETWEEN $2 AND $3) AS known_customers
        FROM modeled.ad_roi_daily, (
          SELECT count(*) > 0 AS is_modelled FROM modeled.conversion_claims
          WHERE advertiser_id = $1 AND claimant LIKE 'model:%'
        )
        WHERE advertiser_id = $1 AND campaign_id = '' AND date BETWEEN $2 AND $3""",
        [advertiser_id, *days.bounds],
    )
    return Totals(**found)


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
