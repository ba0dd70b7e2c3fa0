"""What is found now: the judgements of `ads/model/notices` over the series of the tables, over what
is set at the platform, and over the connections; and of which kinds there is no data.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from dmp_assets.ads.model.notices import delays, detect, watch
from dmp_assets.ads.model.notices.detect import Finding, Kind, Subject
from dmp_assets.ads.model.notices.series import Daily
from dmp_assets.ads.settings import AdsSettings, currency_of_sums
from dmp_assets.ads.tables.ads import latest
from dmp_assets.ads.tables.notice_series import (
    AccountDays,
    Row,
    ShopDays,
    accounts_of,
    share_of_day,
    shares_used_up,
    shops_of,
)
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.connect.own import connections_of
from dmp_assets.platform.connect.tokens import Health
from dmp_assets.platform.lake.table_asset import TableRun
from dmp_assets.platform.store import where
from dmp_assets.sources.meta.connection import SERVICE as META
from dmp_assets.sources.meta.days import OPEN_DAYS
from dmp_assets.sources.meta.money import AmountError, from_minor
from dmp_assets.sources.shopify.access import SERVICE as SHOPIFY

SCHEDULE = timedelta(days=1)
"""Time between two scheduled runs of the tables."""

_OF_SHOPS: tuple[Kind, ...] = ("cost_per_order_spike", "tracking_broken", "mer_outside_forecast")
_MISSED = 7
"""Days that are judged at once at most, after runs that did not come."""

_CAMPAIGNS = f"""
SELECT c.advertiser_id, c.account_id, c.campaign_id, c.name, c.effective_status, c.is_listed,
       nullif(c.daily_budget, '0') AS daily_budget, c.lifetime_budget, c.start_time, c.stop_time,
       s.daily_budgets
FROM ({latest("meta_campaigns", "campaign_id")}) c LEFT JOIN (
  SELECT advertiser_id, account_id, campaign_id,
         list(nullif(daily_budget, '0')) AS daily_budgets
  FROM ({latest("meta_ad_sets", "adset_id")})
  WHERE effective_status = 'ACTIVE' AND is_listed GROUP BY ALL
) s USING (advertiser_id, account_id, campaign_id)
ORDER BY ALL
"""
_REJECTED = """
SELECT a.advertiser_id, a.account_id, a.ad_id, any_value(a.ad_name) AS ad_name,
       min(r.read_at) AS since
FROM modeled.ads a
JOIN raw.meta_ads r USING (advertiser_id, account_id, ad_id)
LEFT JOIN (
  SELECT advertiser_id, account_id, ad_id, max(read_at) AS at FROM raw.meta_ads
  WHERE effective_status IS DISTINCT FROM 'DISAPPROVED' GROUP BY ALL
) shown USING (advertiser_id, account_id, ad_id)
WHERE a.effective_status = 'DISAPPROVED' AND a.is_listed
  AND (shown.at IS NULL OR r.read_at > shown.at)
GROUP BY ALL ORDER BY ALL
"""
DEPS = (
    "modeled/ad_performance_daily", "modeled/ad_roi_daily", "modeled/order_ledger", "modeled/ads",
    "modeled/ad_accounts", "cleaned/shopify_orders", "raw/shopify_orders", "raw/meta_insights",
    "raw/meta_insight_readings", "raw/meta_campaigns", "raw/meta_ad_sets", "raw/meta_ads",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A finding with what people need beside it."""

    finding: Finding
    name: str
    account_id: str | None
    unit: str
    currency: str | None = None


@dataclass(frozen=True)
class Judged:
    """Of which day a kind was judged last for an account ("" for the advertiser); `why` it was
    not, where there is no data."""

    advertiser_id: str
    account_id: str
    kind: Kind
    through: date | None
    why: str | None = None


UNITS: Mapping[Kind, str] = {
    "spend_spike": "money",
    "cost_per_order_spike": "money",
    "roas_outside_forecast": "ratio",
    "mer_outside_forecast": "ratio",
    "tracking_broken": "count",
    "budget_used_up": "share of the day",
    "pacing": "money",
    "data_late": "days",
    "restated_unusually": "count",
    "job_stuck": "seconds",
    "throttled_long": "seconds",
    "ad_rejected": "count",
    "access_expiring": "days",
    "experiment_verdict": "count",
}
"""Kind → what its figure and range are counted in."""


@dataclass
class Watch:
    """One look at everything, at a moment. `before`: (advertiser, account) → the day up to which
    it was judged before."""

    run: TableRun
    now: datetime
    before: Mapping[tuple[str, str], date]
    found: list[Found] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)

    def look(self) -> None:
        """Judge all that there is data for."""
        accounts = accounts_of(self.run, self.now)
        stamp = self.run.lakehouse.tables.stamp("raw/shopify_orders")
        shops = shops_of(self.run, self.now, stamp.get("read") or {})
        health = self._health()
        campaigns = self._of_accounts("raw/meta_campaigns", _CAMPAIGNS)
        for account in accounts:
            own = campaigns.get((account.advertiser_id, account.account_id), [])
            self._account(account, own, health)
        for shop in shops:
            mine = [one for one in accounts if one.advertiser_id == shop.advertiser_id]
            self._shop(shop, mine)
        self._rejected(accounts)
        self._access(health)

    def _of_accounts(self, key: str, query: str) -> dict[tuple[str, str], list[Row]]:
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.run.sql(query).to_pylist() if self.run.exists(key) else ():
            found.setdefault((row["advertiser_id"], row["account_id"]), []).append(row)
        return found

    # accounts ------------------------------------------------------------------------------------
    def _account(
        self, account: AccountDays, campaigns: Sequence[Row], health: Sequence[Health] | None
    ) -> None:
        subject = Subject(account.advertiser_id, account.subject)
        given = self._delivery(account)
        seen, final = account.shown(self.now)
        complete, is_known = watch.shares(seen, final, OPEN_DAYS)
        days = [] if given is None else self._days(account, given)
        through = max(days, default=self.before.get((account.advertiser_id, account.account_id)))
        for day in days:
            assert given is not None
            at = (day - given.spend.first).days
            delivery = watch.Delivery(given.spend, given.clicks, given.conversions, complete)
            self._add(account, watch.of_account(subject, delivery, at))
            self._campaign_spikes(account, day)
            self._roas(account, subject, day)
        for kind in ("spend_spike", "cost_per_order_spike", "tracking_broken",
                     "roas_outside_forecast"):  # fmt: skip
            self._note(account, kind, through, None if given else "no day was delivered")
        self._restated(account, subject, complete, is_known)
        self._budgets(account, campaigns)
        self._late(account, subject, health)
        self._throttled(account, subject, health)

    def _delivery(self, account: AccountDays) -> watch.Delivery | None:
        made = [
            account.series(self.now, lambda row, name=name: row[name])  # type: ignore[misc]
            for name in ("spend", "clicks", "purchases")
        ]
        spend, clicks, purchases = made
        if spend is None or clicks is None or purchases is None:
            return None
        return watch.Delivery(spend, clicks, purchases, np.ones(1))

    def _days(self, account: AccountDays, given: watch.Delivery) -> list[date]:
        """Full days that were not judged before; without a memory the last one alone."""
        first, size = given.spend.first, len(given.spend)
        full = [first + timedelta(days=n) for n in range(size) if given.spend.is_read[n]]
        before = self.before.get((account.advertiser_id, account.account_id))
        if before is None:
            return full[-1:]
        return [day for day in full if day > before][-_MISSED:]

    def _campaign_spikes(self, account: AccountDays, day: date) -> None:
        for campaign_id in sorted({row["campaign_id"] or "" for row in account.rows}):
            own = [row for row in account.rows if (row["campaign_id"] or "") == campaign_id]
            spend = account.series(self.now, lambda row: row["spend"], own)
            if campaign_id and spend is not None:
                subject = Subject(account.advertiser_id, f"campaign:{campaign_id}")
                found = detect.spend_spike(subject, spend, (day - spend.first).days)
                self._add(account, [found] if found else [], own[-1]["campaign_name"])

    def _roas(self, account: AccountDays, subject: Subject, day: date) -> None:
        """The platform's ROAS, of the day that has just closed."""
        spend = account.series(self.now, lambda row: row["spend"])
        value = account.series(self.now, lambda row: row["value"])
        at = (day - timedelta(days=OPEN_DAYS) - spend.first).days if spend is not None else -1
        if spend is None or value is None or at < 0:
            return
        self._add(account, watch.of_ratio(subject, "roas_outside_forecast",
                                          _ratio(value, spend), at))  # fmt: skip

    def _restated(
        self, account: AccountDays, subject: Subject, complete: Any, is_known: bool
    ) -> None:
        if not is_known:
            why = "no 14 closed days were read from their first morning on"
            self._note(account, "restated_unusually", None, why)
            return
        last = max((at for days in account.changes.values() for at in days), default=None)
        for day, before, after, ages in account.restated(last) if last else ():
            found = delays.restated_unusually(subject, day, max(before, 0.0), max(after, 0.0),
                                              ages, complete)  # fmt: skip
            self._add(account, [found] if found else [])
        self._note(account, "restated_unusually", last)

    # budgets -------------------------------------------------------------------------------------
    def _budgets(self, account: AccountDays, campaigns: Sequence[Row]) -> None:
        today = account.today(self.now)
        active = [one for one in campaigns if one["effective_status"] == "ACTIVE"]
        read = account.readings.get(today, [])
        daily = [(one, budget) for one in active if (budget := _daily(one, account.currency))]
        for campaign, budget in daily if read else ():
            passed = share_of_day(read[-1].astimezone(account.zone))
            spent = sum(
                row["spend"] for row in account.rows
                if row["date"] == today and row["campaign_id"] == campaign["campaign_id"]
            )  # fmt: skip
            subject = Subject(account.advertiser_id, f"campaign:{campaign['campaign_id']}")
            found = detect.budget_used_up(subject, today, spent, budget, passed)
            if found:  # only then it is asked how it usually is
                usually = shares_used_up(
                    self.run, account, campaign["campaign_id"], detect.USED_UP * budget, today
                )
                found = detect.budget_used_up(
                    subject, today, spent, budget, passed, usually=usually
                )
            self._add(account, [found] if found else [], campaign["name"])
        why = None if daily and read else (
            "nothing of today was read" if daily else "no budget a day is set at the platform"
        )  # fmt: skip
        self._note(account, "budget_used_up", today if daily and read else None, why)
        flights = [(one, flight) for one in active if (flight := _flight(one, account))]
        for campaign, (budget, starts, ends) in flights:
            self._pacing(account, campaign, budget, starts, ends)
        why = None if flights else "no campaign has a budget for its whole life"
        self._note(account, "pacing", today if flights else None, why)

    def _pacing(
        self, account: AccountDays, campaign: Row, budget: float, starts: date, ends: date
    ) -> None:
        own = [row for row in account.rows if row["campaign_id"] == campaign["campaign_id"]]
        spend = account.series(self.now, lambda row: row["spend"], own)
        if spend is None or not spend.is_read.any():
            return
        at = int(spend.is_read.nonzero()[0][-1])
        if not starts <= spend.day(at) <= ends:
            return
        subject = Subject(account.advertiser_id, f"campaign:{campaign['campaign_id']}")
        found = detect.pacing(subject, spend, at, budget, starts, ends)
        self._add(account, [found] if found else [], campaign["name"])

    # delays --------------------------------------------------------------------------------------
    def _late(
        self, account: AccountDays, subject: Subject, health: Sequence[Health] | None
    ) -> None:
        own = _of(health or (), META, account.advertiser_id)
        if not account.is_listed or (not account.readings and not own):
            self._note(account, "data_late", None, "the account is loaded from files, or not read")
            return
        full = [day for day in account.readings if account.is_full(day)]
        connected = min((one.consented_at for one in own), default=self.now)
        first = min([connected.astimezone(account.zone).date(), *account.readings])
        newest = max(full, default=first - timedelta(days=1))
        found = delays.data_late(subject, newest, self.now.astimezone(account.zone))
        self._add(account, [found] if found else [])
        self._note(account, "data_late", account.today(self.now))

    def _throttled(
        self, account: AccountDays, subject: Subject, health: Sequence[Health] | None
    ) -> None:
        if health is None:
            self._note(account, "throttled_long", None, "connections are not known")
            return
        for one in _of(health, META, account.advertiser_id):
            began = one.last_success_at or one.consented_at
            failed = one.last_failure_at
            if one.last_failure_kind == "throttled" and failed is not None and failed > began:
                found = delays.throttled_long(subject, began, self.now, SCHEDULE)
                self._add(account, [found] if found else [])
        self._note(account, "throttled_long", account.today(self.now))

    # shops ---------------------------------------------------------------------------------------
    def _shop(self, shop: ShopDays, accounts: Sequence[AccountDays]) -> None:
        advertiser = shop.advertiser_id
        for name, (newest, zone) in shop.late.items():
            subject = Subject(advertiser, f"shop:{name}")
            late = delays.data_late(subject, newest, self.now.astimezone(zone))
            if late:
                self.found.append(Found(late, name, None, UNITS["data_late"]))
        why = None if shop.late else "orders are loaded from files"
        through = self.now.date() if shop.late else None
        self.judged.append(Judged(advertiser, "", "data_late", through, why))
        last = self._last_full(shop, accounts)
        before = self.before.get((advertiser, ""))
        days = [] if last is None else [last]
        if last is not None and before is not None:
            days = [before + timedelta(days=n + 1) for n in range((last - before).days)]
        for day in days[-_MISSED:]:
            self._shop_day(shop, accounts, day)
        unknown = {
            row["date"] for row in shop.rows if row["spend"] is None or row["revenue"] is None
        }
        through = max((day for day in days if day not in unknown), default=before)
        why = None if last is not None else "no ads were delivered for it"
        if last in unknown:
            why = "a currency has no exchange rate (DMP_ADS_EXCHANGE_RATES)"
        for kind in _OF_SHOPS:
            self.judged.append(Judged(advertiser, "", kind, through, why))

    def _last_full(self, shop: ShopDays, accounts: Sequence[AccountDays]) -> date | None:
        """The last day of which spend and orders are whole; None where ads never delivered."""
        ends = []
        for account in accounts:
            spend = account.series(self.now, lambda row: row["spend"])
            if spend is not None and spend.is_read.any():
                ends.append(spend.day(int(spend.is_read.nonzero()[0][-1])))
        return min(shop.through, *ends) if ends and shop.rows else None

    def _shop_day(self, shop: ShopDays, accounts: Sequence[AccountDays], day: date) -> None:
        """An advertiser's spend on all accounts against the orders of all its shops."""
        delivered = [row for account in accounts for row in account.rows]
        first = max(shop.rows[0]["date"], min(row["date"] for row in delivered))
        if day <= first:
            return
        spend = shop.series(first, day, lambda row: row["spend"])
        orders = shop.series(first, day, lambda row: row["orders"])
        revenue = shop.series(first, day, lambda row: row["revenue"])
        clicks = _same_days(spend, delivered, "clicks")
        subject, at = Subject(shop.advertiser_id, "advertiser"), len(spend) - 1
        given = watch.Delivery(spend, clicks, orders, np.ones(1))
        mer = _ratio(revenue, spend)
        currency = currency_of_sums(self.run.settings)
        self.found += [
            Found(one, "all shops", None, UNITS[one.kind], currency)
            for one in (
                *watch.of_shop(subject, given, at),
                *watch.of_ratio(subject, "mer_outside_forecast", mer, at),
            )
        ]

    # events --------------------------------------------------------------------------------------
    def _rejected(self, accounts: Sequence[AccountDays]) -> None:
        of = {(one.advertiser_id, one.account_id): one for one in accounts}
        for key, rows in self._of_accounts("raw/meta_ads", _REJECTED).items():
            account = of.get(key)
            for row in rows if account is not None else ():
                assert account is not None
                since = row["since"].astimezone(account.zone).date()
                subject = Subject(account.advertiser_id, f"ad:{row['ad_id']}")
                found = watch.rejected(subject, account.today(self.now), since)
                self._add(account, [found], row["ad_name"])
        for account in accounts:
            self._note(account, "ad_rejected", account.today(self.now))

    def _access(self, health: Sequence[Health] | None) -> None:
        shops = self.run.settings.of(AdsSettings).shopify_shops
        today = self.now.date()
        for one in health or ():
            advertiser = one.account if one.service == META else shops.get(one.account)
            ends = _ends(one)
            if advertiser is None or one.service not in (META, SHOPIFY):
                continue
            if ends is not None:
                subject = Subject(advertiser, f"connection:{one.service} {one.account}")
                found = watch.access_expiring(subject, today, ends.date())
                if found:
                    name = f"{one.service} {one.account}"
                    self.found.append(Found(found, name, None, UNITS["access_expiring"]))
            self.judged.append(Judged(advertiser, "", "access_expiring", today))

    def _health(self) -> list[Health] | None:
        """How the connections are; None where that is not known, which is said."""
        home = self.run.lakehouse.home
        if not where.is_configured(home):
            return None
        try:
            with connections_of(home, "the connections") as connections:
                return list(connections.health())
        except UserError as error:  # the store is not there, or its keys
            self.run.log.warning(f"how the connections are is not known: {error}")
            return None

    # noting --------------------------------------------------------------------------------------
    def _add(
        self, account: AccountDays, findings: Iterable[Finding], name: str | None = None
    ) -> None:
        self.found += [
            Found(
                one, name or account.name, account.account_id, UNITS[one.kind],
                account.currency if UNITS[one.kind] == "money" else None,
            )
            for one in findings
        ]  # fmt: skip

    def _note(
        self, account: AccountDays, kind: Kind, through: date | None, why: str | None = None
    ) -> None:
        self.judged.append(Judged(account.advertiser_id, account.account_id, kind, through, why))


def _of(health: Iterable[Health], service: str, account: str) -> list[Health]:
    return [one for one in health if (one.service, one.account) == (service, account)]


def _ends(one: Health) -> datetime | None:
    """When a person has to consent anew at the latest; None where that is not known.

    A shop's own tokens end each hour and are renewed by us, so only the grant's end counts there.
    """
    if one.state == "needs_consent":
        return one.last_failure_at or one.consented_at
    known = [one.consent_ends_at, one.expires_at if one.service == META else None]
    return min((end for end in known if end is not None), default=None)


def _ratio(value: Daily, spend: Daily) -> Daily:
    """value / spend by day; a day without spend says nothing."""
    is_known = value.is_read & spend.is_read & (spend.values > 0)
    quotient = np.divide(value.values, spend.values, out=np.zeros(len(spend)), where=is_known)
    return Daily(spend.first, quotient, is_known, value.is_open | spend.is_open)


def _same_days(like: Daily, rows: Iterable[Row], name: str) -> Daily:
    """A column summed over rows of several accounts, on the days of another series."""
    values = np.zeros(len(like))
    for row in rows:
        place = (row["date"] - like.first).days
        if 0 <= place < len(values):
            values[place] += row[name] or 0.0
    return Daily(like.first, values, like.is_read, like.is_open)


def _amount(minor: str | None, currency: str) -> float | None:
    """An amount above 0 of the platform's minor units; None for none."""
    try:
        found = float(from_minor(minor, currency)) if minor else 0.0
    except AmountError:
        return None
    return found if found > 0 else None


def _daily(campaign: Row, currency: str) -> float | None:
    """A campaign's budget a day: its own, or those of its active ad sets; None without any."""
    if own := _amount(campaign["daily_budget"], currency):
        return own
    sets = [_amount(one, currency) for one in campaign["daily_budgets"] or ()]
    given = [one for one in sets if one is not None]
    return sum(given) if given and len(given) == len(sets) else None


def _flight(campaign: Row, account: AccountDays) -> tuple[float, date, date] | None:
    """(budget, first day, last day) of a campaign with a budget for its whole life."""
    budget = _amount(campaign["lifetime_budget"], account.currency)
    days = [_day(campaign[name], account) for name in ("start_time", "stop_time")]
    starts, ends = days
    return (budget, starts, ends) if budget and starts and ends and starts <= ends else None


def _day(moment: str | None, account: AccountDays) -> date | None:
    try:
        return datetime.fromisoformat(moment or "").astimezone(account.zone).date()
    except ValueError:
        return None
