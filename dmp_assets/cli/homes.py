"""Commands of the home as a whole: backup, restore, reset, and its embedded PostgreSQL."""

from pathlib import Path
from typing import Annotated

import typer

from dmp_assets.cli.doctor import postgres_state
from dmp_assets.cli.shared import explained, out, tables
from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres

db = typer.Typer(
    help="The embedded PostgreSQL: used as the shop when none is configured.", no_args_is_help=True
)


def backup_command(
    file: Annotated[Path, typer.Argument(help="A new file, e.g. dmp-2024-03-31.tar.gz.")],
) -> None:
    """Write the home with its own databases into one file. It holds secrets and personal data."""
    from dmp_assets.platform import backup

    with explained():
        size = backup.back_up(Home.current(), file)
        out.print(f"{file}: {size / 2**20:.1f} MB, readable by its owner only", highlight=False)
        if (root := Home.current().settings().lakehouse_root) is not None:
            out.print(f"the tables in {root} are not in it: keep them there", highlight=False)


def restore(
    file: Annotated[Path, typer.Argument(help="What `dmp backup` wrote.", exists=True)],
    trust: Annotated[
        bool, typer.Option("--trust", help="Take models and secrets of a foreign backup too.")
    ] = False,
) -> None:
    """Make the home from a backup; DMP_HOME must be a folder that is empty or not there.

    A backup that this installation did not sign is restored without its models and secrets: the
    next run trains anew. `--trust` takes them as well; models are programs, so only your own.
    """
    from dmp_assets.platform import backup

    with explained():
        home = Home.current()
        found = backup.restore(file, home, trust=trust)
        if found.is_ours or trust:
            out.print(f"{home.root} is as it was", highlight=False)
            return
        out.print(
            f"{home.root} is made from a backup that this installation did not sign; its people "
            "and keys can log in: see `dmp user list` and `dmp client list`",
            highlight=False,
        )
        if found.left_out:
            out.print(
                f"left out: {', '.join(found.left_out)}; `dmp run` makes them anew (or restore "
                "again with --trust, if the backup is your own)",
                highlight=False,
            )


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove the home with everything in it. Asks first."""
    from dmp_assets.platform.lake import remembered
    from dmp_assets.platform.run.clearing import clear

    with explained():
        home = Home.current()
        if not home.root.exists():
            out.print(f"{home.root} is not there; nothing to remove")
            return
        root, stay = tables(home).root, not remembered.is_own(home)
        users = remembered.others(home)
        elsewhere = "" if stay or root == str(home.lakehouse) else f" in {root}"
        if not yes and not typer.confirm(
            f"Remove {home.root} with all tables{elsewhere} and reports?"
        ):
            raise typer.Exit(1)
        clear(home, everything=True)
        out.print(f"removed {home.root}{' with all tables' if elsewhere else ''}{elsewhere}")
        if stay:
            why = f"are used by {', '.join(users)} too" if users else "are not this home's"
            out.print(f"the tables in {root} {why}, and stay as they are")


@db.command("start")
def db_start() -> None:
    """Start the home's embedded PostgreSQL and leave it running."""
    with explained():
        endpoint = EmbeddedPostgres(Home.current().prepare()).start()
        out.print(f"PostgreSQL on {endpoint.host}:{endpoint.port}; password in endpoint.json")


@db.command("stop")
def db_stop() -> None:
    """Stop the home's embedded PostgreSQL."""
    with explained():
        stopped = EmbeddedPostgres(Home.current()).stop()
        out.print("stopped" if stopped else "was not running")


@db.command("status")
def db_status() -> None:
    """Say whether the home's embedded PostgreSQL runs, and where."""
    with explained():
        out.print(postgres_state(Home.current()), highlight=False)


@db.command("claim")
def db_claim() -> None:
    """Make databases that lie outside the home this home's, when it was moved or copied."""
    with explained():
        home = Home.current()
        EmbeddedPostgres(home).claim()
        out.print(f"the databases are those of {home.root} from now on", highlight=False)
