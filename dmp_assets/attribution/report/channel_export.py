"""exports/channel_reporting: the reporting model's figures as CSV and back in the web database."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa

from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.attribution.tables.attribution_runs import RESULTS, committed
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.lake.code_places import code_at
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.lake.worked_out import WorkedOut
from dmp_assets.platform.text import foreign_text
from dmp_assets.sources.web.database import ReadOnlyWebDatabase
from dmp_assets.sources.web.resource import web_source
from dmp_assets.sources.web.results import ResultsWritten

REPORTING = """
    SELECT channel_name, date::VARCHAR AS date, cost::DOUBLE AS cost, conversions AS ihc,
           revenue AS ihc_revenue, cpo AS "CPO", roas AS "ROAS"
    FROM modeled.channel_reporting WHERE model = $model ORDER BY date, channel_name"""


_CODE = Path(__file__).read_text()


def write_csv(tables: Tables, model: str, days: tuple[date, date] | None, file: Path) -> int:
    """Write `channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS` of the days in range; its rows.

    `days` is half-open. The file appears when it is complete.
    """
    first, after = days or (date.min, date.max)
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        tables.connect("modeled/channel_reporting") as connection,
        whole_file.replacing(file) as part,
    ):
        chosen = connection.sql(REPORTING, params={"model": model}).filter(
            f"date >= '{first}' AND date < '{after}'"
        )
        with part.open("w", encoding="utf-8", newline="") as out:
            rows = foreign_text.write_csv(out, chosen.columns, _rows(chosen), end="\n")
    return rows


def _rows(relation: duckdb.DuckDBPyRelation) -> Iterator[list[Any]]:
    for batch in relation.to_arrow_reader(10_000):
        yield from (list(row.values()) for row in batch.to_pylist())


def journey_credits(tables: Tables, model: str) -> Iterator[pa.RecordBatch]:
    """conv_id, session_id, ihc of every touchpoint by the model."""
    with tables.connect("modeled/attribution") as connection:
        yield from connection.sql(
            "SELECT conv_id, session_id, credit AS ihc FROM modeled.attribution WHERE model = $1",
            params=[model],
        ).to_arrow_reader(50_000)


@dg.asset(
    key=["exports", "channel_reporting"],
    deps=[dg.AssetKey(key.split("/")) for key in (*RESULTS, "modeled/attribution_runs")],
    owners=["team:marketing"],
    kinds={"csv"},
    metadata=code_at(Path(__file__)),
    description="Cost, conversions, revenue, CPO and ROAS by channel and day of the reporting "
    "model: exports/channel_reporting.csv holds the days in range, the web database's tables "
    "attribution_customer_journey and channel_reporting hold everything.",
)
def channel_export(
    context: dg.AssetExecutionContext, lakehouse: Lakehouse, window: Window
) -> dg.MaterializeResult[Any]:
    """Write the CSV and, where the web database allows it, both tables of results there."""
    home, model = lakehouse.home, lakehouse.settings.of(AttributionSettings).reporting_model
    tables = replace(lakehouse.tables, versions=committed(lakehouse.tables))
    stand = [tables.standing(key) for key in ("modeled/channel_reporting", "modeled/attribution")]
    tables = tables.pinned({one.key: one for one in stand})
    made_of = [model, _CODE, [(one.key, one.id, one.version) for one in stand]]
    known, file = WorkedOut(home), home.exports / "channel_reporting.csv"
    days = window.days()
    rows = known.peek("exports/channel_reporting", [made_of, days])
    csv_stands = rows is not None and file.exists()
    if not csv_stands:
        rows = write_csv(tables, model, days, file)
        known.note("exports/channel_reporting", [made_of, days], rows)
    back, stands = _write_back(context, lakehouse, tables, model, made_of, known)
    known.keep()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows,
            "path": dg.MetadataValue.path(str(file)),
            "model": model,
            "web_database": back,
            "unchanged": csv_stands and stands,
        },
    )


def _write_back(
    context: dg.AssetExecutionContext,
    lakehouse: Lakehouse,
    tables: Tables,
    model: str,
    made_of: Sequence[Any],
    known: WorkedOut,
) -> tuple[str, bool]:
    """Write the results into the web database; what became of it, and whether that stood before.

    They are written again where their tables no longer hold what was written.
    """
    source = web_source(lakehouse.home)
    if source is None:
        return "none is configured", True
    before = known.peek("web database", [made_of, source.name])
    held = source.results_held() if before else None
    if before and held and before == [held.journey_rows, held.reporting_rows]:
        return _told(held), True
    reporting = tables.sql(
        "SELECT channel_name, date::VARCHAR AS date, cost::DOUBLE AS cost, conversions AS ihc, "
        "revenue AS ihc_revenue FROM modeled.channel_reporting WHERE model = $1",
        [model],
    )
    try:
        written = source.write_results(journey_credits(tables, model), reporting)
    except ReadOnlyWebDatabase as error:
        context.log.warning(str(error))
        return f"not written: {error}", True
    known.note(
        "web database", [made_of, source.name], [written.journey_rows, written.reporting_rows]
    )
    return _told(written), False


def _told(written: ResultsWritten) -> str:
    return f"{written.journey_rows} journey rows, {written.reporting_rows} channel days"
