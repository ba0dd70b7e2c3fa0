"""Promo codes of the simulated shop, who redeems them when, and the orders."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dmp_assets.demo.business import shop_world as world
from dmp_assets.demo.business.shop_people import (
    ABUSE_KINDS,
    HARD_NEGATIVES,
    Accounts,
    at_local_hours,
)
from dmp_assets.demo.business.shop_text import (
    DAY,
    Bools,
    Floats,
    Ints,
    Rng,
    chance,
    digits,
    join,
    pool,
    rank_within,
    weighted,
)

PERCENTAGE, FIXED = 0, 1
_FOREVER = np.int64(2**40)
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True)
class Codes:
    """One entry per promo code; the first ones are the most popular."""

    text: pa.Array
    kind: Ints
    value: Ints
    minimum: Ints
    start: Ints  # seconds, UTC
    stop: Ints  # seconds, UTC, exclusive; _FOREVER when open
    limit: Ints  # redemptions per user, 0 for no limit
    popularity: Floats

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def generosity(self) -> Floats:
        """0 to 1: how much an abuser likes it."""
        return self.value / np.where(self.kind == PERCENTAGE, 50, 60)

    @property
    def is_open(self) -> Bools:
        return np.equal(self.stop, _FOREVER)

    def plus(self, other: "Codes") -> "Codes":
        """These codes and the others, in this order."""
        return Codes(
            pa.concat_arrays([self.text, other.text]),
            *[
                np.concatenate([getattr(self, name), getattr(other, name)])
                for name in ("kind", "value", "minimum", "start", "stop", "limit", "popularity")
            ],
        )


@dataclass(frozen=True)
class Usages:
    """One entry per redemption; `account` and `code` are row numbers."""

    account: Ints
    code: Ints
    used: Ints  # seconds, UTC
    accepted: Bools

    def __len__(self) -> int:
        return len(self.account)

    def take(self, rows: Ints) -> "Usages":
        return Usages(self.account[rows], self.code[rows], self.used[rows], self.accepted[rows])


def promo_codes(rng: Rng, count: int, first_day: int, last_day: int, taken: int = 0) -> Codes:
    """Codes with windows over the whole history; `taken` serial numbers are skipped."""
    serial = np.arange(taken, taken + count) * 977_777 % 32**4
    kind = weighted(rng, (0.6, 0.4), count)
    steps = weighted(rng, (3, 8, 7, 6, 4, 3, 2, 1.5, 1, 0.8), count) + 1
    value = steps * np.where(kind == PERCENTAGE, 5, 6)
    minimum = np.where(chance(rng, 0.15, count), 0, rng.integers(2, 16, count) * 5 + value)
    start = rng.integers(first_day - 20, last_day + 1, count) * DAY
    stop = start + np.clip(rng.gamma(1.6, 35, count), 10, 300).astype(np.int64) * DAY
    always = chance(rng, 0.12, count)
    always[: max(5, count // 100)] = taken == 0  # the welcome codes never close
    start = np.where(always, (first_day - 20) * DAY, start)
    word = np.where(
        always & (np.arange(count) < 5), 0, rng.integers(0, len(world.CODE_WORDS), count)
    )
    text = join(
        pool(world.CODE_WORDS, word), digits(value), "-",
        *[pool(list(_ALPHABET), serial // 32**place % 32) for place in (3, 2, 1, 0)],
    )  # fmt: skip
    return Codes(
        text=text,
        kind=kind,
        value=value,
        minimum=minimum,
        start=start,
        stop=np.where(always, _FOREVER, stop),
        limit=weighted(rng, (0.12, 0.68, 0.12, 0.08), count),
        popularity=1 / (np.arange(count) + 3.0) ** 0.75,
    )


def pick(rng: Rng, codes: Codes, when: Ints, hunting: Bools) -> Ints:
    """For each moment a code that is valid in its whole week; hunters look for large discounts."""
    week = when // (7 * DAY)
    chosen = np.zeros(len(when), dtype=np.int64)
    taste = {False: codes.popularity, True: codes.popularity * (0.02 + codes.generosity**2)}
    order = np.argsort(week, kind="stable")
    weeks, starts = np.unique(week[order], return_index=True)
    for number, rows in zip(weeks, np.split(order, starts[1:]), strict=True):
        valid = (codes.start <= number * 7 * DAY) & (codes.stop >= (number + 1) * 7 * DAY)
        for hunter, weight in taste.items():
            wanted = rows[hunting[rows] == hunter]
            chosen[wanted] = weighted(rng, weight * valid, len(wanted))
    return chosen


def redemptions(rng: Rng, people: Accounts, codes: Codes, last_day: int) -> Usages:
    """Who redeems what and when; per-user limits hold, nobody redeems twice in a minute."""
    end = (last_day + 1) * DAY - 60
    parts = [_honest(rng, people, codes, end), _abusive(rng, people, codes, end)]
    usages = Usages(
        *[np.concatenate([getattr(part, name) for part in parts])
          for name in ("account", "code", "used", "accepted")]
    )  # fmt: skip
    usages = usages.take(np.argsort(usages.used, kind="stable"))
    pair = usages.account * len(codes) + usages.code
    limit = codes.limit[usages.code]
    within = (limit == 0) | (rank_within(pair) < limit)
    once = rank_within(pair * 10**8 + usages.used // 60 % 10**8) == 0
    return usages.take(np.flatnonzero(within & once))


def _honest(rng: Rng, people: Accounts, codes: Codes, end: int) -> Usages:
    fan, rush, store = (
        HARD_NEGATIVES.index(name) for name in ("coupon_fan", "campaign_rush", "store_tablet")
    )
    count = len(people)
    tenure = np.clip((end - people.created) / (365 * DAY), 0, 3)
    rate = rng.gamma(0.8, 1.0, count) * (0.55 + 0.25 * tenure)
    times = rng.poisson(rate)
    times = np.where(people.hard == fan, 4 + rng.poisson(3, count), times)
    times = np.where(people.hard == rush, 1 + (times > 1), times)
    at_counter = (people.hard == store) & chance(rng, 0.6, count)  # the clerk helps to redeem
    times = np.where(at_counter, np.maximum(times, 1), times)
    times[people.kind >= 0] = 0
    account = np.repeat(np.arange(count), times)
    first = rank_within(account) == 0
    size = len(account)
    patience = np.select(
        [first & ((people.hard[account] == rush) | at_counter[account]),
         first & chance(rng, 0.1, size),
         first & chance(rng, 0.18, size)],
        [rng.gamma(2, 500, size) + 90, rng.lognormal(7.8, 1.3, size) + 60,
         rng.exponential(3 * DAY, size) + 600],
        default=rng.exponential(170 * DAY, size) + 3_600,
    )  # fmt: skip
    born = people.created[account]
    left = end - born
    lag = np.where(patience < left, patience, rng.random(size) * left * 0.98 + 40)
    used = born + lag.astype(np.int64)
    calm = lag > DAY  # people shop at the hours when they are awake
    awake = at_local_hours(rng, used // DAY, people.home[account])
    used = np.where(calm & (awake > born + 3_600) & (awake < end), awake, used)
    used = np.minimum(np.maximum(used, born + 31), end + 59)
    code = pick(rng, codes, used, chance(rng, 0.15, size))
    together = people.hard[account] == rush
    if together.any():  # the campaign's own code
        rows = np.flatnonzero(together & first)
        code[rows] = _ring_code(rng, codes, people.crowd[account[rows]], used[rows])
    return Usages(account, code, used, ~chance(rng, 0.02, size))


def _ring_code(rng: Rng, codes: Codes, group: Ints, when: Ints) -> Ints:
    """One code per group and week."""
    key = group * 10_000 + when // (7 * DAY)
    _, lead, place = np.unique(key, return_index=True, return_inverse=True)
    return pick(rng, codes, when[lead], np.ones(len(lead), dtype=bool))[place]


def _abusive(rng: Rng, people: Accounts, codes: Codes, end: int) -> Usages:
    """Most accounts of a ring redeem soon, several times, and the same generous codes.

    Sleepers rest for months and wake together; half of them redeem once at the start, to look
    like customers.
    """
    rows = np.flatnonzero(people.kind >= 0)
    kind, ring = people.kind[rows], people.ring[rows]
    rapid, sleeper = (ABUSE_KINDS.index(name) for name in ("rapid_redemption", "sleeper"))
    times = np.where(chance(rng, 0.04, len(rows)), 0, 1 + rng.poisson(1.7, len(rows)))
    warms_up = (kind == sleeper) & chance(rng, 0.5, len(rows)) & (times > 0)
    times = times + warms_up
    rings = int(ring.max()) + 1 if len(ring) else 0
    slept = rng.uniform(45, 320, rings)
    born = people.created[rows]
    last_born = np.zeros(rings, dtype=np.int64)
    np.maximum.at(last_born, ring, born)
    room = np.maximum(end - last_born - 3 * DAY, DAY)
    wake = last_born + np.minimum(slept * DAY, rng.uniform(0.6, 1.0, rings) * room).astype(np.int64)
    at = np.repeat(np.arange(len(rows)), times)
    turn = rank_within(at)
    size = len(at)
    soon = np.where(
        kind[at] == rapid, rng.gamma(2.2, 150, size) + 50, rng.lognormal(8.9, 1.5, size) + 60
    )
    pause = np.where(
        chance(rng, 0.55, size), rng.gamma(1.5, 600, size) + 61, rng.exponential(4 * DAY, size)
    )
    step = np.where(turn == 0, soon, pause)
    woken = (wake[ring] + rng.gamma(1.5, 5_400, len(rows)) - born)[at]
    sleeps = (kind[at] == sleeper) & (turn == warms_up[at])
    slept_since = np.where(turn == 0, 0, np.roll(soon, 1))
    step = np.where(sleeps, np.maximum(woken - slept_since, 61), step)
    total = np.cumsum(step)
    before = np.where(turn == 0, total - step, 0)
    lag = total - np.maximum.accumulate(before)
    used = np.minimum(born[at] + np.maximum(lag, 40).astype(np.int64), end + 59)
    code = pick(rng, codes, used, np.ones(size, dtype=bool))
    shared = chance(rng, 0.65, size)
    if size:
        same = _ring_code(rng, codes, ring[at] * 8 + np.minimum(turn, 7), used)
        code = np.where(shared, same, code)
    return Usages(rows[at], code, used, ~chance(rng, 0.03, size))


def orders(rng: Rng, people: Accounts, codes: Codes, usages: Usages, last_day: int) -> pa.Table:
    """Orders behind accepted redemptions, and those without a code; `account` is a row number."""
    paid = usages.take(np.flatnonzero(usages.accepted))
    count = len(people)
    times = rng.poisson(np.where(people.kind >= 0, 0.06, 1.2 * rng.gamma(0.7, 1.4, count)))
    plain = np.repeat(np.arange(count), times)
    end = (last_day + 1) * DAY
    born = people.created[plain]
    ordered = born + (rng.random(len(plain)) ** 1.4 * (end - born - 120)).astype(np.int64) + 60
    stingy = people.kind[paid.account] >= 0
    extra = np.where(stingy, rng.exponential(4, len(paid)), rng.lognormal(3.3, 0.7, len(paid)))
    minimum = codes.minimum[paid.code]
    with_code = np.maximum(minimum, 8) + extra
    amount = np.round(np.concatenate([with_code, rng.lognormal(3.9, 0.6, len(plain))]), 2)
    value = codes.value[paid.code]
    cut = np.where(codes.kind[paid.code] == PERCENTAGE, with_code * value / 100,
                   np.minimum(value, with_code))  # fmt: skip
    discount = np.round(np.concatenate([cut, np.zeros(len(plain))]), 2)
    code = pa.concat_arrays(
        [codes.text.take(pa.array(paid.code)), pa.nulls(len(plain), pa.string())]
    )
    table = pa.table(
        {
            "account": np.concatenate([paid.account, plain]),
            "seconds": np.concatenate([paid.used, ordered]),
            "amount": amount,
            "discount": discount,
            "promo_code": code,
        }
    )
    return table.take(pa.array(np.argsort(table["seconds"].to_numpy(), kind="stable")))
