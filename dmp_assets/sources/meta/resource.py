"""How a home reaches Meta: its app, and one client for each advertiser that is connected."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import ConnectError
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import ConnectionCredentials, Connections
from dmp_assets.platform.store import database, where
from dmp_assets.sources.meta.client import MetaClient, MetaConfig
from dmp_assets.sources.meta.connection import SERVICE, explained, oauth_client
from dmp_assets.sources.meta.errors import PermissionMissingError
from dmp_assets.sources.meta.settings import MetaSettings
from dmp_assets.sources.meta.usage import Governor, Pace


def meta_config(home: Home) -> MetaConfig | None:
    """How the home reaches Meta; None where no app is configured."""
    settings = home.settings().of(MetaSettings)
    if not settings.meta_app_id or settings.meta_app_secret is None:
        return None
    return MetaConfig(
        url=settings.meta_url,
        login_url=settings.meta_login_url,
        app_id=settings.meta_app_id,
        app_secret=settings.meta_app_secret,
        login_configuration=settings.meta_login_configuration,
        loopback_only=home.profile == "sandbox",
    )


@contextmanager
def advertisers(home: Home, governor: Governor | None = None) -> Iterator["dict[str, Connected]"]:
    """Advertiser → its connection to Meta, of those that are in use; {} where there are none.

    What people call the account of such a connection is the advertiser's id. Raises StoreError.
    """
    config = meta_config(home)
    if config is None or not where.is_configured(home):
        yield {}
        return
    longest = home.settings().of(MetaSettings).meta_longest_wait
    queues = governor or Governor(Pace(longest=longest))
    with ExitStack() as stack:
        store = stack.enter_context(database.opened(where.store_url(home), checked=False))
        database.check(store, published=False)
        connections = Connections(store, KeyRing.of(home))
        client = oauth_client(config)
        found = {}
        for health in connections.health():
            if health.service == SERVICE and health.state == "active":
                own = ConnectionCredentials(connections, client, health.connection_id)
                meta = stack.enter_context(MetaClient(config, own, queues))
                found[health.account] = Connected(meta, own)
        yield found


class Connected:
    """An advertiser's client, and how the work with it is noted. `client`: see there."""

    def __init__(self, client: MetaClient, credentials: ConnectionCredentials) -> None:
        self.client, self._credentials = client, credentials

    @contextmanager
    def noting(self) -> Iterator[MetaClient]:
        """Work with the client; that it went well is noted, or how it failed.

        A token that Meta does not take any more ends the connection until a person consents anew.
        """
        connections, one = self._credentials.connections, self._credentials.connection_id
        try:
            yield self.client
        except PermissionMissingError as error:
            own = self._credentials
            tokens = connections.tokens(own.client, one)
            told = explained(self.client.config, own.client, tokens, error)
            connections.note_failure(one, told)
            raise told from error
        except ConnectError as error:
            used = self.client.used
            connections.note_failure(one, error, refused=used.get_secret_value() if used else None)
            raise
        connections.note_success(one)
