"""Rings of abusers: seven ways to redeem one offer many times.

A ring is 3 to 40 accounts of one person or gang. Each kind leaves its primary evidence on most of
its accounts, and, because the aim is the same everywhere (many cheap accounts, used up fast),
some of the general traits in `TRAITS`; sleepers, which are made in bulk and left to age, show
theirs at sign-up. A tenth of the members are careful and show half of it.
The numbers are judgements about how such rings work, made before the product's model existed.
Those of sleepers, e-mail aliases and rapid redemption were raised once after a rough look with a
throw-away gradient boosting on a dozen obvious features, to see that every kind leaves a trace.
"""

import numpy as np

from dmp_assets.demo.business import shop_world as world
from dmp_assets.demo.business.shop_people import (
    ABUSE_KINDS,
    ALIAS_DOT,
    ALIAS_PLUS,
    DATACENTRE,
    MAIL_JOINED,
    MAIL_RANDOM,
    MAIL_SERIAL,
    PHONE_BRACKETS,
    PHONE_FAKE,
    PHONE_LETTERS,
    PHONE_SHORT,
    PHONE_ZEROS,
    Accounts,
    registration_days,
)
from dmp_assets.demo.business.shop_text import DAY, Ints, Rng, chance, group_sizes, rank_within

# Per kind: phone not verified, e-mail not verified, disposable mail domain, odd browser, place
# and time zone at odds, default date of birth, mailbox unlike the name, shared address, shared
# device, neighbouring addresses of a data centre.
TRAITS: dict[str, tuple[float, ...]] = {
    "device_farm": (0.70, 0.45, 0.30, 0.25, 0.20, 0.20, 0.45, 0.25, 0.85, 0.25),
    "email_alias": (0.70, 0.12, 0.00, 0.10, 0.15, 0.15, 0.00, 0.60, 0.40, 0.15),
    "recycled_phone": (0.75, 0.40, 0.25, 0.15, 0.18, 0.20, 0.40, 0.20, 0.20, 0.20),
    "rotating_ip": (0.65, 0.40, 0.25, 0.20, 0.55, 0.15, 0.40, 0.00, 0.85, 0.00),
    "rapid_redemption": (0.70, 0.45, 0.35, 0.15, 0.20, 0.15, 0.40, 0.25, 0.15, 0.25),
    "scripted_signup": (0.80, 0.60, 0.30, 0.45, 0.25, 0.30, 0.50, 0.25, 0.10, 0.60),
    "sleeper": (0.75, 0.50, 0.30, 0.20, 0.25, 0.22, 0.45, 0.25, 0.20, 0.35),
}
# Days between a ring's first and last sign-up: shortest and longest.
_WINDOWS = {
    "device_farm": (0.5, 10.0),
    "email_alias": (1.0, 30.0),
    "recycled_phone": (1.0, 20.0),
    "rotating_ip": (1.0, 20.0),
    "rapid_redemption": (0.2, 5.0),
    "scripted_signup": (0.01, 0.05),
    "sleeper": (1.0, 30.0),
}


def spoil(rng: Rng, people: Accounts, abusers: int, first_day: int, last_day: int) -> int:
    """Turn the last `abusers` rows into rings; returns the number of rings.

    The kinds get equal shares (with fewer than three accounts per kind, only the first kinds).
    """
    kinds = max(1, min(len(ABUSE_KINDS), abusers // 3))
    counts = np.full(kinds, abusers // kinds)
    counts[: abusers % kinds] += 1
    row, ring = len(people) - abusers, 0
    for number, count in enumerate(counts):
        rows = np.arange(row, row + count)
        row += count
        sizes = group_sizes(rng, int(count), 3, 38, 8.0)
        group = np.repeat(np.arange(len(sizes)), sizes)
        people.kind[rows] = number
        people.ring[rows] = ring + group
        ring += len(sizes)
        _sign_up(rng, people, rows, group, ABUSE_KINDS[number], first_day, last_day)
        _general_traits(rng, people, rows, group, ABUSE_KINDS[number])
        _primary_evidence(rng, people, rows, group, ABUSE_KINDS[number])
    return ring


def _sign_up(
    rng: Rng, people: Accounts, rows: Ints, group: Ints, kind: str, first_day: int, last_day: int
) -> None:
    """A ring signs up within its window; a script at steady intervals with a little jitter."""
    rings = int(group[-1]) + 1
    low, high = _WINDOWS[kind]
    span = rng.uniform(low, high, rings)
    # a sleeper must have slept and woken before the history ends
    rest = min(90 if kind == "sleeper" else 4, (last_day - first_day) // 3)
    last_start = max(first_day, int(last_day - high - rest))
    start = registration_days(rng, rings, first_day, last_start) * DAY + rng.integers(0, DAY, rings)
    if kind == "scripted_signup":
        pace = rng.uniform(20, 90, rings)
        offset = rank_within(group) * pace[group] + rng.normal(0, 3, len(rows))
    else:
        offset = rng.random(len(rows)) * span[group] * DAY
    created = start[group] + np.abs(offset).astype(np.int64)
    people.created[rows] = np.clip(created, first_day * DAY, (last_day + 1) * DAY - 7_200)


def _general_traits(rng: Rng, people: Accounts, rows: Ints, group: Ints, kind: str) -> None:
    size, rings = len(rows), int(group[-1]) + 1
    head = rows[np.flatnonzero(np.r_[True, group[1:] != group[:-1]])][group]
    care = np.where(chance(rng, 0.1, size), 0.5, 1.0)
    shows = {
        name: chance(rng, share * care, size)
        for name, share in zip(
            ("phone", "mail", "disposable", "odd", "place", "born", "random", "net", "device",
             "subnet"),
            TRAITS[kind],
            strict=True,
        )
    }  # fmt: skip
    people.phone_verified[rows] = ~shows["phone"]
    people.email_verified[rows] = ~shows["mail"]
    domain = len(world.MAIL_DOMAINS) + rng.integers(0, len(world.DISPOSABLE_DOMAINS), rings)
    people.mail_domain[rows] = np.where(
        shows["disposable"], domain[group], people.mail_domain[rows]
    )
    odd = len(world.BROWSERS) + rng.integers(0, len(world.ODD_BROWSERS), rings)
    people.browser[rows] = np.where(shows["odd"], odd[group], people.browser[rows])
    people.home[rows] = people.home[head]
    people.city[rows] = people.home[head]
    elsewhere = rng.integers(0, len(world.CITIES), size)
    people.zone[rows] = np.where(shows["place"], elsewhere, people.home[head])
    people.born[rows] = np.where(shows["born"], 7_305, people.born[rows])
    people.mail_style[rows] = np.where(shows["random"], MAIL_RANDOM, people.mail_style[rows])
    base = 4 * len(people)  # numbers that nobody honest has
    people.net[rows] = np.where(shows["net"], base + people.ring[rows], people.net[rows])
    at_host = shows["subnet"] & ~shows["net"]
    people.subnet[rows] = np.where(at_host, people.ring[rows], -1)
    people.net[rows] = np.where(at_host, 5 * len(people) + rows, people.net[rows])
    people.net_kind[rows] = np.where(at_host, DATACENTRE, people.net_kind[rows])
    handsets = base + people.ring[rows] * 64 + rank_within(group) // 6
    people.device[rows] = np.where(shows["device"], handsets, people.device[rows])


def _primary_evidence(rng: Rng, people: Accounts, rows: Ints, group: Ints, kind: str) -> None:
    size, rings = len(rows), int(group[-1]) + 1
    rank = rank_within(group)
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    head = rows[starts][group]
    clear = chance(rng, 0.92, size)
    if kind == "email_alias":
        for column, value in (
            (people.mail_domain, world.GMAIL),
            (people.mail_style, MAIL_JOINED),
        ):
            column[rows] = np.where(clear, value, column[rows])
        people.mailbox[rows] = np.where(clear, head, rows)
        people.alias[rows] = np.where(clear & (rows != head), ALIAS_PLUS, 0)
        by_dots = chance(rng, 0.35, size) & (rank < 6) & (rows != head) & clear
        people.alias[rows] = np.where(by_dots, ALIAS_DOT, people.alias[rows])
        people.alias_number[rows] = np.where(by_dots, rank - 1, rank)
        clear[starts] = True
        people.mail_domain[rows[starts]] = world.GMAIL
        people.mail_style[rows[starts]] = MAIL_JOINED
    elif kind == "recycled_phone":
        same = clear & chance(rng, 0.7, rings)[group]
        typed = rng.choice([0, PHONE_ZEROS, PHONE_BRACKETS], size, p=[0.7, 0.15, 0.15])
        broken = rng.choice([PHONE_FAKE, PHONE_SHORT, PHONE_LETTERS], size, p=[0.5, 0.3, 0.2])
        handful = head + np.minimum(rank // 8, 4)  # a ring recycles a few numbers
        people.phone[rows] = np.where(same, handful, people.phone[rows])
        people.phone_style[rows] = np.where(same, typed, np.where(clear, broken, 0))
        people.phone_verified[rows] &= same
    elif kind == "rotating_ip":
        # each sign-up through another exit of a proxy: city and address keep changing
        exits = rng.integers(0, len(world.CITIES), size)
        people.home[rows] = np.where(clear, exits, people.home[rows])
        people.net_kind[rows] = np.where(chance(rng, 0.4, size), DATACENTRE, people.net_kind[rows])
        people.device[rows] = np.where(clear, 4 * len(people) + people.ring[rows] * 64,
                                       people.device[rows])  # fmt: skip
    elif kind == "scripted_signup":
        people.browser[rows] = np.where(clear, people.browser[head], people.browser[rows])
        people.browser_lag[rows] = np.where(clear, people.browser_lag[head],
                                            people.browser_lag[rows])  # fmt: skip
        serial = chance(rng, 0.6, rings)[group] & clear
        people.mail_style[rows] = np.where(serial, MAIL_SERIAL, people.mail_style[rows])
        first = rng.integers(1, 4_000, rings)
        people.mail_serial[rows] = np.where(serial, first[group] + rank, people.mail_serial[rows])
        people.first[rows] = np.where(serial, people.first[head], people.first[rows])
        people.alias_number[rows] = people.alias_number[head]
