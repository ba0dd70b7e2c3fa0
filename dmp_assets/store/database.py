"""The operational store's database: connecting, whether its schema fits, bringing it up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from dmp_assets.store.errors import SchemaError, StoreError

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x646D70  # "dmp": two migrations at once wait for each other


def engine(url: SecretStr, *, pool_size: int = 5, patience: int | None = None) -> sa.Engine:
    """A pool of connections in UTC; a connection that died is replaced, a wait ends after 5 s.

    `patience`: seconds after which a statement, and a network that is silent, is given up.
    """
    secret = url.get_secret_value()
    scheme, found, rest = secret.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg") or not found:
        raise StoreError("DMP_STORE_URL is not a PostgreSQL URL (postgresql://user@host/name)")
    options, silent = "-c timezone=UTC", 60_000
    if patience is not None:
        silent = 1000 * patience
        options += f" -c statement_timeout={silent} -c lock_timeout={silent // 2}"
    return sa.create_engine(
        f"postgresql+psycopg://{rest}",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "options": options, "tcp_user_timeout": silent},
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


@cache
def head() -> str:
    """The revision of the schema that this code works with."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def revision(connection: sa.Connection) -> str | None:
    """The schema's revision; None before the first migration."""
    return MigrationContext.configure(connection).get_current_revision()


def check(store: sa.Engine) -> None:
    """Raise StoreError, saying what to do, unless the schema is exactly this code's."""
    with _reachable(store) as connection:
        found = revision(connection)
    if found == head():
        return
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise SchemaError(
            f"the operational store has schema {found}, which is newer than this program's "
            f"({head()}): install the newer version, or restore the backup made before it"
        )
    raise SchemaError(
        f"the operational store has schema {found or 'none'}, this program needs {head()}: "
        "run `dmp migrate`"
    )


@contextmanager
def opened(url: SecretStr, *, checked: bool = True) -> Iterator[sa.Engine]:
    """The store for one piece of work, closed afterwards. Raises StoreError.

    `checked`: its schema must be this program's.
    """
    store = engine(url, pool_size=1)
    try:
        if checked:
            check(store)
        yield store
    finally:
        store.dispose()


def migrate(store: sa.Engine, to: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema to a revision (up or down) in one transaction; (before, after).

    Raises StoreError for a schema that this code does not know.
    """
    config = _config()
    with _reachable(store) as connection, connection.begin():
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        before = revision(connection)
        scripts = ScriptDirectory.from_config(config)
        order = [script.revision for script in scripts.walk_revisions()]  # newest first
        if before is not None and before not in order:
            raise StoreError(
                f"the operational store has schema {before}, which is newer than this program's "
                f"({head()}): install the newer version"
            )
        wanted = head() if to == "head" else to
        if wanted != "base" and wanted not in order:
            raise StoreError(f"there is no schema {to}; known are {', '.join(reversed(order))}")
        config.attributes["connection"] = connection
        down = before is not None and (
            wanted == "base" or order.index(wanted) > order.index(before)
        )
        (command.downgrade if down else command.upgrade)(config, wanted)
        return before, revision(connection)


@contextmanager
def _reachable(store: sa.Engine) -> Iterator[sa.Connection]:
    try:
        with store.connect() as connection:
            yield connection
    except OperationalError as error:
        where = f"{store.url.host}:{store.url.port or 5432}"
        raise StoreError(
            f"no PostgreSQL serves the operational store at {where}: "
            f"{str(error.orig).strip().splitlines()[0]}"
        ) from error
