"""A home in one file: its tables, models, reports, history and secrets, and its own databases.

The databases of the embedded PostgreSQL are dumped, so they can be restored on another machine and
into a newer PostgreSQL. What a run makes again (scratch of Spark and DuckDB) is left out, and so is
what lies elsewhere: a shop, store or lakehouse that a setting names.
"""

import logging
import os
import re
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from dmp_assets.home import Home, HomeError
from dmp_assets.platform import archive
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.connect import copies
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.lake import leases, remembered
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres
from dmp_assets.platform.store import database, rights, where

DUMPS = "databases"
_DATABASE = re.compile(r"[a-z][a-z0-9_]{0,40}")
_NOT_FROM_STRANGERS = ("models", "lakehouse/ml/model_registry", "secrets", "worked_out.json")
_SQLITE = (".db", ".db-wal", ".db-shm", ".db-journal")
_LEFT_OUT = frozenset(
    {
        "postgres",
        "spark",
        "tmp",
        "leases",
        whole_file.LOCK,
        "warehouse.lock",
        "run.lock",
        "run.json",
    }
)
"""Names below a home that no backup holds: a cluster's files are settings too, which run things;
`run.lock` and `run.json` were the lock of earlier versions."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """What a restore found: whether this installation made the backup, and what was left out."""

    is_ours: bool
    left_out: tuple[str, ...]


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
            leases.taken(home, "backup", None),
            tempfile.TemporaryDirectory(prefix="dmp-backup-") as folder,
            os.fdopen(target, "wb") as out,
            archive.Packed(out, key=signing_key(home)) as packed,
        ):
            for path in _files(home.root):
                packed.add(path, path.relative_to(home.root))
            for copy in (*_dumped(home, Path(folder)), *_copied(home, Path(folder))):
                packed.add(copy, copy.relative_to(folder))
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


def restore(file: Path, home: Home, *, trust: bool = False) -> Restored:
    """Make the home from a backup; an error leaves nothing behind. Raises HomeError, PostgresError.

    The home must not be there, or be empty. Models of a backup that this installation did not sign
    are left out unless `trust`: a model file is a program. So are its secrets, which others know.
    """
    if home.root.exists() and any(home.root.iterdir()):
        raise HomeError(f"{home.root} is not empty; restore into a new DMP_HOME, or `dmp reset`")
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        home.root.chmod(0o700)
        is_ours = archive.unpack(file, home.root, key=signing_key(home), never=_LEFT_OUT)
        if not home.state():
            raise HomeError(f"{file} is no backup of a home")
        home.forget("id")
        copies.restored(home)
        (home.sandbox / "endpoint.json").unlink(missing_ok=True)  # where the other's stand-ins were
        remembered.refuse_another(home, "shop")
        left_out = () if is_ours or trust else _leave_out(home)
        dumps = sorted((home.root / DUMPS).glob("*.dump"))
        unknown = [dump.stem for dump in dumps if not _DATABASE.fullmatch(dump.stem)]
        if unknown:
            raise HomeError(f"{file} is no backup of a home: a database {unknown[0]!r}")
        _load(home, dumps)
        shutil.rmtree(home.root / DUMPS, ignore_errors=True)
    except BaseException:
        EmbeddedPostgres(home).destroy()
        shutil.rmtree(home.root, ignore_errors=True)
        raise
    return Restored(is_ours, left_out)


def _leave_out(home: Home) -> tuple[str, ...]:
    """Remove what a stranger could have made to be run, or knows; the next run makes it anew."""
    left_out = []
    for path in _NOT_FROM_STRANGERS:
        found = home.root / path
        if not found.exists():
            continue
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink()
        left_out.append(path)
    return tuple(left_out)


def _load(home: Home, dumps: list[Path]) -> None:
    """Fill the home's new server; its shop stays the shop that the tables were built from."""
    if not dumps:
        return
    server = EmbeddedPostgres(home)
    with server.running():
        for dump in dumps:
            server.load(dump.stem, dump)
        if where.DATABASE in (dump.stem for dump in dumps):
            with database.opened(where.owner_url(home), checked=False) as store, store.begin() as c:
                rights.grant(c, "dmp_service")
        for domain in known_domains():
            domain.restored(home, [dump.stem for dump in dumps])


def signing_key(home: Home) -> bytes:
    """What this installation signs its backups with: DMP_BACKUP_KEY, else its user's own.

    That one is made once, beside no home: a backup must be known when its home is gone.
    """
    configured = home.settings().backup_key
    if configured is not None:
        return configured.get_secret_value().encode()
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "dmp_assets"
    path = folder / "backup_key"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_hex(32).encode())
    except OSError as error:
        if not path.is_file():
            log.warning("no key to sign backups with: %s cannot be written (%s); set "
                        "DMP_BACKUP_KEY", path, error.strerror)  # fmt: skip
            return secrets.token_bytes(32)  # nobody's: the backup is a stranger's to everybody
    return path.read_bytes()
