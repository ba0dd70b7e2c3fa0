"""`dmp connect`: advertisers are connected to Meta and shops to Shopify, listed, and let go."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl, urlsplit

import typer
from rich.markup import escape

from dmp_assets.cli.shared import err, explained, out
from dmp_assets.home import Home
from dmp_assets.platform.base.addresses import service_address
from dmp_assets.platform.base.errors import GivenError, UserError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dmp_assets.platform.connect.tokens import BegunConsent, Connections, Health
    from dmp_assets.sources.meta.granted import Granted
    from dmp_assets.sources.shopify.access import Installing
    from dmp_assets.sources.shopify.settings import ShopifySettings

connect = typer.Typer(
    no_args_is_help=True, help="Connect advertisers to Meta and shops to Shopify."
)

T = TypeVar("T")
Redirect = Annotated[
    str,
    typer.Option(
        help="Where the service sends the browser back to, as it is registered there; nothing need "
        "answer. Without it: DMP_PUBLIC_URL and /connect."
    ),
]


@contextmanager
def _connections(home: Home) -> "Iterator[Connections]":
    """The home's connections, whose store is started for it if need be. Raises ConnectError."""
    from dmp_assets.platform.connect.own import connections_of
    from dmp_assets.platform.run.outside import outside_systems

    with outside_systems(home, sources=False), connections_of(home, "dmp connect") as found:
        yield found


def _checked(home: Home, advertiser: str) -> None:
    """See that the store would know the advertiser, before anybody consents. Raises UserError."""
    from dmp_assets.cli.service import in_store
    from dmp_assets.platform.store import advertisers

    in_store(home, lambda store: advertisers.checked_id(advertiser))


def _known(action: str, advertiser: str | None, service: str, **detail: str) -> None:
    """Have the service know the advertiser, before it has rows, and note what was done for it."""
    from dmp_assets.cli.service import changed, now
    from dmp_assets.platform.store import advertisers

    def work(store: "sa.Connection") -> None:
        if advertiser is not None and action == "connect":
            advertisers.ensure(store, advertiser, now=now())

    changed(f"ads {action}", work, advertiser=advertiser, service=service, **detail)


def _redirect(home: Home, given: str) -> str:
    if to := given or service_address(home.settings().public_url, "connect"):
        return to
    raise GivenError("say by --redirect where the browser is sent back to, or set DMP_PUBLIC_URL")


def _consent(begun: "BegunConsent", redirect: str, finish: "Callable[[Mapping[str, str]], T]",
             ) -> "T":  # fmt: skip
    """Have a person consent in a browser and paste where it was sent to."""
    out.print("Open this address and consent:", highlight=False)
    print(begun.url)
    out.print(f"Then paste the whole address that the browser was sent to ({redirect}?…).")
    returned = typer.prompt("Address").strip()
    if not returned.startswith(redirect):
        raise GivenError(f"the address must begin with {redirect}")
    return finish(dict(parse_qsl(urlsplit(returned).query)))


@connect.command("meta")
def connect_meta(
    advertiser: Annotated[str, typer.Option(help="Whose accounts they are.")],
    redirect: Redirect = "",
    writing: Annotated[
        bool, typer.Option("--writing", help="Ask for budgets and split tests, too.")
    ] = False,
) -> None:
    """Connect an advertiser's ad accounts: a person ticks them on Meta's page."""
    with explained():
        from dmp_assets.ads import grants
        from dmp_assets.cli.service import in_store
        from dmp_assets.sources.meta.connection import SERVICE as META

        home = Home.current().prepare()
        client = grants.meta_client(home, is_writing=writing)
        target = _redirect(home, redirect)
        with _connections(home) as connections:
            _checked(home, advertiser)
            begun = connections.begin(client, advertiser, target)
            connection_id = _consent(
                begun, target, lambda query: connections.finish(client, begun.cookie, query)
            )
            _known("connect", advertiser, META)
            found = grants.granted_at_meta(home, connections, client, connection_id)
            left_out = in_store(home, lambda store: grants.left_out_of(home, store, advertiser))
        _tell(advertiser, found)
        if left_out:
            out.print(
                f"Left out, as another advertiser of this installation has it connected and keeps "
                f"it: {', '.join(left_out)}. Connect anew without it, or disconnect it there."
            )


def _tell(advertiser: str, found: "Granted") -> None:
    """Say what Meta granted; that it is no account is a warning."""
    until = f"until {found.ends_at:%Y-%m-%d}, when a person has to consent again" if (
        found.ends_at) else "without an end"  # fmt: skip
    print(f"Meta is connected for {advertiser}: {', '.join(found.scopes)}, {until}.")
    if found.accounts is None:
        print("Which ad accounts were given Meta does not tell at the moment; a run lists them.")
    elif found.accounts:
        many = "s" * (len(found.accounts) > 1)
        print(f"{len(found.accounts)} ad account{many}: {', '.join(map(str, found.accounts))}")
    else:
        err.print(
            f"[yellow]![/] no ad account was ticked: nothing is read of {escape(advertiser)}. "
            "Connect it again, and tick its accounts on Meta's page.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        return
    out.print("`dmp run --select group:ads` reads it.")


@connect.command("shopify")
def connect_shopify(
    shop: Annotated[str, typer.Argument(help="some-shop.myshopify.com")], redirect: Redirect = ""
) -> None:
    """Connect a shop by consent; one of the app's own organisation needs none."""
    with explained():
        from dmp_assets.sources.shopify.access import SERVICE as SHOPIFY
        from dmp_assets.sources.shopify.access import Installing, client_of
        from dmp_assets.sources.shopify.resource import shopify_settings
        from dmp_assets.sources.shopify.shops import shop_domain

        home = Home.current().prepare()
        settings = shopify_settings(home)
        loopback_only = home.profile == "sandbox"
        shop = shop_domain(shop)
        client = client_of(settings, shop, loopback_only=loopback_only)
        whose = settings.shopify_shops.get(shop)
        with _connections(home) as connections:
            if whose is not None:
                _checked(home, whose)
            installing = Installing(settings, connections, loopback_only)
            if settings.shopify_access == "consent":
                target = _redirect(home, redirect)
                begun = installing.begin(shop, target)
                _consent(
                    begun,
                    target,
                    lambda query: installing.finish(begun.cookie, query, datetime.now(UTC)),
                )
            else:
                connections.connect(client, shop)
            _known("connect", whose, SHOPIFY, shop=shop)
            told = _subscribed(home, installing, shop)
        if whose is not None:
            out.print(f"{shop} is connected for {whose}. {told}", highlight=False)
            return
        out.print(f"{shop} is connected. {told}", highlight=False)
        err.print(
            "[yellow]![/] nothing is read of it before DMP_SHOPIFY_SHOPS names its advertiser, "
            f'such as {{"{shop}": "acme"}}',
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _subscribed(home: Home, installing: "Installing", shop: str) -> str:
    """Have the shop tell what changes, where it can reach us; says which."""
    from dmp_assets.sources.shopify.webhooks import WEBHOOKS, subscribe

    to = service_address(home.settings().public_url, WEBHOOKS)
    if to is None:
        return "Set DMP_PUBLIC_URL for webhooks; without, each run asks what changed."
    with installing.opened(shop) as api:
        subscribe(api, to)
    return "It tells us what changes from now on."


# listing -----------------------------------------------------------------------------------------
@connect.command("list")
def connect_list(
    json_output: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show the connections: whose, of what, in which state, until when, and when they worked."""
    with explained():
        home = Home.current().prepare()
        with _connections(home) as connections:
            found = [_shown(home, connections, one) for one in connections.health()]
        if json_output:
            print(json.dumps(found, indent=2))
            return
        for one in found:
            print("\t".join(_line(one)))
        if not found:
            out.print("nothing is connected")


def _shown(home: Home, connections: "Connections", one: "Health") -> dict[str, Any]:
    """A connection for machines; times are UTC, None where there is none or nobody knows."""
    from dmp_assets.ads import grants
    from dmp_assets.platform.connect.errors import ConnectError
    from dmp_assets.platform.faces.domain import advertiser_of

    problem, accounts = None, None
    try:
        tokens = connections.stored(one.connection_id)
        accounts = None if tokens is None or tokens.targets is None else list(tokens.targets)
    except UserError as error:
        problem = error.kind if isinstance(error, ConnectError) else "no key"

    def time(given: datetime | None) -> str | None:
        return None if given is None else given.astimezone(UTC).isoformat(timespec="seconds")

    return {
        "service": one.service,
        "account": one.account,
        "advertiser": advertiser_of(home, one.service, one.account),
        "state": one.state if problem is None else problem,
        "scopes": list(one.scopes),
        "ad_accounts": accounts,
        "consented_at": time(one.consented_at),
        "ends_at": time(grants.ends_at(one.service, one.expires_at, one.consent_ends_at)),
        "last_success_at": time(one.last_success_at),
        "last_failure_at": time(one.last_failure_at),
        "last_failure_kind": one.last_failure_kind,
    }


def _line(one: Mapping[str, Any]) -> Iterator[str]:
    """The same for people."""
    yield from (one["service"], one["account"], one["state"])
    if one["advertiser"] != one["account"]:
        yield f"of: {one['advertiser'] or 'nobody; name it in DMP_SHOPIFY_SHOPS'}"
    if one["ad_accounts"] is not None:
        yield f"ad accounts: {', '.join(one['ad_accounts']) or 'none was ticked'}"
    yield f"until: {(one['ends_at'] or 'no end')[:10]}"
    yield f"worked: {one['last_success_at'] or 'never'}"
    if one["last_failure_at"]:
        yield f"failed: {one['last_failure_at']} ({one['last_failure_kind']})"


# letting go --------------------------------------------------------------------------------------
@connect.command("disconnect")
def connect_disconnect(
    service: Annotated[Literal["meta", "shopify"], typer.Argument(help="meta or shopify")],
    advertiser: Annotated[str, typer.Option(help="Whose connection it is.")],
    shop: Annotated[str, typer.Option(help="Which shop, where several are connected.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give an advertiser's grant back and delete its token; rows that were read stay."""
    with explained():
        from dmp_assets.ads import grants
        from dmp_assets.platform.connect.errors import ConnectError
        from dmp_assets.sources.shopify.resource import shopify_settings

        home = Home.current().prepare()
        if shop and service == "meta":
            raise GivenError("--shop is of Shopify")
        with _connections(home) as connections:
            one = _meant(shopify_settings(home), connections.health(), service, advertiser, shop)
            what = one.service if service == "meta" else one.account
            if not yes:
                typer.confirm(
                    f"Disconnect {what} from {advertiser}? Nothing more is read of it, and to "
                    "connect it again somebody has to consent again.",
                    abort=True,
                )
            said: ConnectError | None = None
            try:
                grants.give_back(home, connections, one.service, one.account, one.connection_id)
            except ConnectError as error:
                if any(other.connection_id == one.connection_id for other in connections.health()):
                    raise
                said = error
            _known("disconnect", advertiser, one.service,
                   **({"shop": one.account} if service == "shopify" else {}))  # fmt: skip
        if said is not None:
            raise UserError(
                f"the token of {what} is deleted here, and {one.service} could not be told "
                f"({said}): end our access on its own pages, too. {grants.KEPT}"
            )
        print(f"{what} is disconnected from {advertiser}: it was told, and the token is deleted.")
        print(grants.KEPT)


@connect.command("claim")
def connect_claim() -> None:
    """Let a home that was copied, moved or restored renew its tokens: the other one has ended."""
    with explained():
        from dmp_assets.platform.connect.copies import Place

        home = Home.current().prepare()
        Place(home).claim()
        out.print(f"the connections are those of {home.root} from now on", highlight=False)


def _meant(
    settings: "ShopifySettings", there: "Sequence[Health]", service: str, advertiser: str, shop: str
) -> "Health":
    """The one connection that is meant. Raises GivenError."""
    from dmp_assets.sources.meta.connection import SERVICE as META
    from dmp_assets.sources.shopify.access import SERVICE as SHOPIFY
    from dmp_assets.sources.shopify.shops import shop_domain

    if service == "meta":
        found = [one for one in there if (one.service, one.account) == (META, advertiser)]
    else:
        own = {one for one, whose in settings.shopify_shops.items() if whose == advertiser}
        if shop:
            named = shop_domain(shop)
            if settings.shopify_shops.get(named, advertiser) != advertiser:
                raise GivenError(f"{named} is not {advertiser}'s: DMP_SHOPIFY_SHOPS says whose")
            own = {named}
        found = [one for one in there if one.service == SHOPIFY and one.account in own]
    if len(found) > 1:
        raise GivenError(f"say which --shop: {', '.join(one.account for one in found)}")
    if not found:
        raise GivenError(f"there is no such connection of {advertiser}; see `dmp connect list`")
    return found[0]
