"""Attribution from the command line, on a web database of its own and the sandbox's IHC service.

One small live home without a shop and without Slack; the tests follow one another.
"""

import contextlib
import json
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from dmp_assets.demo.sandbox.server import Endpoint, Sandbox
from dmp_assets.home import Home
from tests.support.dmp import Dmp, Ran
from tests.support.web import add_rows, conversion, customers, session, write_csv

CUSTOMERS = 20
SOURCES = "SELECT credit_source AS s, count(*) AS n FROM modeled.attributed_conversions GROUP BY s"
FAILED = "FROM modeled.attributed_conversions WHERE credit_source = 'failed'"
OWN_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def dmp(folder: Path) -> Dmp:
    """A live home that knows a web database and nothing else."""
    database = folder / "web" / "web.sqlite"
    database.parent.mkdir()
    return Dmp(folder / "attribution", folder / "project", {"DMP_WEB_DATABASE": str(database)})


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Endpoint]:
    home = Home(folder / "ihc-stand-in").prepare("sandbox")
    with Sandbox(home).running() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def key(service: Endpoint) -> dict[str, str]:
    """The settings by which the service is asked, two journeys at a time."""
    names = ("ihc_url", "ihc_api_key", "ihc_conversion_type")
    return {f"DMP_{name.upper()}": service.settings[name] for name in names} | {
        "DMP_IHC_MAX_JOURNEYS": "2", "DMP_IHC_CONCURRENCY": "1",
    }  # fmt: skip


def calls(service: Endpoint) -> list[dict[str, Any]]:
    with OWN_DIRECT.open(f"{service.url}/ihc/_sandbox/calls") as answer:
        return list(json.load(answer))


def asked(some: list[dict[str, Any]]) -> list[str]:
    return [name for call in some for name in call["conversions"]]


def behave(service: Endpoint, **behaviour: Any) -> None:
    body = json.dumps(behaviour).encode()
    OWN_DIRECT.open(f"{service.url}/ihc/_sandbox/behaviour", data=body).close()


def sources(dmp: Dmp) -> dict[str, int]:
    return {row["s"]: row["n"] for row in dmp.tables.sql(SOURCES).to_pylist()}


def csv_lines(dmp: Dmp) -> list[str]:
    return (dmp.home.exports / "channel_reporting.csv").read_text().splitlines()


def test_without_a_web_database_every_command_says_how_to_name_one(dmp: Dmp) -> None:
    for arguments in (["attribution"], ["web", "check"]):
        ran = dmp(*arguments, env={"DMP_WEB_DATABASE": ""})
        assert ran.code == 1
        assert "no web database is configured; set DMP_WEB_DATABASE" in ran.text
        assert "java" not in ran.watched.programs


def test_a_database_is_made_checked_and_filled_from_csv(dmp: Dmp, folder: Path) -> None:
    missing = dmp("web", "check")
    assert missing.code == 1
    assert "does not exist" in missing.text
    made = dmp("web", "init")
    assert made.code == 0
    assert "created session_sources, conversions, session_costs" in made.text
    export = write_csv(folder / "web-export", **customers(CUSTOMERS))
    loaded = dmp("web", "load", str(export))
    assert loaded.code == 0, loaded.text
    checked = dmp("web", "check")
    assert checked.code == 0
    assert f"conversions: {CUSTOMERS} rows" in checked.text


def test_without_a_key_our_own_model_stands_in_and_what_is_missing_is_named(
    dmp: Dmp, service: Endpoint
) -> None:
    ran = dmp("attribution", "--json", "--start", "2024-03-01", "--end", "2024-03-05")
    assert ran.code == 0, ran.text
    assert sources(dmp) == {"own": 5}
    skipped = " ".join(ran.summary["skipped"])
    for name in ("DMP_IHC_API_KEY", "DMP_SLACK_TOKEN"):
        assert name in skipped
    header, *lines = csv_lines(dmp)
    assert header == "channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS"
    assert sum(float(line.split(",")[3]) for line in lines) == pytest.approx(5)
    assert ran.watched.outside() == set()
    assert "postgres" not in ran.watched.programs
    assert calls(service) == []


@pytest.fixture(scope="module")
def killed(dmp: Dmp, service: Endpoint, key: dict[str, str]) -> list[dict[str, Any]]:
    """The calls of a run that was killed between two batches."""
    behave(service, latency=0.5)
    child = dmp.start("attribution", "--json", env=key)
    deadline = time.monotonic() + 400
    while len(calls(service)) < 4 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(child.pid).children():
            if "dmp_assets.platform.run.child" in process.cmdline():
                process.send_signal(signal.SIGKILL)
    out, err = child.communicate(timeout=60)
    assert child.returncode != 0, out + err
    time.sleep(1)  # what was under way when it died
    behave(service)
    return calls(service)


@pytest.fixture(scope="module")
def refused(dmp: Dmp, service: Endpoint, key: dict[str, str], killed: list[dict[str, Any]]) -> Ran:
    """A run over the day of one new conversion whose key the service refuses."""
    assert sources(dmp) == {"own": 5}, "the killed run left something half-written"
    database = Path(dmp.environment["DMP_WEB_DATABASE"])
    with closing(sqlite3.connect(database)) as connection, connection:
        day = "2024-03-25"
        add_rows(connection, "session_sources", [session("new", user_id="n", event_date=day)])
        add_rows(connection, "conversions", [conversion("new", user_id="n", conv_date=day)])
    behave(service, kind="401")
    ran = dmp("attribution", "--json", "--start", "2024-03-25", "--end", "2024-03-25", env=key)
    behave(service)
    return ran


def test_a_refused_key_ends_the_run_in_words_and_leaves_the_csv(
    dmp: Dmp, service: Endpoint, key: dict[str, str], killed: list[dict[str, Any]], refused: Ran
) -> None:
    assert refused.code == 1
    (failure,) = refused.summary["failures"]
    assert "modeled/attribution: the IHC service answered for none of 1 conversions" in failure
    assert "the service refuses the key (401); set the right one" in failure
    assert key["DMP_IHC_API_KEY"] not in refused.text
    assert sources(dmp) == {"own": 5, "failed": 1}
    assert dmp.tables.sql(f"SELECT conv_id {FAILED}")["conv_id"].to_pylist() == ["new"]
    assert asked(calls(service)[len(killed) :]) == ["new"]
    assert sum(float(line.split(",")[3]) for line in csv_lines(dmp)[1:]) == pytest.approx(5)


def test_the_run_after_a_killed_and_a_refused_one_asks_only_for_what_is_missing(
    dmp: Dmp, service: Endpoint, key: dict[str, str], killed: list[dict[str, Any]], refused: Ran
) -> None:
    assert 4 <= len(killed) < CUSTOMERS / 2
    before = len(calls(service))
    ran = dmp("attribution", "--json", env=key)
    assert ran.code == 0, ran.text
    paid, again = asked(killed), asked(calls(service)[before:])
    assert set(paid) | set(again) == {*(f"c{n}" for n in range(CUSTOMERS)), "new"}
    assert set(paid) & set(again) <= set(paid[-2:])  # the batch under way when it died
    assert len(again) == len(set(again))
    assert sources(dmp) == {"api": CUSTOMERS + 1}
    given = "SELECT sum(credit) FROM modeled.attribution WHERE model = 'ihc'"
    assert dmp.tables.scalar(given) == pytest.approx(CUSTOMERS + 1)
    credited = sum(float(line.split(",")[3]) for line in csv_lines(dmp)[1:])
    assert credited == pytest.approx(CUSTOMERS + 1)
    assert not [name for name in ran.summary["failed_checks"] if "ERROR" in name]
