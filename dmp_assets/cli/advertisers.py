"""Commands of advertisers: which there are, and who sees which."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from dmp_assets.cli.service import changed, in_store, now
from dmp_assets.cli.shared import explained, out
from dmp_assets.home import Home
from dmp_assets.platform.base.errors import GivenError
from dmp_assets.platform.text.foreign_text import terminal_text

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dmp_assets.platform.store.advertisers import MemberRole

advertiser = typer.Typer(
    help="Advertisers, each a shop with its ad accounts, and who sees which.", no_args_is_help=True
)
Id = Annotated[str, typer.Argument(help="The advertiser, such as acme.")]
Email = Annotated[str, typer.Option("--user", help="A person, by e-mail address.")]
Client = Annotated[str, typer.Option("--client", help="A client of the API, by name.")]


@advertiser.command("add")
def add(
    advertiser_id: Id,
    name: Annotated[str, typer.Option(help="What people call it; the id without.")] = "",
) -> None:
    """Make an advertiser known, or call it otherwise."""
    with explained():
        from dmp_assets.platform.store import advertisers

        is_new = changed(
            "advertiser add",
            lambda store: advertisers.ensure(store, advertiser_id, now=now(), name=name),
            advertiser=advertiser_id,
        )
        out.print(f"{advertiser_id} is {'made' if is_new else 'there'}")


@advertiser.command("let-in")
def let_in(
    advertiser_id: Id,
    user: Email = "",
    client: Client = "",
    role: Annotated[
        str, typer.Option(help="reader, or manager who approves and changes things.")
    ] = "reader",
) -> None:
    """Make a person or a client a member. From the first member on only members see advertisers."""
    with explained():
        from dmp_assets.platform.api.advertisers import used
        from dmp_assets.platform.store import advertisers

        _one_of(user, client)
        chosen: MemberRole = role  # type: ignore[assignment]  # checked where it is stored

        member = in_store(
            Home.current(), lambda store: advertisers.actor_of(store, email=user, client=client)
        )

        def work(store: "sa.Connection") -> None:
            if not advertisers.is_known(store, advertiser_id, used(store)):
                raise GivenError(
                    f"there is no advertiser {advertiser_id}; `dmp advertiser add {advertiser_id}` "
                    "makes it known"
                )
            advertisers.let_in(store, advertiser_id, member, chosen, now=now())

        changed("advertiser let-in", work, advertiser=advertiser_id, role=role, member=member)
        out.print(f"let in to {advertiser_id} as {role}")


@advertiser.command("shut-out")
def shut_out(advertiser_id: Id, user: Email = "", client: Client = "") -> None:
    """End a membership."""
    with explained():
        from dmp_assets.platform.store import advertisers

        _one_of(user, client)
        member = in_store(
            Home.current(), lambda store: advertisers.actor_of(store, email=user, client=client)
        )
        changed(
            "advertiser shut-out",
            lambda store: advertisers.shut_out(store, advertiser_id, member),
            advertiser=advertiser_id,
            member=member,
        )
        out.print(f"shut out of {advertiser_id}")
        left = in_store(Home.current(), lambda store: advertisers.members_of(store, advertiser_id))
        if not left:
            out.print(f"{advertiser_id} has no member left: only administrators see it.")


@advertiser.command("list")
def listed() -> None:
    """List the advertisers and their members."""
    with explained():
        import sqlalchemy as sa

        from dmp_assets.platform.store import advertisers
        from dmp_assets.platform.store.schema import advertiser as known
        from dmp_assets.platform.store.schema import advertiser_member as member
        from dmp_assets.platform.store.schema import person

        rows = in_store(
            Home.current(),
            lambda store: store.execute(
                sa.select(known.c.advertiser_id, known.c.name, member.c.role,
                          sa.func.coalesce(person.c.email, member.c.actor).label("member"))
                .join(member, member.c.advertiser_id == known.c.advertiser_id, isouter=True)
                .join(person, isouter=True, onclause=member.c.actor
                      == sa.literal("person:") + sa.cast(person.c.person_id, sa.Text))
                .order_by(known.c.advertiser_id, "member")
            ).all(),
        )  # fmt: skip
        shown = Table("advertiser", "name", "member", "role", box=None, pad_edge=False)
        for row in rows:
            shown.add_row(
                row.advertiser_id, terminal_text(row.name), row.member or "", row.role or ""
            )
        out.print(shown)
        if not in_store(Home.current(), advertisers.is_closed):
            out.print("No member is named: whoever may read ads sees every advertiser.")


def _one_of(user: str, client: str) -> None:
    if bool(user) == bool(client):
        raise GivenError("say --user or --client, one of them")
