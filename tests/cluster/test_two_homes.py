"""Two homes write one lakehouse by four runs, one killed and one paused: as if one had run."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from dmp_assets.demo.business import shop as demo_shop
from dmp_assets.platform.lake import fences
from dmp_assets.platform.lake.shared_leases import COMMITS
from dmp_assets.platform.lake.shared_leases import FILE as LEASES
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.postgres.embedded import Endpoint
from tests.support.dmp import Dmp
from tests.support.postgres import fresh_database, postgres_server
from tests.support.s3 import versitygw

SURELY = 600  # seconds
LAPSES = 8
SHOP = "group:shop"
ROWS = ("raw/users", "raw/promo_codes", "raw/promo_usages")


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    with postgres_server() as endpoint:
        yield endpoint


class Holder(NamedTuple):
    """A run at work: its lease's number, its id and its process."""

    fence: int
    run_id: str
    pid: int


@dataclass(frozen=True)
class Shared:
    """Two homes on one lakehouse, and a home of its own that reads the same shop."""

    one: Dmp
    two: Dmp
    alone: Dmp
    tables: Tables
    leases: str

    def holders(self) -> list[Holder]:
        """The runs that hold leases, of both homes."""
        with psycopg.connect(self.leases) as connection:
            rows = connection.execute(
                "SELECT fence, run_id, pid FROM dmp_leases.holder WHERE NOT waiting"
                if _has_leases(connection)
                else "SELECT 0, '', 0 LIMIT 0"
            ).fetchall()
        return [Holder(fence, run_id, pid) for fence, run_id, pid in rows]

    def at_work(self) -> Holder | None:
        """The run that writes the shop's tables."""
        return next(iter(self.holders()), None)


def _has_leases(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    (there,) = connection.execute("SELECT to_regclass('dmp_leases.unfenced')").fetchone() or (None,)
    return there is not None


@pytest.fixture(scope="module", params=["folder", "bucket"])
def shared(folder: Path, server: Endpoint, request: pytest.FixtureRequest) -> Iterator[Shared]:
    folder = folder / str(request.param)
    folder.mkdir()
    with (
        fresh_database(server) as shop,
        fresh_database(server) as kept,
        versitygw() if request.param == "bucket" else nullcontext() as bucket,
    ):
        place = {"DMP_LAKEHOUSE_ROOT": str(folder / "shared-lakehouse")}
        tables = Tables(place["DMP_LAKEHOUSE_ROOT"])
        if bucket is not None:
            place, tables = bucket.settings("lake"), bucket.tables("lake")
        source = {"DMP_SHOP_DATABASE_URL": shop.get_secret_value(), "DMP_SPARK_MEMORY": "700m"}
        both = source | {
            **place,
            "DMP_LEASE_DATABASE_URL": kept.get_secret_value(),
            "DMP_LEASE_SECONDS": str(LAPSES),
        }
        project = folder.parent / "project"
        one, two = Dmp(folder / "one", project, both), Dmp(folder / "two", project, both)
        made = demo_shop.generate(folder / "shop", users=150, seed=3, end=date(2024, 3, 31), dirt=0)
        loaded = one("load-shop", str(made.export))
        assert loaded.code == 0, loaded.text
        alone = Dmp(folder / "alone", project, source)
        yield Shared(one, two, alone, tables, kept.get_secret_value())


def until(found: Callable[[], Holder | bool | None]) -> Holder:
    end = time.monotonic() + SURELY
    while not (holder := found()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return holder  # type: ignore[return-value]


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    out, err = process.communicate(timeout=SURELY)
    return process.returncode, " ".join(f"{out} {err}".split())


def numbers(tables: Tables, key: str) -> list[int]:
    """The numbers of a table's commits in their order, one each; every version is there."""
    below = tables.files.below(f"{tables.path(key)}/_delta_log")
    log = sorted(path for path in below if re.search(r"/\d{20}\.json$", path))
    assert [int(Path(path).stem) for path in log] == list(range(len(log)))
    found = []
    for path in log:
        said = tables.files.read(path)
        assert said is not None
        actions = [json.loads(line) for line in said.splitlines()]
        found += [
            action["txn"]["version"]
            for action in actions
            if action.get("txn", {}).get("appId") == fences.APPLICATION
        ]
    assert len(found) == len(log)
    return found


def content(tables: Tables, key: str) -> list[str]:
    """The rows, without when they were read."""
    left_out = [n for n in tables.columns(key) if n.startswith("_") and n.endswith("_at")]
    rows = tables.dataset(key).to_table()
    return sorted(str(row) for row in rows.drop_columns(left_out).to_pylist())


def test_four_runs_at_once_one_killed_and_one_paused(shared: Shared) -> None:
    runs = [dmp.start("run", "--wait", "--select", SHOP)
            for dmp in (shared.one, shared.two, shared.one, shared.two)]  # fmt: skip

    def begun() -> Holder | None:
        early = [ended(process) for process in runs if process.poll() is not None]
        assert not early, early
        return shared.at_work()

    killed = until(begun)
    until(lambda: shared.tables.exists("raw/users"))
    os.killpg(killed.pid, signal.SIGKILL)  # the run and its JVM

    def another() -> Holder | None:
        holder = shared.at_work()
        return holder if holder and holder.run_id != killed.run_id else None

    paused = until(another)
    until(lambda: shared.tables.exists("cleaned/users") or another() != paused)
    os.killpg(paused.pid, signal.SIGSTOP)
    try:
        until(lambda: (now := another()) is not None and now.run_id != paused.run_id)
    finally:
        os.killpg(paused.pid, signal.SIGCONT)
    told = [ended(process) for process in runs]
    assert sorted(code == 0 for code, _ in told) == [False, False, True, True], told
    assert any("has lost its lease" in text for _, text in told), told

    done = shared.one("run", "--json", "--select", SHOP)
    assert done.code == 0, done.text
    assert not done.made(), "the runs that ended well had made everything"
    reference = shared.alone("run", "--json", "--select", SHOP)
    assert reference.code == 0, reference.text
    keys = shared.alone.tables.written()
    assert shared.tables.written() == keys and set(ROWS) <= set(keys)
    for key in keys:
        assert content(shared.tables, key) == content(shared.alone.tables, key), key
        made = numbers(shared.tables, key)
        assert made == sorted(made), key
        assert len({number // COMMITS for number in made}) <= 4, key
    assert shared.holders() == []


def test_what_both_read_at_the_same_moment_is_appended_once(shared: Shared, folder: Path) -> None:
    more = demo_shop.generate(folder / "more", users=200, seed=3, end=date(2024, 3, 31), dirt=0)
    loaded = shared.one("load-shop", str(more.export), "--append")
    assert loaded.code == 0, loaded.text
    runs = [dmp.start("run", "--wait", "--select", 'key:"raw/*" and group:shop')
            for dmp in (shared.one, shared.two)]  # fmt: skip
    for process in runs:
        code, text = ended(process)
        assert code == 0, text
    for key in ROWS:
        rows, distinct = (
            shared.tables.sql(
                f"SELECT count(*) AS n, count(DISTINCT _row_id) AS d FROM {key.replace('/', '.')}"
            )
            .to_pylist()[0]
            .values()
        )
        assert rows == distinct, key
    assert shared.tables.scalar("SELECT count(*) FROM raw.users") >= 200


def test_the_last_home_that_is_reset_removes_the_tables(shared: Shared) -> None:
    for dmp in (shared.one, shared.two):
        ran = dmp("run", "--json", "--select", SHOP)
        assert ran.code == 0, ran.text
    before, root = shared.tables.written(), shared.tables.root
    first = shared.one("reset", "--yes")
    assert first.code == 0 and not shared.one.root.exists()
    assert f"are used by {shared.two.root} on" in first.text
    assert shared.tables.written() == before
    last = shared.two("reset", "--yes")
    assert last.code == 0 and f"with all tables in {root}" in last.text
    assert set(shared.tables.files.below(root)) == {f"{root}/{LEASES}"}
