"""Commands of the service: the operational store, who may call the API, and serving it."""

import getpass
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer
from rich.table import Table

from dmp_assets.cli.ports import answers, free_port
from dmp_assets.cli.shared import explained, out
from dmp_assets.home import Home
from dmp_assets.platform.base.addresses import service_address
from dmp_assets.platform.base.errors import GivenError
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres
from dmp_assets.platform.run.instance import prepare_instance
from dmp_assets.platform.run.outside import outside_systems
from dmp_assets.platform.store import where
from dmp_assets.platform.store.errors import AccessError, StoreError
from dmp_assets.platform.store.roles import MIN_PASSWORD, SCOPES, Role
from dmp_assets.platform.text.foreign_text import terminal_text

if TYPE_CHECKING:
    import sqlalchemy as sa

# Database libraries are imported by the commands that use them: every `dmp` would wait for them.

client = typer.Typer(help="Machines that call the API: their keys.", no_args_is_help=True)
user = typer.Typer(help="People who log in.", no_args_is_help=True)
T = TypeVar("T")
_PERIOD = re.compile(r"(\d{1,5})([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def period(text: str) -> timedelta:
    """`90d`, `12h` or `30m` as a time span. Raises ValueError."""
    found = _PERIOD.fullmatch(text)
    if found is None:
        raise GivenError(f"{text!r} is no period; write 90d, 12h or 30m")
    return int(found[1]) * _UNITS[found[2]]


def in_store(home: Home, work: Callable[["sa.Connection"], T]) -> T:
    """Run `work` in a transaction of the home's store, which is started for it if need be."""
    from dmp_assets.platform.store import database

    if not where.is_configured(home):
        raise StoreError("this home has no operational store yet; `dmp migrate` makes it")
    with (
        outside_systems(home, sources=False),
        database.opened(where.store_url(home)) as store,
        store.begin() as connection,
    ):
        return work(connection)


def store_state(home: Home) -> str:
    """What `dmp doctor` says of the store. Raises StoreError, PostgresError."""
    from dmp_assets.platform.store import database, rights

    if not where.is_configured(home):
        raise StoreError("none yet; `dmp migrate` makes it, `dmp up` and `dmp demo` do so too")
    if where.is_embedded(home) and not EmbeddedPostgres(home).status().running:
        return "in the embedded PostgreSQL, which does not run"
    revision, too_much = in_store(home, lambda s: (database.revision(s), rights.too_much(s)))
    if too_much:
        raise StoreError(
            f"schema {revision}; its role {'; '.join(too_much)}. Give the service a role of its "
            "own: docs/deploy.md, under Roles of the store"
        )
    return f"schema {revision}"


def migrate_home(home: Home, to: str = "head") -> tuple[str | None, str | None]:
    """Make the home's store, or bring its schema to a revision; (before, after).

    Its owner does so, and gives the service's role what that needs. Where the store keeps the
    leases of a shared lakehouse, their tables are made too.
    """
    from dmp_assets.platform.lake.lease_database import LeaseDatabase
    from dmp_assets.platform.lake.shared_leases import is_shared
    from dmp_assets.platform.store import database

    embedded = home.settings().store_url is None
    if embedded:
        home.remember(**where.EMBEDDED)
    with outside_systems(home, sources=False):
        if embedded:
            EmbeddedPostgres(home).create(where.DATABASE)
        with database.opened(where.owner_url(home), checked=False) as store:
            migrated = database.migrate(store, to, role=where.service_role(home))
        settings = home.settings()
        if to == "head" and is_shared(settings) and settings.lease_database_url is None:
            leases = LeaseDatabase(where.owner_url(home))
            leases.make(where.service_role(home))
            leases.close()
        return migrated


def migrate(
    to: Annotated[
        str, typer.Option(help="Schema to go to; an older one undoes, `base` removes all.")
    ] = "head",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before undoing.")] = False,
) -> None:
    """Bring the operational store and Dagster's instance up to this program's schemas."""
    with explained():
        home = Home.current().prepare()
        if to != "head" and not yes:
            typer.confirm(f"Go to schema {to}? What only newer ones hold is lost.", abort=True)
        before, after = migrate_home(home, to)
        out.print(f"operational store: schema {before or 'none'} → {after or 'none'}")
        prepare_instance(home)
        import dagster as dg

        with dg.DagsterInstance.get() as instance:
            instance.upgrade()
        out.print("Dagster's instance: up to date")


def now() -> datetime:
    return datetime.now(UTC)


def actor() -> str:
    """Who is at the command line, for the audit log."""
    return f"command line ({getpass.getuser()})" if "USER" in os.environ else "command line"


def changed(action: str, work: Callable[["sa.Connection"], T], **detail: Any) -> T:
    """Do it and note it in the audit log, in one transaction; a person that it gives is named."""
    from dmp_assets.platform.store import audit

    def both(store: "sa.Connection") -> T:
        done = work(store)
        told = detail | ({"person": str(done)} if isinstance(done, UUID) else {})
        audit.record(store, at=now(), actor=actor(), action=action, outcome="done", detail=told)
        return done

    return in_store(Home.current(), both)


@client.command("add")
def client_add(
    name: Annotated[str, typer.Argument(help="Name of the program, e.g. checkout.")],
    scopes: Annotated[
        list[str], typer.Option("--scope", help=f"One of {', '.join(SCOPES)}; repeat it.")
    ],
    expires: Annotated[str, typer.Option(help="How long the key works: 90d, 12h, never.")] = "365d",
) -> None:
    """Make a client and print its key, which is shown this once."""
    with explained():
        from dmp_assets.platform.store import access

        until = None if expires == "never" else period(expires)
        key = changed(
            "client add",
            lambda store: access.add_client(store, name, scopes, now=now(), expires=until),
            client=name,
            scopes=sorted(scopes),
            expires=expires,
        )
        print(key)


@client.command("rotate")
def client_rotate(
    name: str,
    overlap: Annotated[str, typer.Option(help="How long the old key works on: 24h.")] = "24h",
    expires: Annotated[str, typer.Option(help="How long the key works: 90d, 12h, never.")] = "365d",
) -> None:
    """Print a new key for the client; the old one works on for a while."""
    with explained():
        from dmp_assets.platform.store import access

        until = None if expires == "never" else period(expires)
        key = changed(
            "client rotate",
            lambda store: access.rotate_client(
                store, name, now=now(), overlap=period(overlap), expires=until
            ),
            client=name,
            overlap=overlap,
            expires=expires,
        )
        print(key)


@client.command("revoke")
def client_revoke(name: str) -> None:
    """End all keys of a client for good."""
    with explained():
        from dmp_assets.platform.store import access

        changed(
            "client revoke",
            lambda store: access.revoke_client(store, name, now=now()),
            client=name,
        )
        out.print(f"{terminal_text(name)} has no access any more")


@client.command("list")
def client_list() -> None:
    """List the clients, their scopes, and until when their keys work."""
    with explained():
        import sqlalchemy as sa

        from dmp_assets.platform.store.schema import api_client, api_key

        rows = in_store(
            Home.current(),
            lambda store: store.execute(
                sa.select(
                    api_client,
                    sa.case(
                        (sa.func.bool_or(api_key.c.expires_at.is_(None)), None),
                        else_=sa.func.max(api_key.c.expires_at),
                    ).label("until"),
                )
                .join(api_key, api_key.c.client_id == api_client.c.client_id)
                .group_by(api_client.c.client_id)
                .order_by(api_client.c.name)
            ).all(),
        )
        shown = Table("client", "scopes", "until", box=None, pad_edge=False)
        for row in rows:
            until = "revoked" if row.revoked_at else str(row.until or "no end")[:16]
            shown.add_row(terminal_text(row.name), " ".join(row.scopes), until)
        out.print(shown)


def _password() -> str:
    """From the terminal, twice; from a pipe, its first line."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass(f"Password (at least {MIN_PASSWORD} characters): ")
    if getpass.getpass("Again: ") != first:
        raise AccessError("the two passwords differ")
    return first


@user.command("add")
def user_add(
    email: str,
    role: Annotated[Role, typer.Option(help="What the person may do.")],
    oidc: Annotated[
        bool, typer.Option("--oidc", help="Without a password: logs in by OpenID Connect.")
    ] = False,
) -> None:
    """Make a person who logs in; the password is asked for, or read from a pipe."""
    with explained():
        from dmp_assets.platform.store import access

        password = None if oidc else _password()
        changed(
            "user add",
            lambda store: access.add_person(store, email, role, password, now=now()),
            role=role,
        )
        way = " by OpenID Connect" if oidc else ""
        out.print(f"{terminal_text(email)} can log in as {role}{way}", highlight=False)


@user.command("password")
def user_password(
    email: str,
    oidc: Annotated[
        bool, typer.Option("--oidc", help="None any more: logs in by OpenID Connect.")
    ] = False,
) -> None:
    """Give a person a new password; ends a lock and all sessions."""
    with explained():
        from dmp_assets.platform.store import access

        password = None if oidc else _password()
        changed("user password", lambda store: access.set_password(store, email, password))
        out.print("changed; all sessions have ended")


@user.command("link")
def user_link(
    email: Annotated[str, typer.Argument(help="Who logs in; may be left out in a sandbox.")] = "",
) -> None:
    """Print a link that logs a person in, once, within 15 minutes: to the API and to Dagster."""
    with explained():
        from dmp_assets.platform.store import login_links

        home = Home.current()
        sandbox = home.profile == "sandbox"
        if not email and not sandbox:
            raise AccessError("whose link? `dmp user list` shows the people")
        made: list[str] = []

        def make(store: "sa.Connection") -> Any:
            if not email:
                made.append(login_links.for_sandbox(store, now=now()))
                return None
            person, path = login_links.make(store, email, now=now())
            made.append(path)
            return person

        changed("user link", make)
        print(_address(home) + made[0])


def _address(home: Home) -> str:
    """Where a person reaches a page of login: Dagster's UI, or the API where that alone runs."""
    settings = home.settings()
    if settings.webserver_url:
        return settings.webserver_url.rstrip("/")
    if public := service_address(settings.public_url, ""):
        return public.rstrip("/")
    host, port = settings.webserver_host, settings.webserver_port
    if not answers(host, port) and answers(settings.api_host, settings.api_port):
        host, port = settings.api_host, settings.api_port
    scheme = "http" if settings.api_tls_certificate is None else "https"
    return f"{scheme}://{host}:{port}"


@user.command("disable")
def user_disable(email: str) -> None:
    """Let a person in no more."""
    with explained():
        from dmp_assets.platform.store import access

        changed("user disable", lambda store: access.disable_person(store, email, now=now()))
        out.print(f"{terminal_text(email)} is not let in any more", highlight=False)


@user.command("list")
def user_list() -> None:
    """List the people and their roles."""
    with explained():
        import sqlalchemy as sa

        from dmp_assets.platform.store.schema import person

        rows = in_store(
            Home.current(), lambda store: store.execute(sa.select(person).order_by("email")).all()
        )
        shown = Table("person", "role", "logs in by", "state", box=None, pad_edge=False)
        for row in rows:
            state = "disabled" if row.disabled_at else "active"
            way = "OpenID Connect" if row.password_hash is None else "password"
            shown.add_row(terminal_text(row.email), row.role, way, state)
        out.print(shown)


def api(
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy in front speaks TLS.")
    ] = False,
) -> None:
    """Serve the API and its pages; Ctrl-C stops it."""
    with explained():
        if behind_proxy:
            os.environ["DMP_API_BEHIND_PROXY"] = "true"
        home = Home.current().prepare()
        prepare(home)
        settings = home.settings()
        free_port(settings.api_host, settings.api_port, "DMP_API_PORT")
        from dmp_assets.platform.api import serve

        os.environ["DMP_HOME"] = str(home.root)
        with outside_systems(home, sources=False):
            serve.serve(home)


def prepare(home: Home, host: str | None = None, what: str = "the API") -> None:
    """Make the home's store at first use, and bring the home's own up to date.

    `host`: where `what` is to listen, when it is not the API.
    Raises StoreError, HomeError for what must not start.
    """
    from dmp_assets.platform.api import serve
    from dmp_assets.platform.store import database

    serve.check_address(home, host, what)
    if home.settings().store_url is None:
        migrate_home(home)
    in_store(home, database.revision)
