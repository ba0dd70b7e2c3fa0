"""What the web's simulation tells of an advertiser's people: clicks on ads, and purchases."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import ceil
from pathlib import Path
from zoneinfo import ZoneInfo

from dmp_assets.demo.business import ads_world, web
from dmp_assets.demo.business.ads_world import Advertiser
from dmp_assets.demo.business.shop_text import DAY
from dmp_assets.demo.business.web_world import CHANNEL_NAMES

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Visit:
    """A visit of the web: its row there, time (unix), channel, campaign, cost in 1/10000 EUR."""

    row: int
    at: int
    channel: str
    campaign: str | None
    cost: int


@dataclass(frozen=True)
class Purchase:
    """A purchase of the web by a person, with the person's visits before it, in order."""

    conversion_id: str
    person: int
    at: int
    cents: int
    before: tuple[Visit, ...]


@dataclass(frozen=True)
class Trade:
    """One advertiser's visits by ads and purchases, in order of time, from `first` to `last`.

    `size`: how many people it has, in those whom `ads_world.CAMPAIGNS` are for.
    """

    advertiser: Advertiser
    clicks: tuple[Visit, ...]
    purchases: tuple[Purchase, ...]
    first: date
    last: date
    size: float

    @property
    def starts(self) -> int:
        """The first moment (unix)."""
        return (self.first - _EPOCH).days * DAY

    @property
    def ends(self) -> int:
        """The moment after the last one."""
        return (self.last - _EPOCH).days * DAY + DAY


def traded(
    advertiser: Advertiser, shop_export: Path, *, seed: int, end: date, days: int, most: int
) -> Trade:
    """What the web's simulation tells of the advertiser's people, of whom there are `most`."""
    business, tables = web.clean(shop_export, seed=seed + advertiser.seed, end=end, days=days)
    world, rows = business.world, business.touches
    every = advertiser.every * max(1, ceil(len(business.ids) / most))
    campaigns = tables["session_sources"]["campaign_name"].to_pylist()
    names = [CHANNEL_NAMES[number] for number in world.channel[rows]]
    visits: dict[int, list[Visit]] = {}
    clicks: list[Visit] = []
    for row, person, at, channel, campaign, cost in zip(
        rows.tolist(),
        world.visitor[rows].tolist(), world.seconds[rows].tolist(), names, campaigns,
        business.cost[rows].tolist(), strict=True,
    ):  # fmt: skip
        if person % every:
            continue
        visit = Visit(row, at, channel, campaign, cost)
        visits.setdefault(person, []).append(visit)
        if channel == ads_world.CHANNEL:
            clicks.append(visit)
    bought = business.purchases
    purchases = tuple(
        Purchase(
            conversion_id, person, at, cents,
            tuple(one for one in visits.get(person, ()) if one.at <= at),
        )
        for conversion_id, person, at, cents in zip(
            tables["conversions"]["conv_id"].to_pylist(), world.person[bought].tolist(),
            world.bought_at[bought].tolist(), world.cents[bought].tolist(), strict=True,
        )
        if person % every == 0
    )  # fmt: skip
    first = end - timedelta(days=days - 1)
    size = len(business.ids) / every / ads_world.PEOPLE
    return Trade(advertiser, tuple(clicks), purchases, first, end, size)


def day_at(at: int, zone: str) -> date:
    """The day that it is there at a unix time."""
    return datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)).date()


def money(cents: int) -> Decimal:
    """Hundredths as an amount."""
    return Decimal(cents).scaleb(-2)
