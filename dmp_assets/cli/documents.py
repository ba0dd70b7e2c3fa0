"""Commands that render: reports, and the page of all assets."""

import json
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from dmp_assets.cli.shared import explained
from dmp_assets.home import Home, HomeError
from dmp_assets.platform.text.spelling import meant
from dmp_assets.settings import in_order, project_dir


def report(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Report below reports/, or `all`.", show_default="the first of the first domain"
        ),
    ] = None,
    as_of: Annotated[
        Path | None, typer.Option(help="A footer's versions (JSON) to render again as of.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Render a report from the tables as they are, and print its path."""
    with explained():
        from dmp_assets.platform.reporting.renderer import Renderer
        from dmp_assets.platform.reporting.report_spec import first_report

        name = name or first_report()
        home = Home.current()
        versions = json.loads(as_of.read_text()) if as_of else None
        known = sorted(path.stem for path in (project_dir() / "reports").glob("*.qmd"))
        if name not in (*known, "all"):
            raise HomeError(
                f"there is no report {name!r} (there are {', '.join(known)}, and all of them: all)"
                f"{meant(name, known)}"
            )
        names = [name]
        if name == "all":
            from dmp_assets.platform.reporting.report_assets import specs

            names = list(specs())
        with Renderer(project_dir(), home) as renderer:
            for each in names:
                rendered = renderer.render(each, versions=versions)
                print(rendered.path)
                for warned in rendered.warnings:
                    print(f"  warning: {warned}", file=sys.stderr)
        if open_it:
            webbrowser.open(rendered.path.as_uri())


def catalogue(
    inputs: Annotated[
        bool, typer.Option("--inputs", help="Print docs/inputs.md: what is read, and how.")
    ] = False,
    settings: Annotated[
        bool, typer.Option("--settings", help="Print .env.example: every setting.")
    ] = False,
    access: Annotated[
        bool, typer.Option("--access", help="Print docs/access.md: scopes and roles.")
    ] = False,
) -> None:
    """Print docs/assets.md from the code: every asset, its columns, inputs, checks and owner; and
    what runs unattended."""
    if sum((inputs, settings, access)) > 1:
        raise typer.BadParameter("--inputs, --settings and --access are pages: name one of them")
    if settings:
        from dmp_assets.platform.config import example

        print(example.text(in_order()), end="")
        return
    if access:
        from dmp_assets.platform.store import roles

        print(roles.markdown(), end="")
        return
    if inputs:
        from dmp_assets.sources import contract

        print(contract.markdown(), end="")
        return
    from dmp_assets.definitions import defs
    from dmp_assets.platform.automation import catalogue as assets

    print(assets.markdown(defs.get_repository_def()), end="")
