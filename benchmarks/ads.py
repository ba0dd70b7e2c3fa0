"""Time and memory of the tables of ad performance, as a Markdown table.

    .venv/bin/python benchmarks/ads.py                    # 1,000,000 insights and 500,000 orders
    .venv/bin/python benchmarks/ads.py 100000 50000       # so many

Simulated received tables: 4 accounts of one advertiser, 500 ads, a tenth of the insights restated
once; orders of three years with 1.8 lines on average, a payment each, one in twenty paid back, one
in two with a known first visit. One process makes everything from there on: cleaned tables,
performance, ledger, claims, bridge, returns; experiments are not among them. Then a day is added,
with 28 days restated and the day's orders, and all is made again. Memory is the largest sum over
the process tree, as in `main_job.py`.
"""

import json
import os
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

INSIGHTS, ORDERS = 1_000_000, 500_000
ADS, LAST = 500, date(2026, 10, 31)
_READ = "TIMESTAMPTZ '2026-11-29 06:00:00+00'"
_LINEAGE = "NULL::TIMESTAMPTZ AS _received_at, 'benchmark' AS _source, now() AS _loaded_at"
_ACCOUNT = "(a // 20 % 4 + 1)::VARCHAR AS account_id"
_DAYS = "({first} + d::INTEGER)::DATE"


def _insights(first: str, days: str, read_at: str, keep: str = "TRUE") -> str:
    """SQL of what the ads delivered on some days, as Meta tells it."""
    told = (
        '\'[{"action_type":"link_click","value":"9"}\' || CASE WHEN h % 3 = 0 THEN '
        '\',{"action_type":"omni_purchase","value":"\' || (h % 4 + 1) || \'","7d_click":"\' '
        "|| (h % 4 + 1) || '\"}' ELSE '' END || ']'"
    )
    worth = (
        'CASE WHEN h % 3 = 0 THEN \'[{"action_type":"omni_purchase","value":"\' || (h % 4 + 1) '
        '* 47 || \'.50","7d_click":"\' || (h % 4 + 1) * 47 || \'.50"}]\' END'
    )
    return f"""
        SELECT 'acme' AS advertiser_id, {_ACCOUNT}, (25000000 + a)::VARCHAR AS ad_id,
               {_DAYS.format(first=first)} AS date, '' AS breakdown, '' AS cell,
               'EUR' AS account_currency, (23000000 + a // 20)::VARCHAR AS campaign_id,
               (24000000 + a // 5)::VARCHAR AS adset_id, (h % 5000 + 100)::VARCHAR AS impressions,
               (h % 4000 + 80)::VARCHAR AS reach, '1.2' AS frequency, (h % 90)::VARCHAR AS clicks,
               (h % 70)::VARCHAR AS inline_link_clicks, (h % 9000 / 100)::DECIMAL(9, 2)::VARCHAR
                 AS spend, '7d_click_1d_view' AS attribution_setting, {told} AS actions,
               {worth} AS action_values,
               CASE WHEN h % 3 = 0 THEN 'omni_purchase' END AS purchase_type, false AS is_idle,
               {read_at} AS read_at, {_LINEAGE}
        FROM (SELECT a, d, hash(a, d) % 1000003 AS h FROM range({ADS}) x(a), range({days}) y(d))
        WHERE {keep}
    """


def _orders(first: int, count: int, days: str) -> str:
    """SQL of orders as numbers, from which their tables follow."""
    return f"""
        SELECT n, hash(n) % 1000003 AS h, TIMESTAMPTZ '2023-11-01 00:00:00+00'
                 + to_seconds(({days}) * 86400 + hash(n, 2) % 86400) AS sold
        FROM range({first}, {first + count}) r(n)
    """


_OWN = "'acme' AS advertiser_id, 'acme.myshopify.com' AS shop, (9000000 + n)::VARCHAR AS order_id"
_AT = "strftime(sold, '%Y-%m-%dT%H:%M:%SZ')"
_STATE = f"{_OWN}, {_AT} AS order_updated_at"
_TOTAL = "((h % 180) + 20 + 0.5)::DECIMAL(9, 2)"
SHOPIFY = {
    "shopify_orders": f"""
        {_STATE}, '#' || n AS order_name, (h % 200000)::VARCHAR AS customer_id,
        {_AT} AS created_at, {_AT} AS processed_at, CASE WHEN h % 90 = 0 THEN {_AT} END
          AS cancelled_at, 'false' AS is_test, 'true' AS is_confirmed, 'PAID' AS financial_status,
        'web' AS source_name, 'EUR' AS currency, '[]' AS discount_codes, '[]' AS tags,
        {_TOTAL}::VARCHAR AS total, ({_TOTAL} - 5)::VARCHAR AS subtotal, '0.00' AS discounts,
        '5.00' AS shipping, '3.19' AS tax,
        CASE WHEN h % 20 = 0 THEN {_TOTAL}::VARCHAR ELSE '0.00' END AS refunded""",
    "shopify_order_lines": f"""
        {_STATE}, (n * 4 + k)::VARCHAR AS line_id, (h % 900)::VARCHAR AS variant_id,
        'SKU' || h % 900 AS sku, '1' AS quantity, 'false' AS is_gift_card,
        (({_TOTAL} - 5) / 2)::DECIMAL(9, 2)::VARCHAR AS unit_price,
        (({_TOTAL} - 5) / 2)::DECIMAL(9, 2)::VARCHAR AS discounted_total""",
    "shopify_transactions": f"""
        {_STATE}, (n * 4)::VARCHAR AS transaction_id, 'SALE' AS kind, 'SUCCESS' AS status,
        'shopify_payments' AS gateway, {_AT} AS processed_at, {_TOTAL}::VARCHAR AS amount,
        '[{{"amount": "1.05", "currencyCode": "EUR"}}]' AS fees""",
    "shopify_refunds": f"""
        {_STATE}, (n * 4)::VARCHAR AS refund_id,
        strftime(sold + INTERVAL 5 DAY, '%Y-%m-%dT%H:%M:%SZ') AS created_at,
        {_TOTAL}::VARCHAR AS refunded""",
    "shopify_refund_lines": f"""
        {_STATE}, (n * 4)::VARCHAR AS refund_id, (n * 4)::VARCHAR AS refund_line_id,
        'line' AS kind, (n * 4)::VARCHAR AS line_id, '1' AS quantity, 'RETURN' AS cause,
        (({_TOTAL} - 5) / 2)::DECIMAL(9, 2)::VARCHAR AS amount, '0.50' AS tax""",
    "shopify_journeys": f"""
        {_STATE}, 'true' AS is_ready, '1' AS order_index,
        strftime(sold - INTERVAL 2 DAY, '%Y-%m-%dT%H:%M:%SZ') AS first_visit_at,
        'facebook' AS first_source, 'facebook' AS first_utm_source, 'paid' AS first_utm_medium,
        'Campaign ' || h % 25 AS first_utm_campaign,
        strftime(sold - INTERVAL 1 HOUR, '%Y-%m-%dT%H:%M:%SZ') AS last_visit_at,
        'google' AS last_source, 'google' AS last_utm_source""",
}
"""Table → SQL of its columns of an order `n`, of which `h` is a hash and `sold` its time."""
OF = {
    "shopify_order_lines": "JOIN range(4) lines(k) ON k <= h % 3 OR k = 0",
    "shopify_refunds": "WHERE h % 20 = 0",
    "shopify_refund_lines": "WHERE h % 20 = 0",
    "shopify_journeys": "WHERE h % 2 = 0",
}
"""Which orders have a row of it."""


def simulate(insights: int, orders: int) -> None:
    """Write the received tables into the current home."""
    import duckdb

    from dmp_assets.raw import exports, meta, shopify
    from dmp_assets.raw.meta_readings import INSIGHT_COLUMNS, READING_COLUMNS
    from dmp_assets.sources.shopify.tables import TABLES

    days = max(insights * 10 // 11 // ADS, 60)
    first = f"DATE '{LAST}' - {days - 1}"
    old = f"{_READ} - INTERVAL 10 DAY"
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        write = _writer(db)
        write("raw/meta_insights", INSIGHT_COLUMNS, f"""
            {_insights(first, str(days), old)} UNION ALL BY NAME
            {_insights(first, str(days), _READ, "h % 10 = 0")}
        """)  # fmt: skip
        write("raw/meta_insight_readings", READING_COLUMNS, _readings(first, days, _READ))
        write("raw/meta_accounts", meta._ACCOUNTS.columns, f"""
            SELECT 'acme' AS advertiser_id, (a + 1)::VARCHAR AS account_id, 'Account' AS name,
                   '1' AS account_status, 'EUR' AS currency, 'Europe/Berlin' AS timezone_name,
                   true AS is_listed, {_READ} AS read_at, {_LINEAGE} FROM range(4) x(a)
        """)  # fmt: skip
        _objects(write, meta)
        for name in TABLES:
            columns = shopify._columns(name)
            query = _shop_table(name, 0, orders, f"hash(n, 1) % {days}")
            write(f"raw/{name}", columns, query)
        write("raw/meta_exports", exports.COLUMNS["meta"], "SELECT 1 WHERE false")
        write("raw/shopify_exports", exports.COLUMNS["shopify"], "SELECT 1 WHERE false")
        from dmp_assets.ads.tables.exchange_rates import RECEIVED

        write("raw/exchange_rates", RECEIVED, "SELECT 1 WHERE false")


def _objects(write: Any, meta: Any) -> None:
    """What the accounts hold: campaigns, ad sets, ads and creatives."""
    for table, columns, own, above, count, each in (
        ("meta_campaigns", meta._CAMPAIGNS.columns, "campaign_id", None, ADS // 20, 20),
        ("meta_ad_sets", meta._AD_SETS.columns, "adset_id", "campaign_id", ADS // 5, 5),
        ("meta_ads", meta._ADS.columns, "ad_id", "adset_id", ADS, 1),
        ("meta_creatives", meta._CREATIVES.columns, "creative_id", None, ADS, 1),
    ):
        base = {"campaign_id": 23, "adset_id": 24, "ad_id": 25, "creative_id": 26}
        of = {"campaign_id": 20, "adset_id": 5}.get(above or "", 1)
        parent = f", ({base.get(above or '')}000000 + o * {each} // {of})::VARCHAR AS {above}"
        parent = parent if above else ""
        write(f"raw/{table}", columns, f"""
            SELECT 'acme' AS advertiser_id, (o * {each} // 20 % 4 + 1)::VARCHAR AS account_id,
                   ({base[own]}000000 + o)::VARCHAR AS {own}{parent},
                   'Campaign ' || (o * {each} // 20) AS name, 'ACTIVE' AS effective_status,
                   '{{"id": "' || (26000000 + o) || '"}}' AS creative,
                   'utm_source=facebook' AS url_tags, true AS is_listed, {_READ} AS read_at,
                   {_LINEAGE}
            FROM range({count}) x(o)
        """)  # fmt: skip


def _readings(first: str, days: int, read_at: str) -> str:
    return f"""
        SELECT 'acme' AS advertiser_id, (a + 1)::VARCHAR AS account_id, '' AS breakdown,
               {_DAYS.format(first=first)} AS date, 'Europe/Berlin' AS timezone_name,
               100::BIGINT AS ads, 0::BIGINT AS changed_rows, false AS is_too_old,
               {read_at} AS read_at
        FROM range(4) x(a), range({days}) y(d)
    """


def _shop_table(name: str, first: int, count: int, days: str) -> str:
    if name == "shopify_variants":
        return f"""
            SELECT 'acme' AS advertiser_id, 'acme.myshopify.com' AS shop, v::VARCHAR AS variant_id,
                   'SKU' || v AS sku, '12.30' AS unit_cost, 'EUR' AS unit_cost_currency, {_LINEAGE}
            FROM range(900) x(v)
        """
    if name not in SHOPIFY:
        return "SELECT 1 WHERE false"
    made = _orders(first, count, days)
    return f"SELECT {SHOPIFY[name]}, {_LINEAGE} FROM ({made}) {OF.get(name, '')}"


def _writer(db: Any, *, appends: bool = False) -> Any:
    """Writes the rows of a query as a table of these columns, numbered on."""
    import duckdb

    from dmp_assets.platform.lake.columns import arrow_schema
    from dmp_assets.platform.lake.lakehouse import Lakehouse

    lakehouse = Lakehouse()
    connection: duckdb.DuckDBPyConnection = db

    def write(key: str, columns: Any, query: str) -> None:
        schema = arrow_schema(columns)
        given = connection.sql(query)
        start = 0
        if appends and "_row_id" in columns:
            table = key.replace("/", ".")
            start = lakehouse.tables.scalar(f"SELECT coalesce(max(_row_id) + 1, 0) FROM {table}")
        own = {
            "_row_id": f"{start} + row_number() OVER () - 1 AS _row_id",
            "_state": "uuid()::VARCHAR AS _state",
        }
        shown = ", ".join(
            own.get(name, name if name in given.columns else f"NULL AS {name}") for name in columns
        )
        rows = connection.sql(f"SELECT {shown} FROM ({query})").to_arrow_table().cast(schema)
        stamp = {"data_version": f"{key} {time.time()}"}
        if appends:
            lakehouse.append(key, rows, stamp=stamp)
        else:
            lakehouse.overwrite(key, rows, stamp=stamp)

    return write


def another_day(insights: int, orders: int) -> None:
    """Add a day, 28 days restated with it, and its orders."""
    import duckdb

    from dmp_assets.raw import shopify
    from dmp_assets.raw.meta_readings import INSIGHT_COLUMNS, READING_COLUMNS

    first, read_at = f"DATE '{LAST}' - 27", f"{_READ} + INTERVAL 1 DAY"
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        write = _writer(db, appends=True)
        write("raw/meta_insights", INSIGHT_COLUMNS, _insights(first, "29", read_at))
        write("raw/meta_insight_readings", READING_COLUMNS, _readings(first, 29, read_at))
        for name in SHOPIFY:
            query = _shop_table(name, orders, max(orders // 1000, 1), "1095")
            write(f"raw/{name}", shopify._columns(name), query)


def make() -> dict[str, float]:
    """Make the tables by the run's own executor; seconds of each step and of the whole."""
    began = time.monotonic()
    import uuid

    import dagster as dg

    from dmp_assets.ads.lake import LAKE
    from dmp_assets.home import Home
    from dmp_assets.platform.lake.lakehouse import Lakehouse
    from dmp_assets.platform.lake.window import Window
    from dmp_assets.platform.run import history
    from dmp_assets.platform.run.executor import run_job, threads_executor
    from dmp_assets.platform.run.instance import prepare_instance
    from dmp_assets.platform.run.results import Account

    layers = {"cleaned", "quarantine", "modeled"}
    made = [
        asset
        for asset in LAKE.assets["ads"]
        if all(key.path[0] in layers and "experiment" not in key.path[1] for key in asset.keys)
    ]
    home = Home.current().prepare()
    prepare_instance(home)
    job = dg.Definitions(
        assets=made,
        resources={"lakehouse": Lakehouse(), "window": Window()},
        executor=threads_executor,
    ).resolve_implicit_global_asset_job_def()
    run_id = str(uuid.uuid4())
    with history.opened(home.dagster) as instance:
        result = run_job(
            job, assets=[key for asset in made for key in asset.keys], instance=instance,
            run_id=run_id, tags={},
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )  # fmt: skip
        if not result.success:
            raise SystemExit("the run failed")
        account = Account()
        account.read(instance, run_id)
        steps = dict(account.summary(run_id, success=True, seconds=0).steps)
    return {step.replace("__", "/", 1): taken for step, taken in steps.items()} | {
        "all": time.monotonic() - began,
        "processor": time.process_time(),
    }


def main() -> None:
    """Print a row for all from nothing, one for a day on top, and what took longest."""
    sys.path.insert(0, str(Path(__file__).parent))
    from main_job import measured

    insights, orders = (int(text) for text in sys.argv[1:3] or (INSIGHTS, ORDERS))
    print("| | insights | orders | all, s | processor, s | peak, GiB | longest, s |")
    print("|---|---:|---:|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory(prefix="dmp-benchmark-") as folder:
        environment = os.environ | {
            "DMP_HOME": folder, "DMP_PROJECT_DIR": folder, "DO_NOT_TRACK": "1", "TZ": "UTC",
        }  # fmt: skip
        sizes = [str(insights), str(orders)]
        for title, prepare in (("from raw", "--simulate"), ("a day on top", "--another-day")):
            measured([sys.executable, __file__, prepare, *sizes], environment)
            _, peak, out = measured([sys.executable, __file__, "--make"], environment)
            spent = json.loads(out.strip().splitlines()[-1])
            whole, processor = spent.pop("all"), spent.pop("processor")
            steps = sorted(((s, n) for n, s in spent.items()), reverse=True)[:4]
            print(
                f"| {title} | {insights:,} | {orders:,} | {whole:.0f} | {processor:.0f} "
                f"| {peak / 2**30:.1f} | {', '.join(f'{name} {s:.1f}' for s, name in steps)} |",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--simulate"]:
        simulate(int(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["--another-day"]:
        another_day(int(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["--make"]:
        print(json.dumps(make()))
    else:
        main()
