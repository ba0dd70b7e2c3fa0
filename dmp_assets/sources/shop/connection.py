"""Connecting to the shop's PostgreSQL, with errors that name what to put right."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.config import connection_urls
from dmp_assets.sources.postgres import SESSION, why_not_connected


class ShopError(UserError):
    """Something about the shop that the user can put right; the message names it."""


def url_parameters(url: str | SecretStr) -> dict[str, Any]:
    """The parts of a postgresql:// URL, decoded. Raises ShopError, without quoting the URL."""
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    try:
        return connection_urls.postgres(text)
    except connection_urls.UrlError as error:
        raise ShopError(f"the shop's URL (DMP_SHOP_DATABASE_URL): {error}") from None


def shop_name(url: str | SecretStr) -> str:
    """A name for people, `user@host:port/database`, without the password."""
    known = url_parameters(url)
    user = f"{known['user']}@" if known.get("user") else ""
    return (
        f"{user}{known.get('host', 'localhost')}:{known.get('port', 5432)}/"
        f"{known.get('dbname') or known.get('user', '')}"
    )


@contextmanager
def connect(url: str | SecretStr, *, snapshot: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """One transaction in UTC; commits at the end, rolls back on an error.

    A `snapshot` sees one state of the database throughout, and writes nothing.
    Raises ShopError that says which of address, user, password or database is wrong, also for
    whatever the database refuses inside the block.
    """
    parameters = url_parameters(url)
    name = shop_name(url)
    parameters.setdefault("connect_timeout", 10)
    parameters.setdefault("application_name", "dmp_assets")
    parameters["client_encoding"] = "UTF8"
    try:
        connection = psycopg.connect(make_conninfo(**parameters), prepare_threshold=None)
    except psycopg.Error as error:
        raise ShopError(
            why_not_connected(f"the shop {name}", str(error), "DMP_SHOP_DATABASE_URL")
        ) from None
    try:
        with connection:
            if snapshot:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
            connection.execute(SESSION)
            yield connection
    except psycopg.Error as error:
        raise ShopError(_why_refused(name, error)) from error


def _why_refused(name: str, error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"the shop {name} does not allow it: {error.diag.message_primary}"
    if isinstance(error, psycopg.errors.DiskFull):
        return f"the disk of the shop {name} is full; nothing was changed"
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return f"the connection to the shop {name} broke: {' '.join(str(error).split())}"
    return f"the shop {name} refused: {error.diag.message_primary or ' '.join(str(error).split())}"
