"""The operational store's database: connecting, whether its schema fits, bringing it up to date.

Its migrations are the platform's and those that domains bring in `service/store/migrations/`, in
one line of history: the newest of all is what the next one goes on from.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError, ProgrammingError

from dmp_assets import domains
from dmp_assets.platform.config import connection_urls
from dmp_assets.platform.postgres.refusals import why_refused
from dmp_assets.platform.store import publish, rights
from dmp_assets.platform.store.errors import SchemaError, StoreError

_MIGRATIONS = Path(__file__).parent / "migrations"
_OF_DOMAINS = "service.store.migrations"
_LOCK = 0x646D70  # "dmp": two migrations at once wait for each other


def engine(url: SecretStr, *, pool_size: int = 5, patience: int | None = None) -> sa.Engine:
    """A pool of connections in UTC; a connection that died is replaced, a wait ends after 5 s.

    `patience`: seconds after which a statement, and a network that is silent, is given up.
    """
    try:
        known = connection_urls.postgres(url.get_secret_value())
    except connection_urls.UrlError as error:
        raise StoreError(f"DMP_STORE_URL: {error}") from None
    silent = 60_000 if patience is None else 1000 * patience
    settings = {"timezone": "'UTC'"}
    if patience is not None:
        settings |= {"statement_timeout": str(silent), "lock_timeout": str(silent // 2)}
    store = sa.create_engine(
        _sqlalchemy_url(known),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "tcp_user_timeout": silent, "client_encoding": "UTF8"},
    )  # a database of the encoding SQL_ASCII would give bytes for text

    @sa.event.listens_for(store, "connect")
    def _prepare(connection: Any, record: Any) -> None:  # a pooler between may refuse `options`
        record.info[_POOLED] = is_pooled(connection)
        if record.info[_POOLED]:
            connection.prepare_threshold = None
        else:
            connection.execute(_said("SET", settings))
        connection.commit()

    @sa.event.listens_for(store, "begin")
    def _begin(connection: sa.Connection) -> None:
        if connection.info.get(_POOLED):
            connection.exec_driver_sql(_said("SET LOCAL", settings))

    return store


_POOLED = "dmp_is_pooled"


def _said(how: str, settings: Mapping[str, str]) -> str:
    return "; ".join(f"{how} {name} = {value}" for name, value in settings.items())


def is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Whether a pooler stands between, so that the next transaction may be another session's.

    What one session prepares or sets is then no longer there, or is somebody else's. A pooler
    gives its callers a process number of its own.
    """
    (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
    return bool(pid != connection.info.backend_pid)


def _sqlalchemy_url(known: Mapping[str, Any]) -> sa.URL:
    """libpq's parameters as SQLAlchemy takes them, so that both read a URL the same way."""
    rest = dict(known)
    named = {name: rest.pop(name, None) for name in ("user", "password", "dbname")}
    hosts = str(rest.pop("host", None) or "").split(",")
    ports = str(rest.pop("port", None) or "").split(",")
    alone = len(hosts) == 1 and not hosts[0].startswith("/")
    if not alone:
        ports *= len(hosts) if len(ports) == 1 else 1
        rest |= {"host": ",".join(hosts), "port": ",".join(ports)}
    return sa.URL.create(
        "postgresql+psycopg",
        named["user"],
        named["password"],
        hosts[0] or None if alone else None,
        int(ports[0]) if alone and ports[0] else None,
        named["dbname"],
        query={name: str(value) for name, value in rest.items()},
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", _said_to_alembic(_MIGRATIONS))
    brought = [Path(path) for room in domains.rooms(_OF_DOMAINS).values() for path in room.__path__]
    versions = [_MIGRATIONS / "versions", *brought]
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _said_to_alembic(*versions))
    return config


def _said_to_alembic(*places: Path) -> str:
    """Paths as its configuration takes them."""
    return "\n".join(str(place).replace("%", "%%") for place in places)


@cache
def head() -> str:
    """The revision of the schema that this code works with."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def revision(connection: sa.Connection) -> str | None:
    """The schema's revision; None before the first migration."""
    return MigrationContext.configure(connection).get_current_revision()


def check(store: sa.Engine, *, published: bool = True) -> None:
    """Raise StoreError, saying what to do, unless the schema is exactly this code's.

    `published`: the tables that assets publish too, which a publication makes where they are not.
    """
    may_not = "`dmp migrate` as its owner (DMP_STORE_OWNER_URL) gives that role its rights"
    with _reachable(store, may_not) as connection:
        found = revision(connection)
        lacks = publish.misfits(connection) if found == head() and published else []
    if lacks:
        raise SchemaError(
            f"the operational store has no table published.{lacks[0]} of this program's: "
            "run `dmp migrate`"
        )
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


def migrate(
    store: sa.Engine, to: str = "head", *, role: str | None = None
) -> tuple[str | None, str | None]:
    """Bring the schema to a revision (up or down) in one transaction; (before, after).

    `role`: whom its tables are for, beside their owner: it gets its rights in the same transaction.

    Raises StoreError for a schema that this code does not know, and for a role that may not change
    the schema.
    """
    config = _config()
    may_not = (
        "set DMP_STORE_OWNER_URL to the same database as the role that owns its tables "
        "(docs/deploy.md, Roles of the store)"
    )
    setting = "DMP_STORE_URL" if role is None else "DMP_STORE_OWNER_URL"
    with _reachable(store, may_not, setting) as connection, connection.begin():
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
        if wanted == head():
            publish.make(connection)
        if role is not None:
            rights.grant(connection, role)
        return before, revision(connection)


@contextmanager
def _reachable(
    store: sa.Engine, may_not: str, setting: str = "DMP_STORE_URL"
) -> Iterator[sa.Connection]:
    """A connection. Raises StoreError where nobody answers, and for a role that is not let in.

    `may_not`: what to do where the role lacks a right; `setting`: where the URL comes from.
    """
    where = f"the operational store at {store.url.host}:{store.url.port or 5432}"
    try:
        with store.connect() as connection:
            yield connection
    except OperationalError as error:
        said = str(error.orig).strip().splitlines()[0]
        raise StoreError(
            why_refused(where, said, setting) or f"no PostgreSQL serves {where}: {said}"
        ) from error
    except ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        told = error.orig.diag.message_primary
        raise StoreError(
            f"the role {store.url.username} may not do this in {where} ({told}): {may_not}"
        ) from error
