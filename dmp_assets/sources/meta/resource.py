"""How a home reaches Meta: its app, and one client for each advertiser that is connected."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import ConnectError
from dmp_assets.platform.connect.http import Patience
from dmp_assets.platform.connect.own import connections_of
from dmp_assets.platform.connect.tokens import ConnectionCredentials
from dmp_assets.platform.store import where
from dmp_assets.sources.meta.client import PATIENCE, FixedToken, MetaClient
from dmp_assets.sources.meta.config import meta_config
from dmp_assets.sources.meta.connection import SERVICE, explained, oauth_client
from dmp_assets.sources.meta.errors import PermissionMissingError
from dmp_assets.sources.meta.granted import NoAccountsError
from dmp_assets.sources.meta.settings import MetaSettings
from dmp_assets.sources.meta.usage import Governor, Pace


@cache
def _queues(url: str, app_id: str, longest: int) -> Governor:
    """One queue an account for all that this process reads, whichever table it is for."""
    return Governor(Pace(longest=longest))


@contextmanager
def advertisers(
    home: Home, governor: Governor | None = None, *, patience: Patience = PATIENCE
) -> Iterator["dict[str, Connected]"]:
    """Advertiser → its connection to Meta, of those that are in use; {} where there are none.

    What people call the account of a stored connection is the advertiser's id; a consent goes
    before a token of the settings. Raises StoreError.
    """
    config = meta_config(home)
    if config is None:
        yield {}
        return
    settings = home.settings().of(MetaSettings)
    queues = governor or _queues(config.url, config.app_id, settings.meta_longest_wait)
    found: dict[str, Connected] = {}
    with ExitStack() as stack:
        if settings.meta_system_user_token is not None:
            fixed = FixedToken(settings.meta_system_user_token)
            client = stack.enter_context(MetaClient(config, fixed, queues, patience=patience))
            found[settings.meta_advertiser_id] = Connected(client)
        if where.is_configured(home):
            connections = stack.enter_context(connections_of(home, SERVICE))
            for health in connections.health():
                if health.service == SERVICE and health.state == "active":
                    own = ConnectionCredentials(
                        connections, oauth_client(config), health.connection_id
                    )
                    client = stack.enter_context(MetaClient(config, own, queues, patience=patience))
                    found[health.account] = Stored(client, own)
        yield found


def holders(home: Home) -> list[str]:
    """Advertisers with a connection, in use or not, the earliest consent first; before them the one
    of a token of the settings. Raises StoreError."""
    settings = home.settings().of(MetaSettings)
    found = [settings.meta_advertiser_id] if settings.meta_system_user_token is not None else []
    if where.is_configured(home):
        with connections_of(home, SERVICE) as connections:
            own = [one for one in connections.health() if one.service == SERVICE]
        found += [one.account for one in sorted(own, key=lambda one: one.consented_at)]
    return list(dict.fromkeys(found))


class Connected:
    """An advertiser's client, by a token of the settings: there is nothing to note."""

    def __init__(self, client: MetaClient) -> None:
        self.client = client

    @contextmanager
    def noting(self) -> Iterator[MetaClient]:
        """Work with the client, and how it went is noted."""
        yield self.client

    def note(self, error: ConnectError) -> None:
        """Note what is wrong with the connection, though it answers."""


class Stored(Connected):
    """The same by a connection of the operational store, whose health is noted.

    A token that Meta does not take any more ends the connection until a person consents anew.
    """

    def __init__(self, client: MetaClient, credentials: ConnectionCredentials) -> None:
        super().__init__(client)
        self._credentials = credentials

    @contextmanager
    def noting(self) -> Iterator[MetaClient]:
        own = self._credentials
        connections, one = own.connections, own.connection_id
        try:
            yield self.client
        except PermissionMissingError as error:
            tokens = connections.tokens(own.client, one)
            told = explained(self.client.config, own.client, tokens, error)
            connections.note_failure(one, told)
            raise told from error
        except ConnectError as error:
            used = self.client.used
            connections.note_failure(one, error, refused=used.get_secret_value() if used else None)
            raise
        held = connections.stored(one)
        if held is not None and held.targets == ():
            connections.note_failure(one, NoAccountsError())
            return
        connections.note_success(one)

    def note(self, error: ConnectError) -> None:
        """Note it in the connection's health."""
        self._credentials.connections.note_failure(self._credentials.connection_id, error)
