"""exports/channel_reporting: the reporting model's figures as CSV and back in the web database."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa

from dmp_assets import foreign_text
from dmp_assets.modeled.attribution_runs import RESULTS, committed
from dmp_assets.resources.lakehouse import Lakehouse
from dmp_assets.resources.web import web_source
from dmp_assets.resources.window import Window
from dmp_assets.sources.web import ReadOnlyWebDatabase
from dmp_assets.table_asset import ATTRIBUTION
from dmp_assets.tables import Tables

REPORTING = """
    SELECT channel_name, date::VARCHAR AS date, cost::DOUBLE AS cost, conversions AS ihc,
           revenue AS ihc_revenue, cpo AS "CPO", roas AS "ROAS"
    FROM modeled.channel_reporting WHERE model = $model ORDER BY date, channel_name"""


def write_csv(tables: Tables, model: str, days: tuple[date, date] | None, file: Path) -> int:
    """Write `channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS` of the days in range; its rows.

    `days` is half-open. The file appears when it is complete.
    """
    first, after = days or (date.min, date.max)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    with tables.connect("modeled/channel_reporting") as connection:
        chosen = connection.sql(REPORTING, params={"model": model}).filter(
            f"date >= '{first}' AND date < '{after}'"
        )
        with part.open("w", encoding="utf-8", newline="") as out:
            rows = foreign_text.write_csv(out, chosen.columns, _rows(chosen), end="\n")
    part.replace(file)
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
    group_name="reports",
    owners=["team:marketing"],
    kinds={"csv"},
    tags=ATTRIBUTION,
    description="Cost, conversions, revenue, CPO and ROAS by channel and day of the reporting "
    "model: exports/channel_reporting.csv holds the days in range, the web database's tables "
    "attribution_customer_journey and channel_reporting hold everything.",
)
def channel_export(
    context: dg.AssetExecutionContext, lakehouse: Lakehouse, window: Window
) -> dg.MaterializeResult[Any]:
    """Write the CSV and, where the web database allows it, both tables of results there."""
    home, model = lakehouse.home, lakehouse.settings.reporting_model
    tables = replace(lakehouse.tables, versions=committed(lakehouse.tables))
    file = home.exports / "channel_reporting.csv"
    rows = write_csv(tables, model, window.days(), file)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows,
            "path": dg.MetadataValue.path(str(file)),
            "model": model,
            "web_database": _write_back(context, lakehouse, tables, model),
        },
    )


def _write_back(
    context: dg.AssetExecutionContext, lakehouse: Lakehouse, tables: Tables, model: str
) -> str:
    source = web_source(lakehouse.home)
    if source is None:
        return "none is configured"
    reporting = tables.sql(
        "SELECT channel_name, date::VARCHAR AS date, cost::DOUBLE AS cost, conversions AS ihc, "
        "revenue AS ihc_revenue FROM modeled.channel_reporting WHERE model = $1",
        [model],
    )
    try:
        written = source.write_results(journey_credits(tables, model), reporting)
    except ReadOnlyWebDatabase as error:
        context.log.warning(str(error))
        return f"not written: {error}"
    return f"{written.journey_rows} journey rows, {written.reporting_rows} channel days"
