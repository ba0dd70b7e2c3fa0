"""The commands of ad performance: connections (`connect_commands`), and exports that are taken."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dmp_assets.ads.connect_commands import connect
from dmp_assets.cli.shared import explained, out
from dmp_assets.home import Home
from dmp_assets.platform.base.errors import GivenError

if TYPE_CHECKING:
    from dmp_assets.sources.exports.columns import Kind
    from dmp_assets.sources.exports.taking import Account

ads = typer.Typer(
    no_args_is_help=True, help="Ad accounts, and files of ads and orders that people exported."
)


_ACCOUNTS = """
SELECT advertiser_id, account_id, arg_max(is_listed, read_at) AS is_listed,
       arg_max(name, read_at) AS name
FROM raw.meta_accounts GROUP BY ALL ORDER BY ALL
"""


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
        from dmp_assets.cli.service import in_store, now
        from dmp_assets.platform.store import advertisers, where
        from dmp_assets.sources.csv.reading import Reading
        from dmp_assets.sources.exports.kept import checked_advertiser
        from dmp_assets.sources.exports.taking import Said, take

        whose = checked_advertiser(advertiser)
        home = Home.current().prepare()
        reading = Reading.of(delimiter, (), encoding)
        said = Said(whose, kind, account, currency, timezone, numbers, dates, reading)
        has_store = where.is_configured(home)
        if has_store:
            advertisers.checked_id(whose)
        taken = take(home, files, said, _accounts_of(home, whose))
        if has_store:
            in_store(home, lambda store: advertisers.ensure(store, whose, now=now()))
        for one in taken:
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


def _holders(home: Home) -> list[str]:
    """Advertisers that are connected to Meta, whose store is started for it if need be."""
    from dmp_assets.platform.run.outside import outside_systems
    from dmp_assets.sources.meta.resource import holders

    with outside_systems(home, sources=False):
        return holders(home)


@ads.command("accounts")
def list_accounts(
    remove: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="ADVERTISER ACCOUNT",
            help="Take back an ad account that was connected for the wrong advertiser, once it is "
            "not granted to it any more.",
        ),
    ] = None,
) -> None:
    """Show the ad accounts by advertiser, or take one back: the next run drops its rows."""
    with explained():
        from dmp_assets.cli.shared import tables
        from dmp_assets.sources.meta import removed

        home = Home.current().prepare()
        there = tables(home)
        rows = there.sql(_ACCOUNTS).to_pylist() if there.exists("raw/meta_accounts") else []
        if remove is not None:
            whose, account = remove[0].strip(), remove[1].strip().removeprefix("act_")
            meant = [
                one for one in rows if (one["advertiser_id"], one["account_id"]) == (whose, account)
            ]
            if not meant:
                raise GivenError(
                    f"--remove {whose} {account}: {whose} has no such account; see `dmp ads "
                    "accounts`"
                )
            if meant[0]["is_listed"] and whose in _holders(home):
                raise GivenError(
                    f"--remove {whose} {account}: it is granted to {whose} still. Connect Meta "
                    f"anew for {whose} without it (`dmp connect meta`), then run once"
                )
            removed.note(home, (whose, account))
            out.print(
                f"{account} was taken back from {whose}; the next run drops its rows "
                "(`dmp run --select group:ads`)."
            )
            return
        going = set(removed.noted(home))
        for one in rows:
            state = "granted" if one["is_listed"] else "not granted any more"
            if (one["advertiser_id"], one["account_id"]) in going:
                state = "taken back: the next run drops its rows"
            print(f"{one['advertiser_id']}\t{one['account_id']}\t{state}\t{one['name'] or ''}")
        if not rows:
            out.print("no ad account was read")


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
