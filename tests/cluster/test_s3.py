"""Tables on a real S3 server: the same tables, removed whole, of one shop, and told of in words.

One shop in PostgreSQL is read by a home whose tables lie here and by one whose tables lie on S3;
the tests of the latter follow one another.
"""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dmp_assets.demo.business import shop as demo_shop
from dmp_assets.demo.business.web import generate_web
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.postgres.embedded import Endpoint
from tests.support import s3
from tests.support.cut import FailingRelay
from tests.support.dmp import Dmp, Ran
from tests.support.postgres import fresh_database, postgres_server

END = date(2024, 3, 31)
ROWS = 'key:"raw/*" or key:"cleaned/*"'
OF_THE_HOME = {"run_id", "report", "_source"}
"""Columns that name the run, a file of the home, or the path of the web database."""
SERVERS = [s3.moto_over_tls, *([s3.versitygw] if s3.can_run_versitygw() else [])]


@dataclass(frozen=True)
class Place:
    """What the homes of these tests share: the S3 server, the shop and its web database."""

    folder: Path
    server: s3.Server
    export: Path
    web: Path
    shop: str

    def dmp(self, name: str, more: Mapping[str, str] | None = None) -> Dmp:
        """A live home of the shop."""
        environment = {"DMP_SHOP_DATABASE_URL": self.shop, **(more or {})}
        return Dmp(self.folder / name, self.folder / "project", environment)

    def on_s3(self, name: str, prefix: str = "shop", **more: str) -> Dmp:
        """The same with its tables on S3, at first those of no other home."""
        return self.dmp(name, {**self.server.settings(prefix), **more})


@dataclass(frozen=True)
class Ends:
    """What the first runs said, here and there, and the command lines that were seen meanwhile."""

    here: Ran
    there: Ran
    began: datetime
    commands: frozenset[str]


@pytest.fixture(scope="module")
def folder(folder: Path) -> Path:
    """A folder of these tests' own: others have homes of the same names."""
    own = folder / "of-s3"
    own.mkdir()
    (own / "project").symlink_to(folder / "project")
    return own


@pytest.fixture(scope="module")
def server() -> Iterator[s3.Server]:
    with s3.moto() as running:
        yield running


@pytest.fixture(scope="module")
def postgres() -> Iterator[Endpoint]:
    with postgres_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def place(folder: Path, server: s3.Server, postgres: Endpoint) -> Iterator[Place]:
    demo_shop.generate(folder / "made", users=500, seed=7, end=END)
    export = folder / "made" / "export"
    generate_web(folder / "made-web", export, seed=7, end=END, days=30)
    with fresh_database(postgres) as url:
        place = Place(
            folder, server, export, folder / "made-web" / "web.sqlite", url.get_secret_value()
        )
        loaded = place.dmp("loading")("load-shop", str(export))
        assert loaded.code == 0, loaded.text
        yield place


def with_web(place: Place, dmp: Dmp) -> Dmp:
    """The home with a web database of its own, into which results are written back."""
    database = place.folder / f"web-{dmp.root.name}" / "web.sqlite"
    if not database.exists():
        database.parent.mkdir()
        shutil.copyfile(place.web, database)
    return replace(dmp, environment={**dmp.environment, "DMP_WEB_DATABASE": str(database)})


@pytest.fixture(scope="module")
def home(place: Place) -> Dmp:
    events = place.folder / "events"
    events.mkdir()
    log = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": f"file://{events}",
    }
    return with_web(place, place.on_s3("there", DMP_SPARK_CONF=json.dumps(log)))


@pytest.fixture(scope="module")
def ends(place: Place, home: Dmp) -> Ends:
    """The whole job, once with tables here and once with tables on S3."""
    here = with_web(place, place.dmp("here"))
    began = datetime.now(UTC)
    ran_here = here("run", "--json")
    commands: set[str] = set()
    over = threading.Event()
    watcher = threading.Thread(target=watch, args=(commands, over))
    watcher.start()
    try:
        ran_there = home("run", "--json")
    finally:
        over.set()
        watcher.join()
    return Ends(ran_here, ran_there, began, frozenset(commands))


def watch(commands: set[str], over: threading.Event) -> None:
    while not over.wait(0.3):
        commands |= commands_of(os.getpid())


def commands_of(pid: int) -> set[str]:
    """The command lines of a process and all below it, as everybody on the machine sees them."""
    found = set()
    try:
        for process in psutil.Process(pid).children(recursive=True):
            found.add(" ".join(process.cmdline()))
    except psutil.NoSuchProcess:
        pass
    return found


def content(tables: Tables, key: str, since: datetime) -> dict[str, str]:
    """A hash of a table's rows in any order, and one of each column, without times of making."""
    rows = tables.dataset(key).to_table()
    kept = [
        name
        for name in rows.column_names
        if name not in OF_THE_HOME and not is_of_the_run(rows.column(name), since)
    ]
    told = {name: rows.select([name]).to_pylist() for name in kept}
    return {
        name: hashed(row) for name, row in {**told, "all": rows.select(kept).to_pylist()}.items()
    }


def hashed(rows: list[dict[str, Any]]) -> str:
    told = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def is_of_the_run(column: pa.ChunkedArray, since: datetime) -> bool:
    """Whether a column says when something was made."""
    if not pa.types.is_timestamp(column.type) or column.null_count == len(column):
        return False
    latest = pc.max(column).as_py()
    return bool(latest.replace(tzinfo=latest.tzinfo or UTC) >= since)


def test_the_whole_job_makes_the_same_tables_on_s3_as_here(place: Place, ends: Ends) -> None:
    assert ends.here.code == 0, ends.here.text
    assert ends.there.code == 0, ends.there.text
    here, there = place.dmp("here").tables, place.server.tables("shop")
    assert here.written() == there.written()
    assert len(here.written()) > 35
    assert not (place.folder / "there" / "lakehouse").exists()
    differ = {
        key: [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
        for key in here.written()
        if (ours := content(here, key, ends.began)) != (theirs := content(there, key, ends.began))
    }
    assert differ == {}


def test_no_secret_is_in_a_command_line_a_log_or_any_file_of_the_home(
    place: Place, ends: Ends
) -> None:
    assert any("org.apache.spark" in command for command in ends.commands)
    assert [command for command in ends.commands if s3.SECRET in command] == []
    assert any("fs.s3a.secret.key" in path.read_text() for path in files(place.folder / "events"))
    written = (*files(place.folder / "there"), *files(place.folder / "events"))
    assert [path for path in written if s3.SECRET.encode() in path.read_bytes()] == []
    assert s3.SECRET not in ends.there.text


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_run_with_nothing_new_starts_no_jvm_and_writes_nothing(
    place: Place, home: Dmp, ends: Ends
) -> None:
    before = versions(place.server.tables("shop"))
    again = home("run", "--json")
    assert again.code == 0, again.text
    assert not {"java"} & again.watched.programs
    assert again.made() <= {"delivery/promo_abuse", "delivery/attribution", "delivery/overview"}
    assert versions(place.server.tables("shop")) == before


def versions(tables: Tables) -> dict[str, int]:
    """Delta version of every table."""
    return {key: tables.version(key) for key in tables.written()}


def test_tables_are_shown_and_checked_where_they_lie(home: Dmp, ends: Ends) -> None:
    listed = home("show")
    assert listed.code == 0 and "cleaned/users" in listed.out
    old = home("show", "cleaned/users", "--version", "0", "--limit", "1", "--csv")
    assert old.code == 0 and old.out.startswith("user_id,")
    missing = home("show", "cleaned/users", "--version", "77")
    assert missing.code == 1 and "has no version 77; the oldest that can be read is 0" in (
        missing.text
    )
    doctor = home("doctor")
    assert "may list, write, read and delete; writes once what is to be written once" in doctor.text
    assert s3.SECRET not in doctor.text


# whose tables they are ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def other(place: Place, postgres: Endpoint) -> Iterator[str]:
    """Another shop."""
    demo_shop.generate(place.folder / "other", users=150, seed=11, end=END)
    with fresh_database(postgres) as url:
        loader = replace(
            place.dmp("loading"), environment={"DMP_SHOP_DATABASE_URL": url.get_secret_value()}
        )
        loaded = Dmp(place.folder / "loading-other", loader.project, loader.environment)(
            "load-shop", str(place.folder / "other" / "export")
        )
        assert loaded.code == 0, loaded.text
        yield url.get_secret_value()


def test_a_home_of_another_shop_does_not_take_the_tables_over(
    place: Place, other: str, ends: Ends
) -> None:
    before = place.server.keys("shop")
    fresh = place.on_s3("fresh", DMP_SHOP_DATABASE_URL=other)
    refused = fresh("run", "--json", "--select", ROWS)
    assert refused.code == 1
    assert "was built from the shop" in refused.text and "dmp run --replace" in refused.text
    assert place.server.keys("shop") == before
    gone = fresh("reset", "--yes")
    assert gone.code == 0 and "are not this home's, and stay as they are" in gone.text
    assert place.server.keys("shop") == before


def test_a_new_home_of_the_same_shop_goes_on_with_the_tables(place: Place, ends: Ends) -> None:
    before = place.server.keys("shop")
    second = place.on_s3("second")("run", "--json", "--select", ROWS)
    assert second.code == 0, second.text
    assert second.made() == set()
    assert place.server.keys("shop") == before


def test_a_backup_without_its_tables_goes_only_where_they_are(
    place: Place, home: Dmp, ends: Ends
) -> None:
    file = place.folder / "there.tar.gz"
    saved = home("backup", str(file))
    assert saved.code == 0 and "are not in it" in saved.text
    restored = place.on_s3("restored", DMP_WEB_DATABASE=home.environment["DMP_WEB_DATABASE"])
    done = restored("restore", str(file))
    assert done.code == 0, done.text
    again = restored("run", "--json", "--select", ROWS)
    assert again.code == 0 and again.made() == set()


def objects(place: Place) -> set[tuple[str, int]]:
    """Keys of the shop's objects, with when they were written."""
    return {(key, at) for key, _, at in place.server.s3.objects(f"s3a://{s3.BUCKET}/shop")}


def test_replace_leaves_nothing_of_the_old_shop(
    place: Place, home: Dmp, other: str, ends: Ends
) -> None:
    old = objects(place)
    new = replace(home, environment={**home.environment, "DMP_SHOP_DATABASE_URL": other})
    refused = new("run", "--json", "--select", ROWS)
    assert refused.code == 1 and "was built from the shop" in refused.text
    assert objects(place) == old
    replaced = new("run", "--replace", "--json", "--select", ROWS)
    assert replaced.code == 0, replaced.text
    logs = ("shop/raw/abuse_", "shop/lakehouse.json")
    left = old & objects(place)
    assert {key for key, _ in left if not key.startswith(logs)} == set()
    tables = place.server.tables("shop")
    assert tables.scalar("SELECT count(*) FROM raw.users") < 200
    assert "ml/abuse_scores" not in tables.written()
    shown = new("show", "ml/abuse_scores")
    assert shown.code == 1 and "was never made" in shown.text
    assert not new.home.warehouse.exists()


def test_a_backup_of_the_old_shop_is_not_put_over_the_tables_of_the_new_one(
    place: Place, ends: Ends
) -> None:
    late = place.on_s3("late")
    refused = late("restore", str(place.folder / "there.tar.gz"))
    assert refused.code == 1
    assert "are of the shop" in refused.text and "Use another DMP_LAKEHOUSE_ROOT" in refused.text
    assert not late.root.exists()


def test_reset_removes_all_that_is_on_s3_too(place: Place, home: Dmp, ends: Ends) -> None:
    assert place.server.keys("shop")
    gone = home("reset", "--yes")
    assert gone.code == 0 and "with all tables in s3" in gone.text
    assert place.server.keys("shop") == []
    assert not home.root.exists()


# servers ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("start", SERVERS, ids=lambda start: start.__name__)
def test_every_server_keeps_removes_and_refuses(place: Place, start: Any) -> None:
    with start() as server:
        on = replace(place, server=server).on_s3(f"on-{start.__name__}", "deep/er")
        first = on("run", "--json", "--select", 'key:"raw/*"')
        assert first.code == 0, first.text
        checked = on("doctor")
        assert "may list, write, read and delete" in checked.text, checked.text
        again = on("run", "--json", "--select", 'key:"raw/*"')
        assert again.code == 0, again.text
        assert again.made() == set()
        assert on("reset", "--yes").code == 0
        assert server.keys("deep") == []


def test_a_certificate_that_nobody_vouches_for_is_refused(place: Place) -> None:
    with s3.moto_over_tls() as server:
        dmp = replace(place, server=server).on_s3("no-ca", DMP_S3_CA_FILE="")
        told_in_words(dmp("show"), "its certificate is not trusted", "DMP_S3_CA_FILE")
        wrong = place.folder / "no.pem"
        wrong.write_text("nothing")
        refused = dmp("show", env={"DMP_S3_CA_FILE": str(wrong)})
        assert refused.code == 2 and "it holds no certificate" in refused.text


# what goes wrong ----------------------------------------------------------------------------------
def told_in_words(ran: Ran, *words: str) -> None:
    """It failed, said why in one line that a person can act on, and quoted no secret."""
    assert ran.code == 1, ran.text
    for word in ("cannot be reached", *words):
        assert word in ran.text, ran.text
    assert "Traceback" not in ran.text and s3.SECRET not in ran.text


def test_a_bucket_that_is_not_there_is_named(place: Place) -> None:
    dmp = place.on_s3("no-bucket", DMP_LAKEHOUSE_ROOT="s3a://nowhere/lake")
    for command in (("show",), ("run", "--json", "--select", ROWS), ("doctor",)):
        told_in_words(dmp(*command), "s3a://nowhere/lake", "there is no such bucket")


def test_a_server_that_is_down_is_named(place: Place) -> None:
    dmp = place.on_s3("down", DMP_S3_ENDPOINT="http://127.0.0.1:9")
    for command in (("show",), ("run", "--json", "--select", ROWS), ("doctor",)):
        told_in_words(dmp(*command), "nothing answers there", "DMP_S3_ENDPOINT")


def test_wrong_credentials_are_named(place: Place) -> None:
    with s3.moto_that_asks() as server:
        on = replace(place, server=server).on_s3
        unknown = on("stranger", DMP_S3_ACCESS_KEY_ID="somebody")
        wrong = on("mistaken", DMP_S3_SECRET_ACCESS_KEY="another")
        for dmp, told in ((unknown, "does not know this access key"), (wrong, "does not fit")):
            for command in (("show",), ("run", "--json", "--select", ROWS), ("doctor",)):
                told_in_words(dmp(*command), told, "DMP_S3_ACCESS_KEY_ID")


def test_missing_credentials_are_named(place: Place) -> None:
    dmp = place.on_s3(
        "nobody", DMP_S3_ACCESS_KEY_ID="", DMP_S3_SECRET_ACCESS_KEY="",
        AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/nowhere",
        AWS_SHARED_CREDENTIALS_FILE="/nowhere",
    )  # fmt: skip
    for command in (("show",), ("run", "--json", "--select", ROWS)):
        told_in_words(dmp(*command), "there are no credentials", "DMP_S3_ACCESS_KEY_ID")


def test_missing_jars_are_told_with_the_command_that_fetches_them(place: Place) -> None:
    from dmp_assets.platform.lake import java

    jars = place.folder / "jars"
    jars.mkdir()
    for path in java.jar_paths():
        (jars / Path(path).name).symlink_to(path)
    dmp = place.on_s3("no-jars", "no-jars", DMP_JARS_DIR=str(jars))
    ran = dmp("run", "--json", "--select", 'key:"raw/*"')
    assert ran.code == 1 and "dmp setup --s3" in ran.text
    assert "dmp setup --s3" in dmp("doctor").text


def test_s3_gone_half_way_leaves_the_last_good_version_and_the_next_run_goes_on(
    place: Place, other: str
) -> None:
    relay = FailingRelay(
        int(place.server.url.rpartition(":")[2]), at=b"PUT /bucket/gone/cleaned/users/part"
    )
    try:
        dmp = place.on_s3("gone", "gone", DMP_S3_ENDPOINT=f"http://127.0.0.1:{relay.port}")
        whole = dmp("run", "--json", "--select", 'key:"raw/*"')
        assert whole.code == 0, whole.text
        before = versions(place.server.tables("gone"))
        relay.armed = True
        broken = dmp("run", "--json", "--select", ROWS)
        told_in_words(broken, "nothing answers there")
        told_in_words(dmp("show", "raw/users"), "nothing answers there")
        relay.mend()
        found = versions(place.server.tables("gone"))
        assert {key: found[key] for key in before} == before
        assert "cleaned/users" not in found
        again = dmp("run", "--json", "--select", ROWS)
        assert again.code == 0, again.text
        assert "cleaned/users" in again.made() and not {"raw/users"} & again.made()
    finally:
        relay.close()
