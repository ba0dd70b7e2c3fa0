"""A home's connection to a service, for one piece of work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from dmp_assets.home import Home
from dmp_assets.platform.connect.copies import Place
from dmp_assets.platform.connect.errors import ConnectError, NeedsConsentError
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.oauth import OAuthClient
from dmp_assets.platform.connect.tokens import ConnectionCredentials, Connections
from dmp_assets.platform.faces.probes import NotKnownError
from dmp_assets.platform.postgres.embedded import PostgresError
from dmp_assets.platform.store import database, where
from dmp_assets.platform.store.errors import StoreError


@contextmanager
def connections_of(home: Home, service: str) -> Iterator[Connections]:
    """The home's connections. `service`: what is to be reached, for people.

    Raises ConnectError in a home without an operational store, which keeps the tokens; StoreError.
    """
    if not where.is_configured(home):
        raise ConnectError(
            f"{service}: tokens are kept in the operational store, and there is none: "
            "run `dmp migrate`",
            "no store",
        )
    with database.opened(where.store_url(home), checked=False) as store:
        database.check(store, published=False)
        yield Connections(store, KeyRing.of(home), clock=_clock(home), place=Place(home))


@contextmanager
def looked_at(home: Home, service: str) -> Iterator[Connections]:
    """The home's connections to look at, with nothing started or changed for it.

    Raises NotKnownError where their store is not there, or cannot be used.
    """
    if not where.is_configured(home):
        raise NotKnownError("tokens are kept in the operational store; `dmp migrate` makes it")
    try:
        with connections_of(home, service) as found:
            yield found
    except (StoreError, PostgresError):
        raise NotKnownError("not known while the operational store cannot be used") from None


def _clock(home: Home) -> Callable[[], datetime]:
    """By which tokens end: the home's, as what a sandbox's services tell of time is of it."""
    if home.profile == "live":
        return home.now
    now = home.now()
    return lambda: now


@contextmanager
def connected(home: Home, client: OAuthClient, account: str) -> Iterator[ConnectionCredentials]:
    """The connection for one piece of work; how the work went is noted.

    Where there is none in use it is made anew, if our own credentials are all that the service
    asks for. `account`: what people call it, e.g. a shop's host. Raises NeedsConsentError where a
    person has to consent first; ConnectError in a home without an operational store, which keeps
    the tokens; StoreError; what `Connections.connect` raises.
    """
    with connections_of(home, client.service.name) as connections:
        wanted = (client.service.name, account, "active")
        found = next(
            (
                one.connection_id
                for one in connections.health()
                if (one.service, one.account, one.state) == wanted
            ),
            None,
        )
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
