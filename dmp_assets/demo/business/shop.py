"""The simulated shop: users, promo codes, redemptions and orders, with abusers and dirt.

`generate` writes a whole history up to a day, `generate_increment` the days after it. Both write

    <out>/export/{users,promo_codes,promo_usages,orders}.csv   what a shop would export
    <out>/late/users.csv        users that the export forgot, though it holds their redemptions
    <out>/truth/users.parquet   user_id, is_abuser, abuse_kind, ring_id, is_hard_negative,
                                hard_negative_kind
    <out>/truth/ledger.parquet  table, rule, key, row_number (1-based data row), detail: one row
                                per dirty thing done

Truth and ledger are for tests and reports about the product; no product code reads them.
The same arguments give the same bytes.
"""

import math
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dmp_assets.demo.business import shop_abuse, shop_dirt, shop_people, shop_promos
from dmp_assets.demo.business.shop_people import ABUSE_KINDS, HARD_NEGATIVES, Accounts
from dmp_assets.demo.business.shop_promos import PERCENTAGE, Codes, Usages
from dmp_assets.demo.business.shop_text import (
    DAY,
    Bools,
    Ints,
    Rng,
    chance,
    choose,
    date_text,
    digits,
    join,
    pool,
    time_text,
    uuids,
)
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.errors import GivenError

ABUSER_SHARE = 0.02
LATE_SHARE = 0.003
_EPOCH = date(1970, 1, 1).toordinal()
HISTORY_DAYS = 1_551  # four years and a quarter
USER_COLUMNS = (
    "user_id", "created_at", "email", "is_email_verified", "phone", "is_phone_verified",
    "first_name", "last_name", "ip_address", "device_id", "user_agent", "city", "gender", "dob",
    "timezone", "is_abuser",
)  # fmt: skip
_STREAMS = ("ids", "codes", "people", "abuse", "text", "usages", "labels", "dirt", "orders")


@dataclass(frozen=True)
class Summary:
    """What was written: rows of the files, people of the truth, dirty rows per `table.rule`."""

    export: Path
    late: Path
    truth: Path
    first_day: date
    last_day: date
    rows: dict[str, int]
    accounts: int
    abusers: int
    rings: int
    hard_negatives: int
    labelled: int
    dirty: dict[str, int]


@dataclass(frozen=True)
class _Shop:
    """A simulated stretch of days, before it is written."""

    people: Accounts
    ids: pa.Array  # of the people, then of known customers from before
    created: Ints  # in the same order
    codes: Codes
    listed: int  # the first code that the export lists
    usages: Usages
    rings: int
    first_day: int
    last_day: int


def generate(
    out_dir: Path,
    *,
    users: int,
    seed: int,
    end: date,
    dirt: float = 1.0,
    labelled: float = 0.15,
    mistakes: float = 0.04,
) -> Summary:
    """Write a shop of `users` accounts whose history ends with the day `end` (UTC).

    `dirt` multiplies the share of dirty rows (0: a clean export), `labelled` is the share of
    accounts with an analyst's label and `mistakes` the share of those labels that are wrong.
    Raises ValueError for fewer than 100 users or a negative `dirt`.
    """
    if users < 100:
        raise GivenError(f"a simulated shop needs at least 100 users, not {users}")
    last_day = _day(end)
    first_day = last_day - HISTORY_DAYS
    streams = _streams(seed, users, last_day, 0)
    abusers = round(ABUSER_SHARE * users)
    people, rings = _people(streams, users, abusers, first_day, last_day)
    codes = shop_promos.promo_codes(streams["codes"], _code_count(users), first_day, last_day)
    usages = shop_promos.redemptions(streams["usages"], people, codes, last_day)
    shop = _Shop(
        people, uuids(streams["ids"], users), people.created, codes, 0, usages, rings,
        first_day, last_day,
    )  # fmt: skip
    return _write(Path(out_dir), shop, streams, dirt, labelled, mistakes)


def generate_increment(
    out_dir: Path,
    *,
    users: int,
    seed: int,
    end: date,
    days: int,
    dirt: float = 1.0,
    labelled: float = 0.15,
    mistakes: float = 0.04,
) -> Summary:
    """Write the `days` after `end` of the shop that `generate` makes of `users`, `seed`, `end`.

    The files hold new rows only, to be appended: new users, some new codes, and redemptions by
    new users and by customers of the first export, with codes of either.
    Raises ValueError for less than one day.
    """
    if days < 1:
        raise GivenError(f"an increment needs at least one day, not {days}")
    last_day = _day(end)
    known = _streams(seed, users, last_day, 0)
    ids = uuids(known["ids"], users).slice(0, _protected(users))
    before = shop_promos.promo_codes(
        known["codes"], _code_count(users), last_day - HISTORY_DAYS, last_day
    )
    keep = len(before) // 2  # their rows are always usable
    streams = _streams(seed, users, last_day, days)
    first, last = last_day + 1, last_day + days
    count = max(60, round(users * days * 0.0012))
    people, rings = _people(streams, count, max(3, round(ABUSER_SHARE * count)), first, last)
    new = shop_promos.promo_codes(
        streams["codes"], max(2, days // 3), first, last, taken=len(before)
    )
    codes = _first(before, keep).plus(new)
    rng = streams["usages"]
    usages = shop_promos.redemptions(rng, people, codes, last)
    returning = _returning(rng, len(ids), count, codes, first, last)
    usages = Usages(
        *[np.concatenate([getattr(usages, name), getattr(returning, name)])
          for name in ("account", "code", "used", "accepted")]
    )  # fmt: skip
    usages = usages.take(np.argsort(usages.used, kind="stable"))
    created = np.concatenate([people.created, np.full(len(ids), (first - 30) * DAY)])
    everyone = pa.concat_arrays([uuids(streams["ids"], count), ids])
    shop = _Shop(people, everyone, created, codes, keep, usages, rings, first, last)
    return _write(Path(out_dir), shop, streams, dirt, labelled, mistakes)


def _day(day: date) -> int:
    """Days since 1970."""
    return day.toordinal() - _EPOCH


def _streams(seed: int, users: int, last_day: int, days: int) -> dict[str, Rng]:
    """One random stream per part, so that a change in one part does not reshuffle the others."""
    return {
        name: np.random.default_rng([seed, users, last_day, days, number])
        for number, name in enumerate(_STREAMS)
    }


def _code_count(users: int) -> int:
    return max(50, round(1_000 * math.sqrt(users / 10_000)))


def _protected(users: int) -> int:
    """The first rows are ordinary customers whose rows stay usable: increments build on them."""
    return users // 20


def _people(
    streams: dict[str, Rng], count: int, abusers: int, first_day: int, last_day: int
) -> tuple[Accounts, int]:
    people = shop_people.population(streams["people"], count, abusers, first_day, last_day)
    rings = shop_abuse.spoil(streams["abuse"], people, abusers, first_day, last_day)
    return people, rings


def _first(codes: Codes, count: int) -> Codes:
    return Codes(
        codes.text.slice(0, count),
        *[getattr(codes, name)[:count]
          for name in ("kind", "value", "minimum", "start", "stop", "limit", "popularity")],
    )  # fmt: skip


def _returning(
    rng: Rng, known: int, offset: int, codes: Codes, first_day: int, last_day: int
) -> Usages:
    """Redemptions of customers of the first export, at most one each."""
    count = min(known, max(10, offset // 2))
    used = np.sort(rng.integers(first_day * DAY, (last_day + 1) * DAY, count))
    code = shop_promos.pick(rng, codes, used, np.zeros(count, dtype=bool))
    account = offset + rng.permutation(known)[:count]
    return Usages(account, code, used, np.ones(count, dtype=bool))


def _labels(rng: Rng, people: Accounts, usages: Usages, share: float, mistakes: float) -> Ints:
    """Analysts' labels: 1, 0, or -1 for most accounts, which nobody looked at.

    Three in five were drawn at random, the others because somebody suspected them. Analysts
    err on what is hard: they miss abusers and accuse those who look alike.
    """
    count = len(people)
    wanted = round(share * count)
    abusive, alike = people.kind >= 0, people.hard >= 0
    busy = np.bincount(usages.account, minlength=count)[:count] >= 3
    suspicion = np.where(abusive, 12.0, 1.0) + alike * 2.0 + busy * 2.0
    at_random = rng.permutation(count)[: round(wanted * 0.6)]
    suspicion[at_random] = 0
    # the largest of u^(1/w) are a weighted draw without replacement (Efraimidis & Spirakis 2006)
    score = np.where(suspicion > 0, rng.random(count) ** (1 / np.maximum(suspicion, 1e-9)), -1)
    suspected = np.argsort(-score, kind="stable")[: wanted - len(at_random)]
    rows = np.concatenate([at_random, suspected])
    hardness = np.select([abusive[rows], alike[rows] | busy[rows]], [3.0, 2.0], default=0.7)
    odds = hardness * mistakes / max(hardness.mean(), 1e-9) if len(rows) else hardness
    wrong = chance(rng, np.minimum(odds, 0.5), len(rows))
    labels = np.full(count, -1)
    labels[rows] = abusive[rows] ^ wrong
    return labels


def _write(
    out: Path, shop: _Shop, streams: dict[str, Rng], dirt: float, labelled: float, mistakes: float
) -> Summary:
    if dirt < 0:
        raise GivenError(f"dirt multiplies shares and cannot be negative: {dirt}")
    rng, people = streams["dirt"], shop.people
    count = len(people)
    plain = people.phone_style == 0
    plain[: _protected(count)] = False
    late = _late(rng, shop, plain, dirt)
    may = plain.copy()
    may[late] = False
    dealt = shop_dirt.deal(rng, "users", may, dirt)
    unusable = np.concatenate([dealt["user_id_missing"], dealt["created_at_unreadable"]])
    listed = len(shop.codes) - shop.listed
    may_code = (np.arange(listed) >= listed // 2) & (shop.listed == 0)
    dealt_codes = shop_dirt.deal(rng, "promo_codes", may_code, dirt)

    # a redemption may lose its user or its code, not both
    lost_user = np.isin(shop.usages.account, np.concatenate([late, unusable]))
    lost_code = np.isin(shop.usages.code, dealt_codes["promo_code_missing"] + shop.listed)
    usages = shop.usages.take(np.flatnonzero(~(lost_user & lost_code)))

    labels = _labels(streams["labels"], people, usages, labelled, mistakes)
    shop_dirt.restyle_phones(rng, people.phone_style, dealt)
    text = shop_people.render(streams["text"], people, shop.ids.slice(0, count))
    text["created_at"] = time_text(people.created)
    known = pool(["FALSE", "TRUE"], np.maximum(labels, 0))
    text["is_abuser"] = choose(labels < 0, pa.nulls(count, pa.string()), known)
    clean = pa.table({name: text[name] for name in USER_COLUMNS})
    users_csv, late_csv, ledger_users = shop_dirt.soil_users(
        rng, clean, people.created, people.phone_style, people.home, late, dealt
    )
    new_codes = _code_table(shop.codes).slice(shop.listed)
    codes_csv, ledger_codes = shop_dirt.soil_codes(
        rng, new_codes, shop.codes.start[shop.listed :], dealt_codes
    )
    usages_csv, ledger_usages = _soil_usages(
        rng, shop, usages, late, unusable, dealt_codes["promo_code_missing"] + shop.listed, dirt
    )
    ledger = pa.concat_tables([ledger_users, ledger_codes, ledger_usages])

    tables = {
        "users": users_csv,
        "promo_codes": codes_csv,
        "promo_usages": usages_csv,
        "orders": _orders(streams["orders"], shop, usages),
    }
    export, held, truth = out / "export", out / "late", out / "truth"
    for folder in (export, held, truth):
        folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        _write_csv(table, export / f"{name}.csv")
    _write_csv(late_csv, held / "users.csv")
    pq.write_table(_truth(people, shop.ids.slice(0, count)), truth / "users.parquet")
    pq.write_table(ledger, truth / "ledger.parquet")
    tally = Counter(
        f"{table}.{rule}"
        for table, rule in zip(ledger["table"].to_pylist(), ledger["rule"].to_pylist(), strict=True)
    )
    return Summary(
        export=export,
        late=held,
        truth=truth,
        first_day=date.fromordinal(_EPOCH + shop.first_day),
        last_day=date.fromordinal(_EPOCH + shop.last_day),
        rows={name: len(table) for name, table in tables.items()} | {"late/users": len(late_csv)},
        accounts=count,
        abusers=int((people.kind >= 0).sum()),
        rings=shop.rings,
        hard_negatives=int((people.hard >= 0).sum()),
        labelled=int((labels >= 0).sum()),
        dirty=dict(sorted(tally.items())),
    )


def _late(rng: Rng, shop: _Shop, plain: Bools, dirt: float) -> Ints:
    """Honest users that the export forgets although it holds their redemptions."""
    active = np.zeros(len(shop.people), dtype=bool)
    active[shop.usages.account[shop.usages.account < len(active)]] = True
    rows = np.flatnonzero(active & plain & (shop.people.kind < 0))
    wanted = min(len(rows), round(LATE_SHARE * dirt * len(active)))
    return np.sort(rng.permutation(rows)[:wanted])


def _soil_usages(
    rng: Rng, shop: _Shop, usages: Usages, late: Ints, unusable: Ints, hidden: Ints, dirt: float
) -> tuple[pa.Table, pa.Table]:
    is_late = np.isin(usages.account, late)
    is_hidden = np.isin(usages.account, unusable)
    is_codeless = np.isin(usages.code, hidden)
    table = pa.table(
        {
            "user_id": shop.ids.take(pa.array(usages.account)),
            "promo_code": shop.codes.text.take(pa.array(usages.code)),
            "used_at": time_text(usages.used),
            "used_promo": pool(["False", "True"], usages.accepted.astype(np.int64)),
        }
    )
    known = (usages.account < len(shop.people)) & ~is_late & ~is_hidden & ~is_codeless
    dealt = shop_dirt.deal(rng, "promo_usages", known, dirt)
    lost = shop_dirt.Lost(*[np.flatnonzero(rows) for rows in (is_late, is_hidden, is_codeless)])
    return shop_dirt.soil_usages(rng, table, usages.used, shop.created[usages.account], lost, dealt)


def _code_table(codes: Codes) -> pa.Table:
    days = np.where(codes.is_open, 0, codes.stop // DAY - 1)  # the last day that it is valid
    nothing = pa.nulls(len(codes), pa.string())
    return pa.table(
        {
            "promo_code": codes.text,
            "discount_type": pool(
                ["percentage", "fixed_amount"], (codes.kind != PERCENTAGE).astype(np.int64)
            ),
            "discount_value": digits(codes.value),
            "min_purchase_amount": digits(codes.minimum),
            "valid_from": date_text(codes.start // DAY),
            "valid_until": choose(codes.is_open, nothing, date_text(days)),
            "max_uses_per_user": choose(codes.limit == 0, nothing, digits(codes.limit)),
        }
    )


def _orders(rng: Rng, shop: _Shop, usages: Usages) -> pa.Table:
    own = usages.take(np.flatnonzero(usages.account < len(shop.people)))
    table = shop_promos.orders(rng, shop.people, shop.codes, own, shop.last_day)
    number = join(
        digits(np.full(len(table), shop.last_day)), "-", digits(np.arange(1, len(table) + 1), 8)
    )
    return pa.table(
        {
            "order_id": number,
            "user_id": shop.ids.take(table["account"].combine_chunks()),
            "ordered_at": time_text(table["seconds"].to_numpy()),
            "amount": pc.cast(table["amount"].combine_chunks(), pa.string()),
            "discount": pc.cast(table["discount"].combine_chunks(), pa.string()),
            "promo_code": table["promo_code"],
        }
    )


def _truth(people: Accounts, ids: pa.Array) -> pa.Table:
    count = len(people)
    nothing = pa.nulls(count, pa.string())
    abusive, alike = people.kind >= 0, people.hard >= 0
    rings = pool(["ring-"], np.zeros(count, dtype=np.int64))
    return pa.table(
        {
            "user_id": ids,
            "is_abuser": abusive,
            "abuse_kind": choose(abusive, pool(ABUSE_KINDS, np.maximum(people.kind, 0)), nothing),
            "ring_id": choose(abusive, join(rings, digits(np.maximum(people.ring, 0), 5)), nothing),
            "is_hard_negative": alike,
            "hard_negative_kind": choose(
                alike, pool(HARD_NEGATIVES, np.maximum(people.hard, 0)), nothing
            ),
        }
    )


def _write_csv(table: pa.Table, path: Path) -> None:
    """UTF-8 with a header line; an unknown value is an empty field."""
    with duckdb.connect() as connection, whole_file.replacing(path) as part:
        connection.register("rows", table)
        connection.execute(f"COPY (FROM rows) TO '{part}' (FORMAT csv, HEADER)")
