"""Time and memory of the attribution tables, Spark included, as a Markdown table.

    .venv/bin/python benchmarks/attribution_tables.py                   # 10,000 to 1,000,000
    .venv/bin/python benchmarks/attribution_tables.py 10000 100000      # these sizes

Simulated cleaned tables: 10 channels, 4 sessions a user on average, every user converts once after
the last of them. One process with one Spark makes journeys, paths, all models' credits and channel
reporting. Memory is the largest sum over the process tree, as in `main_job.py`.
"""

import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (10_000, 100_000, 1_000_000)
CHANNELS = ("direct", "search", "display", "social", "email", "affiliate", "video", "referral",
            "organic", "partner")  # fmt: skip
STEPS = ("customer_journeys", "customer_paths", "attribution", "channel_reporting")


def simulate(count: int) -> int:
    """Write the cleaned tables of `count` users into the current home; sessions written."""
    import pyarrow as pa

    from dmp_assets.platform.lake.lakehouse import Lakehouse

    random = np.random.default_rng(count)
    length = np.minimum(random.geometric(0.25, count), 60)
    user = np.repeat(np.arange(count), length)
    end = int(datetime(2024, 3, 31, tzinfo=UTC).timestamp())
    converted = end - random.integers(0, 60 * 86_400, count)
    at = converted[user] - random.integers(0, 30 * 86_400, len(user))
    popularity = 1 / np.arange(1, len(CHANNELS) + 1) ** 0.7
    channel = random.choice(len(CHANNELS), len(user), p=popularity / popularity.sum())
    rows = len(user)
    flags = random.random((3, rows)) < 0.3

    def times(seconds: Any) -> pa.Array:
        return pa.array(seconds * 1_000_000, pa.timestamp("us", tz="UTC"))

    money = pa.decimal128(18, 4)
    names = pa.array(CHANNELS).take(pa.array(channel))
    ids = pa.array(user).cast(pa.string())
    sessions = pa.table(
        {
            "session_id": pa.array(np.arange(rows)).cast(pa.string()),
            "user_id": ids,
            "event_at": times(at),
            "channel_name": names,
            "campaign_name": pa.nulls(rows, pa.string()),
            "holder_engagement": flags[0],
            "closer_engagement": flags[1],
            "impression_interaction": flags[2],
        }
    )
    conversions = pa.table(
        {
            "conv_id": pa.array(np.arange(count)).cast(pa.string()),
            "user_id": pa.array(np.arange(count)).cast(pa.string()),
            "converted_at": times(converted),
            "revenue": pa.array(random.integers(10, 200, count))
            .cast(pa.decimal128(23, 4))
            .cast(money),
        }
    )
    costs = pa.table(
        {
            "session_id": pa.array(np.arange(0, rows, 2)).cast(pa.string()),
            "cost": pa.array(random.integers(0, 3, (rows + 1) // 2))
            .cast(pa.decimal128(23, 4))
            .cast(money),
        }
    )
    lakehouse = Lakehouse()
    for key, table in (
        ("cleaned/web_sessions", sessions),
        ("cleaned/web_conversions", conversions),
        ("cleaned/web_session_costs", costs),
    ):
        lakehouse.overwrite(key, table, stamp={"data_version": str(count)})
    return rows


def make() -> dict[str, float]:
    """Run the assets in this process; seconds of each step and of the whole."""
    began = time.monotonic()
    import dagster as dg

    from dmp_assets.attribution.tables import (
        attribution,
        channel_reporting,
        customer_journeys,
        customer_paths,
    )
    from dmp_assets.platform.lake.lakehouse import Lakehouse
    from dmp_assets.platform.lake.table_asset import WHOLE_TAG
    from dmp_assets.platform.lake.window import Window

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [
                customer_journeys.customer_journeys,
                customer_paths.customer_paths,
                attribution.attribution,
                channel_reporting.channel_reporting,
            ],
            instance=instance,
            tags={
                WHOLE_TAG: "true",
                "dagster/asset_partition_range_start": "2024-03-31",
                "dagster/asset_partition_range_end": "2024-03-31",
            },
            resources={"lakehouse": Lakehouse(), "window": Window()},
            run_config={"loggers": {"console": {"config": {"log_level": "WARNING"}}}},
        )
        steps = instance.get_run_step_stats(result.run_id)
    spent = {
        step.step_key.partition("__")[2]: (step.end_time or 0) - (step.start_time or 0)
        for step in steps
    }
    return spent | {"all": time.monotonic() - began}


def main() -> None:
    """Print a table with a row per size."""
    sys.path.insert(0, str(Path(__file__).parent))
    from main_job import measured

    sizes = [int(text) for text in sys.argv[1:]] or list(SIZES)
    print("| journeys | sessions | " + " | ".join(f"{step}, s" for step in STEPS), end="")
    print(" | all, s | × | peak, GiB |")
    print("|---:|---:|" + "---:|" * (len(STEPS) + 3))
    before: float | None = None
    for count in sizes:
        with tempfile.TemporaryDirectory(prefix="dmp-benchmark-") as folder:
            environment = os.environ | {"DMP_HOME": folder, "DO_NOT_TRACK": "1", "TZ": "UTC"}
            command = [sys.executable, __file__, "--simulate", str(count)]
            _, _, out = measured(command, environment)
            sessions = int(out)
            _, peak, out = measured([sys.executable, __file__, "--make"], environment)
        spent = json.loads(out.strip().splitlines()[-1])
        steps = " | ".join(f"{spent[step]:.1f}" for step in STEPS)
        ratio = f"{spent['all'] / before:.1f}" if before else ""
        print(
            f"| {count:,} | {sessions:,} | {steps} | {spent['all']:.0f} | {ratio} | "
            f"{peak / 2**30:.1f} |",
            flush=True,
        )
        before = spent["all"]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--simulate"]:
        print(simulate(int(sys.argv[2])))
    elif sys.argv[1:2] == ["--make"]:
        print(json.dumps(make()))
    else:
        main()
