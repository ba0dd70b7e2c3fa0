"""A home in one file: its tables, models, reports, history and secrets, and its own databases.

The databases of the embedded PostgreSQL are dumped, so they can be restored on another machine and
into a newer PostgreSQL. What a run makes again (scratch of Spark and DuckDB) is left out, and so is
what lies elsewhere: a shop, store or lakehouse that a setting names.
"""

import os
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from dmp_assets.home import Home, HomeError
from dmp_assets.resources.postgres import EmbeddedPostgres
from dmp_assets.resources.shop import EMBEDDED_DATABASE, shop_url
from dmp_assets.sources import shop

DUMPS = "databases"
_SQLITE = (".db", ".db-wal", ".db-shm", ".db-journal")
_LEFT_OUT = frozenset({"postgres", "spark", "tmp", "run.lock", "run.json"})


def back_up(home: Home, file: Path) -> int:
    """Write the home into a new file that only its owner can read; its size in bytes.

    Waits for nobody: raises HomeError when a run is writing, when the file is there already or
    when there is no home, PostgresError when a database cannot be dumped.
    """
    if not home.state():
        raise HomeError(f"there is no home in {home.root}; set DMP_HOME")
    if file.resolve().is_relative_to(home.root):
        raise HomeError(f"{file} is inside the home that it is to hold; choose another place")
    try:
        target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise HomeError(f"{file} is there already; choose another name") from error
    except OSError as error:
        raise HomeError(f"cannot write {file} ({error.strerror})") from error
    try:
        with (
            home.exclusive("backup"),
            tempfile.TemporaryDirectory(prefix="dmp-backup-") as folder,
            os.fdopen(target, "wb") as out,
            tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive,
        ):
            archive.add(home.root, ".", recursive=False)
            for path in _files(home.root):
                archive.add(path, path.relative_to(home.root), recursive=False)
            for copy in (*_dumped(home, Path(folder)), *_copied(home, Path(folder))):
                archive.add(copy, copy.relative_to(folder), filter=_private)
    except OSError as error:
        file.unlink(missing_ok=True)
        raise HomeError(f"the home could not be read or written whole: {error}") from error
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return file.stat().st_size


def _files(root: Path) -> Iterator[Path]:
    """Folders and files to keep, parents first. Raises HomeError for a link out of the home."""
    for folder, names, files in os.walk(root):
        here = Path(folder)
        if here == root:
            names[:] = [name for name in names if name not in _LEFT_OUT]
            files = [name for name in files if name not in _LEFT_OUT]
        else:
            yield here
        for name in (*names, *files):
            if (here / name).is_symlink():
                raise HomeError(
                    f"{here / name} leads elsewhere and would not be in the backup; name its place "
                    "by a setting (DMP_LAKEHOUSE_ROOT) and back it up there"
                )
        yield from (here / name for name in files if not name.endswith(_SQLITE))


def _private(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode = 0o700 if entry.isdir() else 0o600
    return entry


def _copied(home: Home, folder: Path) -> Iterator[Path]:
    """SQLite files as of one moment, though Dagster's daemon may be writing."""
    for path in sorted(home.root.rglob("*.db")):
        copy = folder / path.relative_to(home.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as known, closing(sqlite3.connect(copy)) as new:
            known.backup(new)
        yield copy


def _dumped(home: Home, folder: Path) -> list[Path]:
    server = EmbeddedPostgres(home)
    if not server.exists():
        return []
    (folder / DUMPS).mkdir()
    with server.running():
        return [server.dump(name, folder / DUMPS / f"{name}.dump") for name in server.databases()]


def restore(file: Path, home: Home) -> None:
    """Make the home from a backup; an error leaves nothing behind. Raises HomeError, PostgresError.

    The home must not be there, or be empty.
    """
    if home.root.exists() and any(home.root.iterdir()):
        raise HomeError(f"{home.root} is not empty; restore into a new DMP_HOME, or `dmp reset`")
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        home.root.chmod(0o700)  # until the archive says otherwise
        _unpack(file, home)
        dumps = sorted((home.root / DUMPS).glob("*.dump"))
        _load(home, dumps)
        shutil.rmtree(home.root / DUMPS, ignore_errors=True)
    except BaseException:
        EmbeddedPostgres(home).destroy()
        shutil.rmtree(home.root, ignore_errors=True)
        raise


def _unpack(file: Path, home: Home) -> None:
    try:
        with tarfile.open(file, "r:gz") as archive:
            archive.extractall(home.root, filter="data")  # refuses what leads outside
            for entry in archive:  # and leaves the modes of folders to the umask
                if entry.isdir():
                    (home.root / entry.name).chmod(entry.mode & 0o777)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise HomeError(f"{file} is no whole backup of a home: {error}") from error
    if not home.state():
        raise HomeError(f"{file} is no backup of a home")


def _load(home: Home, dumps: list[Path]) -> None:
    """Fill the home's new server; its shop stays the shop that the tables were built from."""
    if not dumps:
        return
    server = EmbeddedPostgres(home)
    with server.running():
        for dump in dumps:
            server.load(dump.stem, dump)
        known = home.state().get("shop")
        if known and EMBEDDED_DATABASE in (dump.stem for dump in dumps):
            settings = home.settings()
            if settings.shop_database_url is None:
                now = shop.probe(shop_url(home), settings.shop_schema).identity
                if now.generation == known.get("generation"):
                    home.remember(shop=asdict(now))
