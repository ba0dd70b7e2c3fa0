"""Backup and restore of a small home with databases of its own."""

import os
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from dmp_assets.backup import back_up, restore
from dmp_assets.home import Home, HomeError
from dmp_assets.resources.postgres import EmbeddedPostgres
from tests.support.dmp import workplace


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with workplace() as folder:
        yield folder


def rows(home: Home, database: str) -> list[tuple[str]]:
    with EmbeddedPostgres(home).running() as endpoint:
        url = endpoint.url(database).get_secret_value()
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT word FROM words ORDER BY word").fetchall()


@pytest.fixture(scope="module")
def home(place: Path) -> Iterator[Home]:
    home = Home(place / "home").prepare("sandbox")
    (home.lakehouse / "raw" / "users").mkdir(parents=True)
    (home.lakehouse / "raw" / "users" / "part.parquet").write_bytes(os.urandom(5000))
    (home.root / "spark").mkdir()
    (home.root / "spark" / "scratch").write_text("x" * 100_000)
    home.secrets.mkdir(mode=0o700)
    (home.secrets / "api_secret").write_text("sealed")
    (home.secrets / "api_secret").chmod(0o600)
    home.root.chmod(0o751)
    home.dagster.mkdir()
    writing = sqlite3.connect(home.dagster / "runs.db")  # as Dagster's daemon has it open
    writing.execute("PRAGMA journal_mode = wal")
    writing.execute("CREATE TABLE words (word text)")
    writing.execute("INSERT INTO words VALUES ('written')")
    writing.commit()
    writing.execute("INSERT INTO words VALUES ('half-way')")
    server = EmbeddedPostgres(home)
    with server.running() as endpoint:
        server.create("store")
        for name in ("shop", "store"):
            with psycopg.connect(endpoint.url(name).get_secret_value()) as connection:
                connection.execute("CREATE TABLE words (word text PRIMARY KEY)")
                connection.execute("INSERT INTO words VALUES (%s), ('Grüße')", (name,))
    yield home
    writing.close()


@pytest.fixture(scope="module")
def file(home: Home, place: Path) -> Path:
    back_up(home, place / "backup.tar.gz")
    return place / "backup.tar.gz"


def test_a_restored_home_is_the_one_that_was_backed_up(home: Home, file: Path, place: Path) -> None:
    found = Home(place / "restored")
    restore(file, found)
    part = Path("lakehouse") / "raw" / "users" / "part.parquet"
    assert (found.root / part).read_bytes() == (home.root / part).read_bytes()
    assert found.profile == "sandbox"
    assert (found.secrets / "api_secret").read_text() == "sealed"
    for path in (".", "secrets", "secrets/api_secret", "lakehouse/raw/users"):
        assert (found.root / path).stat().st_mode == (home.root / path).stat().st_mode, path
    with closing(sqlite3.connect(found.dagster / "runs.db")) as known:
        assert known.execute("SELECT word FROM words").fetchall() == [("written",)]
    assert not list(found.dagster.glob("*-wal"))
    assert not (found.root / "databases").exists()
    for name in ("shop", "store"):
        assert rows(found, name) == [("Grüße",), (name,)]
        assert rows(home, name) == [("Grüße",), (name,)]


def test_a_backup_is_for_its_owner_and_leaves_out_what_is_made_again(file: Path) -> None:
    assert oct(file.stat().st_mode)[-3:] == "600"
    with tarfile.open(file) as archive:
        names = archive.getnames()
        assert {m.mode for m in archive if m.name.startswith("databases/")} == {0o600}
    assert "lakehouse/raw/users/part.parquet" in names
    assert {"databases/shop.dump", "databases/store.dump"} <= set(names)
    assert not [n for n in names if n.split("/")[0] in ("spark", "postgres", "run.lock")]


def test_nothing_is_overwritten(home: Home, file: Path, place: Path) -> None:
    with pytest.raises(HomeError, match="is there already"):
        back_up(home, file)
    with pytest.raises(HomeError, match="is not empty"):
        restore(file, home)
    with pytest.raises(HomeError, match="is inside the home"):
        back_up(home, home.root / "backup.tar.gz")
    with pytest.raises(HomeError, match="there is no home"):
        back_up(Home(place / "nowhere"), place / "nothing.tar.gz")
    assert not (place / "nothing.tar.gz").exists()


def test_a_link_out_of_the_home_is_named_and_nothing_written(home: Home, place: Path) -> None:
    (place / "other-disk").mkdir(exist_ok=True)
    link = home.lakehouse / "cleaned"
    link.symlink_to(place / "other-disk")
    try:
        with pytest.raises(HomeError, match=r"cleaned leads elsewhere"):
            back_up(home, place / "linked.tar.gz")
    finally:
        link.unlink()
    assert not (place / "linked.tar.gz").exists()


def test_a_busy_home_is_not_backed_up(home: Home, place: Path) -> None:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with home.exclusive("the-other-run"):
        child = context.Process(target=_refused, args=(home.root, place / "busy.tar.gz"))
        child.start()
        child.join(60)
    assert child.exitcode == 0
    assert not (place / "busy.tar.gz").exists()


def _refused(root: Path, file: Path) -> None:
    with pytest.raises(HomeError, match="the-other-run"):
        back_up(Home(root), file)


@pytest.mark.parametrize("kept", [0, 100, 4000])
def test_a_broken_backup_is_refused_and_leaves_nothing(file: Path, place: Path, kept: int) -> None:
    broken = place / f"broken-{kept}.tar.gz"
    broken.write_bytes(file.read_bytes()[:kept])
    target = Home(place / f"from-broken-{kept}")
    with pytest.raises(HomeError, match="is no"):
        restore(broken, target)
    assert not target.root.exists()


def test_an_archive_that_reaches_outside_or_is_none_of_ours_is_refused(place: Path) -> None:
    for name, inside in (("evil", "../outside"), ("other", "notes.txt")):
        archive = place / f"{name}.tar.gz"
        (place / "notes.txt").write_text("hello")
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(place / "notes.txt", inside)
        with pytest.raises(HomeError, match="is no"):
            restore(archive, Home(place / f"from-{name}"))
        assert not (place / f"from-{name}").exists()
    assert not (place / "outside").exists()


def test_the_restored_databases_are_the_restored_homes_own(
    home: Home, file: Path, place: Path
) -> None:
    found = Home(place / "own")
    restore(file, found)
    with (
        EmbeddedPostgres(found).running() as endpoint,
        psycopg.connect(endpoint.url("shop").get_secret_value()) as connection,
    ):
        connection.execute("DELETE FROM words")
    assert rows(found, "shop") == []
    assert rows(home, "shop") == [("Grüße",), ("shop",)]
