"""The commands by which advertisers are connected to Meta and shops to Shopify."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl, urlsplit

import typer

from dmp_assets.cli.shared import explained, out
from dmp_assets.home import Home
from dmp_assets.platform.base.errors import GivenError, UserError

if TYPE_CHECKING:
    from dmp_assets.platform.connect.tokens import BegunConsent, Connections
    from dmp_assets.sources.shopify.access import Installing

connect = typer.Typer(
    no_args_is_help=True, help="Connect advertisers to Meta and shops to Shopify."
)

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


def _known(home: Home, advertiser: str) -> None:
    """Have the service know the advertiser, before it has rows. Raises AccessError."""
    from dmp_assets.cli.service import in_store, now
    from dmp_assets.platform.store import advertisers

    in_store(home, lambda store: advertisers.ensure(store, advertiser, now=now()))


def _redirect(home: Home, given: str) -> str:
    public = home.settings().public_url
    if given or public:
        return given or f"{str(public).rstrip('/')}/connect"
    raise GivenError("say by --redirect where the browser is sent back to, or set DMP_PUBLIC_URL")


def _consent(begun: "BegunConsent", redirect: str, finish: "Callable[[Mapping[str, str]], object]",
             ) -> None:  # fmt: skip
    """Have a person consent in a browser and paste where it was sent to."""
    out.print("Open this address and consent:", highlight=False)
    print(begun.url)
    out.print(f"Then paste the whole address that the browser was sent to ({redirect}?…).")
    returned = typer.prompt("Address").strip()
    if not returned.startswith(redirect):
        raise GivenError(f"the address must begin with {redirect}")
    finish(dict(parse_qsl(urlsplit(returned).query)))


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
        from dmp_assets.sources.meta.config import meta_config
        from dmp_assets.sources.meta.connection import READING, WRITING, oauth_client

        home = Home.current().prepare()
        config = meta_config(home)
        if config is None:
            raise UserError("set DMP_META_APP_ID and DMP_META_APP_SECRET first")
        target = _redirect(home, redirect)
        client = oauth_client(config, WRITING if writing else READING)
        with _connections(home) as connections:
            _known(home, advertiser)
            begun = connections.begin(client, advertiser, target)
            _consent(begun, target, lambda query: connections.finish(client, begun.cookie, query))
        out.print(f"Meta is connected for {advertiser}; `dmp run --select group:ads` reads it.")


@connect.command("shopify")
def connect_shopify(
    shop: Annotated[str, typer.Argument(help="some-shop.myshopify.com")], redirect: Redirect = ""
) -> None:
    """Connect a shop by consent; one of the app's own organisation needs none."""
    with explained():
        from dmp_assets.sources.shopify.access import Installing
        from dmp_assets.sources.shopify.resource import shopify_settings

        home = Home.current().prepare()
        settings = shopify_settings(home)
        if settings.shopify_client_secret is None:
            raise UserError("set DMP_SHOPIFY_CLIENT_ID and DMP_SHOPIFY_CLIENT_SECRET first")
        target = _redirect(home, redirect)
        with _connections(home) as connections:
            installing = Installing(settings, connections, home.profile == "sandbox")
            begun = installing.begin(shop, target)
            _consent(
                begun,
                target,
                lambda query: installing.finish(begun.cookie, query, datetime.now(UTC)),
            )
            if whose := settings.shopify_shops.get(shop):
                _known(home, whose)
            told = _subscribed(home, installing, shop)
        out.print(f"{shop} is connected; name its advertiser in DMP_SHOPIFY_SHOPS. {told}")


def _subscribed(home: Home, installing: "Installing", shop: str) -> str:
    """Have the shop tell what changes, where it can reach us; says which."""
    from dmp_assets.sources.shopify.webhooks import subscribe

    public = home.settings().public_url
    if not public:
        return "Set DMP_PUBLIC_URL for webhooks; without, each run asks what changed."
    with installing.opened(shop) as api:
        subscribe(api, f"{str(public).rstrip('/')}/webhooks/shopify")
    return "It tells us what changes from now on."


@connect.command("list")
def connect_list() -> None:
    """Show the connections: which state they are in, and when they worked last."""
    with explained():
        with _connections(Home.current().prepare()) as connections:
            found = connections.health()
        for one in found:
            worked = one.last_success_at or "never"
            failed = f"; failed at {one.last_failure_at}: {one.last_failure_kind}" if (
                one.last_failure_at) else ""  # fmt: skip
            print(f"{one.service}\t{one.account}\t{one.state}\tworked: {worked}{failed}")
        if not found:
            out.print("nothing is connected")


COMMANDS = {"connect": connect}
