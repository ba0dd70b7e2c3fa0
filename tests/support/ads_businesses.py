"""Businesses whose ads have a known effect: what a budget model may see of them, and the truth.

They are made otherwise than the model thinks: effects follow a Hill curve that may be S-shaped and
a memory that may be delayed, and are larger in seasons of demand; the base multiplies weekdays,
seasons, a wandering level and autocorrelated noise; some channels spend by what was sold the week
before. Contribution is per day, in money.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dmp_assets.ads.model.budgets.series import Bools, Dates, Floats, Series

DAYS = 1095
AHEAD = 28
CHOOSING, JUDGED = range(100, 120), range(900, 920)
"""Seeds on which the model's settings were chosen, and others on which it is judged."""
_WARM_UP = 60
_PATTERNS = ("steps", "flights", "jitter", "follows", "constant")


@dataclass(frozen=True, eq=False)
class Channel:
    """A channel's true response: `top` · s^slope / (s^slope + half^slope) of remembered spend."""

    name: str
    pattern: str
    top: float
    half: float
    slope: float
    memory: Floats

    def response(self, stock: Floats) -> Floats:
        """Effect of a remembered spend in a season of usual demand."""
        powered = np.maximum(stock, 0.0) ** self.slope
        return self.top * powered / (powered + self.half**self.slope)


@dataclass(frozen=True, eq=False)
class Business:
    """DAYS days and AHEAD more: `target`, `spend` (n, channels), and the truth beside them."""

    dates: Dates
    channels: tuple[Channel, ...]
    spend: Floats
    target: Floats
    base: Floats
    demand: Floats
    events: Mapping[str, Dates]

    @property
    def constant(self) -> Bools:
        """Channels whose spend does not vary."""
        return np.array([one.pattern == "constant" for one in self.channels])

    def series(self, days: int = DAYS) -> Series:
        """What a model may see: the first `days`."""
        return Series.of(
            self.dates[:days],
            self.target[:days],
            {one.name: self.spend[:days, at] for at, one in enumerate(self.channels)},
            events=self.events,
        )

    def profit(self, budget: Floats) -> float:
        """True expected profit of the AHEAD days, of all sales, for this budget a day."""
        season = float((self.demand[-AHEAD:] ** 0.5).mean())
        effect = sum(
            float(one.response(np.array([x]))[0])
            for one, x in zip(self.channels, budget, strict=True)
        )
        return AHEAD * (float(self.base[-AHEAD:].mean()) + season * effect - float(budget.sum()))


def business(seed: int, channels: int | None = None, frozen: bool = False) -> Business:
    """A business by its seed; `frozen`: no channel's spend varies."""
    random = np.random.default_rng(seed)
    size = _WARM_UP + DAYS + AHEAD
    first = np.datetime64("2023-01-01") + np.timedelta64(int(random.integers(0, 365)), "D")
    dates = first + np.arange(size)
    events = _holidays(dates)
    demand = _demand(dates, events, random)
    level = float(random.lognormal(np.log(6000), 0.5))
    usual = level * _wandering(size, random)
    share, deviation = random.uniform(0.2, 0.6), random.uniform(0.05, 0.12)
    noise = np.exp(_autocorrelated(size, share, deviation, random))
    count = channels or int(random.integers(3, 8))
    budget = level * random.uniform(0.25, 0.5) * random.dirichlet(np.full(count, 3.0))
    made = [_channel(at, budget[at], frozen, random) for at in range(count)]
    spend = np.column_stack([_spend(one, budget[at], dates, random) for at, one in enumerate(made)])
    # what follows sales needs the sales of the week before, so days are made one after the other
    base = usual * demand
    stocks = np.zeros((size, count))
    target = np.zeros(size)
    for day in range(size):
        for at, one in enumerate(made):
            if one.pattern == "follows" and day >= 7:
                sold = target[day - 7 : day].mean() / (level * 1.4)
                spend[day, at] *= np.clip(sold, 0.3, 3.0)
            back = spend[max(day - len(one.memory) + 1, 0) : day + 1, at][::-1]
            stocks[day, at] = back @ one.memory[: len(back)]
        effect = (
            sum(float(one.response(stocks[day, [at]])[0]) for at, one in enumerate(made))
            * demand[day] ** 0.5
        )
        target[day] = (base[day] + effect) * noise[day]
    kept = slice(_WARM_UP, None)
    return Business(
        dates[kept], tuple(made), spend[kept], target[kept], base[kept], demand[kept], events
    )


def _channel(at: int, budget: float, frozen: bool, random: np.random.Generator) -> Channel:
    chance = (0.3, 0.2, 0.15, 0.2, 0.15)
    pattern = str(random.choice(_PATTERNS, p=chance))
    earns = float(random.lognormal(np.log(1.1), 0.5))
    half = budget * random.uniform(0.5, 3.0)
    slope = float(random.uniform(0.7, 1.4))
    at_budget = budget**slope / (budget**slope + half**slope)
    lags = np.arange(45)
    if random.random() < 1 / 3:
        scale = random.uniform(2.0, 6.0)
        memory = (lags + 0.5) * np.exp(-(((lags + 0.5) / scale) ** 2))  # Weibull of shape 2
    else:
        memory = 2.0 ** (-lags / random.uniform(0.3, 10.0))
    return Channel(
        name=f"channel {at + 1}",
        pattern="constant" if frozen else pattern,
        top=earns * budget / at_budget,
        half=half,
        slope=slope,
        memory=memory / memory.sum(),
    )


def _spend(channel: Channel, budget: float, dates: Dates, random: np.random.Generator) -> Floats:
    size = len(dates)
    if channel.pattern == "constant":
        return budget * random.lognormal(0, 0.02, size)
    if channel.pattern == "flights":
        lengths = random.integers(10, 50, size)
        on = np.repeat(np.arange(len(lengths)) % 2 == 0, lengths)[:size]
        return budget * on * 1.8 * random.lognormal(0, 0.1, size)
    spread = {"steps": 0.4, "jitter": 0.15, "follows": 0.2}[channel.pattern]
    lengths = random.integers(14, 45, size)
    steps = np.repeat(random.lognormal(0, spread, size), lengths)[:size]
    return budget * steps * random.lognormal(0, 0.4 if channel.pattern == "jitter" else 0.08, size)


def _demand(dates: Dates, events: Mapping[str, Dates], random: np.random.Generator) -> Floats:
    day = dates.astype(np.int64)
    year = 2 * np.pi * day / 365.25
    log = np.log(random.lognormal(0, 0.12, 7))[(day + 3) % 7]
    for number in (1, 2, 3):
        log += random.normal(0, 0.12 / number) * np.sin(number * year + random.uniform(0, 6.3))
    months = dates.astype("datetime64[M]").astype(np.int64) % 12
    within = (dates - dates.astype("datetime64[M]")).astype(np.int64)
    log += random.uniform(0.0, 0.4) * (
        ((months == 10) & (within >= 19)) | ((months == 11) & (within < 20))
    )
    for days in events.values():
        log += random.uniform(0.2, 0.8) * np.isin(dates, days)
    for start in random.integers(0, len(dates) - 3, 18):  # promotions that nobody told of
        log[start : start + 3] += random.uniform(0.1, 0.3)
    return np.exp(log)


def _holidays(dates: Dates) -> Mapping[str, Dates]:
    years = np.unique(dates.astype("datetime64[Y]"))
    november = years.astype("datetime64[M]") + np.timedelta64(10, "M")
    first = november.astype("datetime64[D]")
    friday = first + (4 - (first.astype(np.int64) + 3) % 7) % 7 + 21
    december = (years.astype("datetime64[M]") + np.timedelta64(11, "M")).astype("datetime64[D]")
    return {"fourth friday of november": friday, "second day of christmas": december + 25}


def _wandering(size: int, random: np.random.Generator) -> Floats:
    growth = random.uniform(-0.1, 0.4) * np.arange(size) / 365
    return np.exp(growth + np.cumsum(random.normal(0, 0.004, size)))


def _autocorrelated(
    size: int, share: float, deviation: float, random: np.random.Generator
) -> Floats:
    found = random.normal(0, deviation, size)
    for day in range(1, size):
        found[day] = share * found[day - 1] + np.sqrt(1 - share**2) * found[day]
    return found
