"""Commands that run assets: the demo and the job; what a domain's own command runs."""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from dmp_assets.cli.shared import err, explained, out, typed
from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.aside import done_aside
from dmp_assets.platform.base.leaving import INTERRUPTED
from dmp_assets.platform.lake import leases
from dmp_assets.platform.lake.date_range import parse_range
from dmp_assets.platform.run.process import prepared

if TYPE_CHECKING:
    from dmp_assets.platform.reporting.check_results import CheckResult
    from dmp_assets.platform.run.results import Account, RunSummary

# What a command needs is imported when its child is at its own imports: both take seconds.


def _simulate(make: Callable[..., object], folder: Path, *arguments: object, **named: Any) -> None:
    """Fill a folder, all or nothing, in a process whose memory the run does not carry along."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    done_aside(make, part, *arguments, **named)
    part.replace(folder)


def demo(
    users: Annotated[int | None, typer.Option(help="Users of the simulated shop.")] = None,
    web: Annotated[bool, typer.Option(help="Their visits on the web too, and attribution.")] = True,
    json_output: Annotated[bool, typer.Option("--json", help="Summary for machines.")] = False,
) -> None:
    """Run the whole job on a simulated shop, with a stand-in for Slack; needs nothing else.

    Again: loads nothing twice and redoes only what changed. Never touches a real system, whatever
    is configured.
    """
    with explained():
        home = Home.current().prepare("sandbox")
        settings = home.settings()
        seed, last = settings.demo_seed, settings.demo_end
        count = users or settings.demo_users
        folder = home.sandbox / f"shop-{count}-{seed}-{last}"
        first = None if home.lakehouse.exists() else count + count // 50  # some came twice
        with leases.alone(home, "demo"), prepared(home, rows=first) as process, _outside(home):
            from dmp_assets.sources.shop.load import load_shop
            from dmp_assets.sources.shop.resource import loading_url

            if not folder.exists():
                from dmp_assets.demo.business.shop import generate

                _say(json_output, f"simulating a shop of {count:,} users …")
                _simulate(generate, folder, users=count, seed=seed, end=last)
            if web and not (folder / "web").exists():
                from dmp_assets.demo.business.web import generate_web

                _say(json_output, "simulating their visits on the web …")
                _simulate(generate_web, folder / "web", folder / "export", seed=seed, end=last)
            database = home.sandbox / "web.sqlite"  # results are written back into it
            if web and not database.exists():
                with whole_file.replacing(database) as copied:
                    shutil.copyfile(folder / "web" / "web.sqlite", copied)
            if web:
                _advertise(home, folder, quiet=json_output)
            loaded = load_shop(loading_url(home), folder / "export", mode="refuse")
            _say(json_output, loaded.message)
            _migrate(home)
            if web:
                _connect(home, quiet=json_output)
            summary = _run_with_bar(home, quiet=json_output, process=process)
            expected = _as_expected(home, summary, folder)
            from dmp_assets.demo.sandbox.slack import SlackSandbox

            SlackSandbox(home.sandbox).write_page()
        _end(home, summary, json_output, expected)


def _advertise(home: Home, folder: Path, *, quiet: bool) -> None:
    """Simulate the shop's ads and orders at Meta and Shopify, and let their stand-ins serve it."""
    from dmp_assets.demo import advertisers

    settings = home.settings()
    if not (folder / "ads").exists():
        from dmp_assets.demo.business.ads import generate_ads

        _say(quiet, "simulating its ads at Meta and its orders at Shopify …")
        _simulate(
            generate_ads, folder / "ads", folder / "export",
            seed=settings.demo_seed, end=settings.demo_end,
        )  # fmt: skip
    advertisers.serve(home, folder / "ads")


def _connect(home: Home, *, quiet: bool) -> None:
    from dmp_assets.demo import advertisers

    if connected := advertisers.connect(home):
        _say(quiet, f"connected as their people would: {', '.join(connected)}")


def _as_expected(home: Home, summary: "RunSummary", folder: Path) -> "list[CheckResult]":
    """What checks found of the dirt that the demo put in on purpose; no alert tells of it."""
    if not summary.found:
        return []
    from dmp_assets.demo.truth.expected import Expected
    from dmp_assets.platform.reporting.check_news import CheckNews

    found = Expected.of(folder).among(summary.found)
    CheckNews(home.outbox).accept(found)
    return found


def run(
    start: Annotated[str, typer.Option(help="First day to read again, e.g. 2024-01-01.")] = "",
    end: Annotated[str, typer.Option(help="Last day (included), UTC.")] = "",
    select: Annotated[
        str, typer.Option(help='Dagster asset selection, e.g. "group:shop" or "*".')
    ] = "*",
    replace: Annotated[
        bool, typer.Option("--replace", help="Clear what came from another shop first.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a busy lakehouse.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Summary for machines.")] = False,
) -> None:
    """Bring the lakehouse up to the shop, then model, report and deliver.

    `--start/--end` read those days' registrations and usages again and replace them in the daily
    tables and reports; everything per user is always as of now. Exits 0 only when all went well.
    """
    with explained():
        parse_range(start, end)
        home = Home.current().prepare()
        if replace:
            from dmp_assets.platform.run.clearing import clear

            clear(home)
        run_assets(home, select, start=start, end=end, wait=wait, json_output=json_output)


def run_assets(
    home: Home,
    select: str,
    *,
    start: str = "",
    end: str = "",
    wait: bool = False,
    shop: bool = True,
    json_output: bool = False,
) -> NoReturn:
    """Make the assets of a selection of Dagster's in a run of their own, show it, and exit.

    `shop`: whether the shop's database must be up for it. `start`, `end`: days, UTC, both included.
    """
    with prepared(home) as process, _outside(home, shop=shop):
        _bring_up_store(home)
        summary = _run_with_bar(
            home, start=start, end=end, select=select, wait=wait, shop=shop, quiet=json_output,
            process=process,
        )  # fmt: skip
    _end(home, summary, json_output)


def _bring_up_store(home: Home) -> None:
    """A home that an earlier version made has its own store brought up; a foreign one waits for
    `dmp migrate`."""
    from dmp_assets.platform.store import where

    if where.is_embedded(home):
        _migrate(home)


def _migrate(home: Home) -> None:
    from dmp_assets.cli.service import migrate_home

    migrate_home(home)


@contextmanager
def _outside(home: Home, *, shop: bool = True) -> Iterator[None]:
    from dmp_assets.platform.run.outside import outside_systems

    with outside_systems(home, sources=shop):
        yield


def _end(
    home: Home,
    summary: "RunSummary",
    json_output: bool,
    expected: "Sequence[CheckResult]" = (),
) -> NoReturn:
    from dmp_assets.cli.summary import print_summary

    print_summary(home, summary, json_output, expected)
    raise typer.Exit(0 if summary.success else 1)


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        out.print(text, highlight=False)


def _run_with_bar(home: Home, *, quiet: bool, **options: Any) -> "RunSummary":
    try:
        return _followed(home, quiet=quiet, **options)
    except KeyboardInterrupt:
        again = "run" if home.profile == "live" else "demo"
        err.print(
            typed(f"stopped; every table is at its last good version, `dmp {again}` goes on there"),
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None


def _followed(home: Home, *, quiet: bool, **options: Any) -> "RunSummary":
    from dmp_assets.platform.run import parent

    with Bar(
        TextColumn("{task.description:<38}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
        disable=quiet,
    ) as bar:
        task = bar.add_task("starting", total=None)
        ahead = threading.Thread(target=_import_for_the_end, daemon=True)

        def show(account: "Account") -> None:
            if not ahead.ident:
                ahead.start()
            bar.update(
                task,
                description=account.current,
                completed=account.done,
                total=account.total or None,
            )

        return parent.run(home, report=show, **options)


def _import_for_the_end() -> None:
    """What the command will need when the run has ended, while the run is at work."""
    for name in ("cli.summary", "demo.truth.expected", "platform.reporting.check_news"):
        import_module(f"dmp_assets.{name}")
