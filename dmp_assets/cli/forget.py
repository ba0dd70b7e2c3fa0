"""`dmp forget`: delete what is held of some people, and keep their source from bringing it back."""

import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from dmp_assets.cli.shared import explained, fail, out, typed
from dmp_assets.home import Home
from dmp_assets.platform.base.errors import GivenError, UserError
from dmp_assets.platform.lake import leases

if TYPE_CHECKING:
    from dmp_assets.platform.lake.lakehouse import Lakehouse
    from dmp_assets.platform.privacy.erasure import Family

SUBJECT = "user_id"
_NAMED = 20
NOT_REACHED = (
    "the shop itself, which still has them: delete them there",
    "backups; reports that were sent to Slack, copied, or wait in the outbox",
    "the model files, with the accounts noted beside them at training: `dmp run` trains anew when "
    "labels have changed, or start the job `retrain`",
    "what reviewers wrote or saw on the cases of others, and the audit log",
    "the visits and conversions of the web database, and what is made of them",
    "records in Kafka, where that brings the service's logs, until its topics delete them",
    "PostgreSQL's own files, until it has vacuumed and written over its log",
    "an API that runs: start it again",
)


def forget(
    given: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    ids: Annotated[list[str] | None, typer.Option("--user", help="A user id; repeatable.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="A file with a user id a line; - for standard input."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    now: Annotated[
        bool,
        typer.Option("--now", help="Delete old versions of the tables too: no time travel."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a busy lakehouse.")] = False,
) -> None:
    """Delete what tables and store hold of some users, and make all that was made of them anew.

    Their ids are never shown or stored: a list of keyed hashes keeps the shop from bringing them
    back. A command's options stay in the shell's history; `--file -` does not.
    """
    with explained():
        if given:  # said here, because Typer would show them
            raise GivenError("ids are named by --user, or in a file by --file")
        if str(file) == "-" and not yes:
            raise GivenError("with --file - nobody can be asked: add --yes")
        people = _people(ids or [], file)
        home = Home.current().prepare()
        if not yes and not typer.confirm(_question(len(people), now)):
            raise typer.Exit(1)
        done = _forget(home, people, now=now, wait=wait)
        raise typer.Exit(0 if done else 1)


def _people(ids: Collection[str], file: Path | None) -> Mapping[str, str]:
    """Id → where it was given first, which is said in its place."""
    from dmp_assets.platform.privacy.suppression import normal

    lines: list[str] = []
    if file is not None:
        try:
            text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise UserError(f"the file of ids cannot be read: {why}") from None
        lines = text.splitlines()
    given = [(f"--user number {n}", one) for n, one in enumerate(ids, 1)]
    given += [(f"line {n} of the file", one) for n, one in enumerate(lines, 1)]
    found = {one: place for place, text in reversed(given) if (one := normal(text))}
    if not found:
        raise GivenError("name users to forget: --user ID, or --file with an id a line")
    return found


def _question(people: int, now: bool) -> str:
    cost = " Old versions go as well: nothing can be read or rendered as of then." if now else ""
    return f"Delete all that is held of {people:,} users? It cannot be undone.{cost}"


def _forget(home: Home, places: Mapping[str, str], *, now: bool, wait: bool) -> bool:
    """Whether all went well; says what was deleted and what was not."""
    from dmp_assets.cli.runs import _bring_up_store, _outside, _run_with_bar
    from dmp_assets.cli.service import actor
    from dmp_assets.platform.privacy import suppression

    with _outside(home, shop=False):
        from dmp_assets.definitions import defs
        from dmp_assets.platform.lake.lakehouse import Lakehouse
        from dmp_assets.platform.privacy import erasure

        _bring_up_store(home)
        graph = defs.get_repository_def().asset_graph
        family, lakehouse = erasure.family(graph, SUBJECT), Lakehouse()
        given = frozenset(places)
        people = erasure.named(home, SUBJECT, given)
        run_id = str(uuid4())
        with leases.taken(home, run_id, list(family.roots), wait=wait):
            nowhere = erasure.unknown(lakehouse.tables, family.tables, SUBJECT, people)
            unknown = [one for one in given if erasure.named(home, SUBJECT, [one]) <= nowhere]
            added = suppression.add(home, SUBJECT, given)
            suppression.add(home, SUBJECT, people)
            stored = erasure.delete_from_store(home, SUBJECT, given, actor=actor())
            deleted = erasure.delete(lakehouse, family.roots, SUBJECT, people)
        out.print(f"{added:,} users added to the list of who is not taken from a source again")
        if not stored and not deleted:
            out.print("neither the operational store nor a table that reads a source held them")
            if not now and not erasure.held(lakehouse.tables, family.tables, SUBJECT, people):
                out.print("nor does any table that is made of these: are the ids right?")
                return True
        _tell_unknown([places[one] for one in unknown], len(people))
        _tell("deleted from the operational store", stored)
        _tell("deleted from tables that read a source", deleted)
        selection = erasure.selection(family, graph)
        summary = _run_with_bar(home, quiet=False, select=selection, shop=False, wait=True)
        if not summary.success:
            for cause in summary.failures:
                fail(cause)
            fail(
                "what is made of these tables could not be made anew, and still holds them: mend "
                "the cause, then `dmp forget` again"
            )
            return False
        with leases.taken(home, run_id, None if now else list(family.tables), wait=True):
            _tell("deleted from the operational store since",
                  erasure.delete_from_store(home, SUBJECT, given, actor=actor()))  # fmt: skip
            _tell("deleted from tables that keep what they had",
                  erasure.delete(lakehouse, family.tables, SUBJECT, people))  # fmt: skip
            if left := erasure.held(lakehouse.tables, family.tables, SUBJECT, people):
                fail(f"{', '.join(left)} still lead to them: `dmp forget` again")
                return False
            for domain in erasure.domains_of(SUBJECT):
                domain.drop_older(home)
            if now:
                _forget_versions(lakehouse, family)
        _tell_the_rest(home, now)
        return True


def _forget_versions(lakehouse: "Lakehouse", family: "Family") -> None:
    from dmp_assets.platform.lake import maintenance
    from dmp_assets.platform.lake.lakehouse import committing

    tables = [key for key in family.tables if lakehouse.tables.exists(key)]
    files = 0
    for key in tables:
        with committing(lakehouse, key) as mark:
            files += len(maintenance.forget_versions(lakehouse.tables, key, mark))
    out.print(f"old versions of {len(tables)} tables deleted ({files:,} files)", highlight=False)


def _tell_unknown(places: Collection[str], people: int) -> None:
    """Which ids no table led to, by where they were given: they are shown to nobody."""
    if places:
        ordered = sorted(places, key=lambda place: (place[0], len(place), place))
        more = f" and {len(places) - _NAMED:,} more" if len(places) > _NAMED else ""
        said = f"{len(places):,} of the {people:,} ids: {', '.join(ordered[:_NAMED])}{more}"
        out.print(
            f"no table of the lakehouse held {said}; are they right?",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _tell(what: str, counts: Mapping[str, int]) -> None:
    for table, rows in counts.items():
        out.print(f"{what}: {table} {rows:,} rows", highlight=False, soft_wrap=True)


def _tell_the_rest(home: Home, now: bool) -> None:
    if not now:
        days = home.settings().retention_days
        until = f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"
        out.print(
            typed(f"Old versions of the tables hold them for {days} days, until {until} and the "
                  "monthly maintenance after it (`dmp forget --now` deletes them at once)."),
            soft_wrap=True,
        )  # fmt: skip
    if home.spool.exists() and any(home.spool.iterdir()):
        out.print("Scores wait for the store (serving/spool): forget again when they are in it.")
    out.print("Not reached:")
    for what in NOT_REACHED:
        out.print(f"- {what}", highlight=False, soft_wrap=True)
