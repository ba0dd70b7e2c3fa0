"""The same shop on this machine's Spark and on a real standalone cluster: time and content.

    .venv/bin/python -m benchmarks.spark_cluster              # 10,000 users
    .venv/bin/python -m benchmarks.spark_cluster 100000 2     # users, workers of a core each

Both have so many cores. Each runs `dmp run` in a new home on the same PostgreSQL, without the web.
The tables are compared by hash, the times of their rows aside. The ratio is that of the whole runs;
seconds of layers are sums over assets, several of which are made at once.
"""

import json
import sys
import tempfile
from pathlib import Path

from dmp_assets.platform.lake.tables import Tables
from tests.support.postgres import fresh_database, postgres_server
from tests.support.shops import LAST, LAYERS, SEED, run
from tests.support.spark_cluster import spark_cluster
from tests.support.table_hashes import table_hashes

EXECUTOR = {"spark.executor.memory": "1500m", "spark.executor.cores": "1"}


def main() -> None:
    """Print a row for each, the ratio, and which tables differ."""
    from dmp_assets.demo.business.shop import generate

    users = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with tempfile.TemporaryDirectory(prefix="dmp-benchmark-") as name, postgres_server() as server:
        folder = Path(name)
        generate(folder / "shop", users=users, seed=SEED, end=LAST)
        with (
            fresh_database(server) as url,
            spark_cluster(folder / "spark", workers=workers, memory="2g") as cluster,
        ):
            shop = {"DMP_SHOP_DATABASE_URL": url.get_secret_value()}
            run(folder / "loader", shop, "load-shop", str(folder / "shop" / "export"))
            places = {
                f"local[{workers}]": {"DMP_SPARK_MASTER": f"local[{workers}]"},
                f"cluster, {workers} × 1 core": {
                    "DMP_SPARK_MASTER": cluster.url, "DMP_SPARK_CONF": json.dumps(EXECUTOR),
                },
            }  # fmt: skip
            print(f"| {users:,} users | run, s | {', s | '.join(LAYERS)}, s |", flush=True)
            print("|---|---:|" + "---:|" * len(LAYERS), flush=True)
            seconds, hashes = [], []
            for n, (place, settings) in enumerate(places.items()):
                home = folder / f"home-{n}"
                said = run(home, shop | settings, "run", "--json")
                seconds.append(float(said["seconds"]))
                hashes.append(table_hashes(Tables(str(home / "lakehouse"))))
                layers = [f"{said['seconds_by_layer'].get(layer, 0):.0f}" for layer in LAYERS]
                print(f"| {place} | {seconds[-1]:.0f} | {' | '.join(layers)} |", flush=True)
    one, other = hashes
    differ = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    print(f"ratio {seconds[1] / seconds[0]:.2f}; {len(one)} tables, differing: {differ or 'none'}")


if __name__ == "__main__":
    main()
