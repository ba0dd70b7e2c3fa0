"""A real PostgreSQL for tests: one embedded server, a fresh database for each test."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres, Endpoint


@contextmanager
def stoppable_server(*, durable: bool = False) -> Iterator[EmbeddedPostgres]:
    """A running embedded PostgreSQL in a sandbox home of its own, gone afterwards.

    `durable`: it waits for its disk, as that of an installation does.
    """
    with tempfile.TemporaryDirectory(prefix="dmp-postgres-") as folder:
        home = Home(Path(folder) / "home").prepare("sandbox")
        server = EmbeddedPostgres(home)
        try:
            endpoint = server.start()
            if not durable:
                _hasty(endpoint)
            yield server
        finally:
            server.destroy()


def _hasty(endpoint: Endpoint) -> None:
    """Let nobody wait for a disk: what such a server holds need not outlive the machine."""
    admin = endpoint.url("postgres").get_secret_value()
    with psycopg.connect(admin, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def postgres_server() -> Iterator[Endpoint]:
    """Where such a server answers."""
    with stoppable_server() as server:
        yield server.endpoint()


@contextmanager
def fresh_database(
    endpoint: Endpoint, template: str = "template1", encoding: str | None = None
) -> Iterator[SecretStr]:
    """URL of a new database, dropped afterwards: empty, or a copy of one that nobody uses.

    With an `encoding` of its own the template must be `template0`.
    """
    name = f"test_{uuid.uuid4().hex}"
    admin = endpoint.url("postgres").get_secret_value()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(
                sql.Identifier(name),
                sql.Identifier(template),
                sql.SQL("ENCODING {} LOCALE 'C'").format(encoding) if encoding else sql.SQL(""),
            )
        )
    try:
        yield endpoint.url(name)
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )
