"""A home's connection to a service, for one piece of work."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import ConnectError, NeedsConsentError
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.oauth import OAuthClient
from dmp_assets.platform.connect.tokens import ConnectionCredentials, Connections
from dmp_assets.platform.store import database, where
from dmp_assets.platform.store.schema import service_connection


@contextmanager
def connected(home: Home, client: OAuthClient, account: str) -> Iterator[ConnectionCredentials]:
    """The connection for one piece of work; how the work went is noted.

    Where there is none in use it is made anew, if our own credentials are all that the service
    asks for. `account`: what people call it, e.g. a shop's host. Raises NeedsConsentError where a
    person has to consent first; ConnectError in a home without an operational store, which keeps
    the tokens; StoreError; what `Connections.connect` raises.
    """
    if not where.is_configured(home):
        raise ConnectError(
            f"{client.service.name}: tokens are kept in the operational store, and there is none: "
            "run `dmp migrate`",
            "no store",
        )
    with database.opened(where.store_url(home), checked=False) as store:
        database.check(store, published=False)
        connections = Connections(store, KeyRing.of(home))
        found = _in_use(store, client, account)
        if found is None:
            if client.service.renewal.sends != "nothing":
                raise NeedsConsentError(
                    f"{client.service.name} has not let us in at {account}: connect it first",
                    "not connected",
                )
            found = connections.connect(client, account)
        try:
            yield ConnectionCredentials(connections, client, found)
        except ConnectError as error:
            connections.note_failure(found, error)
            raise
        connections.note_success(found)


def _in_use(store: sa.Engine, client: OAuthClient, account: str) -> uuid.UUID | None:
    table = service_connection.c
    with store.connect() as connection:
        return connection.scalar(
            sa.select(table.connection_id).where(
                table.service == client.service.name,
                table.account == account,
                table.state == "active",
            )
        )
