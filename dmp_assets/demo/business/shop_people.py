"""Accounts of the simulated shop: honest people first, and the lives that make them look alike.

An account is a row of numbers (`Accounts`); accounts that share a device, an address, a mailbox
or a phone share its number. `render` turns the numbers into the text of the export.

Hard negatives are honest accounts that look like abuse: families on one device or address,
second accounts after a lost password, offices, campuses and carriers behind one IP address,
people who redeem minutes after a campaign e-mail, customers who sign up on a tablet in a store,
plus-addresses, masked mailboxes, mistyped phones, keen coupon users.
"""

import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.demo.business import shop_names
from dmp_assets.demo.business import shop_world as world
from dmp_assets.demo.business.shop_text import (
    DAY,
    Bools,
    Floats,
    Ints,
    Rng,
    chance,
    choose,
    constant,
    date_text,
    digits,
    group_sizes,
    hex_words,
    join,
    local_to_utc,
    patch,
    pool,
    rank_within,
    uuids,
    weighted,
)

HARD_NEGATIVES = (
    "family", "second_account", "office", "campus", "carrier", "campaign_rush",
    "store_tablet", "plus_address", "masked_mail", "mistyped_phone", "coupon_fan",
)  # fmt: skip
# Share of all accounts, in the order above.
_SHARES = (0.04, 0.003, 0.025, 0.02, 0.03, 0.015, 0.005, 0.007, 0.006, 0.008, 0.01)
_GROUPS = {  # smallest, largest and mean size of what shares one address
    "family": (2, 6, 3.0),
    "second_account": (2, 2, 2.0),
    "office": (4, 30, 10.0),
    "campus": (20, 200, 60.0),
    "carrier": (20, 400, 90.0),
    "campaign_rush": (8, 200, 30.0),
    "store_tablet": (10, 60, 25.0),
}
ABUSE_KINDS = (
    "device_farm", "email_alias", "recycled_phone", "rotating_ip",
    "rapid_redemption", "scripted_signup", "sleeper",
)  # fmt: skip

# Kinds of network, styles of mailbox and phone (numbers in `Accounts`).
HOME, SHARED, DATACENTRE = 0, 1, 2
MAIL_DOTTED, MAIL_JOINED, MAIL_INITIAL, MAIL_NICK, MAIL_RANDOM, MAIL_SERIAL = range(6)
PHONE_PLAIN, PHONE_ZEROS, PHONE_SPACES, PHONE_DASHES, PHONE_EXTENSION, PHONE_BRACKETS = range(6)
PHONE_SHORT, PHONE_LETTERS, PHONE_FAKE, PHONE_LONG = range(6, 10)
PHONE_STYLES = (
    "plain", "leading 00", "spaces", "dashes", "extension", "brackets",
    "too short", "letters", "made up", "too long",
)  # fmt: skip
ALIAS_NONE, ALIAS_PLUS, ALIAS_DOT = range(3)
_FAKES = ("0000000000", "1234567890", "n/a", "call me", "+10000000000", "none", "9999999999")


@dataclass(frozen=True)
class Accounts:
    """One entry per account in every array; indices point into `shop_world`'s tables."""

    kind: Ints  # index into ABUSE_KINDS, -1 for honest
    ring: Ints  # number of the abuse ring, -1 for honest
    hard: Ints  # index into HARD_NEGATIVES, -1 for none
    crowd: Ints  # number of the hard negative's group, -1 for none
    created: Ints  # seconds since 1970, UTC
    home: Ints  # city that the person lives in
    city: Ints  # city and time zone as registered
    zone: Ints
    gender: Ints
    first: Ints
    last: Ints
    born: Ints  # days since 1970
    device: Ints  # shared number: the same device
    net: Ints  # shared number: the same IP address
    subnet: Ints  # shared number: the same /24, -1 for none
    net_kind: Ints
    mailbox: Ints  # row whose address this account's address reaches
    mail_style: Ints
    mail_domain: Ints  # beyond MAIL_DOMAINS: disposable
    mail_serial: Ints
    alias: Ints
    alias_number: Ints
    phone: Ints  # shared number: the same phone
    phone_style: Ints
    browser: Ints  # beyond BROWSERS: odd
    browser_lag: Ints
    email_verified: Bools
    phone_verified: Bools

    def __len__(self) -> int:
        return len(self.kind)


def registration_days(rng: Rng, count: int, first_day: int, last_day: int) -> Ints:
    """Days since 1970: growth of a third a year, a season, a weekly rhythm."""
    days = np.arange(first_day, last_day + 1)
    stamps = days.astype("datetime64[D]")
    month = stamps.astype("datetime64[M]").astype(int) % 12
    weight = (
        1.33 ** ((days - first_day) / 365.25)
        * np.array(world.MONTHS)[month]
        * np.array(world.WEEKDAYS)[(days + 3) % 7]
    )
    drawn: Ints = days[weighted(rng, weight, count)].astype(np.int64)
    return drawn


def at_local_hours(rng: Rng, days: Ints, home: Ints) -> Ints:
    """UTC seconds on the given local days, at hours when people are awake in their city."""
    count = len(days)
    local = days * DAY + weighted(rng, world.HOURS, count) * 3_600 + rng.integers(0, 3_600, count)
    zones = sorted({city.timezone for city in world.CITIES})
    zone = np.array([zones.index(city.timezone) for city in world.CITIES])
    return local_to_utc(local, zone[home], zones)


def _within(seconds: Ints, first_day: int, last_day: int) -> Ints:
    """Times that a time zone pushed over the edge, a day back inside."""
    late = seconds >= (last_day + 1) * DAY
    early = seconds < first_day * DAY
    inside: Ints = seconds - late * DAY + early * DAY
    return inside


def population(rng: Rng, count: int, abusers: int, first_day: int, last_day: int) -> Accounts:
    """Accounts of honest habits; the last `abusers` rows wait for `shop_abuse` to spoil them."""
    days = registration_days(rng, count, first_day, last_day)
    home = weighted(rng, [city.weight for city in world.CITIES], count)
    travels = chance(rng, 0.03, count)
    zone = np.where(travels, weighted(rng, [c.weight for c in world.CITIES], count), home)
    created = _within(at_local_hours(rng, days, home), first_day, last_day)
    age = np.clip(rng.gamma(5, 4.2, count) + 17, 18, 85)
    born = days - (age * 365.25).astype(np.int64)
    born = np.where(chance(rng, 0.01, count), 7_305, born)  # 1990-01-01, a form's default
    odd = chance(rng, 0.01, count)
    people = Accounts(
        kind=np.full(count, -1),
        ring=np.full(count, -1),
        hard=np.full(count, -1),
        crowd=np.full(count, -1),
        created=created,
        home=home,
        city=home.copy(),
        zone=zone,
        gender=weighted(rng, (0.49, 0.47, 0.04), count),
        first=rng.integers(0, len(world.FIRST_NAMES), count),
        last=rng.integers(0, len(world.LAST_NAMES), count),
        born=born,
        device=np.arange(count),
        net=np.arange(count),
        subnet=np.full(count, -1),
        net_kind=np.full(count, HOME),
        mailbox=np.arange(count),
        mail_style=weighted(rng, (0.34, 0.16, 0.2, 0.22, 0.08), count),
        mail_domain=np.where(
            chance(rng, 0.004, count),
            len(world.MAIL_DOMAINS) + rng.integers(0, len(world.DISPOSABLE_DOMAINS), count),
            weighted(rng, [share for _, share in world.MAIL_DOMAINS], count),
        ),
        mail_serial=np.where(chance(rng, 0.55, count), rng.integers(1, 9_999, count), -1),
        alias=np.zeros(count, dtype=np.int64),
        alias_number=rng.integers(0, 1_000, count),
        phone=np.arange(count),
        phone_style=np.zeros(count, dtype=np.int64),
        browser=np.where(
            odd,
            len(world.BROWSERS) + weighted(rng, [b[4] for b in world.ODD_BROWSERS], count),
            weighted(rng, [b[4] for b in world.BROWSERS], count),
        ),
        browser_lag=np.minimum(rng.geometric(0.45, count) - 1, 14),
        email_verified=chance(rng, 0.88, count),
        phone_verified=chance(rng, 0.76, count),
    )
    # Carriers put most phones behind few addresses; a tenth of the others share one by chance.
    by_chance = np.flatnonzero(chance(rng, 0.06, count))
    pools = max(1, len(by_chance) // 12)
    people.net[by_chance] = count + rng.integers(0, pools, len(by_chance))
    people.net_kind[by_chance] = SHARED
    _hard_negatives(rng, people, count - abusers, first_day, last_day)
    return people


def _hard_negatives(rng: Rng, people: Accounts, honest: int, first_day: int, last_day: int) -> None:
    """Mark blocks of honest rows, from the end of the honest ones, and give them their lives."""
    count = len(people)
    end, crowd = honest, 0
    shared_net = 2 * count  # numbers above those that population() gave
    for number, (name, share) in enumerate(zip(HARD_NEGATIVES, _SHARES, strict=True)):
        size = max(2, round(share * count))
        rows = np.arange(end - size, end)
        end -= size
        people.hard[rows] = number
        if name not in _GROUPS:
            _habit(rng, people, rows, name)
            continue
        sizes = group_sizes(rng, size, *_GROUPS[name])
        group = np.repeat(np.arange(len(sizes)), sizes)
        head = rows[np.r_[0, np.cumsum(sizes)[:-1]]][group]  # first row of each row's group
        people.crowd[rows] = crowd + group
        crowd += len(sizes)
        if name == "campaign_rush":
            _campaign(rng, people, rows, group, len(sizes), first_day, last_day)
            continue
        together = chance(rng, 0.95, size)
        people.home[rows] = people.home[head]
        people.city[rows] = np.where(together, people.home[head], people.city[rows])
        people.zone[rows] = np.where(together, people.home[head], people.zone[rows])
        at_address = chance(rng, 0.97, size) if name != "second_account" else chance(rng, 0.6, size)
        people.net[rows] = np.where(at_address, shared_net + group, people.net[rows])
        people.net_kind[rows] = SHARED if name not in ("family", "second_account") else HOME
        shared_net += len(sizes)
        if name in ("family", "second_account"):
            _household(rng, people, rows, head, name, last_day)
        if name == "store_tablet":  # one device for all; half skip the confirmations
            people.device[rows] = people.device[head]
            people.email_verified[rows] = chance(rng, 0.7, size)
            people.phone_verified[rows] = chance(rng, 0.55, size)
        if name == "campus":
            people.born[rows] = people.created[rows] // DAY - rng.integers(18 * 365, 27 * 365, size)


def _household(
    rng: Rng, people: Accounts, rows: Ints, head: Ints, name: str, last_day: int
) -> None:
    """A family's tablet and phone, or one person's second account after a lost password."""
    size, family = len(rows), name == "family"
    shares_device = chance(rng, 0.6, len(people))[head] if family else chance(rng, 0.9, size)
    on_it = shares_device & chance(rng, 0.85, size)
    people.device[rows] = np.where(on_it, people.device[head], people.device[rows])
    same_name = chance(rng, 0.85, size) if family else np.ones(size, dtype=bool)
    people.last[rows] = np.where(same_name, people.last[head], people.last[rows])
    shares_phone = chance(rng, 0.07 if family else 0.4, size)
    people.phone[rows] = np.where(shares_phone, people.phone[head], people.phone[rows])
    if family:  # a third of them sign up within days of each other
        soon = people.created[head] + (rng.exponential(4, size) * DAY).astype(np.int64)
        near = chance(rng, 0.33, size) & (soon < (last_day + 1) * DAY) & (rows != head)
        people.created[rows] = np.where(near, soon, people.created[rows])
    else:
        for column in (people.first, people.born, people.gender):
            column[rows] = column[head]


def _habit(rng: Rng, people: Accounts, rows: Ints, name: str) -> None:
    if name == "plus_address":
        people.alias[rows] = ALIAS_PLUS
        people.mail_domain[rows] = world.GMAIL
    elif name == "masked_mail":
        people.mail_style[rows] = MAIL_RANDOM
        people.mail_domain[rows] = world.ICLOUD
    elif name == "mistyped_phone":
        people.phone_style[rows] = rng.choice([PHONE_SHORT, PHONE_LETTERS, PHONE_LONG], len(rows))
        people.phone_verified[rows] = False


def _campaign(
    rng: Rng, people: Accounts, rows: Ints, group: Ints, groups: int, first_day: int, last_day: int
) -> None:
    """Sign-ups in the hours after a newsletter or a television spot."""
    sent = registration_days(rng, groups, first_day, last_day) * DAY + rng.integers(
        7 * 3_600, 18 * 3_600, groups
    )
    delay = np.minimum(rng.gamma(1.2, 3_600, len(rows)), 5 * 3_600).astype(np.int64)
    people.created[rows] = sent[group] + delay


# ---- from numbers to text ----------------------------------------------------------------------
def render(rng: Rng, people: Accounts, user_id: pa.Array) -> dict[str, pa.Array]:
    """The export's columns, clean; `created_at` and `is_abuser` are added by the caller."""
    country = np.array([world.COUNTRIES.index(city.country) for city in world.CITIES])[people.home]
    flags = ["FALSE", "TRUE"]
    first, last = shop_names.written(people.first, people.last, country)
    return {
        "user_id": user_id,
        "email": _emails(rng, people),
        "is_email_verified": pool(flags, people.email_verified.astype(np.int64)),
        "phone": phones(rng, people.phone, country, people.phone_style),
        "is_phone_verified": pool(flags, people.phone_verified.astype(np.int64)),
        "first_name": first,
        "last_name": last,
        "ip_address": _addresses(rng, people, country),
        "device_id": _devices(rng, people.device),
        "user_agent": _user_agents(people),
        "city": pool([city.name for city in world.CITIES], people.city),
        "gender": pool(["Female", "Male", "Other"], people.gender),
        "dob": date_text(people.born),
        "timezone": shop_names.zones(people.zone, people.created),
    }


def _devices(rng: Rng, number: Ints) -> pa.Array:
    known, place = np.unique(number, return_inverse=True)
    return uuids(rng, len(known)).take(pa.array(place))


def _leaders(number: Ints) -> tuple[Ints, Ints]:
    """Rows that first use each shared number, and for every row the place of its leader."""
    _, first, place = np.unique(number, return_index=True, return_inverse=True)
    return first, place


def _addresses(rng: Rng, people: Accounts, country: Ints) -> pa.Array:
    first, place = _leaders(people.net)
    count = len(first)
    kind, subnet, land = people.net_kind[first], people.subnet[first], country[first]
    octets = [world.HOME_OCTETS[name] for name in world.COUNTRIES]
    width = max(map(len, octets))
    table = np.array([[row[i % len(row)] for i in range(width)] for row in octets])
    one = table[land, rng.integers(0, width, count)]
    two, three, four = rng.integers(0, 256, (3, count))
    hosted = kind == DATACENTRE
    one = np.where(hosted, np.array([45, 104, 139, 159, 167])[rng.integers(0, 5, count)], one)
    together = subnet >= 0
    if together.any():  # one /24: the leader's first three octets
        lead, where = _leaders(np.where(together, subnet, -1 - np.arange(count)))
        one, two, three = one[lead][where], two[lead][where], three[lead][where]
    v4 = join(digits(one), ".", digits(two), ".", digits(three), ".", digits(four % 253 + 1))
    groups = rng.integers(1, 65_536, (5, count))
    v6 = join(
        pool(world.IPV6_HOMES, rng.integers(0, len(world.IPV6_HOMES), count)),
        *[part for row in groups for part in (":", hex_words(row))],
        ":1",
    )
    modern = chance(rng, 0.06, count) & (kind != DATACENTRE) & ~together
    return choose(modern, v6, v4).take(pa.array(place))


def phones(rng: Rng, number: Ints, country: Ints, style: Ints) -> pa.Array:
    """Phone numbers as typed: one per shared number, each row in its own style."""
    first, place = _leaders(number)
    land = country[first]
    count = len(first)
    plans = [world.PHONE_PLANS[name] for name in world.COUNTRIES]
    heads, tails = constant("", count), constant("", count)
    for index, (_, prefixes, width) in enumerate(plans):
        rows = np.flatnonzero(land == index)
        # the first digit after a prefix is 2 to 8: valid in all of these plans
        tail = rng.integers(2, 9, len(rows)) * 10 ** (width - 1) + rng.integers(
            0, 10 ** (width - 1), len(rows)
        )
        choice = rng.integers(0, len(prefixes), len(rows))
        heads = patch(heads, rows, pool(prefixes, choice))
        tails = patch(tails, rows, digits(tail, width))
    code = pool([plan[0] for plan in plans], land).take(pa.array(place))
    head, tail = heads.take(pa.array(place)), tails.take(pa.array(place))
    text = join("+", code, head, tail)
    rows_of = {wanted: np.flatnonzero(style == wanted) for wanted in range(1, len(PHONE_STYLES))}
    for wanted, rows in rows_of.items():
        if len(rows) == 0:
            continue
        at = pa.array(rows)
        c, h, t = code.take(at), head.take(at), tail.take(at)
        half = pc.utf8_slice_codeunits(t, 0, 3), pc.utf8_slice_codeunits(t, 3)
        if wanted == PHONE_ZEROS:
            new = join("00", c, h, t)
        elif wanted == PHONE_SPACES:
            new = join("+", c, " ", h, " ", half[0], " ", half[1])
        elif wanted == PHONE_DASHES:
            new = join("+", c, "-", h, "-", half[0], "-", half[1])
        elif wanted == PHONE_EXTENSION:
            new = join("+", c, h, t, " ext. ", digits(rng.integers(10, 999, len(rows))))
        elif wanted == PHONE_BRACKETS:
            new = join("+", c, " (", h, ") ", half[0], "-", half[1])
        elif wanted == PHONE_SHORT:
            new = join("+", c, pc.utf8_slice_codeunits(t, 0, 3))
        elif wanted == PHONE_LETTERS:
            new = join("+", c, h, "O", pc.utf8_slice_codeunits(t, 1), "l")
        elif wanted == PHONE_FAKE:
            new = pool(_FAKES, rng.integers(0, len(_FAKES), len(rows)))
        else:
            new = join("+", c, h, t, t)
        text = patch(text, rows, new)
    return text


def _ascii(names: tuple[str, ...]) -> list[str]:
    special = str.maketrans({"ß": "ss", "ø": "o", "Ł": "L", "ł": "l"})
    return [
        unicodedata.normalize("NFKD", name.translate(special))
        .encode("ascii", "ignore")
        .decode()
        .lower()
        for name in names
    ]


def _emails(rng: Rng, people: Accounts) -> pa.Array:
    count = len(people)
    firsts, lasts = _ascii(world.FIRST_NAMES), _ascii(world.LAST_NAMES)
    given, family = pool(firsts, people.first), pool(lasts, people.last)
    initial = pc.utf8_slice_codeunits(given, 0, 1)
    serial = people.mail_serial
    number = choose(serial >= 0, digits(np.maximum(serial, 0)), constant("", count))
    letters = [pool(list("abcdefghijklmnopqrstuvwxyz0123456789")[: 26 if i == 0 else 36],
                    rng.integers(0, 26 if i == 0 else 36, count)) for i in range(10)]  # fmt: skip
    nick = pool(world.NICKNAMES, people.alias_number % len(world.NICKNAMES))
    base = join(given, ".", family, number)
    for style, text in (
        (MAIL_JOINED, join(given, family, number)),
        (MAIL_INITIAL, join(initial, family, digits(people.alias_number % 100, 2))),
        (MAIL_NICK, join(nick, given, digits(np.abs(serial) % 10_000))),
        (MAIL_RANDOM, join(*letters)),
        (MAIL_SERIAL, join(nick, given, digits(np.maximum(serial, 0), 4))),
    ):
        base = choose(people.mail_style == style, text, base)
    names = [name for name, _ in world.MAIL_DOMAINS] + list(world.DISPOSABLE_DOMAINS)
    domain = pool(names, people.mail_domain)
    # A mailbox belongs to one person: later comers take a number, dots do not tell them apart.
    same = join(pc.replace_substring(base, ".", ""), "@", domain)
    rank = rank_within(np.asarray(pc.dictionary_encode(same).indices, dtype=np.int64))
    base = choose(rank > 0, join(base, "x", digits(rank)), base)
    leader = pa.array(people.mailbox)
    base, domain = base.take(leader), domain.take(leader)
    tags = ("shop", "news", "promo", "web", "orders")
    tag = choose(
        people.kind >= 0,
        digits(people.alias_number),
        pool(tags, people.alias_number % len(tags)),
    )
    text = choose(people.alias == ALIAS_PLUS, join(base, "+", tag), base)
    bare = pc.replace_substring(base, ".", "")
    for cut in range(1, 6):
        dotted = join(
            pc.utf8_slice_codeunits(bare, 0, cut), ".", pc.utf8_slice_codeunits(bare, cut)
        )
        here = (people.alias == ALIAS_DOT) & (people.alias_number % 5 == cut - 1)
        text = choose(here, dotted, text)
    return join(text, "@", domain)


def _user_agents(people: Accounts) -> pa.Array:
    table = world.BROWSERS + world.ODD_BROWSERS
    start = np.array([row[2] for row in table], dtype=float)[people.browser]
    growth = np.array([row[3] for row in table])[people.browser]
    months: Floats = (people.created - 1_577_836_800) / (30.44 * DAY)
    version = np.maximum(start + growth * (months - people.browser_lag * 1.2), 1).astype(np.int64)
    return join(
        pool([row[0] for row in table], people.browser),
        digits(version),
        pool([row[1] for row in table], people.browser),
    )
