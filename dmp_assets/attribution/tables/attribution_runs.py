"""modeled/attribution_runs: the attribution runs that came to their end, and how they add up.

Grain: one run. Key: run_id. Sources: modeled/channel_reporting, modeled/attribution,
modeled/attributed_conversions, quarantine/web_conversions, cleaned/web_conversions.

Delta tables cannot commit together, so this one is written last and names the versions that
belong together; readers use those of its last row. Every conversion in range is attributed, has no
touchpoint, failed at the IHC service, or is in quarantine; so is its revenue.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any

import pyarrow as pa

from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.cleaned.web.web_values import MONEY
from dmp_assets.platform.cleaning import evidence
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.values import readers, times
from dmp_assets.platform.values.readers import Format
from dmp_assets.sources.web.tables import WRITTEN

RESULTS = (
    "modeled/attribution", "modeled/attributed_conversions", "modeled/channel_reporting",
)  # fmt: skip
PARTS = ("attributed", "without_touchpoint", "failed", "quarantined")
COLUMNS = {
    "run_id": Column("string", "The Dagster run."),
    "committed_at": Column("timestamp", "When all its tables were there (UTC)."),
    "start": Column("date", "First day of the conversions in range; null: all of them."),
    "end": Column("date", "Last day of the range (included)."),
    "reporting_model": Column("string", "Model of CSV, message and the first chart."),
    "conversions": Column("long", "Conversions in range, those in quarantine included."),
    "attributed": Column("long", "Of these with credits."),
    "without_touchpoint": Column("long", "Of these of users without a session before."),
    "failed": Column(
        "long", "Of these without an answer of the IHC service; asked for again by the next run."
    ),
    "quarantined": Column("long", "Of these that cannot be used: no row of them is good."),
    "quarantined_undated": Column(
        "long", "Of the quarantined, those whose day cannot be read: in every range."
    ),
    "revenue": Column(
        "double", "Revenue of the conversions in range in EUR, as far as it can be read."
    ),
    **{
        f"{part}_revenue": Column("double", f"Of this, of those {part.replace('_', ' ')}.")
        for part in PARTS
    },
    "versions": Column("map<string,long>", "Table → Delta version that belong together."),
}
SCHEMA = arrow_schema(COLUMNS)


def committed(tables: Tables) -> dict[str, int]:
    """Versions of the tables of results that the last complete run left; {} before the first.

    A table that nobody has written to since is not named: maintenance may have moved its files.
    """
    if not tables.exists("modeled/attribution_runs"):
        return {}
    rows = tables.sql(
        "SELECT versions FROM modeled.attribution_runs ORDER BY committed_at DESC LIMIT 1"
    )["versions"].to_pylist()
    known: dict[str, int] = dict(rows[0]) if rows else {}
    return {
        key: version
        for key, version in known.items()
        if tables.stamp(key).get("delta_version", version) > version
    }


def added_up(
    tables: Tables, window: tuple[date, date] | None, given: Mapping[str, str]
) -> dict[str, Any]:
    """Conversions and revenue of the range by what became of them.

    A quarantined conversion is one of which no row could be used; those without an id count by
    content. A row in quarantine beside a usable one of the same id is no further conversion. What
    is in quarantine is read as its column is; `given`: DMP_COLUMN_FORMATS.
    """
    days = window or (date.min, date.max)
    kept = tables.sql(
        """SELECT CASE credit_source WHEN 'none' THEN 'without_touchpoint' WHEN 'failed'
                  THEN 'failed' ELSE 'attributed' END AS part,
                  count(*) AS n, sum(revenue)::DOUBLE AS revenue
        FROM modeled.attributed_conversions WHERE conversion_date >= ? AND conversion_date < ?
        GROUP BY part""",
        list(days),
    ).to_pylist()
    parts: dict[str, Mapping[str, Any]] = {row["part"]: row for row in kept}
    unusable = _unusable(tables, given).values()
    bad = [amount for day, amount in unusable if day is None or days[0] <= day < days[1]]
    parts["quarantined"] = {"n": len(bad), "revenue": float(sum(bad))}
    nothing = {"n": 0, "revenue": 0.0}
    counts = {part: parts.get(part, nothing)["n"] for part in PARTS}
    money = {f"{part}_revenue": parts.get(part, nothing)["revenue"] for part in PARTS}
    return {
        "conversions": sum(counts.values()),
        **counts,
        "quarantined_undated": sum(day is None for day, _ in unusable),
        "revenue": sum(money.values()),
        **money,
    }


def _unusable(tables: Tables, given: Mapping[str, str]) -> dict[str, tuple[date | None, Decimal]]:
    """Conversion → its day and revenue, as far as they can be read, where no row of it is good."""
    forms = evidence.of_columns(tables, given, "web_conversions", WRITTEN["web_conversions"])
    worth = readers.amount("revenue", MONEY, forms["revenue"])
    rows = tables.sql(
        f"""SELECT coalesce(conv_id, hash(user_id, conv_date, conv_time, revenue)::VARCHAR) AS id,
                   conv_date, conv_time, max({worth}) AS amount
        FROM quarantine.web_conversions AS q
        WHERE conv_id IS NULL
           OR NOT EXISTS (FROM cleaned.web_conversions AS c WHERE c.conv_id = q.conv_id)
        GROUP BY ALL"""
    )
    read = cache(partial(_day, form=forms["conv_date"], clock=forms["conv_time"]))
    found: dict[str, tuple[date | None, Decimal]] = {}
    for row in rows.to_pylist():
        day, revenue = read(row["conv_date"], row["conv_time"]), row["amount"] or Decimal(0)
        known = found.get(row["id"], (None, revenue))
        earliest = min((on for on in (known[0], day) if on is not None), default=None)
        found[row["id"]] = earliest, max(known[1], revenue)
    return found


def _day(day: str | None, time: str | None, *, form: Format, clock: Format) -> date | None:
    """The day (UTC) of a moment, or the day as written where the time of day says nothing."""
    if day is None:
        return None
    moment = times.read_moment(day, time, form, clock) if time is not None else None
    return moment.date() if moment is not None else times.read_day(day, form)


@table_asset(
    "modeled",
    deps=[*RESULTS, "cleaned/web_conversions", "quarantine/web_conversions"],
    owner="team:marketing",
    columns=COLUMNS,
    key=("run_id",),
    settings=["reporting_model", "column_formats"],
    kinds=("duckdb", "delta"),
    windowed=True,
    checks=(
        Check(
            "conversions_add_up",
            """
            WITH last AS (
              SELECT * FROM modeled.attribution_runs ORDER BY committed_at DESC LIMIT 1
            ), counted AS (
              SELECT l.attributed + l.without_touchpoint + l.failed AS accounted,
                     (SELECT count(*) FROM cleaned.web_conversions
                      WHERE l.start IS NULL
                         OR converted_at::DATE BETWEEN l.start AND l."end") AS had
              FROM last l
            )
            SELECT abs(accounted - had) AS offending, * FROM counted
            """,
            "Attributed + without touchpoint + failed = all usable conversions in range.",
            blocking=True,
        ),
        Check(
            "all_received_are_there",
            """
            WITH received AS (
              SELECT count(DISTINCT coalesce(nullif(trim(conv_id), ''), hash(
                       nullif(trim(user_id), ''), nullif(trim(conv_date), ''),
                       nullif(trim(conv_time), ''), nullif(trim(revenue), ''))::VARCHAR)) AS n
              FROM raw.web_conversions
            ), known AS (
              SELECT conversions, start FROM modeled.attribution_runs
              ORDER BY committed_at DESC LIMIT 1
            )
            SELECT CASE WHEN start IS NULL THEN abs(n - conversions) ELSE 0 END AS offending,
                   n AS received FROM received, known
            """,
            "A run over everything accounts for every conversion that was received.",
            blocking=True,
        ),
    ),
)
def attribution_runs(run: TableRun) -> None:
    """The attribution runs that came to their end, and how their conversions add up.

    Grain: one run. Key: run_id. Written last: its newest row names the versions of
    modeled/attribution, modeled/attributed_conversions and modeled/channel_reporting that readers
    use.
    """
    tables = run.lakehouse.tables
    start, end = run.window or (None, None)
    row = {
        "run_id": run.lakehouse.run_id,
        "committed_at": datetime.now(UTC),
        "start": start,
        "end": date.fromordinal(end.toordinal() - 1) if end else None,
        "reporting_model": run.settings.of(AttributionSettings).reporting_model,
        **added_up(tables, run.window, run.settings.column_formats),
        "versions": [(key, tables.version(key)) for key in RESULTS],
    }
    run.metadata |= {
        key: row[key] for key in ("conversions", *PARTS, "revenue") if row[key] is not None
    }
    run.append(pa.Table.from_pylist([row], SCHEMA))
