"""How people of the simulated business come to buy, and what each channel really causes.

A person has *wishes* to buy something: some arise by themselves, some are woken by a touchpoint.
During a wish the person visits through several channels and at its end buys with probability

    1 - exp(-keenness * (BASE_HAZARD + GAIN * (1 - exp(-sum of effect * decay over touchpoints))))

where the decay is exp(-age / MEMORY_DAYS) at the end of the wish. Keen people buy more often *and*
visit more often by direct, brand search, coupon sites and retargeting, late in the wish: those
channels are seen before purchases without causing many.

Counterfactual: a business without a channel is the same simulation, with the same random numbers,
in which the touchpoints of that channel are not there. Wishes that it woke vanish with all their
visits (second-order effects are included); all other people, wishes, visits and baskets stay. A
person who would have come through the missing channel does not come through another instead.
"""

from dataclasses import dataclass

import numpy as np

from dmp_assets.demo.business import shop_world, web_world
from dmp_assets.demo.business.shop_text import (
    DAY,
    Bools,
    Floats,
    Ints,
    Rng,
    chance,
    local_to_utc,
    weighted,
)
from dmp_assets.demo.business.web_world import CHANNEL_NAMES, CHANNELS

WARM_UP_DAYS = 21  # simulated before the first day, so that it starts in full swing
_NONE = -1


@dataclass(frozen=True)
class People:
    """Who there is: number of the time zone, and whether somebody abuses the shop."""

    zone: Ints
    zones: tuple[str, ...]
    abuser: Bools

    def __len__(self) -> int:
        return len(self.zone)


@dataclass(frozen=True)
class World:
    """All wishes and touchpoints that there could be; what of it happens, `outcome` tells."""

    person: Ints  # of each wish
    origin: Ints  # channel whose touchpoint woke the wish, -1: none
    keenness: Floats
    luck: Floats  # uniform; bought when below the probability
    bought_at: Ints  # seconds since 1970, if it is bought
    cents: Ints  # the basket's worth

    visitor: Ints  # of each touchpoint
    wish: Ints  # that it belongs to, -1: none
    channel: Ints
    seconds: Ints
    place: Floats  # in the wish: 0 at its start, 1 at its end
    weight: Floats  # effect on the wish, decayed
    is_last: Bools  # the session in which the purchase is made, if one is
    is_view: Bools  # seen, not clicked


def simulate(rng: Rng, people: People, first_day: int, last_day: int) -> World:
    """The world of these people from the warm-up before `first_day` to the end of `last_day`."""
    days = np.arange(first_day - WARM_UP_DAYS, last_day + 1)
    span, count = len(days), len(people)
    activity = rng.gamma(1.5, 1 / 1.5, count) * np.where(people.abuser, 1.5, 1.0)
    scale = activity * span / 90

    arrivals = [rng.poisson(channel.arrivals * scale) for channel in CHANNELS]
    visitor = np.concatenate([np.repeat(np.arange(count), number) for number in arrivals])
    channel = np.repeat(np.arange(len(CHANNELS)), [number.sum() for number in arrivals])
    moment = rng.random(len(visitor)) * span
    wakes = chance(rng, np.array([c.starts for c in CHANNELS])[channel], len(visitor))

    alone = np.repeat(np.arange(count), rng.poisson(web_world.BASE_WISHES * scale))
    person = np.concatenate([alone, visitor[wakes]])
    start = np.concatenate([rng.random(len(alone)) * span, moment[wakes]])
    origin = np.concatenate([np.full(len(alone), _NONE), channel[wakes]])
    wishes = len(person)
    keenness = rng.gamma(2.0, 0.5, wishes)
    length = np.minimum(rng.gamma(1.3, web_world.WISH_DAYS / 1.3, wishes), 25)
    end = start + length
    first_wish = np.full(len(visitor), _NONE)
    first_wish[wakes] = np.arange(len(alone), wishes)

    tracked = ~chance(rng, web_world.UNTRACKED, wishes)
    owner, via, place = _visits(rng, people.abuser[person], keenness, tracked)
    closed = np.flatnonzero(tracked & chance(rng, web_world.CLOSED, wishes))
    bought_at = _calendar(end, days, people, person)
    patience = rng.integers(120, 2_400, len(closed))  # seconds from the last visit to the purchase

    wish = np.concatenate([first_wish, owner, closed])
    channel = np.concatenate([channel, via, _closing(rng, people.abuser[person[closed]])])
    visitor = np.concatenate([visitor, person[owner], person[closed]])
    moment = np.concatenate([moment, start[owner] + place * length[owner], end[closed]])
    place = np.concatenate([np.zeros(len(first_wish)), place, np.ones(len(closed))])
    is_last = np.arange(len(wish)) >= len(wish) - len(closed)
    seconds = _calendar(moment, days, people, visitor)
    inside = (wish != _NONE) & ~is_last
    seconds[inside] = np.minimum(seconds[inside], bought_at[wish[inside]] - 2_460)
    seconds[is_last] = bought_at[closed] - patience
    age = np.where(wish == _NONE, 0.0, end[wish] - moment)
    effect = np.array([c.effect for c in CHANNELS])[channel]
    views = np.array([c.views for c in CHANNELS])[channel]
    return World(
        person=person,
        origin=origin,
        keenness=keenness,
        luck=rng.random(wishes),
        bought_at=bought_at,
        cents=_baskets(rng, people.abuser[person]),
        visitor=visitor,
        wish=wish,
        channel=channel,
        seconds=seconds,
        place=place,
        weight=effect * np.exp(-age / web_world.MEMORY_DAYS),
        is_last=is_last,
        is_view=chance(rng, views, len(wish)) & ~is_last,
    )


def probability(world: World, without: str | None = None) -> Floats:
    """Chance of each wish to end in a purchase, in a business without that channel."""
    removed = _number(without)
    felt = (world.wish != _NONE) & (world.channel != removed)
    lift = np.bincount(world.wish[felt], world.weight[felt], minlength=len(world.person))
    hazard = web_world.BASE_HAZARD + web_world.GAIN * (1 - np.exp(-lift))
    chances: Floats = 1 - np.exp(-world.keenness * hazard)
    return np.where((world.origin == removed) & (removed != _NONE), 0.0, chances)


def outcome(world: World, without: str | None = None) -> tuple[Bools, Bools]:
    """Which wishes are bought and which touchpoints happen, in a business without that channel."""
    removed = _number(without)
    if removed == _NONE:
        return world.luck < probability(world), np.ones(len(world.wish), dtype=bool)
    vanished = world.origin == removed
    in_vanished = (world.wish != _NONE) & vanished[world.wish]
    return world.luck < probability(world, without), (world.channel != removed) & ~in_vanished


def _number(channel: str | None) -> int:
    return _NONE if channel is None else CHANNEL_NAMES.index(channel)


def _visits(rng: Rng, abuser: Bools, keenness: Floats, tracked: Bools) -> tuple[Ints, Ints, Floats]:
    """Wish, channel and place of the touchpoints during wishes."""
    owners, channels, places = [], [], []
    for number, channel in enumerate(CHANNELS):
        mean = channel.visits * np.where(abuser, channel.abuse, 1.0) * tracked
        owner = np.repeat(
            np.arange(len(abuser)), rng.poisson(mean * keenness if channel.keen else mean)
        )
        owners.append(owner)
        channels.append(np.full(len(owner), number))
        places.append(rng.beta(channel.early, channel.late, len(owner)))
    return np.concatenate(owners), np.concatenate(channels), np.concatenate(places)


def _closing(rng: Rng, abuser: Bools) -> Ints:
    honest = weighted(rng, [c.closing for c in CHANNELS], len(abuser))
    abusive = weighted(rng, [c.closing * c.abuse for c in CHANNELS], len(abuser))
    return np.where(abuser, abusive, honest)


def _baskets(rng: Rng, abuser: Bools) -> Ints:
    worth = rng.lognormal(np.log(web_world.BASKET_EUR), 0.6, len(abuser))
    cents: Ints = np.maximum(np.rint(worth * np.where(abuser, 0.6, 1.0) * 100), 100).astype(
        np.int64
    )
    return cents


def _calendar(moment: Floats, days: Ints, people: People, person: Ints) -> Ints:
    """UTC seconds of moments on an even clock (days since the warm-up began).

    The even clock is bent, without changing any order, so that more happens on busy weekdays and
    at the hours when people are awake in their time zone.
    """
    every = np.arange(days[0], days[-1] + 60)
    share = np.array(shop_world.WEEKDAYS)[(every + 3) % 7]
    edges = np.r_[0, np.cumsum(share * 7 / sum(shop_world.WEEKDAYS))]
    at = np.interp(moment, edges, np.arange(len(edges)))
    day = np.floor(at).astype(np.int64)
    hours = np.r_[0, np.cumsum(shop_world.HOURS)] / sum(shop_world.HOURS)
    hour = np.interp(at - day, hours, np.arange(len(hours)))
    local = (every[0] + day) * DAY + np.minimum(hour * 3_600, DAY - 1).astype(np.int64)
    return local_to_utc(local, people.zone[person], people.zones)
