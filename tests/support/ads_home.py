"""A live home whose Meta and Shopify are the stand-ins over a simulated business."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dmp_assets.ads.lake import LAKE
from dmp_assets.demo.business.ads import generate_ads
from dmp_assets.demo.business.ads_world import ADVERTISERS
from dmp_assets.demo.business.shop import generate
from dmp_assets.demo.sandbox.meta import MetaSandbox
from dmp_assets.demo.sandbox.server import Sandbox, Service
from dmp_assets.demo.sandbox.shopify import ShopifySandbox
from dmp_assets.home import Home
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.reporting.slack import SlackResource
from dmp_assets.platform.store import database
from dmp_assets.sources.meta.config import meta_config
from dmp_assets.sources.meta.connection import READING, oauth_client
from tests.support.meta import REDIRECT, consent_at
from tests.support.postgres import fresh_database

LAST = date(2024, 3, 31)
NOW = datetime(2024, 4, 1, 12, tzinfo=UTC)
SEED = 10
RATES = {date(2023, 12, 1) + timedelta(days=n): f"{0.90 + n % 7 / 100:.2f}" for n in range(125)}
"""What a USD is worth in EUR on each day."""
SHIPPING = "4.10"


@dataclass(frozen=True)
class AdsHome:
    """The home, and the folder of what was simulated."""

    home: Home
    simulated: Path

    @property
    def tables(self) -> Tables:
        return Tables.of(self.home)

    def run(self) -> dg.ExecuteInProcessResult:
        """Make everything of the domain."""
        return dg.materialize(
            [asset for made in LAKE.assets.values() for asset in made],
            instance=dg.DagsterInstance.ephemeral(),
            resources={"lakehouse": Lakehouse(), "window": Window(), "slack": SlackResource()},
        )


@contextmanager
def ads_home(
    folder: Path, postgres: Endpoint, monkeypatch: pytest.MonkeyPatch, *, users: int
) -> Iterator[AdsHome]:
    """Such a home, connected by OAuth, before its first run. Its clock stands."""
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(postgres))
        with database.opened(url, checked=False) as store:
            database.migrate(store)
        generate(folder / "shop", users=users, seed=SEED, end=LAST)
        generate_ads(folder / "simulated", folder / "shop" / "export", seed=SEED, end=LAST)
        sandbox = Home(folder / "sandbox").prepare("sandbox")
        for name in ("meta", "shopify"):
            (sandbox.sandbox / name).mkdir(parents=True)
            served = sandbox.sandbox / name / "world.db"
            shutil.copyfile(folder / "simulated" / f"{name}.sqlite", served)
        metas: list[MetaSandbox] = []

        def meta(root: Path) -> Service:
            metas.append(MetaSandbox(root))
            return metas[0]

        endpoint = stack.enter_context(Sandbox(sandbox, (meta, ShopifySandbox)).running())
        metas[0].world.set_clock(NOW.timestamp(), runs=False)
        rates = folder / "rates.csv"
        lines = [f"{day},USD,{rate}" for day, rate in RATES.items()]
        rates.write_text("\n".join(["date,currency,rate", *lines]))
        shops = ", ".join(f'"{one.shop}": "{one.advertiser_id}"' for one in ADVERTISERS)
        environment: dict[str, Any] = {
            "DMP_HOME": folder / "home",
            "DMP_PROJECT_DIR": folder,
            "DMP_STORE_URL": url.get_secret_value(),
            "DMP_SHOPIFY_SHOPS": f"{{{shops}}}",
            "DMP_SHOPIFY_ALL_ORDERS": "true",
            "DMP_META_HISTORY_DAYS": 100,
            "DMP_ADS_SHIPPING_COST": SHIPPING,
            "DMP_ADS_EXCHANGE_RATES": rates,
        } | {
            f"DMP_{name.upper()}": value
            for name, value in endpoint.settings.items()
            if name.startswith(("meta_", "shopify_")) and name != "shopify_shops"
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr(Home, "now", lambda own: NOW)
        home = Home(folder / "home").prepare("live")
        _connect(home, url)
        yield AdsHome(home, folder / "simulated")


def _connect(home: Home, url: Any) -> None:
    """Each advertiser's person ticks the own account."""
    config = meta_config(home)
    assert config is not None
    with database.opened(url, checked=False) as store:
        connections, client = Connections(store, KeyRing.of(home)), oauth_client(config, READING)
        for one in ADVERTISERS:
            begun = connections.begin(client, one.advertiser_id, REDIRECT)
            back = consent_at(begun.url, accounts=(one.account_id,), scopes=READING)
            connections.finish(client, begun.cookie, back)
