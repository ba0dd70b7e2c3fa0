"""What goes wrong outside ends in a clear message, leaves every table, and the next run recovers.

One small live home with a database of its own; the tests follow one another.
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psutil
import pytest

from dmp_assets.demo.business import shop as demo_shop
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.home import Home
from dmp_assets.platform.lake import leases
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.reporting.delivery import flush
from dmp_assets.platform.reporting.slack import build_client
from dmp_assets.settings import Settings
from tests.support.cut import FailingRelay
from tests.support.dmp import PROGRAM, Dmp, Ran
from tests.support.postgres import fresh_database, postgres_server

ROWS = 'key:"raw/*" or key:"cleaned/*"'
HEADERS = {
    "users": "user_id,created_at,email,is_abuser",
    "promo_codes": "promo_code,discount_type",
    "promo_usages": "user_id,promo_code,used_at",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    with postgres_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def database(server: Endpoint) -> Iterator[str]:
    with fresh_database(server) as url:
        yield url.get_secret_value()


@pytest.fixture(scope="module")
def empty(folder: Path, database: str) -> tuple[Dmp, Ran]:
    """A live home whose shop has tables without rows, and its first run of everything."""
    export = folder / "empty-export"
    export.mkdir()
    for table, header in HEADERS.items():
        (export / f"{table}.csv").write_text(header + "\n")
    dmp = Dmp(folder / "faults", folder / "project", {"DMP_SHOP_DATABASE_URL": database})
    assert dmp("load-shop", str(export)).code == 0
    return dmp, dmp("run", "--json")


@pytest.fixture(scope="module")
def small(folder: Path) -> demo_shop.Summary:
    return demo_shop.generate(
        folder / "small-shop", users=100, seed=5, end=date(2024, 3, 31), dirt=0
    )


def run(dmp: Dmp, env: dict[str, str] | None = None, select: str = ROWS) -> Ran:
    return dmp("run", "--json", "--select", select, env=env)


# an empty shop ------------------------------------------------------------------------------------
def test_empty_tables_are_a_valid_and_visible_result(empty: tuple[Dmp, Ran]) -> None:
    dmp, ran = empty
    assert ran.code == 0, ran.text
    assert ran.summary["rows_by_layer"]["raw"] == 0
    assert "raw/users not_empty (WARN)" in ran.summary["failed_checks"]
    assert dmp.tables.scalar("SELECT count(*) FROM cleaned.promo_usages") == 0
    page = (dmp.home.reports / "promo_abuse.html").read_text()
    assert "No registration and no usage of a promo code has been loaded yet." in page
    (waiting,) = [json.loads(path.read_text()) for path in dmp.home.outbox.glob("*.json")]
    assert "No data has been loaded yet" in waiting["text"]


# a killed run -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def filled(empty: tuple[Dmp, Ran], small: demo_shop.Summary) -> tuple[Dmp, dict[str, int], str]:
    """The same home, whose first run over rows was killed while it wrote; before the next run."""
    dmp, _ = empty
    assert dmp("load-shop", str(small.export), "--append").code == 0
    before = dmp.versions()
    known = set(dmp.home.lakehouse.rglob("*.parquet"))
    child = dmp.start("run", "--json", "--select", ROWS)
    runner: psutil.Process | None = None
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and child.poll() is None:
        if runner is None:
            for process in psutil.Process(child.pid).children():
                with contextlib.suppress(psutil.Error):
                    if "dmp_assets.platform.run.child" in process.cmdline():
                        runner = process
        if set(dmp.home.lakehouse.rglob("*.parquet")) - known and runner:
            runner.send_signal(signal.SIGKILL)
            break
        time.sleep(0.05)
    out, err = child.communicate(timeout=60)
    assert child.returncode != 0
    assert runner is not None
    return dmp, before, out + err


def test_a_killed_run_says_so_and_leaves_every_table_readable(
    filled: tuple[Dmp, dict[str, int], str],
) -> None:
    dmp, before, said = filled
    assert "the process of this run was killed" in said or "ended with code -9" in said
    for key in before:
        assert dmp.tables.version(key) - before[key] in (0, 1), key
        assert dmp.tables.sql(f"SELECT * FROM {key.replace('/', '.')}").num_rows >= 0
    left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"]]
    assert not [line for line in left if str(dmp.root) in " ".join(line) and "java" in line[0]]


def test_the_run_after_a_killed_one_finishes_the_work(
    filled: tuple[Dmp, dict[str, int], str], small: demo_shop.Summary
) -> None:
    dmp, _, _ = filled
    ran = run(dmp)
    assert ran.code == 0, ran.text
    for table in HEADERS:
        rows = dmp.tables.scalar(f"SELECT count(*) FROM cleaned.{table}")
        assert rows == small.rows[table], table
        assert dmp.tables.scalar(f"SELECT count(*) FROM quarantine.{table}") == 0


# the shop's database ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def good(filled: tuple[Dmp, dict[str, int], str]) -> Dmp:
    return filled[0]


def test_what_is_wrong_with_the_shop_is_named_before_a_jvm_starts(
    good: Dmp, database: str, server: Endpoint
) -> None:
    """One of many: the others are tests of the shop (unit) and of raw tables (assets)."""
    wrong = database.replace(server.password.get_secret_value(), "wrong-Password-1")
    before = good.versions()
    ran = run(good, {"DMP_SHOP_DATABASE_URL": wrong}, 'key:"raw/*"')
    assert ran.code != 0
    assert "refuses the user or password" in ran.text
    assert "Traceback" not in ran.text
    assert "wrong-Password-1" not in ran.text
    assert "java" not in ran.watched.programs
    assert good.versions() == before


@pytest.fixture(scope="module")
def broken_off(
    good: Dmp, database: str, server: Endpoint, folder: Path
) -> tuple[dict[str, int], Ran, str]:
    """The tables' versions before two runs that broke off while they read and wrote raw/users: one
    whose database went down, then one whose disk was full; and what the two said.
    """
    before = good.versions()
    more = folder / "more"
    more.mkdir()
    (more / "users.csv").write_text("user_id,created_at\nnewcomer,2024-03-31 10:00:00\n")
    assert good("load-shop", str(more), "--append").code == 0
    relay = FailingRelay(server.port)
    relay.armed = True
    through = database.replace(f":{server.port}/", f":{relay.port}/")
    down = run(good, {"DMP_SHOP_DATABASE_URL": through}, select="raw/users")
    relay.close()
    assert relay.down
    assert good.versions() == before
    return before, down, _with_a_full_disk(good, folder)


BIG = 4_500


def _with_a_full_disk(dmp: Dmp, folder: Path) -> str:
    """No file may grow beyond 10 MB (Spark copies its JARs): the larger one's write fails."""
    big = folder / "big"
    big.mkdir()
    cells = ["short"] * (BIG - 500) + [os.urandom(26_000).hex() for _ in range(500)]
    rows = "".join(f"2024-03-31 10:00:00,big-{i},{cell}\n" for i, cell in enumerate(cells))
    (big / "users.csv").write_text("created_at,user_id,city\n" + rows)
    assert dmp("load-shop", str(big), "--append").code == 0

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, 10_000_000))

    child = dmp.start("run", "--json", "--select", "raw/users", preexec_fn=limited)
    out, err = child.communicate(timeout=300)
    assert child.returncode != 0
    return out + err


def test_a_database_that_goes_down_half_way_fails_the_run_by_the_tables_name(
    broken_off: tuple[dict[str, int], Ran, str],
) -> None:
    _, ran, _ = broken_off
    assert ran.code != 0
    assert any(failure.startswith("raw/users: ") for failure in ran.summary["failures"])


def test_a_full_disk_fails_the_run_and_says_so(
    good: Dmp, broken_off: tuple[dict[str, int], Ran, str]
) -> None:
    before, _, said = broken_off
    assert "File too large" in said
    assert good.versions() == before


def test_the_run_after_those_that_broke_off_loads_all_that_came_meanwhile(
    good: Dmp, broken_off: tuple[dict[str, int], Ran, str], small: demo_shop.Summary
) -> None:
    before, _, _ = broken_off
    recovered = run(good, select="raw/users")
    assert recovered.code == 0, recovered.text
    assert good.versions()["raw/users"] > before["raw/users"]
    rows = small.rows["users"] + 1 + BIG
    assert good.tables.scalar("SELECT count(*) FROM raw.users") == rows


# the machine --------------------------------------------------------------------------------------
def test_without_java_the_run_says_how_to_get_it(
    good: Dmp, database: str, folder: Path, small: demo_shop.Summary
) -> None:
    """Java is hidden from the program: PATH without it, and the folders where it is looked for."""
    hidden = folder / "no-java"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import pathlib\n_glob = pathlib.Path.glob\n"
        "pathlib.Path.glob = lambda self, pattern, **k: "
        "iter(()) if 'jvm' in str(pattern).lower() or '/java' in str(pattern).lower() "
        "else _glob(self, pattern, **k)\n"
    )
    fresh = Dmp(folder / "javaless", good.project, {"DMP_SHOP_DATABASE_URL": database})
    env = fresh.env({"PATH": str(hidden), "PYTHONPATH": _path(hidden)})
    env.pop("JAVA_HOME", None)
    for arguments in (["run", "--json", "--select", "raw/users"], ["doctor"]):
        ran = subprocess.run(
            [str(PROGRAM), *arguments],
            env=env, cwd=fresh.project, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode != 0
        assert "Java 17 or 21 is needed and no Java was found" in ran.stdout + ran.stderr
        assert "openjdk-17-jre-headless" in " ".join((ran.stdout + ran.stderr).split())
    assert fresh.tables.written() == []


def _path(folder: Path) -> str:
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


def test_a_taken_port_is_named_before_anything_starts(good: Dmp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = good("up", env={"DMP_WEBSERVER_PORT": str(port)})
    assert ran.code == 1
    assert f"port {port} of 127.0.0.1 is taken" in ran.text
    assert "DMP_WEBSERVER_PORT" in ran.text
    assert "dagster-webserver" not in ran.watched.programs


def test_an_unwritable_home_is_named(good: Dmp, folder: Path) -> None:
    file = folder / "a-file"
    file.write_text("")
    ran = good("run", env={"DMP_HOME": str(file / "home")})
    assert ran.code == 1
    assert f"cannot write to the home {file / 'home'}" in ran.text
    assert "set DMP_HOME to a folder that you can write to" in ran.text


# one writer at a time -----------------------------------------------------------------------------
def test_a_busy_lakehouse_names_the_run_that_holds_it_and_wait_waits(good: Dmp) -> None:
    with leases.taken(Home(good.root), "the-other-run", ["raw/promo_codes"]):
        ran = run(good, select="raw/promo_codes")
        assert ran.code == 1
        assert f"run the-other-run (process {os.getpid()}) is writing" in ran.text
        assert "--wait" in ran.text
        waiting = good.start("run", "--json", "--wait", "--select", "raw/promo_codes")
        time.sleep(8)
        assert waiting.poll() is None
    out, err = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, out + err
    assert json.loads(out)["success"] is True


# Slack -------------------------------------------------------------------------------------------
def test_what_slack_refuses_is_kept_and_sent_once_later(good: Dmp, folder: Path) -> None:
    shutil.rmtree(good.home.outbox)
    with Sandbox(Home(folder / "slack-stand-in").prepare("sandbox")).running() as slack:
        address = slack.settings["slack_base_url"]
        revoked = {"DMP_SLACK_BASE_URL": address, "DMP_SLACK_TOKEN": "xoxb-revoked"}
        ran = run(good, revoked, select="delivery/promo_abuse")
        assert ran.code == 0, ran.text
        assert ran.summary["failed_checks"] == ["delivery/promo_abuse delivered (WARN)"]
        (record,) = good.home.outbox.glob("*.json")
        assert "Slack refuses the token (invalid_auth)" in json.loads(record.read_text())["reason"]
        right = Settings(home=good.root, **slack.settings)
        states = [d.state for d in flush(build_client(right), good.home.outbox)]
        assert states == ["sent"]
        assert flush(build_client(right), good.home.outbox) == []
        posts = [m for m in _messages(slack.url) if not m.get("thread_ts")]
        assert len(posts) == 1


def _messages(url: str) -> list[dict[str, object]]:
    import urllib.request

    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{url}/_sandbox/messages") as answer:
        return list(json.load(answer))
