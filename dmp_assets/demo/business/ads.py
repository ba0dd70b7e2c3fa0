"""The simulated shop at Meta and at Shopify: the same people see ads, click and buy.

`generate_ads` writes

    <out>/meta.sqlite               what Meta's stand-in serves (`sandbox.meta_world`)
    <out>/shopify.sqlite            what Shopify's stand-in serves (`sandbox.shopify_world`)
    <out>/exchange_rates.csv        date, currency, rate: what one unit was worth in EUR, as a bank
                                    tells it on working days
    <out>/truth/ad_claims.parquet   advertiser_id, ad_id, day (of the account's zone), order_id
                                    (null: no order), kind, touch, after_days, lag_days, value
                                    (decimal, the account's currency): what Meta will have claimed

A visit of the web's channel `ads_world.CHANNEL` is a click on an ad of the campaign that the visit
names, and costs there what it costs in the web's tables; a purchase of the web is an order of the
shop, whose tag `conversion:<id>` names it. `kind` of a claim: click (a click of the same person's
within seven days), view, twice (the page told of an order two times), test (a test order). Truth is
for tests and reports about the product; no product code reads it. The same arguments give the same
rows.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dmp_assets.demo.business import ads_meta, ads_shopify, ads_world
from dmp_assets.demo.business.ads_trade import traded
from dmp_assets.demo.business.ads_world import ADVERTISERS
from dmp_assets.demo.business.shop_text import Rng
from dmp_assets.demo.sandbox import meta_world, shopify_world

CLAIM_SCHEMA = pa.schema(
    [
        ("advertiser_id", pa.string()),
        ("ad_id", pa.string()),
        ("day", pa.date32()),
        ("order_id", pa.int64()),
        ("kind", pa.string()),
        ("touch", pa.string()),
        ("after_days", pa.int64()),
        ("lag_days", pa.int64()),
        ("value", pa.decimal128(18, 2)),
    ]
)


def generate_ads(
    out_dir: Path,
    shop_export: Path,
    *,
    seed: int,
    end: date,
    days: int = 90,
    most: int = ads_world.MOST_PEOPLE,
) -> None:
    """Write the last `days` up to `end` (UTC) of the simulated shop's ads and orders.

    Of more than `most` people only each so many-th is taken, so that they are no more.
    """
    out = Path(out_dir)
    (out / "truth").mkdir(parents=True, exist_ok=True)
    meta, shopify = (
        meta_world.World(out / "meta.sqlite"),
        shopify_world.World(out / "shopify.sqlite"),
    )
    claims: list[dict[str, Any]] = []
    for advertiser in ADVERTISERS:
        trade = traded(advertiser, shop_export, seed=seed, end=end, days=days, most=most)
        rng = np.random.default_rng([seed + advertiser.seed, end.toordinal(), days, 7])
        orders = ads_shopify.orders(rng, trade)
        for table, rows in ads_shopify.rows(advertiser, orders).items():
            shopify.fill(table, rows)
        ads = ads_meta.ads_of(rng, trade)
        claimed = ads_meta.claimed(rng, ads, trade, orders)
        for table, rows in ads_meta.rows(rng, ads, trade, claimed).items():
            meta.add(table, rows)
        claims += claimed
    after = datetime.combine(end + timedelta(days=1), time(12), UTC)
    meta.set_clock(after.timestamp(), runs=True)
    meta.close()
    _write_rates(out / "exchange_rates.csv", np.random.default_rng([seed, end.toordinal()]),
                 [end - timedelta(days=n) for n in reversed(range(days + 14))])  # fmt: skip
    shopify.fill("clock", [{"now": shopify_world.text_of(after)}])
    pq.write_table(
        pa.Table.from_pylist(claims, schema=CLAIM_SCHEMA), out / "truth" / "ad_claims.parquet"
    )


def _write_rates(file: Path, rng: Rng, days: Sequence[date]) -> None:
    """Rates of the working days that wander around those of the advertisers."""
    lines = ["date,currency,rate"]
    working = [day for day in days if day.weekday() < 5]
    for currency, rate in sorted({one.currency: one.rate for one in ADVERTISERS}.items()):
        if rate == 1:
            continue
        wandered = np.exp(np.cumsum(rng.normal(0, 0.003, len(working)))) / rate
        lines += [
            f"{day},{currency},{worth:.6f}" for day, worth in zip(working, wandered, strict=True)
        ]
    file.write_text("\n".join(lines) + "\n")
