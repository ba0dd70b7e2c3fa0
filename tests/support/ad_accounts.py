"""Ad accounts by day: quiet ones, in which there is nothing to notice, and ones with an incident.

Used by tests and by benchmarks/experiments.py, which prints the figures.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from dmp_assets.ads.model.notices import detect
from dmp_assets.ads.model.notices.detect import Finding, Subject
from dmp_assets.ads.model.notices.series import Daily, Floats, completeness

START = date(2026, 1, 1)
Random = np.random.Generator
DAYS, JUDGED, OPEN = 150, 60, 28
"""Days of an account, of which the last are judged, and for how long orders go on coming."""


@dataclass(frozen=True)
class Account:
    """A quiet account by day: spend, clicks, the orders that it comes to, and a forecast."""

    spend: Floats
    clicks: Floats
    orders: Floats
    arriving: Floats
    """Share of a day's orders that is known at each age."""
    roas: Floats
    low: Floats
    high: Floats


def account(random: Random) -> Account:
    """A quiet account of any size."""
    day = np.arange(DAYS)
    week = np.exp(random.normal(0, 0.2, 7))[day % 7]
    level = random.lognormal(5.5, 1.0) * np.exp(day * random.normal(0, 0.002))
    spend = level * week * np.exp(_alike(random, 0.6, 0.12) + random.normal(0, 0.08, DAYS))
    clicks = np.round(spend / random.uniform(0.3, 1.2))
    cost = random.lognormal(3.2, 0.5)
    keen = np.exp(random.normal(0, 0.1, 7))[day % 7] * np.exp(_alike(random, 0.5, 0.12))
    orders = random.poisson(spend / cost * keen).astype(float)
    arriving = 1 - random.uniform(0.3, 0.7) * np.exp(-np.arange(OPEN) / random.uniform(1.5, 4))
    error = _alike(random, 0.5, 0.2)
    middle = 2.5 * week
    return Account(
        spend, clicks, orders, arriving, middle * np.exp(error),
        middle * np.exp(-1.2816 * 0.2), middle * np.exp(1.2816 * 0.2),
    )  # fmt: skip


def _alike(random: Random, again: float, deviation: float) -> Floats:
    """A stationary series whose neighbours are alike (AR 1)."""
    shocks = random.normal(0, deviation * np.sqrt(1 - again**2), DAYS)
    found = np.empty(DAYS)
    last = random.normal(0, deviation)
    for at, shock in enumerate(shocks):
        last = again * last + shock
        found[at] = last
    return found


def as_seen(one: Account, at: int, random: Random) -> tuple[Daily, Daily, Daily]:
    """Spend, clicks and orders on the morning after the day `at`."""
    ages = at - np.arange(at + 1)
    known = np.where(ages < OPEN, one.arriving[np.minimum(ages, OPEN - 1)], 1.0)
    seen = random.binomial(one.orders[: at + 1].astype(int), known).astype(float)
    return (
        Daily.of(START, one.spend[: at + 1]),
        Daily.of(START, one.clicks[: at + 1]),
        Daily.of(START, seen, open_days=OPEN),
    )


def learned(one: Account, until: int, random: Random) -> Floats:
    """How complete a day is at each age, from the 28 days that were closed before the judging."""
    final = one.orders[until - 2 * OPEN : until - OPEN]
    seen = random.binomial(final.astype(int)[:, None], one.arriving[None, :])
    return completeness(seen, final)


Judge = Callable[[Account, int, Random, Floats], Finding | None]
WHO = Subject("simulated", "account")


def _spike(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    return detect.spend_spike(WHO, Daily.of(START, one.spend[: at + 1]), at)


def _cost(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    spend, _, orders = as_seen(one, at, random)
    return detect.cost_per_order_spike(WHO, spend, orders, at, complete=complete)


def _broken(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    return detect.tracking_broken(WHO, *as_seen(one, at, random), at, complete=complete)


def _roas(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    closed = Daily.of(START, one.roas[: at + 1])
    return detect.outside_forecast(
        WHO, "roas_outside_forecast", closed, one.low[: at + 1], one.high[: at + 1], at, level=0.8
    )


def _pacing(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    """Flights of 30 days whose budget is what they will have spent."""
    begun = at - at % 30
    if begun + 30 > DAYS:
        return None
    budget = float(one.spend[begun : begun + 30].sum())
    days = START + timedelta(begun), START + timedelta(begun + 29)
    return detect.pacing(WHO, Daily.of(START, one.spend[: at + 1]), at, budget, *days)


def _used_up(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    """A budget of a tenth more than is spent, as Meta paces one, read at a random hour."""
    passed = random.random()
    spent = one.spend[at] * passed ** random.uniform(0.8, 1.25)
    return detect.budget_used_up(WHO, START + timedelta(at), spent, 1.1 * one.spend[at], passed)


JUDGES: dict[str, Judge] = {
    "spend_spike": _spike,
    "cost_per_order_spike": _cost,
    "tracking_broken": _broken,
    "roas_outside_forecast": _roas,
    "budget_used_up": _used_up,
    "pacing": _pacing,
}


def _changed(judge: Judge, **factors: float) -> Judge:
    """The judgement of the last day of the same account with its last days multiplied.

    `factors`: of a column, by `<column>_<days>`.
    """

    def judged(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
        columns = {}
        for name, factor in factors.items():
            column, _, days = name.rpartition("_")
            values = getattr(one, column).copy()
            values[-int(days) :] = np.floor(values[-int(days) :] * factor * 100) / 100
            if column == "orders":
                values = np.floor(values)
            columns[column] = values
        return judge(replace(one, **columns), at, random, complete)

    return judged


def _hasty(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    spend = float(one.spend[at])
    return detect.budget_used_up(WHO, START + timedelta(at), spend, spend, 0.6)


def _short(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    budget = 0.75 * float(one.spend[-30:].sum())
    days = START + timedelta(DAYS - 30), START + timedelta(DAYS - 1)
    return detect.pacing(WHO, Daily.of(START, one.spend[:-15]), DAYS - 16, budget, *days)


INCIDENTS: dict[str, tuple[str, Judge]] = {
    "spend_spike": ("three times the spend on one day", _changed(_spike, spend_1=3.0)),
    "cost_per_order_spike": ("orders fall to 30 % for 3 days", _changed(_cost, orders_3=0.3)),
    "tracking_broken": ("no conversion for 3 days", _changed(_broken, orders_3=0.0)),
    "roas_outside_forecast": ("40 % below for 7 days", _changed(_roas, roas_7=0.6)),
    "budget_used_up": ("gone at 14:24", _hasty),
    "pacing": ("budget of 30 days a quarter too small, at half-time", _short),
}
