"""What an asset costs beyond its own query, and what one costs that has nothing new: a table.

    .venv/bin/python benchmarks/asset.py

Ten small tables (1,000 rows, a key, a preview) are made one after the other in a new home, by the
run's own executor into its own history, then run again with nothing new. `by DuckDB` reads with
SQL, `by Spark` with a frame. A step's time is from its start to its success in Dagster's log; what
its function computed is taken off.
"""

import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

TABLES, ROWS = 10, 1_000


def assets(kind: str, spent: dict[str, float]) -> Iterator[dg.AssetsDefinition]:
    """One table of numbers, and TABLES that each read it; `spent`: step → seconds of its query."""
    from dmp_assets.platform.lake.columns import Column
    from dmp_assets.platform.lake.table_asset import TableRun, table_asset

    columns = {"id": Column("long", "Number."), "name": Column("string", "As text.")}

    @table_asset("raw", columns=columns, key=("id",))
    def numbers(run: TableRun) -> None:
        """Numbers. Grain: one number. Key: id."""
        run.overwrite(run.sql(f"SELECT range AS id, range::VARCHAR AS name FROM range({ROWS})"))

    yield numbers
    for place in range(TABLES):

        def body(run: TableRun) -> None:
            """The same numbers. Grain: one number. Key: id."""
            began = time.monotonic()
            if kind == "Spark":
                frame = run.read("raw/numbers").select("id", "name")
                frame.count()
                found: Any = frame
            else:
                found = run.sql("SELECT id, name FROM raw.numbers")
            spent[run.key] = time.monotonic() - began
            run.overwrite(found)

        body.__name__ = f"numbers_{place}"
        yield table_asset("modeled", columns=columns, key=("id",), deps=["raw/numbers"])(body)


def seconds(kind: str) -> tuple[list[float], list[float]]:
    """What each step took beyond its query, and what each took with nothing new."""
    from dmp_assets.home import Home
    from dmp_assets.platform.lake.lakehouse import Lakehouse
    from dmp_assets.platform.lake.window import Window
    from dmp_assets.platform.run import history
    from dmp_assets.platform.run.executor import run_job, threads_executor
    from dmp_assets.platform.run.instance import prepare_instance
    from dmp_assets.platform.run.results import Account

    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="dmp-benchmark-") as folder:
        os.environ["DMP_HOME"] = folder
        home = Home(Path(folder)).prepare("sandbox")
        prepare_instance(home)
        made = list(assets(kind, spent))
        lakehouse = Lakehouse()
        if kind == "Spark":
            lakehouse.spark.range(1).count()  # its start is no asset's
        job = dg.Definitions(
            assets=made,
            resources={"lakehouse": lakehouse, "window": Window()},
            executor=threads_executor.configured({"max_concurrent": 1}),
        ).resolve_implicit_global_asset_job_def()
        took = []
        with history.opened(home.dagster) as instance:
            for _ in range(2):
                run_id = str(uuid.uuid4())
                keys = [key for asset in made for key in asset.keys]
                result = run_job(
                    job, assets=keys, instance=instance, run_id=run_id, tags={},
                    run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
                )  # fmt: skip
                if not result.success:
                    raise SystemExit("the run failed")
                account = Account()
                account.read(instance, run_id)
                steps = dict(account.summary(run_id, success=True, seconds=0).steps)
                took.append({step.replace("__", "/", 1): value for step, value in steps.items()})
        first, again = took
    return [first[key] - own for key, own in spent.items()], [again[key] for key in spent]


def main() -> None:
    """Print a table with a row for each way of reading."""
    print("| a table of 1,000 rows | beyond its query, s | most | with nothing new, s | most |")
    print("|---|---:|---:|---:|---:|")
    for kind in sys.argv[1:] or ["DuckDB", "Spark"]:
        floor, idle = seconds(kind)
        print(
            f"| by {kind} | {statistics.median(floor):.2f} | {max(floor):.2f} | "
            f"{statistics.median(idle):.3f} | {max(idle):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
