"""The commands by which Meta and shops at Shopify are connected, and exports of theirs taken."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

import typer

from dmp_assets.cli.shared import explained, out
from dmp_assets.home import Home
from dmp_assets.platform.base.addresses import service_address
from dmp_assets.platform.base.errors import GivenError, UserError

if TYPE_CHECKING:
    from dmp_assets.platform.connect.tokens import BegunConsent, Connections
    from dmp_assets.sources.exports.columns import Kind
    from dmp_assets.sources.exports.taking import Account
    from dmp_assets.sources.shopify.access import Installing

connect = typer.Typer(
    no_args_is_help=True, help="Connect advertisers to Meta and shops to Shopify."
)

ads = typer.Typer(no_args_is_help=True, help="Files of ads and orders that people exported.")

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
    if to := given or service_address(home.settings().public_url, "connect"):
        return to
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
    from dmp_assets.sources.shopify.webhooks import WEBHOOKS, subscribe

    to = service_address(home.settings().public_url, WEBHOOKS)
    if to is None:
        return "Set DMP_PUBLIC_URL for webhooks; without, each run asks what changed."
    with installing.opened(shop) as api:
        subscribe(api, to)
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


# files -------------------------------------------------------------------------------------------
def _accounts_of(home: Home, advertiser: str) -> "Mapping[Kind, Sequence[Account]]":
    """The accounts and shops of an advertiser, as services told of them."""
    from dmp_assets.cli.shared import tables
    from dmp_assets.sources.exports.taking import Account
    from dmp_assets.sources.shopify.resource import shopify_settings

    def found(key: str, account: str, zone: str) -> list[Account]:
        if not there.exists(key):
            return []
        rows = there.sql(
            f"SELECT {account} AS id, arg_max(currency, _row_id) AS currency, "
            f"arg_max({zone}, _row_id) AS zone FROM {key.replace('/', '.')} "
            f"WHERE advertiser_id = ? GROUP BY {account} ORDER BY {account}",
            [advertiser],
        )
        return [Account(row["id"], row["currency"], row["zone"]) for row in rows.to_pylist()]

    there = tables(home)
    shops = {one.id: one for one in found("raw/shopify_shops", "shop", "timezone")}
    for shop, whose in shopify_settings(home).shopify_shops.items():
        if whose == advertiser:
            shops.setdefault(shop, Account(shop, None, None))
    return {
        "meta": found("raw/meta_accounts", "account_id", "timezone_name"),
        "shopify": list(shops.values()),
    }


@ads.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="CSV files as they were exported.")],
    advertiser: Annotated[str, typer.Option(help="Whose accounts and orders they are.")],
    kind: Annotated[
        Literal["meta", "shopify"] | None,
        typer.Option(help="Of what they are exports; else their columns tell."),
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="The ad account, or the shop, where rows name none.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="Currency of the amounts, where the files do not tell.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Time zone of the account or shop, e.g. Europe/Berlin.")
    ] = None,
    numbers: Annotated[
        Literal["decimal-point", "decimal-comma"] | None,
        typer.Option(help="How numbers are written, where they could be both."),
    ] = None,
    dates: Annotated[
        Literal["day-first", "month-first", "year-first"] | None,
        typer.Option(help="How days are written, where they could be several."),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="What parts the fields, e.g. ';' or tab; else found out.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="How files are written, e.g. cp1251; else found out.")
    ] = None,
) -> None:
    """Take exports of Ads Manager (by day) and of Shopify's orders, all or none of the files.

    They are kept as received. The same file again changes nothing; where files tell of the same,
    the one that was taken last holds, and what the API tells goes before all of them.
    """
    with explained():
        from dmp_assets.platform.store import where
        from dmp_assets.sources.csv.reading import Reading
        from dmp_assets.sources.exports.kept import checked_advertiser
        from dmp_assets.sources.exports.taking import Said, take

        whose = checked_advertiser(advertiser)
        home = Home.current().prepare()
        reading = Reading.of(delimiter, (), encoding)
        said = Said(whose, kind, account, currency, timezone, numbers, dates, reading)
        if where.is_configured(home):
            _known(home, whose)
        for one in take(home, files, said, _accounts_of(home, whose)):
            what = f"{one.kept.rows:,} rows" if one.is_new else "there already, left alone"
            print("\n  ".join((f"{one.kept.name}: {what}", *one.notes)))
        for step in _next_steps(home, whose):
            out.print(step)


def _next_steps(home: Home, advertiser: str) -> list[str]:
    """What is to be done, in this home, that files are in its tables and on its pages."""
    from dmp_assets.platform.store import where

    tables = "`dmp run --select group:ads` brings them into the tables"
    if where.is_configured(home):
        return [f"Next: {tables}; `dmp up` shows them at /ads."]
    return [
        "Next, in this order:",
        "  `dmp migrate`, once: it makes the store that the pages and the API show from",
        f"  `dmp advertiser add {advertiser}`, once: it makes the advertiser known there",
        f"  {tables}, and from then on into that store",
        "  `dmp up` shows them at /ads",
        "Without the first two there are tables and reports, and the pages stay empty.",
    ]


@ads.command("files")
def list_files(
    remove: Annotated[
        str | None, typer.Option(help="Take back the file whose SHA-256 begins so.")
    ] = None,
) -> None:
    """Show the files that were taken, or take one back: the next run drops its rows."""
    with explained():
        from dmp_assets.sources.exports import kept

        home = Home.current().prepare()
        there = kept.kept(home)
        if remove is not None:
            meant = [one for one in there if remove and one.sha256.startswith(remove.lower())]
            if len(meant) != 1:
                raise GivenError(
                    f"--remove {remove}: {len(meant)} files begin so; see `dmp ads files`"
                )
            kept.remove(home, meant[0])
            out.print(f"{meant[0].name} was taken back; the next run drops its rows.")
            return
        for one in there:
            print(
                f"{one.sha256[:12]}\t{one.advertiser_id}\t{one.kind}\t{one.received_at}\t"
                f"{one.rows} rows\t{one.name}"
            )
        if not there:
            out.print("no file was taken")


COMMANDS = {"connect": connect, "ads": ads}
