"""The same shop with its tables on this disk and on S3 servers of this machine: time and content.

    .venv/bin/python -m benchmarks.object_storage            # 10,000 users
    .venv/bin/python -m benchmarks.object_storage 100000

Each place has a new home on the same PostgreSQL, without the web; it is run, then run again with
nothing new. Servers: versitygw, which keeps objects on this disk, where it or Go is; moto, which
keeps them in its memory. Both share the machine with what they serve. The tables are compared by
hash, the times of their rows aside.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from dmp_assets.platform.lake.tables import Tables
from tests.support import s3
from tests.support.postgres import fresh_database, postgres_server
from tests.support.shops import LAST, LAYERS, SEED, run
from tests.support.table_hashes import table_hashes

SERVERS = [*([s3.versitygw] if s3.can_run_versitygw() else []), s3.moto]


def main() -> None:
    """Print a row for each place with its ratio to this disk, and which tables differ."""
    from dmp_assets.demo.business.shop import generate

    users = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dmp-benchmark-")))
        server = stack.enter_context(postgres_server())
        url = stack.enter_context(fresh_database(server))
        generate(folder / "shop", users=users, seed=SEED, end=LAST)
        shop = {"DMP_SHOP_DATABASE_URL": url.get_secret_value()}
        run(folder / "loader", shop, "load-shop", str(folder / "shop" / "export"))
        print(f"| {users:,} users | run, s | ratio | again, s | {', s | '.join(LAYERS)}, s |")
        print("|---|---:|---:|---:|" + "---:|" * len(LAYERS), flush=True)
        first = measured("disk", folder / "disk", shop, 0)
        known = table_hashes(Tables(str(folder / "disk" / "lakehouse")))
        for start in SERVERS:
            with start() as bucket:
                place = shop | bucket.settings("shop")
                measured(start.__name__, folder / start.__name__, place, first)
                found = table_hashes(bucket.tables("shop"))
            both = known.keys() | found.keys()
            assert found == known, sorted(key for key in both if known.get(key) != found.get(key))
    print(f"{len(known)} tables, the same everywhere")


def measured(name: str, home: Path, environment: dict[str, str], first: float) -> float:
    """Run twice and print the row; seconds of the first run. `first`: those on this disk."""
    said = run(home, environment, "run", "--json")
    seconds = float(said["seconds"])
    began = time.monotonic()
    run(home, environment, "run", "--json")
    again = time.monotonic() - began
    layers = " | ".join(f"{said['seconds_by_layer'].get(layer, 0):.0f}" for layer in LAYERS)
    ratio = f"{seconds / first:.2f}" if first else ""
    print(f"| {name} | {seconds:.0f} | {ratio} | {again:.1f} | {layers} |", flush=True)
    return seconds


if __name__ == "__main__":
    main()
