"""raw/users, raw/promo_codes, raw/promo_usages: the shop's rows as received.

Every received column is kept as text, new ones too; `_source`, `_received_at`, `_loaded_at` and,
where the shop numbers its rows, `_row_id` are added. Landing tables (filled by `dmp load-shop`)
are read incrementally by `_row_id`; a foreign shop is read in full, or from a watermark column on
where `shop_watermark_columns` names one.
"""

import os
import re
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dmp_assets.platform.cleaning.received_columns import FURTHER, columns_of
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import TableRun, source_checks, table_asset
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.text.spelling import meant
from dmp_assets.sources import names, postgres_text
from dmp_assets.sources.postgres import why_not_connected
from dmp_assets.sources.shop.connection import ShopError
from dmp_assets.sources.shop.jdbc import jdbc_options
from dmp_assets.sources.shop.plan import ReadPlan, read_plan
from dmp_assets.sources.shop.probe import ShopState, column_changes, names_in_lakehouse
from dmp_assets.sources.shop.resource import shop_url, state_in_run
from dmp_assets.sources.shop.settings import ShopSettings
from dmp_assets.sources.shop.tables import RECEIVED_AT, ROW_ID, TABLES

LINEAGE_COLUMNS = {
    "_row_id": Column(
        "long", "Number of the row in the shop's landing table; null in a foreign shop."
    ),
    "_received_at": Column("timestamp", "When the landing table received the row (UTC)."),
    "_source": Column("string", "Name of the shop that the row came from."),
    "_loaded_at": Column("timestamp", "When the row was read into the lakehouse (UTC)."),
}


def _columns(table: str) -> dict[str, Column]:
    return {**columns_of(TABLES[table].columns), **LINEAGE_COLUMNS}


def _probe(table: str, lakehouse: Lakehouse, window: Window) -> dict[str, Any]:
    state = state_in_run(lakehouse.run_id, lakehouse.home)
    known = state.tables[table]
    return {
        "content": known.content_hash,
        "columns": dict(known.columns),
        **({"texts": postgres_text.VERSION} if state.kind == "foreign" else {}),
        "range": [day.isoformat() for day in days] if (days := window.days()) else None,
    }


def _shop_table(table: str, key: str) -> Any:
    return table_asset(
        "raw",
        columns=_columns(table),
        windowed=True,
        probe=lambda lakehouse, window: _probe(table, lakehouse, window),
        further=FURTHER,
        kinds=("postgres", "spark", "delta"),
        settings=["shop_watermark_columns"],
        checks=source_checks(table, key),
    )


def _read_jdbc(run: TableRun, plan: ReadPlan, state: ShopState) -> DataFrame:
    url, properties = jdbc_options(shop_url(run.lakehouse.home))
    try:
        frame = run.lakehouse.spark.read.jdbc(
            url,
            plan.dbtable,
            predicates=list(plan.predicates),
            # A pooler may give each transaction another server, which knows no prepared statement.
            properties={**properties, "fetchsize": "10000", "prepareThreshold": "0"},
        )
    except (PySparkException, Py4JJavaError) as error:
        raise _why_not_read(state, error) from error
    return _with_lineage(frame, state)


def _why_not_read(state: ShopState, error: Exception) -> Exception:
    """What Spark's driver says of a connection that psycopg could make."""
    said = re.search(r"PSQLException: (.*)", str(error))
    if said is None:
        return error
    what = f"the shop {state.identity.name} as Spark reads it"
    return ShopError(why_not_connected(what, said[1], "DMP_SHOP_DATABASE_URL"))


def _with_lineage(frame: DataFrame, state: ShopState) -> DataFrame:
    if state.kind == "foreign":
        frame = frame.withColumns(
            {
                ROW_ID: F.lit(None).cast("bigint"),
                RECEIVED_AT: F.lit(None).cast("timestamp"),
            }
        )
    return frame.withColumns(
        {"_source": F.lit(state.identity.name), "_loaded_at": F.current_timestamp()}
    )


def _check_columns(run: TableRun, table: str, state: ShopState, before: dict[str, str]) -> None:
    if not before:
        return
    changes = column_changes(before, state.tables[table].columns)
    if changes.added:
        run.log.warning(f"{table}: new columns {', '.join(changes.added)}; kept in raw only")
        run.metadata["columns_added"] = ", ".join(changes.added)
    gone = [f"{table}.{name} is gone" for name in changes.removed]
    gone += [
        f"{table}.{name} was {before[name]} and is {state.tables[table].columns[name]}"
        for name in changes.retyped
    ]
    if gone and not run.settings.of(ShopSettings).accept_column_changes:
        raise ShopError(
            f"the shop's columns changed: {'; '.join(gone)}. If that is meant, set "
            "DMP_ACCEPT_COLUMN_CHANGES=true for one run"
        )


def read_shop_table(run: TableRun, table: str) -> None:
    """Bring raw/<table> up to the shop: rows received since, the run's days, or everything.

    Raises ShopError when the shop cannot be read, or a column vanished or changed its type.
    """
    state = state_in_run(run.lakehouse.run_id, run.lakehouse.home)
    run.lakehouse.expect(max(known.row_count for known in state.tables.values()))
    noted = run.lakehouse.tables.stamp(run.key)
    known = state.tables[table]
    probed = noted.get("probe") or {}
    before = probed.get("columns", {})
    told = names.renamed(names_in_lakehouse(state, table))
    if told:
        run.log.warning(f"{table}: columns with another name here: {', '.join(told)}")
        run.metadata["columns_renamed"] = ", ".join(told)
    _check_columns(run, table, state, before)
    watermark = run.settings.of(ShopSettings).shop_watermark_columns.get(table)
    if watermark and state.kind == "foreign" and watermark not in known.columns:
        raise ShopError(
            f"DMP_SHOP_WATERMARK_COLUMNS names the column {watermark}, which {table} of the shop "
            f"does not have{meant(watermark, known.columns)}"
        )
    since = None
    same = before == known.columns and probed.get("texts") == postgres_text.VERSION
    if watermark and state.kind == "foreign" and same and not run.window:
        since = _last_value(run, names_in_lakehouse(state, table).get(watermark, watermark))
    last = noted.get("max_row_id")
    partitions = os.cpu_count() or 2
    run.stamp["max_row_id"] = known.max_row_id
    if last is not None and run.window:
        run.stamp["max_row_id"] = last
        plan = read_plan(state, table, window=run.window, partitions=partitions)
        run.merge(_read_jdbc(run, plan, state), keys=[ROW_ID])
    elif last is not None:
        plan = read_plan(state, table, after_row_id=last, partitions=partitions)
        if plan.empty:
            run.keep()
        elif _last_value(run, ROW_ID) == str(last):
            run.append(_read_jdbc(run, plan, state))
        else:  # a range run brought some of these rows already
            run.merge(_read_jdbc(run, plan, state), keys=[ROW_ID])
    elif watermark and since is not None:
        plan = read_plan(state, table, watermark=(watermark, since), partitions=partitions)
        seen = run.read(run.key).select(*plan.columns)
        fresh = _read_jdbc(run, plan, state).select(*plan.columns).exceptAll(seen)
        run.append(_with_lineage(fresh, state))
    else:
        plan = read_plan(state, table, partitions=partitions)
        run.overwrite(_read_jdbc(run, plan, state))


def _last_value(run: TableRun, column: str) -> str | None:
    """The greatest value of a column as text, numbers by size; None when there is none."""
    layer, _, table = run.key.partition("/")
    query = f"""
        WITH read AS (
          SELECT "{column}"::VARCHAR AS value, try_cast(value AS DECIMAL(38, 9)) AS number
          FROM {layer}.{table}
        )
        SELECT CASE WHEN count(value) = count(number) THEN max_by(value, number)
                    ELSE max(value) END
        FROM read"""
    value = run.lakehouse.tables.scalar(query)
    return None if value is None else str(value)


@_shop_table("users", "user_id")
def users(run: TableRun) -> None:
    """Users as the shop has them, every column as text.

    Grain: one received row. Key: _row_id in a landing shop, none in a foreign one.
    Source: the shop's table users.
    """
    read_shop_table(run, "users")


@_shop_table("promo_codes", "promo_code")
def promo_codes(run: TableRun) -> None:
    """Promo codes as the shop has them, every column as text.

    Grain: one received row. Key: _row_id in a landing shop, none in a foreign one.
    Source: the shop's table promo_codes.
    """
    read_shop_table(run, "promo_codes")


@_shop_table("promo_usages", "user_id")
def promo_usages(run: TableRun) -> None:
    """Redemptions as the shop has them, every column as text.

    Grain: one received row. Key: _row_id in a landing shop, none in a foreign one.
    Source: the shop's table promo_usages.
    """
    read_shop_table(run, "promo_usages")
