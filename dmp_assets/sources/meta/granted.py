"""What a connection to Meta was granted: scopes, until when, and which ad accounts.

Nobody need tick an account on Meta's page. Such a connection works, and nothing is read by it: its
health says so.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dmp_assets.platform.connect.errors import ConnectError
from dmp_assets.platform.connect.http import Patience
from dmp_assets.platform.connect.oauth import OAuthClient
from dmp_assets.platform.connect.tokens import ConnectionCredentials, Connections
from dmp_assets.platform.text.foreign_text import cut, visible
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.config import MetaConfig
from dmp_assets.sources.meta.connection import earliest_end
from dmp_assets.sources.meta.objects import accounts
from dmp_assets.sources.meta.usage import Governor

_HASTY = Patience(attempts=2, pause=0.2, longest_pause=2, total=10)
"""A person waits for the answer."""
_LONGEST_NAME = 80


class NoAccountsError(ConnectError):
    """A connection by which no ad account may be read."""

    def __init__(self) -> None:
        super().__init__(
            "Meta: no ad account was ticked, so nothing is read: connect it anew and tick the "
            "accounts on Meta's page",
            "no ad account",
        )


@dataclass(frozen=True)
class AdAccount:
    """An ad account; `name` is empty where Meta could not be asked for it."""

    account_id: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.account_id} ({self.name})" if self.name else self.account_id


@dataclass(frozen=True)
class Granted:
    """What was granted. `accounts`: None where Meta did not tell; `ends_at`: UTC, None: never."""

    scopes: tuple[str, ...]
    accounts: Sequence[AdAccount] | None
    ends_at: datetime | None


def granted(
    config: MetaConfig, connections: Connections, client: OAuthClient, connection_id: uuid.UUID
) -> Granted:
    """Ask Meta what a connection was granted; that it is no account is noted in its health.

    Raises ConnectError for tokens that cannot be used.
    """
    tokens = connections.tokens(client, connection_id)
    own = ConnectionCredentials(connections, client, connection_id)
    found: list[AdAccount] | None
    try:
        with MetaClient(config, own, Governor(), patience=_HASTY) as api:
            found = [
                AdAccount(visible(row["account_id"]), cut(visible(str(row.get("name") or "")),
                                                          _LONGEST_NAME))
                for row in accounts(api)
            ]  # fmt: skip
    except ConnectError:
        targets = tokens.targets
        found = None if targets is None else [AdAccount(one) for one in targets]
    if found == []:
        connections.note_failure(connection_id, NoAccountsError())
    return Granted(tokens.scopes, found, earliest_end(tokens))
