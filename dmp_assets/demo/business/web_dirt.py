"""The dirt of a real web database, put on purpose, and the ledger of it.

A row gets at most one kind of dirt, so that the ledger's counts are exact. `PLANS` gives the share
of rows per rule; `dirt` multiplies it. Some entries follow from others: the cost of a session that
lost its id is of an unknown session, and the cost of a late session is late.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.demo.business.shop_dirt import Ledger
from dmp_assets.demo.business.shop_text import (
    DAY,
    Bools,
    Ints,
    Rng,
    choose,
    constant,
    join,
    patch,
    pool,
    time_text,
    uuids,
)
from dmp_assets.demo.business.web_world import CHANNEL_NAMES

PLANS: dict[str, dict[str, float]] = {
    "session_sources": {
        "session_id_missing": 0.002, "user_id_missing": 0.02, "event_time_unreadable": 0.003,
        "event_in_future": 0.001, "channel_missing": 0.004, "channel_unknown": 0.002,
        "duplicate": 0.005, "contradictory": 0.002, "clock_skew": 0.002, "late_arrival": 0.003,
    },
    "conversions": {
        "conv_id_missing": 0.003, "user_id_missing": 0.003, "conv_time_unreadable": 0.003,
        "revenue_missing": 0.004, "revenue_unreadable": 0.004, "revenue_negative": 0.003,
        "user_unknown": 0.005, "duplicate": 0.006, "contradictory": 0.003, "late_arrival": 0.004,
    },
    "session_costs": {
        "session_id_missing": 0.002, "cost_missing": 0.003, "cost_unreadable": 0.003,
        "cost_negative": 0.002, "session_unknown": 0.003, "duplicate": 0.004,
        "contradictory": 0.002,
    },
}  # fmt: skip
UNKNOWN_CHANNELS = ("(not set)", "tiktok_test", "utm_source=??")
UNREADABLE_DATES = ("0000-00-00", "2024-13-45", "not a date", "", None, "########")
UNREADABLE_TIMES = ("25:61:00", "--:--", "", None)
UNREADABLE_NUMBERS = ("12;50", "n/a", "1.2.3", "EUR", "#REF!")


@dataclass(frozen=True)
class Soiled:
    """A table as the database has it, in order; its late rows; the ledger of both.

    `late` and `lost_id` are rows of the clean table.
    """

    table: pa.Table
    late_table: pa.Table
    ledger: pa.Table
    late: Ints
    lost_id: Ints


def soil_sessions(
    rng: Rng,
    table: pa.Table,
    seconds: Ints,
    conversion: pa.Array,
    bought_at: Ints,
    stop: int,
    dirt: float,
) -> Soiled:
    """Soil the sessions.

    `conversion` (id) and `bought_at` (seconds) are of the purchase made in the session; null and
    -1: none. `stop` is the first second after the last day.
    """
    soil = _Soil(rng, "session_sources", table, table["session_id"])
    soil.deal(
        dirt,
        late_arrival=seconds < stop - 7 * DAY,
        clock_skew=(bought_at >= 0) & (bought_at < stop - 60),
    )
    soil.blank("session_id_missing", "session_id")
    soil.blank("user_id_missing", "user_id")
    soil.garble("event_time_unreadable", "event_date", "event_time")
    rows = soil.dealt["event_in_future"]
    soil.move("event_in_future", rows, stop + rng.integers(3_600, 400 * DAY, len(rows)))
    soil.blank("channel_missing", "channel_name")
    soil.replace("channel_unknown", "channel_name", UNKNOWN_CHANNELS)
    rows = soil.dealt["clock_skew"]
    skewed = bought_at[rows] + rng.integers(1, 21, len(rows))
    soil.move("clock_skew", rows, skewed, conversion.take(pa.array(rows)))
    names = pa.array(CHANNEL_NAMES)
    other = soil.column("channel_name").take(pa.array(soil.dealt["contradictory"]))
    number = pc.index_in(other, names).to_numpy()
    changed = pool(CHANNEL_NAMES, (number + 1) % len(CHANNEL_NAMES))
    return soil.finish(seconds, "channel_name", changed, "session_id_missing")


def soil_conversions(
    rng: Rng, table: pa.Table, seconds: Ints, has_session: Bools, stop: int, dirt: float
) -> Soiled:
    """Soil the conversions. Also notes, as `no_session`, those that `has_session` denies."""
    soil = _Soil(rng, "conversions", table, table["conv_id"])
    soil.deal(dirt, late_arrival=seconds < stop - 7 * DAY)
    soil.blank("conv_id_missing", "conv_id")
    soil.blank("user_id_missing", "user_id")
    soil.garble("conv_time_unreadable", "conv_date", "conv_time")
    _spoil_numbers(soil, "revenue")
    soil.put(
        "user_unknown", "user_id", uuids(rng, len(soil.dealt["user_unknown"])), "not in the shop"
    )
    untouched = np.ones(len(table), dtype=bool)
    untouched[np.concatenate([*soil.dealt.values()])] = False
    soil.book.note("no_session", np.flatnonzero(untouched & ~has_session))
    changed = join("1", soil.column("revenue").take(pa.array(soil.dealt["contradictory"])))
    return soil.finish(seconds, "revenue", changed, "conv_id_missing")


def soil_costs(
    rng: Rng, table: pa.Table, seconds: Ints, orphan: Bools, late: Bools, dirt: float
) -> Soiled:
    """Soil the costs. `orphan`: the session lost its id; `late`: the session arrives late."""
    soil = _Soil(rng, "session_costs", table, table["session_id"])
    soil.deal(dirt, every=~orphan & ~late)
    soil.blank("session_id_missing", "session_id")
    _spoil_numbers(soil, "cost")
    soil.put(
        "session_unknown",
        "session_id",
        uuids(rng, len(soil.dealt["session_unknown"])),
        "no such session",
    )
    soil.book.note("session_unknown", np.flatnonzero(orphan), "the session lost its id")
    soil.dealt["late_arrival"] = np.flatnonzero(late)
    changed = join("1", soil.column("cost").take(pa.array(soil.dealt["contradictory"])))
    return soil.finish(seconds, "cost", changed, "session_id_missing")


def _spoil_numbers(soil: "_Soil", column: str) -> None:
    soil.blank(f"{column}_missing", column)
    soil.replace(f"{column}_unreadable", column, UNREADABLE_NUMBERS)
    rows = soil.dealt[f"{column}_negative"]
    soil.put(
        f"{column}_negative", column, join("-", soil.column(column).take(pa.array(rows))), None
    )


class _Soil:
    """One table on its way to being dirty."""

    def __init__(self, rng: Rng, name: str, table: pa.Table, key: pa.ChunkedArray) -> None:
        self._rng = rng
        self._columns = {
            column: table[column].combine_chunks() if len(table) else pa.array([], pa.string())
            for column in table.column_names
        }
        self._key = key.combine_chunks() if len(table) else pa.array([], pa.string())
        self.book = Ledger(name)
        self.dealt: dict[str, Ints] = {}

    def column(self, name: str) -> pa.Array:
        return self._columns[name]

    def deal(self, dirt: float, *, every: Bools | None = None, **only: Bools) -> None:
        """Rows per rule, no row twice; `only` bounds the rows of a rule."""
        total = len(self._key)
        free = np.ones(total, dtype=bool) if every is None else every.copy()
        shuffled = self._rng.permutation(total)
        plan = PLANS[self.book.table]
        for rule in sorted(plan, key=lambda rule: rule not in only):
            may = free & only[rule] if rule in only else free
            rows = np.sort(shuffled[may[shuffled]][: round(plan[rule] * dirt * total)])
            free[rows] = False
            self.dealt[rule] = rows

    def put(self, rule: str, column: str, new: pa.Array, detail: pa.Array | str | None) -> None:
        rows = self.dealt[rule]
        self._columns[column] = patch(self._columns[column], rows, new)
        self.book.note(rule, rows, detail)

    def blank(self, rule: str, column: str) -> None:
        """Null, empty or a blank."""
        count = len(self.dealt[rule])
        self.put(rule, column, _drawn((None, "", " "), np.arange(count) % 3), None)

    def replace(self, rule: str, column: str, values: tuple[str, ...]) -> None:
        new = pool(values, self._rng.integers(0, len(values), len(self.dealt[rule])))
        self.put(rule, column, new, new)

    def garble(self, rule: str, day: str, time: str) -> None:
        """Make the date unreadable in two of three rows, the time in the others."""
        rows = self.dealt[rule]
        is_day = np.arange(len(rows)) % 3 < 2
        for column, values, at in (
            (day, UNREADABLE_DATES, rows[is_day]),
            (time, UNREADABLE_TIMES, rows[~is_day]),
        ):
            new = _drawn(values, self._rng.integers(0, len(values), len(at)))
            self._columns[column] = patch(self._columns[column], at, new)
            self.book.note(rule, at, column)

    def move(self, rule: str, rows: Ints, seconds: Ints, detail: pa.Array | None = None) -> None:
        day, time = day_and_time(seconds)
        for column, new in (("event_date", day), ("event_time", time)):
            self._columns[column] = patch(self._columns[column], rows, new)
        self.book.note(rule, rows, detail)

    def finish(self, seconds: Ints, column: str, changed: pa.Array, lost: str) -> Soiled:
        """Add the copies, which come up to three days later, and put all in order of arrival."""
        twice, other = self.dealt["duplicate"], self.dealt["contradictory"]
        late = self.dealt.get("late_arrival", np.zeros(0, dtype=np.int64))
        base = pa.table(self._columns)
        total, varied = len(base), len(base) + len(twice)
        source = np.concatenate([np.arange(total), twice, other]).astype(np.int64)
        when = seconds[source]
        when[total:] += self._rng.integers(1, 3 * DAY, len(source) - total)
        self.book.note("duplicate", np.arange(total, varied))
        self.book.note("contradictory", np.arange(varied, len(source)), column)
        order = np.argsort(when, kind="stable")
        is_late = np.zeros(len(source), dtype=bool)
        is_late[late] = True
        written = order[~is_late[order]]
        ledger = self.book.rows(
            self._key.take(pa.array(source)), np.concatenate([written, np.flatnonzero(is_late)])
        )
        table = base.take(pa.array(source[written]))
        places = np.flatnonzero(written >= varied)
        variants = changed.take(pa.array(written[places] - varied))
        soiled = patch(table[column].combine_chunks(), places, variants)
        return Soiled(
            table=table.set_column(table.schema.get_field_index(column), column, soiled),
            late_table=base.take(pa.array(late)),
            ledger=pa.concat_tables([ledger, self._late_ledger(late, ledger.schema)]),
            late=late,
            lost_id=self.dealt[lost],
        )

    def _late_ledger(self, late: Ints, schema: pa.Schema) -> pa.Table:
        count = len(late)
        return pa.table(
            {
                "table": constant(self.book.table, count),
                "rule": constant("late_arrival", count),
                "key": self._key.take(pa.array(late)),
                "row_number": pa.nulls(count, pa.int64()),
                "detail": pa.nulls(count, pa.string()),
            },
            schema=schema,
        )


def day_and_time(seconds: Ints) -> tuple[pa.Array, pa.Array]:
    """`2024-03-01` and `06:17:03` of seconds since 1970."""
    text = time_text(seconds)
    return pc.utf8_slice_codeunits(text, 0, 10), pc.utf8_slice_codeunits(text, 11, 19)


def _drawn(values: Sequence[str | None], index: Ints) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(index))


def seconds_of(day: pa.Array, time: pa.Array) -> pa.Array:
    """Seconds since 1970 of dates and times as text; null where they cannot be read."""
    read = pc.strptime(join(day, " ", time), "%Y-%m-%d %H:%M:%S", "s", error_is_null=True)
    return read.cast(pa.int64())


def empty_where(mask: Bools, values: pa.Array) -> pa.Array:
    """Null where the mask holds."""
    return choose(mask, pa.nulls(len(values), pa.string()), values)
