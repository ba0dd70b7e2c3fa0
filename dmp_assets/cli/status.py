"""`dmp status`: how the home is, at a glance: last run, what waits, how fresh the tables are."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from dmp_assets.cli import service
from dmp_assets.cli.shared import explained, out, tables, typed
from dmp_assets.home import Home, HomeError
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.lake import leases
from dmp_assets.platform.reporting.mail_settings import mail_lacks
from dmp_assets.platform.run.instance import prepare_instance
from dmp_assets.platform.store import where


@dataclass(frozen=True)
class Line:
    """One line of the status: a topic, what there is to say, and whether it needs somebody."""

    topic: str
    text: str
    attention: bool = False


def status(
    json_output: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say how the home is: its last run, what runs, what waits, and how fresh the tables are.

    Starts nothing and changes nothing. Exits 1 when something needs somebody.
    """
    with explained():
        lines = list(state(Home.current()))
        if json_output:
            print(json.dumps([asdict(line) for line in lines], indent=2))
        else:
            for line in lines:
                mark = "[yellow]![/]" if line.attention else " "
                text = escape(typed(line.text))
                out.print(f"{mark} {line.topic:<10} {text}", highlight=False, soft_wrap=True)
        raise typer.Exit(1 if any(line.attention for line in lines) else 0)


def state(home: Home) -> Iterator[Line]:
    """All lines, the home's first."""
    if not home.state():
        yield Line("home", f"{home.root} is not made yet; `dmp demo` or `dmp run` makes it")
        return
    yield Line("home", f"{home.root} ({home.profile})")
    yield from _runs(home)
    yield from _waiting(home)
    yield from _freshness(home)
    yield from _service(home)


def _runs(home: Home) -> Iterator[Line]:
    for holder in leases.living(home):
        text = f"run {holder.run_id[:8]} (process {holder.pid})"
        yield Line("waiting" if holder.waiting else "running", text)
    yield from _elsewhere(home)
    if not (home.dagster / "dagster.yaml").exists():
        yield Line("last run", "none yet; `dmp run` does one")
        return
    prepare_instance(home)
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        records = instance.get_run_records(limit=1)
        if not records:
            yield Line("last run", "none yet; `dmp run` does one")
            return
        run = records[0]
        began, ended = run.start_time, run.end_time
        ago = _ago(ended or began)
        seconds = f" in {ended - began:.0f} s" if began and ended else ""
        outcome = run.dagster_run.status
        words = {"SUCCESS": "done", "FAILURE": "failed", "CANCELED": "stopped"}
        said = words.get(outcome.value, outcome.value.lower())
        text = f"{run.dagster_run.run_id[:8]} {said}{seconds}{ago}"
        failed = outcome is dg.DagsterRunStatus.FAILURE
        yield Line("last run", text + ("; `dmp run` tries again" if failed else ""), failed)


def _elsewhere(home: Home) -> Iterator[Line]:
    """Runs of other homes on the same lakehouse."""
    try:
        others = leases.living_beyond(home)
    except HomeError as error:
        yield Line("leases", str(error), True)
        return
    mine = {holder.run_id for holder in leases.living(home)}
    for holder in others:
        if holder.run_id not in mine:
            yield Line("waiting" if holder.waiting else "running", holder.told())


def _ago(at: float | None) -> str:
    if at is None:
        return ""
    return f", {_span(time.time() - at)} ago"


def _span(seconds: float) -> str:
    hours = max(seconds, 0) / 3600
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"


def _waiting(home: Home) -> Iterator[Line]:
    messages = 0
    for path in home.outbox.glob("*.json"):
        with suppress(OSError, ValueError):
            messages += json.loads(path.read_text()).get("sent_at") is None
    if messages:
        why = "" if home.settings().slack_token else " for a DMP_SLACK_TOKEN"
        yield Line(
            "waiting", f"{_count(messages, 'message')} in the outbox{why}", attention=not why
        )
    mails = _mails(home)
    if mails:
        lacks = mail_lacks(home.settings())
        why = f" for {' and '.join(lacks)}" if lacks else ""
        yield Line("waiting", f"{_count(mails, 'mail')} in the outbox{why}", attention=not why)
    spooled = [path for path in home.spool.glob("*") if path.is_file() and path.stat().st_size]
    if spooled:
        yield Line(
            "waiting",
            f"scores in {_count(len(spooled), 'spool file')}: the store did not take them yet",
            attention=True,
        )


def _mails(home: Home) -> int:
    """Mails that have not ended; read without the library that sends them."""
    waiting = 0
    for path in (home.outbox / "mail").glob("*.json"):
        with suppress(OSError, ValueError):
            waiting += json.loads(path.read_text()).get("ended_at") is None
    return waiting


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _freshness(home: Home) -> Iterator[Line]:
    store = tables(home)
    written = {key: store.written_at(key) for key in store.written()}
    if not written:
        yield Line("tables", "none yet")
        return
    newest = max(written.values())
    text = f"{len(written)} tables, the newest written {newest:%Y-%m-%d %H:%M} UTC"
    old = newest < datetime.now(newest.tzinfo) - timedelta(hours=home.settings().freshness_hours)
    live = home.profile == "live"
    yield Line(
        "tables", text + ("; not fresh any more: `dmp run`" if old and live else ""), old and live
    )
    pages = sorted(home.reports.glob("*.html"))
    if pages:
        yield Line("reports", f"{_page(home, pages)} ({len(pages)} pages)")


def _page(home: Home, pages: list[Path]) -> Path:
    index = home.reports / "index.html"
    return index if index in pages else pages[0]


def _service(home: Home) -> Iterator[Line]:
    if not where.is_configured(home):
        yield Line("store", "none; `dmp migrate` makes it")
        return
    try:
        yield Line("store", service.store_state(home))
    except UserError as error:
        yield Line("store", str(error), attention=True)
    from dmp_assets.platform.automation import readiness

    url = readiness.health_url(home)
    if url is not None:
        answer = readiness.ask(url)
        if answer.ready:
            yield Line("API", f"ready at {url.removesuffix('/health/ready')}")
        elif answer.cause.startswith("no answer"):
            yield Line("API", "does not run here; `dmp up` starts it")
        else:
            yield Line("API", f"not ready: {answer.cause}", attention=True)
