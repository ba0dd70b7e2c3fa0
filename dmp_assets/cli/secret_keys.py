"""Commands for the keys that encrypt what outside services trust us with."""

from typing import TYPE_CHECKING

import typer

from dmp_assets.cli.shared import explained, out
from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import NeedsConsentError
from dmp_assets.platform.faces.domain import advertiser_of
from dmp_assets.platform.faces.probes import NotKnownError
from dmp_assets.platform.run.outside import outside_systems
from dmp_assets.platform.store import where
from dmp_assets.platform.store.errors import StoreError

if TYPE_CHECKING:
    from dmp_assets.platform.connect.tokens import Health

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
    from dmp_assets.platform.connect import rotation
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
            count = rotation.rotate(store, ring)
        kept = f"those of {SETTING}" if ring.configured else "one, newly made"
        out.print(f"tokens encrypted anew: {count}; keys: {kept}", highlight=False)


def connections_state(home: Home) -> str:
    """What `dmp doctor` says of the connections.

    Raises NeedsConsentError for those that need a person, NotKnownError where another home may hold
    the same or some failed last, and as `looked_at`.
    """
    from dmp_assets.platform.connect.copies import CopiedError, Place
    from dmp_assets.platform.connect.own import looked_at

    with looked_at(home, "dmp doctor") as connections:
        found = connections.health()
    dead = [one for one in found if one.state != "active"]
    if dead:
        names = ", ".join(f"{_named(home, one)} ({one.last_failure_kind})" for one in dead)
        raise NeedsConsentError(f"these need a new consent: {names}")
    if found and Place(home).is_elsewhere:
        raise NotKnownError(f"{len(found)}; {CopiedError(home)}")
    failing = [one for one in found if one.is_failing]
    if failing:
        names = ", ".join(f"{_named(home, one)} ({one.last_failure_kind})" for one in failing)
        raise NotKnownError(f"{len(found)} in use; these failed last: {names}")
    return f"{len(found)}, all in use" if found else "none"


def keys_state(home: Home) -> str:
    """What `dmp doctor` says of the keys: whether they open every token that is stored.

    Raises SealError, HomeError, and as `looked_at`.
    """
    from dmp_assets.platform.connect.keys import SETTING, KeyRing, SealError
    from dmp_assets.platform.connect.own import looked_at

    ring = KeyRing.of(home)
    closed: list[str] = []
    with looked_at(home, "dmp doctor") as connections:
        held = [one for one in connections.health() if one.state == "active"]
        if held and not ring.is_there:  # which would be made anew, and open nothing
            names = ", ".join(_named(home, one) for one in held)
            raise SealError(
                f"there is no key for the tokens of {names}: set {SETTING} to the one that sealed "
                f"them, or put back {ring.path}; without it connect them anew"
            )
        for one in held:
            try:
                connections.stored(one.connection_id)
            except SealError:
                closed.append(_named(home, one))
    if closed:
        raise SealError(
            f"no key opens {len(closed)} of {len(held)} stored tokens, those of "
            f"{', '.join(closed)}: give back the key that sealed them ({SETTING}, or {ring.path}), "
            "or connect them anew"
        )
    kept = f"those of {SETTING}" if ring.configured else "generated"
    return f"{kept}; they open all tokens that are stored ({len(held)})" if held else "not needed"


def _named(home: Home, one: "Health") -> str:
    """A connection for people: its service, its account, and whose it is."""
    whose = advertiser_of(home, one.service, one.account)
    account = "" if one.account == whose else f" {one.account}"
    return f"{one.service}{account}" + (f" of {whose}" if whose else "")
