"""A live home with an operational store, experiments, and the tables that these are read from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
import sqlalchemy as sa

from dmp_assets.ads.model.experiments.definition import Definition, Guardrail
from dmp_assets.ads.model.experiments.measures import metric_of
from dmp_assets.ads.service.store import experiments, exposures
from dmp_assets.ads.service.store.experiments import Draft
from dmp_assets.ads.service.store.exposures import Exposure
from dmp_assets.ads.service.units import UnitKey
from dmp_assets.ads.tables import ad_performance_daily, ads, order_ledger
from dmp_assets.ads.tables import experiment_exposures as cleaned
from dmp_assets.ads.tables import experiment_log as raw
from dmp_assets.ads.tables import experiment_metrics_daily as metrics
from dmp_assets.ads.tables import experiment_readings as read
from dmp_assets.ads.tables import experiment_steps as steps
from dmp_assets.cleaned.shopify import shopify_orders
from dmp_assets.cleaned.web import web_conversions
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import Columns, arrow_schema
from dmp_assets.platform.lake.table_metadata import columns_of
from dmp_assets.platform.lake.tables import Tables
from tests.support import lakehouse
from tests.support.materialized import materialized

STARTED = datetime(2026, 3, 1, 10, tzinfo=UTC)
SHOP = "acme.myshopify.com"
ASSETS = (
    raw.experiments, raw.experiment_exposures, raw.experiment_reach, cleaned.experiment_exposures,
    metrics.experiment_metrics_daily, read.experiment_readings, read.experiment_comparisons,
    steps.experiment_readings,
)  # fmt: skip


def columns(asset: dg.AssetsDefinition, key: str) -> Columns:
    """The columns that an asset declares of a table."""
    spec = next(one for one in asset.specs if "/".join(one.key.path) == key)
    return columns_of(spec.metadata["dagster/column_schema"])


TABLES: dict[str, Columns] = {
    "cleaned/shopify_orders": columns(shopify_orders.shopify_orders, "cleaned/shopify_orders"),
    "modeled/order_ledger": order_ledger.COLUMNS,
    "cleaned/web_conversions": columns(web_conversions.web_conversions, "cleaned/web_conversions"),
    "modeled/ad_performance_daily": ad_performance_daily.COLUMNS,
    "modeled/ads": ads.AD_COLUMNS,
}
Row = dict[str, Any]


def definition(advertiser: str = "acme", key: str = "shipping", **other: Any) -> Definition:
    """An experiment of two variants that is measured by all that customers do."""
    return Definition(**{
        "advertiser_id": advertiser, "key": key, "variants": ("control", "free"),
        "split": (5000, 5000), "primary": metric_of("conversion"), "least_effect": 0.2,
        "tuning": 1_000, "starts_on": date(2026, 3, 2), "days": 14,
        "guardrails": (Guardrail(metric_of("contribution"), 0.3),),
        "secondary": (metric_of("revenue", is_adjusted=True), metric_of("order_value")),
    } | other)  # fmt: skip


@dataclass
class World:
    """The home and what has happened in it. Its clock stands at `now`."""

    home: Home
    store: sa.Engine
    now: datetime = STARTED
    rows: dict[str, list[Row]] = field(default_factory=lambda: {key: [] for key in TABLES})

    @classmethod
    def of(cls, home: Home, store: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> "World":
        world = cls(home, store)
        monkeypatch.setattr(Home, "now", lambda own: world.now)
        return world

    # what happens --------------------------------------------------------------------------------
    def begin(self, one: Definition, *, unit: str | None = "customer", **said: Any) -> None:
        """Define and start an experiment at `STARTED`."""
        kind = "own" if one.assigned_by == "us" else "meta_split"
        draft = Draft(one, "It helps.", kind, unit if kind == "own" else None, **said)
        with self.store.begin() as connection:
            experiments.define(connection, draft, by="ann", now=STARTED, request_id=None)
        with self.store.begin() as connection:
            assert experiments.start(
                connection, one.advertiser_id, one.key, keyed_by=UnitKey.of(self.home).known_as,
                by="ann", now=STARTED, request_id=None,
            )  # fmt: skip

    def expose(
        self, units: Sequence[str], variant: str, at: datetime, *, is_bot: bool = False,
        advertiser: str = "acme", key: str = "shipping",
    ) -> None:  # fmt: skip
        """Have units meet a variant."""
        hashed = UnitKey.of(self.home)
        with self.store.begin() as connection:
            exposures.add(
                connection,
                [Exposure(advertiser, key, hashed.unit(one), variant, is_bot, at) for one in units],
            )

    def order(
        self, order: str, at: datetime, amount: int, *, customer: str | None = None,
        advertiser: str = "acme", is_test: bool = False, is_cancelled: bool = False,
        tags: str = "[]", conversion: str | None = None,
    ) -> None:  # fmt: skip
        """Have somebody buy for an amount, 40 % of which is contribution."""
        of = {"advertiser_id": advertiser, "shop": SHOP, "order_id": order}
        self.rows["cleaned/shopify_orders"].append({
            **of, "customer_id": customer, "processed_at": at, "is_test": is_test,
            "is_deleted": False, "tags": tags, "conversion_id": conversion,
            "cancelled_at": at if is_cancelled else None,
        })  # fmt: skip
        if not is_test:
            self._entry(of, "sale", at, amount, 0)

    def refund(self, order: str, at: datetime, amount: int) -> None:
        """Have an amount of an order go back."""
        of = {"advertiser_id": "acme", "shop": SHOP, "order_id": order}
        self._entry(of, f"refund {order}", at, 0, amount)

    def _entry(self, of: Row, entry: str, at: datetime, amount: int, back: int) -> None:
        net = Decimal(amount - back)
        self.rows["modeled/order_ledger"].append({
            **of, "entry": entry, "date": at.date(), "gross": Decimal(amount),
            "refunds": Decimal(back), "rate": Decimal(1), "revenue_in_sums": net,
            "contribution_in_sums": net * Decimal("0.4"),
        })  # fmt: skip

    # running -------------------------------------------------------------------------------------
    @property
    def tables(self) -> Tables:
        return Tables.of(self.home)

    def run(
        self, now: datetime | None = None, *assets: Any, succeeds: bool = True
    ) -> dg.ExecuteInProcessResult:
        """Write what has happened, and make all tables of experiments."""
        self.now = now or self.now
        for key, columns in TABLES.items():
            table = pa.Table.from_pylist(self.rows[key], arrow_schema(columns))
            lakehouse.write(self.home, key, table, stamp=str(hash(str(self.rows[key]))))
        return materialized(*(assets or ASSETS), succeeds=succeeds)

    def read(self, query: str) -> list[Row]:
        """Rows of tables of the home."""
        return list(self.tables.sql(query).to_pylist())

    def state(self, key: str = "shipping", advertiser: str = "acme") -> experiments.Experiment:
        """An experiment as the store has it."""
        with self.store.connect() as connection:
            found = experiments.one(connection, advertiser, key)
        assert found is not None
        return found

    def steps(self, key: str = "shipping", advertiser: str = "acme") -> list[tuple[str, Any]]:
        """(action, cause) of its steps, the oldest first."""
        with self.store.connect() as connection:
            found = experiments.steps(connection, advertiser, key)
        return [(one.action, one.cause) for one in found[::-1]]


def names(prefix: str, many: Collection[int]) -> list[str]:
    return [f"{prefix}{n}" for n in many]


def day(n: int, hour: int = 12) -> datetime:
    """The n-th day after that of the start."""
    return STARTED.replace(hour=hour) + timedelta(days=n)
