"""The command of attribution."""

from typing import Annotated

import typer

from dmp_assets.cli.runs import run_assets
from dmp_assets.cli.shared import explained
from dmp_assets.home import Home
from dmp_assets.platform.lake.date_range import parse_range
from dmp_assets.sources.web.settings import WebSettings

ASSETS = "tag:domain=attribution"


def attribution(
    start: Annotated[str, typer.Option(help="First day of the conversions, UTC.")] = "",
    end: Annotated[str, typer.Option(help="Last day (included), UTC.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a busy lakehouse.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Summary for machines.")] = False,
) -> None:
    """Attribute the conversions of the web database, all of them or those of some days.

    Needs neither a shop nor Slack nor a key of the IHC API; what is not configured is skipped and
    named. Writes exports/channel_reporting.csv and the report `attribution`.
    """
    with explained():
        parse_range(start, end)
        home = Home.current().prepare()
        if home.settings().of(WebSettings).web_database is None:
            from dmp_assets.cli.loads import NO_WEB_DATABASE
            from dmp_assets.sources.web.database import WebError

            raise WebError(NO_WEB_DATABASE)
        run_assets(
            home, ASSETS, start=start, end=end, wait=wait, shop=False, json_output=json_output
        )


COMMANDS = {"attribution": attribution}
