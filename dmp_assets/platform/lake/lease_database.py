"""The database in which the leases of lakehouses are kept that several homes share.

PostgreSQL, in a schema of its own (`dmp_leases`), which the first home makes that may. Each look
and each change is one short transaction that holds the lakehouse's row, so one at a time decides.
All times are the server's: no machine's clock matters.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from pydantic import SecretStr

from dmp_assets.home import HomeError
from dmp_assets.platform.config import connection_urls
from dmp_assets.platform.postgres.refusals import why_refused

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS dmp_leases;
CREATE TABLE IF NOT EXISTS dmp_leases.ledger (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id uuid NOT NULL DEFAULT gen_random_uuid()
);
CREATE TABLE IF NOT EXISTS dmp_leases.lakehouse (id uuid PRIMARY KEY, fence bigint NOT NULL);
CREATE TABLE IF NOT EXISTS dmp_leases.holder (
    lakehouse uuid NOT NULL REFERENCES dmp_leases.lakehouse,
    fence bigint NOT NULL,
    run_id text NOT NULL,
    place text NOT NULL,
    pid integer NOT NULL,
    names text[],
    waiting boolean NOT NULL,
    beat_at timestamptz NOT NULL,
    lapses interval NOT NULL,
    PRIMARY KEY (lakehouse, fence)
);
CREATE TABLE IF NOT EXISTS dmp_leases.unfenced (
    lakehouse uuid NOT NULL REFERENCES dmp_leases.lakehouse,
    name text NOT NULL,
    PRIMARY KEY (lakehouse, name)
);
INSERT INTO dmp_leases.ledger DEFAULT VALUES ON CONFLICT DO NOTHING;
"""
"""holder: who holds (`names` null: all) or waits; unfenced: tables of a holder that lapsed, whose
log does not refuse it yet."""

_PATIENCE_MS = 30_000
"""After which the server ends a transaction of ours: one that is paused holds up nobody longer."""
_BOUNDS = "; ".join(
    f"SET LOCAL {name} = {_PATIENCE_MS}"
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
)
_LOCK = 0x646D706C  # "dmpl": one at a time makes the tables
_PAUSE = 0.2  # seconds between two tries

Done = TypeVar("Done")
Work = Callable[[psycopg.Cursor[Any]], Done]


class LeaseDatabaseError(HomeError):
    """The database of the leases cannot be reached or used; the message says why."""


class LeaseDatabase:
    """One connection to it, made again when it broke; threads take turns."""

    def __init__(self, url: SecretStr) -> None:
        """Raises connection_urls.UrlError for an address that cannot be read."""
        self._parameters = connection_urls.postgres(url.get_secret_value())
        self._connection: psycopg.Connection[Any] | None = None
        self._guard = threading.Lock()

    @property
    def where(self) -> str:
        """Host and port, for people."""
        known = self._parameters
        return f"{known.get('host') or 'the local socket'}:{known.get('port') or 5432}"

    def turn(self, work: Work[Done], *, patience: float = 0) -> Done:
        """Do the work in one transaction; for so many seconds again where the server is gone.

        Raises LeaseDatabaseError when it stays so, or when the server refuses.
        """
        until = time.monotonic() + patience
        while True:
            try:
                with self._guard:
                    return self._once(work)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if time.monotonic() >= until:
                    kept = f"the leases of the lakehouse are kept at {self.where}, which"
                    setting = "DMP_LEASE_DATABASE_URL (empty: DMP_STORE_URL)"
                    raise LeaseDatabaseError(
                        why_refused(kept, _said(error), setting)
                        or f"{kept} does not answer ({_said(error)}); see DMP_LEASE_DATABASE_URL"
                    ) from error
            except psycopg.Error as error:
                may_not = isinstance(error, psycopg.errors.InsufficientPrivilege)
                raise LeaseDatabaseError(
                    f"the leases of the lakehouse cannot be kept at {self.where} ({_said(error)})"
                    + ("; `dmp migrate` makes their tables as DMP_STORE_OWNER_URL" * may_not)
                ) from error
            time.sleep(_PAUSE)

    def _once(self, work: Work[Done]) -> Done:
        if self._connection is None:
            connection = psycopg.connect(
                **{"connect_timeout": 5, "tcp_user_timeout": 10_000, "application_name": "dmp",
                   **self._parameters},
            )  # fmt: skip
            connection.prepare_threshold = None  # a pooler may stand between
            self._connection = connection
        try:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                cursor.execute(_BOUNDS)
                return work(cursor)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            self._drop()
            raise

    def make(self, role: str | None = None) -> None:
        """Make the tables where they are not, for this user and for `role`, if one is named."""

        def make(cursor: psycopg.Cursor[Any]) -> None:
            cursor.execute("SELECT to_regclass('dmp_leases.unfenced') IS NOT NULL")
            (there,) = cursor.fetchone() or (False,)
            if not there:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                cursor.execute(SCHEMA)
            if role is not None:
                for grant in (
                    "GRANT USAGE ON SCHEMA dmp_leases TO {}",
                    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dmp_leases TO {}",
                ):
                    cursor.execute(sql.SQL(grant).format(sql.Identifier(role)))

        self.turn(make)

    def close(self) -> None:
        """Close the connection; the next turn makes one again."""
        with self._guard:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _said(error: psycopg.Error) -> str:
    """The server's words, which hold no password; its hints would be about our SQL."""
    told = error.diag.message_primary or (str(error).strip().splitlines() or [""])[0]
    return told or type(error).__name__
