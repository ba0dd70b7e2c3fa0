"""The days from which budgets are learnt: contribution before ads, and spend by campaign.

A day counts once it was over when it was read, in the time zone of each ad account, and once the
shop told of a later one. It is a gap where an account was not read, or where an amount has no rate
(`DMP_ADS_EXCHANGE_RATES`). A day without orders, or without delivery, is a zero.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from dmp_assets.ads.model.budgets.series import Series, SeriesError
from dmp_assets.platform.lake.table_asset import TableRun
from dmp_assets.sources.meta.days import ZoneError, zone_of

DEPS = (
    "raw/meta_insight_readings",
    "modeled/ad_accounts",
    "modeled/ad_performance_daily",
    "modeled/order_ledger",
)
MOST_DAYS = 1_096
"""Three years: what is older says little of the days to come."""
MOST_CAMPAIGNS = 12
"""Campaigns that are lines of their own, those of the greatest spend; the others are one line."""
OTHERS = "others"
CHANNEL = "meta"
WESTERNMOST = timedelta(hours=12)
"""After midnight UTC a day is over everywhere by then."""

_READINGS = """
SELECT advertiser_id, account_id, any_value(timezone_name) AS timezone, date,
       max(read_at) AS read_at
FROM raw.meta_insight_readings WHERE coalesce(breakdown, '') = '' GROUP BY ALL
"""
_LISTED = "SELECT advertiser_id, account_id FROM modeled.ad_accounts WHERE is_listed"
_SPENT = f"""
SELECT advertiser_id, date, coalesce(campaign_id, '{OTHERS}') AS campaign_id,
       any_value(campaign_name ORDER BY ad_id) AS name,
       sum(spend_in_sums) AS spend, bool_and(spend_in_sums IS NOT NULL OR spend = 0) AS is_known
FROM modeled.ad_performance_daily GROUP BY ALL
"""
_EARNED = """
SELECT advertiser_id, date, sum(contribution_in_sums) AS contribution,
       sum(revenue_in_sums) AS revenue, bool_and(contribution_in_sums IS NOT NULL) AS is_known
FROM modeled.order_ledger WHERE date IS NOT NULL GROUP BY ALL
"""


@dataclass(frozen=True)
class BudgetDays:
    """The days of one advertiser from `first` to `last`, in the currency of sums.

    `spend`: campaign → day → amount, days without any left out; `gaps`: days of which something is
    not known; `names`: campaign → what it is called.
    """

    advertiser_id: str
    first: date
    last: date
    contribution: Mapping[date, Decimal]
    revenue: Mapping[date, Decimal]
    spend: Mapping[str, Mapping[date, Decimal]]
    gaps: frozenset[date]
    names: Mapping[str, str]

    def known(self, first: date | None = None, last: date | None = None) -> list[date]:
        """The days without gaps, of these at most."""
        begin, end = max(first or self.first, self.first), min(last or self.last, self.last)
        days = (begin + timedelta(days=n) for n in range((end - begin).days + 1))
        return [day for day in days if day not in self.gaps]

    def earned(self, days: Iterable[date]) -> list[float]:
        """Contribution before ads of each of the days."""
        return [float(self.contribution.get(day, 0)) for day in days]

    def spent(self, days: Iterable[date]) -> Decimal:
        """What was spent on the days in all."""
        wanted = set(days)
        return sum(
            (amount for of in self.spend.values() for day, amount in of.items() if day in wanted),
            Decimal(0),
        )

    def sales_by_contribution(self) -> float | None:
        """Revenue for a unit of contribution over the last 91 days; None where it is none."""
        days = self.known(self.last - timedelta(days=90))
        earned = sum(self.contribution.get(day, Decimal(0)) for day in days)
        sold = sum(self.revenue.get(day, Decimal(0)) for day in days)
        return float(sold / earned) if earned > 0 and sold > 0 else None

    def series(self, events: Mapping[str, list[date]]) -> Series:
        """What the model learns from. Raises SeriesError, TooShortError."""
        days = self.known()
        if not days:
            raise SeriesError("there is no day of which orders and spend are both known")
        sums = {name: sum(of.values(), Decimal(0)) for name, of in self.spend.items()}
        paid = [name for name in sums if sums[name] > 0]
        ranked = sorted((n for n in paid if n != OTHERS), key=lambda n: (-sums[n], n))
        own = ranked[:MOST_CAMPAIGNS]
        rest = [name for name in paid if name not in own]
        if not paid:
            raise SeriesError("nothing was spent on ads")
        spend = {name: [float(self.spend[name].get(day, 0)) for day in days] for name in own}
        if rest:
            spend[OTHERS] = [
                float(sum(self.spend[name].get(day, Decimal(0)) for name in rest)) for day in days
            ]
        return Series.of(
            days, self.earned(days), spend, channel_of=dict.fromkeys(spend, CHANNEL), events=events
        )  # fmt: skip


def public_holidays(region: str | None, days: BudgetDays, ahead: int) -> dict[str, list[date]]:
    """The events of a series: public holidays (`DE`, `US-CA`) of its days and of those `ahead`."""
    if region is None:
        return {}
    from holidays import country_holidays

    country, _, part = region.partition("-")
    last = days.last + timedelta(days=ahead)
    known = country_holidays(
        country, subdiv=part or None, years=range(days.first.year, last.year + 1)
    )
    return {"holidays": sorted(day for day in known if days.first <= day <= last)}


def budget_days(run: TableRun) -> dict[str, BudgetDays | str]:
    """Advertiser → its days, or why there are none."""
    ended, read = _readings(run)
    spent, earned = _grouped(run, _SPENT), _grouped(run, _EARNED)
    found: dict[str, BudgetDays | str] = {}
    for advertiser in sorted({*ended, *spent, *earned}):
        found[advertiser] = _days_of(
            advertiser, ended.get(advertiser), read.get(advertiser, {}),
            spent.get(advertiser, []), earned.get(advertiser, []),
        )  # fmt: skip
    return found


def _grouped(run: TableRun, query: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in run.sql(query).to_pylist():
        found[row["advertiser_id"]].append(row)
    return found


def _readings(
    run: TableRun,
) -> tuple[dict[str, date], dict[str, dict[str, set[date]]]]:
    """Advertiser → the last day that was over when each listed account was read, and advertiser →
    account → the days that were read."""
    listed = {(r["advertiser_id"], r["account_id"]) for r in run.sql(_LISTED).to_pylist()}
    read: dict[str, dict[str, set[date]]] = defaultdict(lambda: defaultdict(set))
    last: dict[tuple[str, str], date] = {}
    for row in run.sql(_READINGS).to_pylist():
        one, day = (row["advertiser_id"], row["account_id"]), row["date"]
        read[one[0]][one[1]].add(day)
        if row["read_at"] >= _over(day, row["timezone"]):
            last[one] = max(last.get(one, day), day)
    ended: dict[str, date] = {}
    for (advertiser, account), day in last.items():
        if (advertiser, account) in listed:
            ended[advertiser] = min(ended.get(advertiser, day), day)
    return ended, read


def _over(day: date, zone: str | None) -> datetime:
    """When a day is over in a time zone; in one that is not known, when it is everywhere."""
    after = datetime.combine(day + timedelta(days=1), time(), UTC)
    try:
        return after.replace(tzinfo=zone_of(zone or ""))
    except ZoneError:
        return after + WESTERNMOST


def _days_of(
    advertiser: str,
    ended: date | None,
    read: Mapping[str, set[date]],
    spent: list[dict[str, Any]],
    earned: list[dict[str, Any]],
) -> BudgetDays | str:
    if not spent:
        return "nothing is known yet of what its ads cost"
    if not earned:
        return "nothing is known yet of what its shop sold"
    ended = ended or max(row["date"] for row in spent)  # of a file, or of accounts that are gone
    last = min(ended, max(row["date"] for row in earned) - timedelta(days=1))
    # the first day of the orders may have been read in part
    first = max(
        min(row["date"] for row in earned) + timedelta(days=1), min(row["date"] for row in spent),
        last - timedelta(days=MOST_DAYS - 1),
    )  # fmt: skip
    if last < first:
        return f"orders and spend have no day in common until {last}"
    inside = [row for row in spent if first <= row["date"] <= last]
    gaps = {row["date"] for row in (*inside, *earned) if not row["is_known"]}
    for days in read.values():  # a day between two that were read
        own = range((max(days) - min(days)).days + 1)
        gaps |= {min(days) + timedelta(days=n) for n in own} - days
    spend: dict[str, dict[date, Decimal]] = defaultdict(dict)
    for row in inside:
        spend[row["campaign_id"]][row["date"]] = row["spend"] or Decimal(0)
    return BudgetDays(
        advertiser_id=advertiser,
        first=first,
        last=last,
        contribution={row["date"]: row["contribution"] or Decimal(0) for row in earned},
        revenue={row["date"]: row["revenue"] or Decimal(0) for row in earned},
        spend=spend,
        gaps=frozenset(day for day in gaps if first <= day <= last),
        names={row["campaign_id"]: row["name"] or row["campaign_id"] for row in spent},
    )
