"""What a command prints once a run has ended."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from dmp_assets.cli.shared import out, typed
from dmp_assets.home import Home
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.run.results import RunSummary

if TYPE_CHECKING:
    from dmp_assets.platform.reporting.check_results import CheckResult

_NAMED = 5
"""So many made assets are named one by one."""


def print_summary(
    home: Home, summary: RunSummary, as_json: bool, expected: "Sequence[CheckResult]" = ()
) -> None:
    """Say what a run did; `expected` are findings that are as they should be."""
    if as_json:
        print(summary.as_json())
        return
    state = "[green]done[/]" if summary.success else "[bold red]failed[/]"
    made = [t for t in summary.tables if not t.unchanged]
    named = f" ({', '.join(t.key for t in made)})" if 0 < len(made) <= _NAMED else ""
    out.print(
        f"\nRun {summary.run_id[:8]} {state} in {summary.seconds:.0f} s: "
        f"{len(made)} assets made{named}, {len(summary.tables) - len(made)} unchanged",
        highlight=False,
    )
    layers = Table("layer", "tables", "rows", "quarantined", "seconds", box=None, pad_edge=False)
    for column in layers.columns[1:]:
        column.justify = "right"
    spent = summary.seconds_by_layer()
    for layer, rows in summary.rows_by_layer().items():
        members = [t for t in summary.tables if t.key.startswith(f"{layer}/")]
        bad = sum(t.quarantined or 0 for t in members)
        layers.add_row(
            layer,
            str(len(members)),
            f"{rows:,}",
            f"{bad:,}" if bad else "",
            f"{spent[layer]:.1f}" if layer in spent else "",
        )
    out.print(layers)
    concerned = [domain for domain in known_domains() if domain.name in summary.domains]
    for domain in concerned:
        for line in domain.summary(home):
            out.print(line, highlight=False)
    for line in _checks(summary, {found.key for found in expected}):
        out.print(line, highlight=False, soft_wrap=True)
    for failure in summary.failures:
        out.print(f"[bold red]✗[/] {escape(typed(failure))}", highlight=False, soft_wrap=True)
    for part in summary.skipped:
        out.print(f"[dim]skipped: {escape(typed(part))}[/]", highlight=False, soft_wrap=True)
    if not summary.success:  # what stands below was made before, and may be of another day
        out.print(
            typed("Look into it: `dmp status`, `dmp doctor`; the log is in Dagster's UI (`dmp up`)")
        )
        return
    results = {"Reports": home.reports / "index.html"}
    for domain in concerned:
        results |= domain.results(home)
    for label, file in results.items():
        if file.exists():
            out.print(f"{label:<10} {file}", highlight=False)
    if (slack := home.sandbox / "slack" / "index.html").exists():
        out.print(f"Slack      {slack}", highlight=False, soft_wrap=True)
    tables = Tables.of(home)  # what was left out has none
    examples = [key for one in concerned for key in one.examples if tables.exists(key)]
    for line in (
        f"Tables     {' · '.join(f'dmp show {key}' for key in examples)}",
        "Dagster    dmp up  (and the API: docs/api.md)",
    ):
        out.print(typed(line), highlight=False, soft_wrap=True)


def _checks(summary: RunSummary, expected: set[str]) -> list[str]:
    """What each check found and what to do about it; one line for all that was expected."""
    lines = []
    for found in summary.found:
        if found.key not in expected:
            words = "[bold red]check failed[/]" if found.error else "[yellow]check warns[/]"
            told = f"{found.asset} {found.check}: {found.finding}"
            lines += [f"{words} {escape(told)}", f"  → {escape(typed(found.advice))}"]
    as_wanted = [found for found in summary.found if found.key in expected]
    if as_wanted:
        rows = sum(found.offending or 0 for found in as_wanted)
        text = (
            f"found as expected: the {rows:,} rows that the demo spoils on purpose for "
            f"{len(as_wanted)} checks (to see some: `dmp show quarantine/users`)"
        )
        lines.append(f"[green]✓[/] {escape(typed(text))}")
    return lines
