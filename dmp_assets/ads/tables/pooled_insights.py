"""modeled/pooled_insights: what works for shops like yours, of those that agreed to be summed up.

Grain: a measure of a cell in a month. Key: period, industry, size, measure. Sources:
modeled/ad_roi_daily, and the consents and groups of the operational store.

Every run makes all months anew of the groups that stand then (`model/pooled/cells.py`), so who has
withdrawn is in none of them. Rows are of nobody: this is the one table without an advertiser.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from dmp_assets.ads.model.pooled import cells
from dmp_assets.ads.model.pooled.cells import Pool
from dmp_assets.ads.model.pooled.measures import MEASURES, PERIODS, TERMS_VERSION
from dmp_assets.ads.service.store import pooled
from dmp_assets.ads.service.store.pooled import Given
from dmp_assets.ads.tables.exchange_rates import known_sum
from dmp_assets.home import Home
from dmp_assets.platform.config import secret_files
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.store import where
from dmp_assets.sources.meta.days import OPEN_DAYS

SALT = "pool_salt"
COLUMNS = {
    "period": Column("date", "First day of the month."),
    "industry": Column("string", "The industry; empty: all."),
    "size": Column("string", "Size within it; empty: all."),
    "measure": Column("string", "What is summed up (`model/pooled/measures.py`)."),
    "advertisers": Column("long", "How many it is of, rounded down to fives."),
    "centre": Column("double", "Geometric mean, of a share the mean, to two digits."),
    "spread": Column("double", "Factor of one deviation on logarithms, of a share the deviation."),
}
KEY = ("period", "industry", "size", "measure")


def _over(above: str, below: str) -> str:
    """SQL of a ratio of a month's sums; null where a day of it is not known."""
    return f"({known_sum(above)})::DOUBLE / nullif({known_sum(below)}, 0)::DOUBLE"


_VALUES = f"""
SELECT advertiser_id, date_trunc('month', date)::DATE AS period,
       {_over("revenue", "spend")} AS mer,
       {_over("platform_value", "spend")} AS platform_roas,
       {_over("modelled_revenue", "spend")} AS modelled_roas,
       {_over("modelled_contribution", "spend")} AS profit_roas,
       {_over("spend", "new_customers")} AS cac,
       {_over("new_customers", "known_customers")} AS new_share,
       {_over("revenue", "orders")} AS order_value
FROM modeled.ad_roi_daily WHERE campaign_id = '' AND date >= $first AND date < $end
GROUP BY ALL
"""

Values = Mapping[str, float]


def months(today: date) -> list[date]:
    """First days of the last months that nothing restates any more, the newest last."""
    end = (today - timedelta(days=OPEN_DAYS)).replace(day=1)
    found = []
    for _ in range(PERIODS):
        end = (end - timedelta(days=1)).replace(day=1)
        found.append(end)
    return found[::-1]


def _consents(home: Home) -> list[Given]:
    from dmp_assets.platform.store import database

    with database.opened(where.store_url(home), checked=False) as store:
        database.check(store, published=False)
        with store.connect() as connection:
            return pooled.every(connection)


def _state(lakehouse: Lakehouse, window: Window) -> dict[str, str] | None:
    """Who agreed, and which months are closed. Raises StoreError."""
    home = lakehouse.home
    if not where.is_configured(home):
        return None
    said = json.dumps([str(one) for one in _consents(home)])
    return {
        "period": months(home.now().date())[-1].isoformat(),
        "consents": hashlib.sha256(said.encode()).hexdigest(),
    }


@table_asset(
    "modeled",
    deps=["modeled/ad_roi_daily"],
    columns=COLUMNS,
    key=KEY,
    probe=_state,
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "nobody_is_alone",
            f"SELECT count(*) FROM modeled.pooled_insights WHERE advertisers < {cells.LEAST}",
            "Every figure is of ten advertisers at least.",
            blocking=True,
        ),
    ),
)
def pooled_insights(run: TableRun) -> None:
    """What works for shops like yours, of ten at least that agreed to be summed up.

    Grain: a measure of a cell in a month. Key: period, industry, size, measure. Sources:
    modeled/ad_roi_daily, ads_pool_consent and ads_pool_group of the operational store.
    """
    rows: list[dict[str, Any]] = []
    if run.probe is not None:
        home = run.lakehouse.home
        periods = months(home.now().date())
        values = _values(run, periods)
        pool = _grouped(home, values)
        rows = [row for name in MEASURES for row in _shown(pool, name, periods, values)]
    run.overwrite(pa.Table.from_pylist(rows, arrow_schema(COLUMNS)))


def _values(run: TableRun, periods: Sequence[date]) -> dict[str, list[Values]]:
    """Measure → the value of each advertiser, month by month."""
    end = (periods[-1] + timedelta(days=31)).replace(day=1)
    told = {"first": periods[0], "end": end}
    rows = run.sql(f"{_VALUES} ORDER BY ALL", told).to_pylist()
    return {
        name: [
            {
                row["advertiser_id"]: row[name]
                for row in rows
                if row["period"] == period and row[name] is not None
            }
            for period in periods
        ]
        for name in MEASURES
    }


def _grouped(home: Home, values: Mapping[str, Sequence[Values]]) -> Pool:
    """The groups of this run, noted before anything of them is shown."""
    from dmp_assets.platform.store import database

    last: dict[str, int] = {}
    for of_months in values.values():
        for ago, month in enumerate(reversed(of_months)):
            for name in month:
                last[name] = min(last.get(name, ago), ago)
    today = home.now().date()
    with database.opened(where.store_url(home), checked=False) as store:
        database.check(store, published=False)
        with store.begin() as connection:
            before = pooled.locked(connection)
            given = pooled.every(connection)
            part = cells.taking_part(
                (one.consent for one in given), {one.advertiser_id: one.cell for one in given},
                last, today, version=TERMS_VERSION,
            )  # fmt: skip
            after = cells.regrouped(before, part, today, salt=secret_files.of(home, SALT))
            pooled.keep(connection, before, after, today)
    return after


def _shown(
    pool: Pool, name: str, periods: Sequence[date], values: Mapping[str, Sequence[Values]]
) -> list[dict[str, Any]]:
    measure, _ = MEASURES[name]
    rows = []
    for place, period in enumerate(periods):
        held = cells.carried(values[name][: place + 1])
        for one in cells.shown(pool, held, measure):
            industry, size = (*one.cell, "", "")[:2]
            rows.append({
                "period": period, "industry": industry, "size": size, "measure": name,
                "advertisers": one.advertisers, "centre": one.centre, "spread": one.spread,
            })  # fmt: skip
    return rows
