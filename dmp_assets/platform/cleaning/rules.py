"""Cleaning as data: rules that a row must obey to be used, and what becomes of those that do not.

Every received row ends in exactly one of three places: kept, counted as a duplicate of a kept
row (`received_rows`), or in quarantine with the rules that it failed.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from threading import local
from types import MappingProxyType

import dagster as dg
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from dmp_assets.platform.cleaning import formats, reading, unread
from dmp_assets.platform.cleaning.reading import Readings
from dmp_assets.platform.cleaning.received import ReceivedColumns
from dmp_assets.platform.cleaning.received_columns import columns_of
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun

# What raw adds to the received columns.
LINEAGE = ("_row_id", "_received_at", "_source", "_loaded_at")

_of_this_thread = local()
"""`held`: what the asset that this thread makes keeps in memory until its tables are written."""


@dataclass(frozen=True)
class Rule:
    """A SQL condition that a usable row meets.

    NULL counts as met (unknown is not bad) unless the rule is `required`.
    """

    name: str
    condition: str
    reason: str
    required: bool = False

    def broken(self) -> SparkColumn:
        met = F.expr(self.condition)
        return ~F.coalesce(met, F.lit(not self.required))


@dataclass(frozen=True)
class Split:
    """`kept` rows go on; `quarantined` rows carry `failed_rules` and `reason`."""

    kept: DataFrame
    quarantined: DataFrame


def received_columns(frame: DataFrame) -> list[str]:
    """Columns as the source sent them: all but those that raw added."""
    return [name for name in frame.columns if name not in LINEAGE]


def received(frame: DataFrame, known: Iterable[str], readings: Readings) -> DataFrame:
    """The known columns as text (null where the source does not have them: unknown, not bad), with
    what is read of them, and the columns that raw added. Kept until the table is written, because
    two tables are made of it.
    """
    texts = [
        (F.col(name) if name in frame.columns else F.lit(None)).cast("string").alias(name)
        for name in known
    ]
    return _held(reading.read(frame.select(*texts, *LINEAGE), readings))


def split_by_rules(frame: DataFrame, rules: Sequence[Rule]) -> Split:
    """Part the rows into those that meet all rules and those that do not; none falls between."""
    failed = F.filter(
        F.array(*[F.when(rule.broken(), F.lit(rule.name)) for rule in rules]),
        lambda name: name.isNotNull(),
    )
    reasons = F.create_map(
        *[part for rule in rules for part in (F.lit(rule.name), F.lit(rule.reason))]
    )
    judged = frame.withColumn("failed_rules", failed)
    bad = judged.where("size(failed_rules) > 0").withColumn(
        "reason", F.array_join(F.transform("failed_rules", lambda name: reasons[name]), "; ")
    )
    return Split(judged.where("size(failed_rules) = 0").drop("failed_rules"), bad)


def one_row_per_key(
    frame: DataFrame,
    keys: Sequence[str],
    never_null: Sequence[str] = (),
    read: Readings = MappingProxyType({}),
) -> Split:
    """One row a key, and the contradicting variants apart.

    Rows of an earlier load that a later load sends again are superseded. Rows that say the same
    are one. Where the rows of one load contradict each other, the first stays with the disputed
    columns null and `is_ambiguous`; the other variants go to quarantine with what the kept row
    had said (`kept_variant`). A value against a missing one is no dispute: rows that only fill
    each other's gaps are one.
    `received_rows` counts the received rows that a kept row stands for; a disputed column of
    `never_null` takes its smallest value (the earliest time). `read`: columns of the frame that
    were read of others, and are read again where several rows become one.
    """
    content = [name for name in received_columns(frame) if name not in read]
    values = [name for name in content if name not in keys]
    by_key = Window.partitionBy(*keys)
    counted = frame.withColumn("_rows", F.count(F.lit(1)).over(by_key))
    alone = counted.where("_rows = 1").select(
        *content,
        "_received_at",
        F.col("_rows").alias("received_rows"),
        F.lit(False).alias("is_ambiguous"),
        *read,
    )
    said = (
        counted.where("_rows > 1")
        .groupBy(*content)
        .agg(
            F.count(F.lit(1)).alias("received_rows"),
            F.coalesce(F.min("_row_id"), F.xxhash64(*content)).alias("_row_id"),
            F.max("_received_at").alias("_received_at"),
        )
    )
    latest = F.col("_received_at").eqNullSafe(F.max("_received_at").over(by_key))
    marked = said.withColumns({"_latest": latest}).withColumns(
        {
            "_variants": F.sum(F.col("_latest").cast("int")).over(by_key),
            "_superseded": F.sum(
                F.when(~F.col("_latest"), F.col("received_rows")).otherwise(0)
            ).over(by_key),
            "_rank": F.row_number().over(by_key.orderBy(F.desc("_latest"), "_row_id")),
        }
    )
    ranked = _held(marked.where("_latest").drop("_latest"))
    stands_for = F.col("received_rows") + F.col("_superseded")
    agreed = ranked.where("_variants = 1").select(
        *content,
        "_received_at",
        stands_for.alias("received_rows"),
        F.lit(False).alias("is_ambiguous"),
    )
    several = ranked.where("_variants > 1")
    disputes = [F.coalesce(F.min(name) != F.max(name), F.lit(False)) for name in values]
    disputed = reduce(lambda a, b: a | b, disputes, F.lit(False))
    merged = several.groupBy(*keys).agg(
        *[_agreed(name, never_null).alias(name) for name in values],
        F.min("_received_at").alias("_received_at"),
        F.when(disputed, F.min_by(stands_for, "_rank"))
        .otherwise(F.sum("received_rows") + F.max("_superseded"))
        .alias("received_rows"),
        disputed.alias("is_ambiguous"),
    )
    said_first = several.where("_rank = 1").select(
        *keys, F.to_json(F.struct(*values)).alias("kept_variant")
    )
    variants = (
        several.where("_rank > 1")
        .join(merged.where("is_ambiguous").select(*keys), list(keys), "left_semi")
        .join(said_first, list(keys))
        .withColumns(
            {
                "failed_rules": F.array(F.lit("contradictory")),
                "reason": F.lit("another row of the same load says otherwise of this key"),
                "_copy": F.explode(F.sequence(F.lit(1), F.col("received_rows").cast("int"))),
            }
        )
    )
    shared = agreed.unionByName(merged.select(*agreed.columns))
    return Split(
        alone.unionByName(reading.read(shared, read) if read else shared),
        variants.select(*content, "_received_at", "kept_variant", "failed_rules", "reason"),
    )


def _agreed(name: str, never_null: Sequence[str]) -> SparkColumn:
    """What all variants of a key say, null where they disagree (but for `never_null`)."""
    lowest = F.min(name)
    return lowest if name in never_null else F.when(lowest == F.max(name), lowest)


def quarantine(received: Collection[str], *parts: DataFrame) -> DataFrame:
    """Rows that could not be used, as received, with the rules that they failed."""
    shaped = [
        part.select(
            *[F.col(name).cast("string").alias(name) for name in received],
            "failed_rules",
            "reason",
            (
                F.col("kept_variant")
                if "kept_variant" in part.columns
                else F.lit(None).cast("string")
            ).alias("kept_variant"),
            F.col("_received_at").alias("received_at"),
        )
        for part in parts
    ]
    return reduce(lambda a, b: a.unionByName(b), shaped).withColumn(
        "quarantined_at", F.current_timestamp()
    )


def standard_checks(table: str) -> tuple[Check, ...]:
    """Checks that every cleaned table has beside that of its key: rows that add up, columns that
    are read."""
    return (
        Check(
            "rows_add_up",
            f"""
            WITH counted AS (
              SELECT (SELECT count(*) FROM raw.{table}) AS received,
                     (SELECT count(*) FROM cleaned.{table}) AS kept,
                     (SELECT coalesce(sum(received_rows - 1), 0)::BIGINT FROM cleaned.{table})
                       AS duplicates,
                     (SELECT count(*) FROM quarantine.{table}) AS quarantined
            )
            SELECT abs(received - kept - duplicates - quarantined) AS offending, * FROM counted
            """,
            "Rows received = kept + duplicates + quarantined.",
            blocking=True,
        ),
        formats.CHECK,
        unread.CHECK,
    )


def write_split(run: TableRun, split: Split) -> None:
    """Write quarantine, test the share of bad rows, then write the table.

    Raises dg.Failure, with the numbers, when more than `max_bad_share` of the received rows
    cannot be used; the table is then left as it was.
    """
    table = run.key.partition("/")[2]
    received = run.lakehouse.written(f"raw/{table}").rows
    try:
        _write_tested(run, split, table, received)
    finally:
        _let_go()


def _held(frame: DataFrame) -> DataFrame:
    """The frame, kept in memory from its first use until `write_split` of this thread ends.

    Only its own: assets that are made beside it in other threads share the Spark session.
    """
    if not hasattr(_of_this_thread, "held"):
        _of_this_thread.held = []
    _of_this_thread.held.append(frame.persist())
    return frame


def _let_go() -> None:
    while getattr(_of_this_thread, "held", None):
        _of_this_thread.held.pop().unpersist()


def _write_tested(run: TableRun, split: Split, table: str, received: int) -> None:
    run.overwrite(split.quarantined, f"quarantine/{table}")
    bad = run.written[f"quarantine/{table}"].rows
    share = bad / received if received else 0.0
    run.metadata |= {"rows_received": received, "rows_quarantined": bad, "bad_share": share}
    noted = [run.metadata[name] for name in ("problem", "unread") if name in run.metadata]
    if share > run.settings.max_bad_share:
        raise dg.Failure(
            f"{bad} of {received} rows of raw/{table} ({share:.1%}) cannot be used; allowed are "
            f"{run.settings.max_bad_share:.1%} (DMP_MAX_BAD_SHARE). {run.key} is left as it was; "
            f"see `dmp show quarantine/{table}`." + "".join(f" {problem}." for problem in noted)
        )
    run.overwrite(split.kept)


QUARANTINE_COLUMNS = {
    "failed_rules": Column("array<string>", "Names of the rules that the row failed."),
    "reason": Column("string", "The same in words."),
    "kept_variant": Column(
        "string",
        "For a contradictory row: what the kept row of its key had said (JSON).",
        "free text",
    ),
    "received_at": Column("timestamp", "When the source received the row (UTC), where it says so."),
    "quarantined_at": Column("timestamp", "When the row was put here (UTC)."),
}


def quarantine_columns(received: ReceivedColumns) -> dict[str, Column]:
    """The columns of a quarantine: the received ones, and why a row is there."""
    return {**columns_of(received), **QUARANTINE_COLUMNS}
