"""Backup and restore of a small home with databases of its own."""

import gzip
import io
import os
import sqlite3
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.backup import Restored, back_up, restore
from dmp_assets.platform.lake import leases
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres, PostgresError
from tests.support.dmp import workplace


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with workplace() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))  # where the key is
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
    home.models.mkdir()
    (home.models / "m-1.joblib").write_bytes(b"a model")
    (home.root / "worked_out.json").write_text("{}")
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
    others = [p for p in found.root.rglob("*") if p.stat().st_mode & 0o077]
    assert (found.root.stat().st_mode & 0o777, others) == (0o700, [])
    kept, was = (root / part for root in (found.root, home.root))
    assert int(kept.stat().st_mtime) == int(was.stat().st_mtime)
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
    assert not [n for n in names if n.split("/")[0] in ("spark", "postgres", "leases", "run.lock")]


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
    with leases.taken(home, "the-other-run", ["raw/users"]):
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


HOME = b'{"profile": "sandbox"}'


def packed(place: Path, *entries: tuple[str, bytes, bytes | str]) -> Path:
    """A gzipped tar of (name, type, content or where a link leads to)."""
    made = place / f"made-{uuid.uuid4().hex}.tar.gz"
    with tarfile.open(made, "w:gz") as tar:
        for name, kind, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if isinstance(content, str):
                entry.linkname = content
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return made


FILE, LINK, HARD, FOLDER = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "entries",
    [
        [("../outside", FILE, b"x")],
        [("a/../../outside", FILE, b"x")],
        [("OUTSIDE", FILE, b"x")],
        [("link", LINK, "OUTSIDE")],
        [("a", LINK, "."), ("a/b", LINK, ".."), ("a/b/outside", FILE, b"x")],
        [
            ("d", FOLDER, b""),
            ("d/up", LINK, ".."),
            ("d/up/up", LINK, ".."),
            ("d/up/up/x", FILE, b""),
        ],
        [("hard", HARD, "home.json")],
        [("hard", HARD, "/etc/passwd")],
        [("pipe", tarfile.FIFOTYPE, b"")],
        [("device", tarfile.CHRTYPE, b"")],
        [("block", tarfile.BLKTYPE, b"")],
        [("twice", FILE, b"1"), ("twice", FILE, b"2")],
        [("home.json", FILE, b"{}")],
        [("x", FILE, b"1"), ("x/y", FILE, b"2")],
        [("signature", FILE, b"0" * 64), ("after", FILE, b"x")],
        [("databases/../x.dump", FILE, b"x")],
        [("databases/-h.dump", FILE, b"x")],
        [("a//b", FILE, b"x")],
        [("postgres/data/recovery.signal", FILE, b"")],
        [("./postgres", tarfile.DIRTYPE, b"")],
        [("spark/conf", FILE, b"x")],
        [("run.json", FILE, b"{}")],
    ],
    ids=lambda entries: entries[-1][0],
)
def test_only_plain_files_and_folders_below_the_home_are_restored(
    place: Path, entries: list[tuple[str, bytes, bytes | str]]
) -> None:
    outside = place / "outside"
    named = [
        (str(outside) if name == "OUTSIDE" else name, kind,
         str(outside) if content == "OUTSIDE" else content)
        for name, kind, content in entries
    ]  # fmt: skip
    target = Home(place / "from-bad")
    with pytest.raises(HomeError, match="is no"):
        restore(packed(place, ("home.json", FILE, HOME), *named), target)
    assert not target.root.exists() and not outside.exists()


def test_an_archive_that_is_larger_than_the_disk_or_has_a_huge_header_is_refused(
    place: Path,
) -> None:
    large = place / "large.tar.gz"
    for kind, size in (
        (FILE, 1 << 60),
        (tarfile.XHDTYPE, 1 << 40),
        (tarfile.GNUTYPE_LONGNAME, 1 << 40),
    ):
        entry = tarfile.TarInfo("large")
        entry.type, entry.size = kind, size
        with gzip.open(large, "wb") as out:
            out.write(entry.tobuf(tarfile.GNU_FORMAT))
            out.write(b"0" * 4096)
        with pytest.raises(HomeError, match=r"is no|room for"):
            restore(large, Home(place / "from-large"))
    link = tarfile.TarInfo("././@LongLink")
    link.type, link.size = tarfile.GNUTYPE_LONGNAME, 2
    with gzip.open(large, "wb") as out:
        out.write((link.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")) * 3_000)
    with pytest.raises(HomeError, match="is no"):
        restore(large, Home(place / "from-chain"))
    (place / "notes.txt").write_text("hello")
    with pytest.raises(HomeError, match="is no"):
        restore(packed(place, ("notes.txt", FILE, b"hello")), Home(place / "from-other"))


def test_a_backup_of_another_installation_comes_without_models_and_secrets_unless_trusted(
    home: Home, file: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place / "another"))
    known = (home.secrets / "api_secret").read_text()
    for trust in (False, True):
        found = Home(place / f"foreign-{trust}")
        done = restore(file, found, trust=trust)
        assert done.is_ours is False
        assert found.models.exists() is trust
        assert (found.secrets / "api_secret").exists() is trust
        assert (found.root / "worked_out.json").exists() is trust
        assert rows(found, "shop") == [("Grüße",), ("shop",)]
    assert (found.secrets / "api_secret").read_text() == known


def test_a_backup_that_was_changed_is_a_strangers(file: Path, place: Path) -> None:
    changed = place / "changed.tar.gz"
    with tarfile.open(file) as old, tarfile.open(changed, "w:gz") as new:
        for entry in old:
            content = old.extractfile(entry)
            text = content.read() if content else b""
            if entry.name == "models/m-1.joblib":
                text = text[:-1] + b"!"
            new.addfile(entry, io.BytesIO(text) if content else None)
    assert restore(changed, Home(place / "from-changed")).is_ours is False


def test_a_backup_of_the_version_before_is_restored_as_a_strangers(
    home: Home, file: Path, place: Path
) -> None:
    before = place / "before.tar.gz"
    with tarfile.open(file) as old, tarfile.open(before, "w:gz") as new:
        new.add(home.root, ".", recursive=False)
        for entry in old:
            if entry.name != "signature":
                content = old.extractfile(entry)
                entry.mode = 0o755
                new.addfile(entry, content)
    found = Home(place / "from-before")
    assert restore(before, found) == Restored(False, ("models", "secrets", "worked_out.json"))
    assert rows(found, "store") == [("Grüße",), ("store",)]


def test_a_dump_runs_no_program_and_touches_no_file_whatever_it_says(
    home: Home, place: Path
) -> None:
    """A materialized view is filled when it is restored, by whatever its function says by then."""
    evil = Home(place / "evil").prepare("sandbox")
    marker = place / "ran"
    with EmbeddedPostgres(evil).running() as endpoint:
        owner = EmbeddedPostgres(evil).access("dmp_owner").url("shop").get_secret_value()
        with psycopg.connect(owner) as connection:
            connection.execute(
                "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'"
            )
            connection.execute("CREATE MATERIALIZED VIEW v AS SELECT f()")
            connection.execute(
                "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS "
                f"$$ BEGIN COPY (SELECT 1) TO PROGRAM 'touch {marker}'; RETURN 1; END $$"
            )
        assert endpoint.user == "dmp"
    back_up(evil, place / "evil.tar.gz")
    target = Home(place / "from-evil")
    with pytest.raises(PostgresError, match="permission denied"):
        restore(place / "evil.tar.gz", target)
    assert not marker.exists() and not target.root.exists()


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
