"""How long the pages of ad performance take, over many rows of ads.

    .venv/bin/python -m benchmarks.ads_pages              # 500,000 rows of an ad on a day
    .venv/bin/python -m benchmarks.ads_pages 5000000 50   # as many rows, 50 requests a page

One process serves, the same asks, one request after the other; the store is a real PostgreSQL. Rows
are of two advertisers, the first with nine tenths of them, over three years: campaigns of 10 ad
sets of 10 ads. What is timed is a whole answer over loopback, a page in HTML.
"""

import argparse
import statistics
import tempfile
import time
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from dmp_assets.ads.service.store.schema import ads_campaigns_daily
from dmp_assets.home import Home
from tests.support.ads_rows import ads_rows
from tests.support.postgres import fresh_database, postgres_server
from tests.support.service import Api, fill, running_api

YEARS = 3
LAST = date(2026, 10, 31)
PATHS = {
    "overview": "/ads",
    "overview, 365 days": "/ads?range=last-365",
    "bridge": "/ads/bridge",
    "campaigns": "/ads/campaigns",
    "campaigns, 90 days": "/ads/campaigns?range=last-90",
    "ad sets of one": "/ads/campaigns?campaign=c0",
    "ads of one": "/ads/campaigns?campaign=c0&adset=s0",
    "days of an ad": "/ads/campaigns?campaign=c0&adset=s0&ad=a0",
    "orders": "/ads/orders",
    "claims": "/ads/claims",
    "connections": "/ads/connections",
    "route: performance": "/v1/ads/performance?start=2026-10-04&end=2026-10-31",
}


def _ads(advertiser: str, count: int) -> pa.Table:
    """`count` ads of an advertiser, ten to an ad set, ten of these to a campaign."""
    n = range(count)
    return pa.table({
        "advertiser_id": [advertiser] * count, "account_id": ["101"] * count,
        "ad_id": [f"a{i}" for i in n], "ad_name": [f"Ad {i}" for i in n],
        "adset_id": [f"s{i // 10}" for i in n], "adset_name": [f"Set {i // 10}" for i in n],
        "campaign_id": [f"c{i // 100}" for i in n],
        "campaign_name": [f"Campaign {i // 100}" for i in n],
        "objective": ["OUTCOME_SALES"] * count, "effective_status": ["ACTIVE"] * count,
        "creative_title": [f"Headline {i}" for i in n], "creative_body": [f"Text {i}" for i in n],
        "is_listed": [True] * count,
    })  # fmt: skip


def _daily(ads: pa.Table, days: list[date]) -> pa.RecordBatchReader:
    """A row for every ad and day, a batch a day."""
    money = pa.decimal128(24, 4)
    count = ads.num_rows
    keys = ads.select(["advertiser_id", "account_id", "ad_id", "adset_id", "campaign_id"])

    def batch(n: int, day: date) -> pa.RecordBatch:
        shown = [1_000 + (i * 7 + n) % 500 for i in range(count)]
        values = {
            "date": pa.array([day] * count),
            "impressions": pa.array(shown),
            "clicks": pc.divide(pa.array(shown), 50),
            "purchases": pc.divide(pa.array(shown), 700),
            "spend": pc.divide(pa.array(shown), 100).cast(money),
            "purchase_value": pc.divide(pa.array(shown), 40).cast(money),
            "is_open": pa.array([day > LAST - timedelta(days=28)] * count),
        }
        table = keys
        for name, column in values.items():
            table = table.append_column(name, column)
        return table.combine_chunks().to_batches()[0]

    schema = batch(0, days[0]).schema
    return pa.RecordBatchReader.from_batches(schema, (batch(n, day) for n, day in enumerate(days)))


def _roi(ads: pa.Table, days: list[date]) -> pa.Table:
    advertiser = ads["advertiser_id"][0].as_py()
    campaigns = sorted(set(ads["campaign_id"].to_pylist()))
    return pa.Table.from_pylist([
        {"advertiser_id": advertiser, "date": day, "campaign_id": campaign,
         "campaign_name": f"Campaign {campaign[1:]}" if campaign else None, "spend": Decimal(100),
         "platform_value": Decimal(300), "platform_purchases": 9, "modelled_revenue": Decimal(210),
         "modelled_contribution": Decimal(90), "modelled_orders": 6.5,
         "revenue": None if campaign else Decimal(900),
         "contribution": None if campaign else Decimal(400), "orders": None if campaign else 20,
         "new_customers": None if campaign else 8, "known_customers": None if campaign else 16,
         "is_open": day > LAST - timedelta(days=28)}
        for day in days for campaign in ("", *campaigns)
    ])  # fmt: skip


def _fill(api: Api, rows: int) -> int:
    """Fill the store; how many rows of an ad on a day there are."""
    days = [LAST - timedelta(days=n) for n in range(365 * YEARS)][::-1]
    large = _ads("acme", max(rows * 9 // 10 // len(days), 1))
    small = _ads("bolt", max(rows // 10 // len(days), 1))
    some = ads_rows(("acme", "bolt"))
    shift = LAST - max(some["ads_orders_daily"]["date"].to_pylist())
    tables = {
        name: table.set_column(
            table.schema.get_field_index("date"), "date",
            pa.array([day + shift for day in table["date"].to_pylist()]),
        )
        if "date" in table.column_names else table
        for name, table in some.items()
    }  # fmt: skip
    known = tables["ads_advertisers"]
    for name in ("last_day", "open_from", "first_day", "whole_from"):
        place = known.schema.get_field_index(name)
        known = known.set_column(
            place, name, pa.array([day + shift for day in known[name].to_pylist()])
        )
    both = pa.concat_tables([large, small])
    fill(
        api.store,
        tables
        | {
            "ads_advertisers": known,
            "ads": both,
            "ad_performance_daily": _daily(both, days),
            "ad_roi_daily": pa.concat_tables([_roi(large, days), _roi(small, days)]),
        },
        "v2",
    )
    with api.store.begin() as store:
        store.execute(ads_campaigns_daily.delete())
        store.execute(
            sa.text(
                "INSERT INTO published.ads_campaigns_daily (advertiser_id, date, account_id, "
                "campaign_id, impressions, clicks, purchases, spend, purchase_value, is_open) "
                "SELECT advertiser_id, date, account_id, campaign_id, sum(impressions), "
                "sum(clicks), sum(purchases), sum(spend), sum(purchase_value), bool_or(is_open) "
                "FROM published.ad_performance_daily GROUP BY 1, 2, 3, 4"
            )
        )
        store.execute(sa.text("ANALYZE published.ads_campaigns_daily"))
    return both.num_rows * len(days)


def _asked(client: httpx.Client, path: str, count: int) -> tuple[list[float], float]:
    """Milliseconds of each request, and kB of an answer."""
    found, size = [], 0
    for n in range(count + 3):
        began = time.perf_counter()
        answer = client.get(path, params={"advertiser": "acme"} | dict(httpx.URL(path).params))
        assert answer.status_code == 200, answer.text
        size = len(answer.content)
        if n >= 3:
            found.append(1000 * (time.perf_counter() - began))
    return found, size / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rows", nargs="?", type=int, default=500_000)
    parser.add_argument("requests", nargs="?", type=int, default=30)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres_server() as server,
        fresh_database(server) as url,
        running_api(Home(Path(folder) / "home").prepare("live"), url) as api,
    ):
        began = time.perf_counter()
        rows = _fill(api, given.rows)
        print(f"{rows:,} rows of an ad on a day, filled in {time.perf_counter() - began:.0f} s")
        api.app.state.service.settings.api_rate_limit = "100000/minute"
        print(f"{'page':<24}{'median ms':>10}{'p95 ms':>9}{'kB':>7}")
        with api.logged_in("marketer") as client:
            for name, path in PATHS.items():
                took, size = _asked(client, path, given.requests)
                p95 = statistics.quantiles(took, n=20)[-1]
                print(f"{name:<24}{statistics.median(took):>10.1f}{p95:>9.1f}{size:>7.0f}")


if __name__ == "__main__":
    main()
