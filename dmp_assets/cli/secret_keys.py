"""Commands for the keys that encrypt what outside services trust us with."""

import typer

from dmp_assets.cli.shared import explained, out
from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import NeedsConsentError
from dmp_assets.platform.postgres.embedded import PostgresError
from dmp_assets.platform.run.outside import outside_systems
from dmp_assets.platform.store import where
from dmp_assets.platform.store.errors import StoreError

# Database libraries are imported by the commands that use them: every `dmp` would wait for them.

secrets = typer.Typer(
    help="Keys that encrypt the tokens of connections to outside services.", no_args_is_help=True
)


@secrets.command("rotate")
def rotate() -> None:
    """Encrypt all stored tokens with the newest key.

    A key that was generated is replaced by a new one. With DMP_TOKEN_KEYS put the new key before
    the old ones and restart what runs; rotate; then remove the old ones. It may be stopped and
    repeated, and what runs goes on meanwhile.
    """
    from dmp_assets.platform.connect import tokens
    from dmp_assets.platform.connect.keys import SETTING, KeyRing
    from dmp_assets.platform.store import database

    with explained():
        home = Home.current().prepare()
        if not where.is_configured(home):
            raise StoreError("this home has no operational store yet; `dmp migrate` makes it")
        ring = KeyRing.of(home)
        with (
            outside_systems(home, sources=False),
            database.opened(where.store_url(home)) as store,
        ):
            count = tokens.rotate(store, ring)
        kept = f"those of {SETTING}" if ring.configured else "one, newly made"
        out.print(f"tokens encrypted anew: {count}; keys: {kept}", highlight=False)


def connections_state(home: Home) -> str:
    """What `dmp doctor` says of the connections. Raises ConnectError for one that does not work.

    A store that does not answer is the matter of another check.
    """
    from dmp_assets.platform.connect.keys import KeyRing
    from dmp_assets.platform.connect.tokens import Connections
    from dmp_assets.platform.store import database

    try:
        with (
            outside_systems(home, sources=False),
            database.opened(where.store_url(home)) as store,
        ):
            found = Connections(store, KeyRing.of(home)).health()
    except (StoreError, PostgresError):
        return "not known while the store does not answer"
    bad = [one for one in found if one.state != "active"]
    if bad:
        names = ", ".join(f"{one.service} ({one.last_failure_kind})" for one in bad)
        raise NeedsConsentError(f"these need a new consent: {names}")
    return f"{len(found)}, all in use" if found else "none"
