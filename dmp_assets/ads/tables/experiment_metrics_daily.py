"""modeled/experiment_metrics_daily: what units of each variant did, summed by their first day.

Grain: a metric of a variant of an experiment, of the units that were first exposed on a day. Key:
advertiser_id, experiment, variant, metric, day. Sources: raw/experiments,
cleaned/experiment_exposures, cleaned/shopify_orders, modeled/order_ledger, cleaned/web_conversions,
modeled/ad_performance_daily.

A unit counts on the day of its first exposure with all it did from then on to the last full day,
or within the experiment's window, so days are of different units and their moments add up. Orders
are found by the experiment's kind of unit: the shop's customer, the visitor of the web's conversion
that the order is, or what the shop wrote on it as the tag `unit:<id>`. Of a split test at Meta the
day is that on which a cell's ads delivered, and a row has the cell's people and events of the day.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dmp_assets.ads.model.experiments.decide import GOING_ON
from dmp_assets.ads.model.experiments.definition import Definition
from dmp_assets.ads.model.experiments.measures import DAYS_BEFORE, MEASURES
from dmp_assets.ads.model.experiments.written import definition_of
from dmp_assets.ads.service.units import UnitKey
from dmp_assets.ads.tables.experiment_log import ADVERTISER, EXPERIMENT, VARIANT, day_state
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

if TYPE_CHECKING:
    import duckdb

COLUMNS = {
    "advertiser_id": ADVERTISER,
    "experiment": EXPERIMENT,
    "variant": VARIANT,
    "metric": Column("string", "The metric (`model/experiments/measures.py`)."),
    "day": Column("date", "Day (UTC) of the units' first exposure; of delivery in a split test."),
    "units": Column("long", "Units; people reached on the day in a split test."),
    "sums": Column("array<double>", "Sum of each amount of the metric over the units."),
    "products": Column(
        "array<double>", "Products of the amounts' deviations, summed, row by row; none in a split "
        "test."
    ),
}  # fmt: skip
KEY = ("advertiser_id", "experiment", "variant", "metric", "day")
TAG = "unit:"
"""What begins the tag of an order by which a shop tells which unit made it."""
UNITS = {
    "customer": "customer_id",
    "visitor": "visitor_id",
    "tag": "tagged_id",
}
"""Kind of unit → how an order's is called below."""
WEB = "cleaned/web_conversions"


@dataclass(frozen=True)
class Tried:
    """An experiment as it was started, and up to when it counts (exclusive, UTC)."""

    advertiser_id: str
    experiment: str
    kind: str
    unit: str | None
    window_days: int | None
    study: dict[str, Any] | None
    definition: Definition
    keyed_by: str | None
    state: str
    until: datetime


def tried(run: TableRun, last_day: date) -> list[Tried]:
    """The experiments that were started, by advertiser and name."""
    end = datetime.combine(last_day + timedelta(days=1), time(), UTC)
    found = []
    for row in run.sql("SELECT * FROM raw.experiments ORDER BY ALL").to_pylist():
        definition = definition_of(json.loads(row["definition"]))
        over = row["ended_at"]
        found.append(
            Tried(
                row["advertiser_id"], row["experiment"], row["kind"], row["unit"],
                row["window_days"], None if row["study"] is None else json.loads(row["study"]),
                definition, row["keyed_by"], row["state"],
                end if over is None else min(end, datetime.combine(over.date(), time(), UTC)),
            )
        )  # fmt: skip
    return found


# orders of units --------------------------------------------------------------------------------
_ORDERS = """
CREATE TEMP VIEW named AS
SELECT advertiser_id, shop, order_id, processed_at, cancelled_at IS NOT NULL AS is_cancelled,
       customer_id, {visitor} AS visitor_id,
       substr(list_filter(
         from_json(TRY_CAST(tags AS JSON), '["VARCHAR"]'), lambda tag: starts_with(tag, '{tag}')
       )[1], {length}) AS tagged_id
FROM cleaned.shopify_orders o {joined}
WHERE NOT is_deleted AND is_test IS NOT TRUE AND processed_at IS NOT NULL
"""
_IDS = """
SELECT DISTINCT '{unit}' AS kind, {column} AS id FROM named
WHERE {column} IS NOT NULL
  AND advertiser_id IN (SELECT advertiser_id FROM tried WHERE unit = '{unit}')
"""
_BOUGHT = """
CREATE TEMP TABLE bought AS
WITH entry AS (
  SELECT advertiser_id, shop, order_id, date, entry = 'sale' AS is_sale,
         coalesce(revenue_in_sums, 0)::DOUBLE AS revenue,
         coalesce(contribution_in_sums, 0)::DOUBLE AS contribution,
         coalesce(gross * rate, 0)::DOUBLE AS gross, coalesce(refunds * rate, 0)::DOUBLE AS refunds
  FROM modeled.order_ledger
),
named_unit AS ({named})
SELECT t.advertiser_id, t.experiment, n.unit, n.order_id, n.processed_at, n.is_cancelled,
       sum(e.revenue) AS revenue, sum(e.contribution) AS contribution,
       sum(e.gross) AS sold, sum(e.refunds) AS refunds,
       sum(e.revenue) FILTER (is_sale) AS revenue_of_sale,
       sum(e.contribution) FILTER (is_sale) AS contribution_of_sale
FROM named_unit n JOIN tried t ON t.advertiser_id = n.advertiser_id AND t.unit = n.kind
JOIN entry e ON (e.advertiser_id, e.shop, e.order_id) = (n.advertiser_id, n.shop, n.order_id)
 AND e.date < t.until::DATE
GROUP BY ALL
"""
_OF_KIND = """
SELECT n.advertiser_id, n.shop, n.order_id, n.processed_at, n.is_cancelled, h.kind, h.unit
FROM named n JOIN hashed h ON h.kind = '{unit}' AND h.id = n.{column}
"""
_DONE = """
CREATE TEMP TABLE done AS
WITH counted AS (
  SELECT u.advertiser_id, u.experiment, u.unit, u.variant, u.first_exposed_at,
         least(t.until, u.first_exposed_at + to_days(t.window_days)) AS until
  FROM cleaned.experiment_exposures u JOIN tried t USING (advertiser_id, experiment)
  WHERE u.left_out IS NULL AND t.unit IS NOT NULL AND u.first_exposed_at < t.until
    AND (t.window_days IS NULL OR u.first_exposed_at + to_days(t.window_days) <= t.until)
),
joined AS (
  SELECT c.*, b.order_id, b.processed_at >= c.first_exposed_at AND b.processed_at < c.until
           AS is_after,
         b.processed_at < c.first_exposed_at
           AND b.processed_at >= c.first_exposed_at - to_days({before}) AS is_before,
         b.is_cancelled, b.revenue, b.contribution, b.sold, b.refunds, b.revenue_of_sale,
         b.contribution_of_sale
  FROM counted c LEFT JOIN bought b USING (advertiser_id, experiment, unit)
)
SELECT advertiser_id, experiment, unit, variant, first_exposed_at::DATE AS day,
       {amounts}
FROM joined GROUP BY ALL
"""
_AMOUNTS = {
    "has_ordered": "coalesce(bool_or({when}), false)::INT::DOUBLE",
    "orders": "(count(*) FILTER ({when}))::DOUBLE",
    "revenue": "coalesce(sum(revenue{of_sale}) FILTER ({when}), 0)",
    "contribution": "coalesce(sum(contribution{of_sale}) FILTER ({when}), 0)",
    "cancelled": "(count(*) FILTER ({when} AND is_cancelled))::DOUBLE",
    "sold": "coalesce(sum(sold) FILTER ({when}), 0)",
    "refunds": "coalesce(sum({refunds}) FILTER ({when}), 0)",
}
"""Sum of a unit → its SQL. What it did before is taken without refunds: these could come after."""
_SUMMED = """
SELECT advertiser_id, experiment, variant, '{metric}' AS metric, day, count(*) AS units,
       [{sums}] AS sums, [{products}] AS products
FROM done JOIN measured USING (advertiser_id, experiment)
WHERE metric = '{metric}' AND is_adjusted = {is_adjusted}
GROUP BY ALL
"""


def _sums_of_units() -> str:
    """SQL of all amounts of a unit, after its exposure and before."""
    after = [
        f"{sql.format(when='is_after', of_sale='', refunds='refunds')} AS {name}"
        for name, sql in _AMOUNTS.items()
    ]
    before = [
        f"{sql.format(when='is_before', of_sale='_of_sale', refunds='0')} AS {name}_before"
        for name, sql in _AMOUNTS.items()
    ]
    return ", ".join([*after, *before])


def _summed(metric: str, is_adjusted: bool) -> str:
    """SQL of the moments of a metric, whose amounts are in the order of `Metric.columns`."""
    measure = MEASURES[metric]
    own = [name for name in (measure.amount, measure.denominator) if name is not None]
    amounts = own + ([f"{name}_before" for name in own] if is_adjusted else [])
    products = [f"covar_pop({one}, {other}) * count(*)" for one in amounts for other in amounts]
    return _SUMMED.format(
        metric=metric,
        is_adjusted=str(is_adjusted).lower(),
        sums=", ".join(f"sum({one})" for one in amounts),
        products=", ".join(products),
    )


def _known(run: TableRun, own: Sequence[Tried], key: UnitKey) -> list[Tried]:
    """Those whose units are hashed by the home's secret; the others are told while they go on.

    Of these it is not known what their units did, which is not that they did nothing.
    """
    lost = [one for one in own if one.keyed_by != key.known_as and one.state in GOING_ON]
    for one in lost:
        problem = (
            f"units of {one.experiment} ({one.advertiser_id}) were hashed by another secret than "
            "secrets/unit_key: restore that from a backup, or stop the experiment"
        )
        run.log.error(problem)
        run.metadata["problem"] = problem
    return [one for one in own if one.keyed_by == key.known_as]


def _own(connection: "duckdb.DuckDBPyConnection", own: Sequence[Tried], key: UnitKey,
         has_web: bool) -> pa.Table:  # fmt: skip
    """Moments of the experiments that we assign."""
    connection.register("tried", _tried_table(own))
    connection.register("measured", _measured_table(own))
    connection.execute(
        _ORDERS.format(
            visitor="w.user_id" if has_web else "NULL::VARCHAR", tag=TAG, length=len(TAG) + 1,
            joined="LEFT JOIN cleaned.web_conversions w ON w.conv_id = o.conversion_id"
            if has_web else "",
        )
    )  # fmt: skip
    ids = connection.sql(
        " UNION ALL ".join(_IDS.format(unit=unit, column=column) for unit, column in UNITS.items())
    ).to_arrow_table()
    units = pa.array([key.unit(one) for one in ids["id"].to_pylist()], pa.string())
    connection.register("hashed", ids.append_column("unit", units))
    named = " UNION ALL ".join(
        _OF_KIND.format(unit=unit, column=column) for unit, column in UNITS.items()
    )
    connection.execute(_BOUGHT.format(named=named))
    connection.execute(_DONE.format(before=DAYS_BEFORE, amounts=_sums_of_units()))
    wanted = {(metric.name, metric.is_adjusted) for o in own for metric in o.definition.metrics()}
    query = " UNION ALL ".join(_summed(*one) for one in sorted(wanted))
    return connection.sql(query).to_arrow_table()


def _tried_table(own: Sequence[Tried]) -> pa.Table:
    return pa.table(
        {
            "advertiser_id": pa.array([one.advertiser_id for one in own], pa.string()),
            "experiment": pa.array([one.experiment for one in own], pa.string()),
            "unit": pa.array([one.unit for one in own], pa.string()),
            "window_days": pa.array([one.window_days for one in own], pa.int32()),
            "until": pa.array([one.until for one in own], pa.timestamp("us", tz="UTC")),
        }
    )


def _measured_table(own: Sequence[Tried]) -> pa.Table:
    rows = [
        {
            "advertiser_id": one.advertiser_id, "experiment": one.experiment,
            "metric": metric.name, "is_adjusted": metric.is_adjusted,
        }
        for one in own for metric in one.definition.metrics()
    ]  # fmt: skip
    return pa.Table.from_pylist(rows)


# split tests ------------------------------------------------------------------------------------
_CELLS = """
SELECT c.advertiser_id, c.experiment, c.variant, p.date AS day, sum(p.reach)::BIGINT AS reach,
       sum(p.purchases)::DOUBLE AS purchases, sum(p.inline_link_clicks)::DOUBLE AS clicks
FROM cells c JOIN modeled.ad_performance_daily p
  ON p.advertiser_id = c.advertiser_id AND p.account_id = c.account_id
 AND CASE c.entities WHEN 'campaigns' THEN p.campaign_id ELSE p.adset_id END = c.entity_id
WHERE p.date >= c.first_day AND p.date <= c.last_day
GROUP BY ALL
"""
_EVENTS = """
SELECT advertiser_id, experiment, variant, '{metric}' AS metric, day, reach AS units,
       [{amount}] AS sums, []::DOUBLE[] AS products
FROM delivered JOIN measured USING (advertiser_id, experiment) WHERE metric = '{metric}'
"""


def cells_table(split: Sequence[Tried]) -> pa.Table:
    """A row for each campaign or ad set of each cell."""
    rows = [
        {
            "advertiser_id": one.advertiser_id, "experiment": one.experiment, "variant": variant,
            "account_id": (one.study or {})["account_id"],
            "entities": (one.study or {})["entities"], "entity_id": entity,
            "first_day": one.definition.starts_on,
            "last_day": (one.until - timedelta(days=1)).date(),
        }
        for one in split
        for variant, entities in (one.study or {})["cells"].items()
        for entity in entities
    ]  # fmt: skip
    schema = pa.schema(
        [(name, pa.string()) for name in ("advertiser_id", "experiment", "variant", "account_id",
                                          "entities", "entity_id")]
        + [("first_day", pa.date32()), ("last_day", pa.date32())]
    )  # fmt: skip
    return pa.Table.from_pylist(rows, schema)


def _split(connection: "duckdb.DuckDBPyConnection", split: Sequence[Tried]) -> pa.Table:
    """Events by day of the cells of split tests."""
    connection.register("cells", cells_table(split))
    connection.register("measured", _measured_table(split))
    connection.execute(f"CREATE TEMP TABLE delivered AS {_CELLS}")
    wanted = sorted({metric.name for one in split for metric in one.definition.metrics()})
    query = " UNION ALL ".join(
        _EVENTS.format(metric=name, amount=MEASURES[name].amount) for name in wanted
    )
    return connection.sql(query).to_arrow_table()


@table_asset(
    "modeled",
    deps=[
        "raw/experiments", "cleaned/experiment_exposures", "cleaned/shopify_orders",
        "modeled/order_ledger", WEB, "modeled/ad_performance_daily",
    ],
    columns=COLUMNS,
    key=KEY,
    probe=day_state,
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "units_known",
            None,
            "The home has the secret by which units are hashed; of others nothing is said.",
        ),
        Check(
            "rates_known",
            """
            SELECT count(*) FROM modeled.order_ledger
            SEMI JOIN (SELECT advertiser_id FROM raw.experiments WHERE kind = 'own')
              USING (advertiser_id)
            WHERE rate IS NULL
            """,
            "Every order of an advertiser with an experiment has a rate; others count as worth 0.",
        ),
    ),
)  # fmt: skip
def experiment_metrics_daily(run: TableRun) -> None:
    """What units of each variant did, summed by the day of their first exposure.

    Grain: a metric of a variant on a day. Key: advertiser_id, experiment, variant, metric, day.
    Sources: raw/experiments, cleaned/experiment_exposures, cleaned/shopify_orders,
    modeled/order_ledger, cleaned/web_conversions, modeled/ad_performance_daily.
    """
    schema = arrow_schema(COLUMNS)
    every = tried(run, date.fromisoformat(run.probe["last_day"]))
    key = UnitKey.of(run.lakehouse.home)
    own = _known(run, [one for one in every if one.kind == "own"], key)
    split = [one for one in every if one.kind == "meta_split"]
    made = [schema.empty_table()]
    has_web = run.exists(WEB)
    read = ["cleaned/experiment_exposures", "cleaned/shopify_orders", "modeled/order_ledger"]
    if own:
        with run.lakehouse.tables.connect(*read, *([WEB] if has_web else [])) as connection:
            made.append(_own(connection, own, key, has_web).select(list(COLUMNS)).cast(schema))
    if split:
        with run.lakehouse.tables.connect("modeled/ad_performance_daily") as connection:
            made.append(_split(connection, split).select(list(COLUMNS)).cast(schema))
    order = [(name, "ascending") for name in KEY]
    run.overwrite(pa.concat_tables(made).sort_by(order))
