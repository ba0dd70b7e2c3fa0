"""The dirt of real exports, put on purpose, and the ledger of it.

A row gets at most one kind of dirt (a mistyped phone of the person counts as one), so that the
ledger's counts are exact. `PLANS` gives the share of rows per rule; `dirt` multiplies it.
Rules that make a row unusable come first: when there is more dirt than rows, they win.
Not in the ledger: an empty `is_abuser`, and the empty cells of codes that never close or have no
limit; these are ordinary.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.demo.business import shop_world as world
from dmp_assets.demo.business.shop_people import (
    PHONE_BRACKETS,
    PHONE_LETTERS,
    PHONE_LONG,
    PHONE_SHORT,
    PHONE_STYLES,
    PHONE_ZEROS,
    phones,
)
from dmp_assets.demo.business.shop_text import (
    DAY,
    Bools,
    Ints,
    Rng,
    choose,
    constant,
    digits,
    join,
    patch,
    pool,
    time_text,
    uuids,
)

UNUSABLE: dict[str, tuple[str, ...]] = {
    "users": ("user_id_missing", "created_at_unreadable"),
    "promo_codes": ("promo_code_missing",),
    "promo_usages": (
        "user_id_missing",
        "promo_code_missing",
        "used_at_unreadable",
        "user_unknown",
        "promo_code_unknown",
    ),
}
PLANS: dict[str, dict[str, float]] = {
    "users": {
        "user_id_missing": 0.004, "created_at_unreadable": 0.005,
        "duplicate": 0.006, "contradictory": 0.004, "late_arrival": 0.004,
        "created_at_format": 0.03, "phone_format": 0.05, "phone_malformed": 0.004,
        "email_malformed": 0.004, "ip_malformed": 0.003, "flag_format": 0.005,
        "value_missing": 0.05, "encoding": 0.006,
    },
    "promo_codes": {
        "promo_code_missing": 0.006, "duplicate": 0.01, "contradictory": 0.01,
        "number_format": 0.01, "value_missing": 0.02,
    },
    "promo_usages": {
        "user_id_missing": 0.004, "promo_code_missing": 0.004, "used_at_unreadable": 0.004,
        "user_unknown": 0.005, "promo_code_unknown": 0.005,
        "duplicate": 0.008, "contradictory": 0.002, "late_arrival": 0.005,
        "used_before_registration": 0.005, "used_at_format": 0.03, "value_missing": 0.01,
    },
}  # fmt: skip
UNREADABLE_TIMES = (
    "0000-00-00 00:00:00", "not a date", "2023-13-45 10:00:00", "31/02/2023 25:61", "########",
    None,
)  # fmt: skip
TIME_FORMATS = ("hour without zero", "ISO 8601 with T and Z", "ISO 8601 with offset", "day first",
                "epoch seconds")  # fmt: skip
BAD_ADDRESSES = ("unknown", "10.0.0", "999.12.7.300", "256.256.256.256", "localhost", "-")
_OFTEN_MISSING = (
    "email", "phone", "ip_address", "device_id", "user_agent", "city", "gender", "dob",
    "timezone", "is_email_verified", "is_phone_verified", "first_name", "last_name",
)  # fmt: skip
_AT_THE_END = np.int64(2**40)

Deal = Mapping[str, Ints]


@dataclass
class Ledger:
    """What was done to one table, by row before the final order."""

    table: str
    entries: list[tuple[str, Ints, pa.Array]] = field(default_factory=list)

    def note(self, rule: str, rows: Ints, detail: pa.Array | str | None = None) -> None:
        """Record one entry per row."""
        if len(rows):
            told = detail if isinstance(detail, pa.Array) else constant(detail, len(rows))
            self.entries.append((rule, rows, told))

    def rows(self, key: pa.Array, order: Ints) -> pa.Table:
        """The ledger in the order of the file; `order` lists the rows as written."""
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(1, len(order) + 1)
        rows = np.concatenate([np.zeros(0, dtype=np.int64), *[e[1] for e in self.entries]])
        count = len(rows)
        rules = [constant(rule, len(at)) for rule, at, _ in self.entries]
        details = [detail for _, _, detail in self.entries]
        empty = pa.array([], pa.string())
        table = pa.table(
            {
                "table": constant(self.table, count),
                "rule": pa.concat_arrays([empty, *rules]),
                "key": key.take(pa.array(rows)),
                "row_number": place[rows],
                "detail": pa.concat_arrays([empty, *details]),
            }
        )
        return table.sort_by([("row_number", "ascending"), ("rule", "ascending")])


def deal(rng: Rng, table: str, eligible: Bools, dirt: float) -> dict[str, Ints]:
    """Rows per rule of the table's plan; no row twice."""
    rows = rng.permutation(np.flatnonzero(eligible))
    dealt, start = {}, 0
    for rule, share in PLANS[table].items():
        stop = start + round(share * dirt * len(eligible))
        dealt[rule] = np.sort(rows[start:stop])
        start = stop
    return dealt


def restyle_phones(rng: Rng, styles: Ints, dealt: Deal) -> None:
    """Give the dealt rows another way of writing the same phone, or a broken one."""
    styles[dealt["phone_format"]] = rng.integers(
        PHONE_ZEROS, PHONE_BRACKETS + 1, len(dealt["phone_format"])
    )
    styles[dealt["phone_malformed"]] = rng.choice(
        [PHONE_SHORT, PHONE_LETTERS, PHONE_LONG], len(dealt["phone_malformed"])
    )


def soil_users(
    rng: Rng, table: pa.Table, seconds: Ints, styles: Ints, home: Ints, late: Ints, dealt: Deal
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Returns the users as exported, the late ones, and the ledger."""
    book = Ledger("users")
    columns = _columns(table)
    for rule, wanted in (
        ("phone_format", (styles >= PHONE_ZEROS) & (styles <= PHONE_BRACKETS)),
        ("phone_malformed", styles >= PHONE_SHORT),
    ):
        rows = np.flatnonzero(wanted)
        book.note(rule, rows, pool(PHONE_STYLES, styles[rows]))
    _spoil_times(rng, book, columns, "created_at", seconds, dealt, np.ones(len(table), dtype=bool))
    rows = dealt["user_id_missing"]
    columns["user_id"] = patch(columns["user_id"], rows, pa.nulls(len(rows), pa.string()))
    book.note("user_id_missing", rows)
    _spoil_emails(rng, book, columns, dealt["email_malformed"])
    rows = dealt["ip_malformed"]
    columns["ip_address"] = patch(
        columns["ip_address"], rows, pool(BAD_ADDRESSES, rng.integers(0, 6, len(rows)))
    )
    book.note("ip_malformed", rows, columns["ip_address"].take(pa.array(rows)))
    rows = dealt["flag_format"]
    known = np.asarray(pc.equal(columns["is_email_verified"].take(pa.array(rows)), "TRUE"))
    words = ("no", "0", "f", "yes", "1", "t")
    spelt = pool(words, known * 3 + rng.integers(0, 3, len(rows)))
    columns["is_email_verified"] = patch(columns["is_email_verified"], rows, spelt)
    book.note("flag_format", rows, "is_email_verified")
    _drop_values(rng, book, columns, dealt["value_missing"], _OFTEN_MISSING)
    _garble(rng, book, columns, dealt["encoding"])
    book.note("late_arrival", dealt["late_arrival"])
    order_key = seconds.copy()
    order_key[dealt["late_arrival"]] += _AT_THE_END

    soiled = pa.table(columns)
    variants = _user_variants(rng, soiled, dealt["contradictory"], home)
    extra = [soiled.take(pa.array(dealt["duplicate"])), variants[0]]
    base = np.delete(np.arange(len(table)), late)
    whole, key, order, number = _assemble(
        rng, soiled, table["user_id"], order_key, base, dealt, extra
    )
    book.note("duplicate", number["duplicate"])
    book.note("contradictory", number["contradictory"], variants[1])
    held = pa.table(columns).take(pa.array(late))
    ledger = (
        book.rows(key, order)
        if not len(late)
        else pa.concat_tables([book.rows(key, order), _held_back(held["user_id"])])
    )
    return whole, held, ledger


def soil_codes(rng: Rng, table: pa.Table, starts: Ints, dealt: Deal) -> tuple[pa.Table, pa.Table]:
    """Returns the promo codes as exported and the ledger."""
    book = Ledger("promo_codes")
    columns = _columns(table)
    rows = dealt["promo_code_missing"]
    columns["promo_code"] = patch(columns["promo_code"], rows, pa.nulls(len(rows), pa.string()))
    book.note("promo_code_missing", rows)
    rows = dealt["number_format"]
    value = columns["discount_value"].take(pa.array(rows))
    columns["discount_value"] = patch(columns["discount_value"], rows, join(value, ",0"))
    book.note("number_format", rows, "decimal comma in discount_value")
    _drop_values(
        rng, book, columns, dealt["value_missing"],
        ("discount_type", "discount_value", "min_purchase_amount"),
    )  # fmt: skip
    soiled = pa.table(columns)
    rows = dealt["contradictory"]
    other = soiled.take(pa.array(rows))
    column = other.schema.get_field_index("discount_value")
    more = pc.add(pc.cast(other["discount_value"], pa.int64()), 5)
    other = other.set_column(column, "discount_value", pc.cast(more, pa.string()))
    extra = [soiled.take(pa.array(dealt["duplicate"])), other]
    base = np.arange(len(table))
    whole, key, order, number = _assemble(
        rng, soiled, table["promo_code"], starts, base, dealt, extra
    )
    book.note("duplicate", number["duplicate"])
    book.note("contradictory", number["contradictory"], "discount_value")
    return whole, book.rows(key, order)


@dataclass(frozen=True)
class Lost:
    """Usages whose user or code is not usable in the export: rows per reason."""

    late_user: Ints
    hidden_user: Ints
    hidden_code: Ints


def soil_usages(
    rng: Rng, table: pa.Table, used: Ints, created: Ints, lost: Lost, dealt: Deal
) -> tuple[pa.Table, pa.Table]:
    """Returns the usages as exported and the ledger."""
    book = Ledger("promo_usages")
    columns = _columns(table)
    book.note("user_unknown", lost.late_user, "the user arrives later")
    book.note("user_unknown", lost.hidden_user, "the user's row cannot be used")
    book.note("promo_code_unknown", lost.hidden_code, "the code's row cannot be used")
    for rule, column in (("user_id_missing", "user_id"), ("promo_code_missing", "promo_code")):
        rows = dealt[rule]
        columns[column] = patch(columns[column], rows, pa.nulls(len(rows), pa.string()))
        book.note(rule, rows)
    rows = dealt["user_unknown"]
    columns["user_id"] = patch(columns["user_id"], rows, uuids(rng, len(rows)))
    book.note("user_unknown", rows, "no such user")
    rows = dealt["promo_code_unknown"]
    ghosts = join("EXPIRED", digits(rng.integers(0, 10_000, len(rows)), 4))
    columns["promo_code"] = patch(columns["promo_code"], rows, ghosts)
    book.note("promo_code_unknown", rows, "no such code")
    rows = dealt["used_before_registration"]
    early = created[rows] - rng.integers(DAY, 200 * DAY, len(rows))
    columns["used_at"] = patch(columns["used_at"], rows, time_text(early))
    book.note("used_before_registration", rows)
    _spoil_times(rng, book, columns, "used_at", used, dealt, used - created > 120)
    _drop_values(rng, book, columns, dealt["value_missing"], ("used_promo",))
    book.note("late_arrival", dealt["late_arrival"])
    order_key = used.copy()
    order_key[dealt["late_arrival"]] += _AT_THE_END
    soiled = pa.table(columns)
    other = soiled.take(pa.array(dealt["contradictory"]))
    flipped = pc.if_else(pc.equal(other["used_promo"], "True"), "False", "True")
    other = other.set_column(other.schema.get_field_index("used_promo"), "used_promo", flipped)
    extra = [soiled.take(pa.array(dealt["duplicate"])), other]
    base = np.arange(len(table))
    whole, key, order, number = _assemble(
        rng, soiled, table["user_id"], order_key, base, dealt, extra
    )
    book.note("duplicate", number["duplicate"])
    book.note("contradictory", number["contradictory"], "used_promo")
    return whole, book.rows(key, order)


# ---- steps ---------------------------------------------------------------------------------------
def _columns(table: pa.Table) -> dict[str, pa.Array]:
    combined = table.combine_chunks()
    return {
        name: combined[name].chunk(0) if len(combined) else pa.array([], pa.string())
        for name in table.column_names
    }


def _assemble(
    rng: Rng,
    soiled: pa.Table,
    keys: pa.ChunkedArray,
    order_key: Ints,
    base: Ints,
    dealt: Deal,
    extra: list[pa.Table],
) -> tuple[pa.Table, pa.Array, Ints, dict[str, Ints]]:
    """Base rows and extra ones (duplicates, then variants) in the order of the file.

    Returns the table, the keys and the order (both by row before ordering) and the numbers of
    the extra rows. Extra rows come days to weeks after their original.
    """  # fmt: skip
    twice, variant = dealt["duplicate"], dealt["contradictory"]
    lag = np.concatenate(
        [rng.integers(1, 3 * DAY, len(twice)), rng.integers(DAY, 60 * DAY, len(variant))]
    )
    source = np.concatenate([twice, variant]).astype(np.int64)
    when = np.concatenate([order_key, order_key[source] + lag])
    whole = pa.concat_tables([soiled, *extra]).combine_chunks()
    key = pa.concat_arrays([*keys.chunks, *keys.take(pa.array(source)).chunks])
    numbers = np.concatenate([base, len(soiled) + np.arange(len(source))])
    written = numbers[np.argsort(when[numbers], kind="stable")]
    absent = np.setdiff1d(np.arange(len(soiled)), base)
    added = {
        "duplicate": len(soiled) + np.arange(len(twice)),
        "contradictory": len(soiled) + len(twice) + np.arange(len(variant)),
    }
    return whole.take(pa.array(written)), key, np.concatenate([written, absent]), added


def _held_back(user_id: pa.ChunkedArray) -> pa.Table:
    count = len(user_id)
    return pa.table(
        {
            "table": constant("late/users", count),
            "rule": constant("late_user", count),
            "key": user_id.combine_chunks(),
            "row_number": np.arange(1, count + 1),
            "detail": constant("missing from the export, which holds its usages", count),
        }
    )


def _spoil_times(
    rng: Rng, book: Ledger, columns: dict[str, pa.Array], column: str, seconds: Ints, dealt: Deal,
    may_lose_seconds: Bools,
) -> None:  # fmt: skip
    rows = dealt[f"{column}_unreadable"]
    text = pool(UNREADABLE_TIMES, rng.integers(0, len(UNREADABLE_TIMES), len(rows)))  # type: ignore[arg-type]
    columns[column] = patch(columns[column], rows, text)
    book.note(f"{column}_unreadable", rows, text)
    rows = dealt[f"{column}_format"]
    if len(rows) == 0:
        return
    when = seconds[rows]
    style = rng.integers(0, len(TIME_FORMATS), len(rows))
    style = np.where((style == 0) & (when % DAY >= 10 * 3_600), 1, style)
    style = np.where((style == 3) & ~may_lose_seconds[rows], 4, style)
    plain = time_text(when)
    day = pc.utf8_slice_codeunits(plain, 0, 10)
    clock = pc.utf8_slice_codeunits(plain, 11)
    ahead = pc.replace_substring(time_text(when + 7_200), " ", "T")
    texts = (
        join(day, " ", pc.utf8_slice_codeunits(plain, 12)),
        join(day, "T", clock, "Z"),
        join(ahead, "+02:00"),
        pc.strftime(pa.array(when).cast(pa.timestamp("s")), format="%d/%m/%Y %H:%M"),
        digits(when),
    )
    new = plain
    for number, text in enumerate(texts):
        new = choose(style == number, text, new)
    columns[column] = patch(columns[column], rows, new)
    book.note(f"{column}_format", rows, pool(TIME_FORMATS, style))


def _spoil_emails(rng: Rng, book: Ledger, columns: dict[str, pa.Array], rows: Ints) -> None:
    if len(rows) == 0:
        return
    text = columns["email"].take(pa.array(rows))
    style = rng.integers(0, 4, len(rows))
    names = ("no at sign", "two at signs", "a space", "no domain")
    broken = pc.replace_substring(text, "@", " at ")
    broken = choose(style == 1, pc.replace_substring(text, "@", "@@"), broken)
    broken = choose(style == 2, pc.replace_substring(text, "@", "@ "), broken)
    broken = choose(style == 3, pc.replace_substring_regex(text, "@.*", "@"), broken)
    columns["email"] = patch(columns["email"], rows, broken)
    book.note("email_malformed", rows, pool(names, style))


def _drop_values(
    rng: Rng, book: Ledger, columns: dict[str, pa.Array], rows: Ints, names: tuple[str, ...]
) -> None:
    which = rng.integers(0, len(names), len(rows))
    for number, name in enumerate(names):
        gone = rows[which == number]
        columns[name] = patch(columns[name], gone, pa.nulls(len(gone), pa.string()))
    book.note("value_missing", rows, pool(names, which))


def _mojibake(text: str) -> str:
    return text.encode().decode("cp1252", errors="replace")


_GARBLES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("UTF-8 read as Windows-1252", _mojibake),
    ("replacement character", lambda text: re.sub(r"[^\x00-\x7f]", "\ufffd", text)),
    ("byte order mark", lambda text: "\ufeff" + text),
)


def _garble(rng: Rng, book: Ledger, columns: dict[str, pa.Array], rows: Ints) -> None:
    """Break the encoding of a name or city; plain ASCII ones can only get a byte order mark."""
    left = rows
    for column in ("last_name", "first_name", "city"):
        text = columns[column].take(pa.array(left))
        foreign = ~np.asarray(pc.string_is_ascii(text))
        here = foreign if column != "city" else np.ones(len(left), dtype=bool)
        chosen, at, is_foreign = text.filter(pa.array(here)), left[here], foreign[here]
        style = np.where(is_foreign, rng.choice(3, len(at), p=[0.7, 0.2, 0.1]), 2)
        known = pc.dictionary_encode(chosen)
        for number, (name, garble) in enumerate(_GARBLES):
            broken = pa.array(
                [garble(value) for value in known.dictionary.to_pylist()], pa.string()
            )
            mine = style == number
            columns[column] = patch(
                columns[column], at[mine], broken.take(known.indices.filter(pa.array(mine)))
            )
            book.note("encoding", at[mine], f"{column}: {name}")
        left = left[~here]


def _user_variants(rng: Rng, table: pa.Table, rows: Ints, home: Ints) -> tuple[pa.Table, pa.Array]:
    """The same users with another phone, city or last name; and which."""
    other = table.take(pa.array(rows))
    which = rng.integers(0, 3, len(rows))
    if len(rows) == 0:
        return other, pa.array([], pa.string())
    country = np.array([world.COUNTRIES.index(city.country) for city in world.CITIES])[home[rows]]
    number = np.arange(len(rows))
    fresh = phones(rng, number, country, np.zeros(len(rows), dtype=np.int64))
    cities = [city.name for city in world.CITIES]
    known = np.asarray(pc.index_in(other["city"], pa.array(cities)), dtype=np.int64)
    moved = pool(cities, (known + rng.integers(1, len(cities), len(rows))) % len(cities))
    names = pool(world.LAST_NAMES, rng.integers(0, len(world.LAST_NAMES), len(rows)))
    old = other["last_name"].combine_chunks()
    married = choose(np.asarray(pc.equal(old, names)), join(old, "-Berg"), names)
    for place, (column, text) in enumerate(
        (("phone", fresh), ("city", moved), ("last_name", married))
    ):
        changed = choose(which == place, text, other[column].combine_chunks())
        other = other.set_column(other.schema.get_field_index(column), column, changed)
    return other, pool(("phone", "city", "last_name"), which)
