"""What a command prints once a run has ended."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from dmp_assets.cli.shared import out, tables, typed
from dmp_assets.figures.catalogue import figure
from dmp_assets.home import Home
from dmp_assets.ml.registry import headline
from dmp_assets.reporting import attribution_figures, figures
from dmp_assets.reporting.reader import Report
from dmp_assets.run.results import RunSummary

if TYPE_CHECKING:
    from dmp_assets.check_results import CheckResult

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
    for line in (*_model_quality(home), *_attribution(home)):
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
    if (home.reports / "promo_abuse.html").exists():
        out.print(f"Dashboard  {home.reports / 'promo_abuse.html'}", highlight=False)
        out.print(f"Reports    {home.reports / 'index.html'}", highlight=False)
    if (exported := home.exports / "channel_reporting.csv").exists():
        out.print(f"CSV        {exported}", highlight=False)
    if (slack := home.sandbox / "slack" / "index.html").exists():
        out.print(f"Slack      {slack}", highlight=False, soft_wrap=True)
    for line in (
        "Tables     dmp show cleaned/users · dmp show ml/abuse_scores",
        "Dagster    dmp up  (and the API: docs/api.md)",
    ):
        out.print(typed(line), highlight=False, soft_wrap=True)


def _model_quality(home: Home) -> list[str]:
    store = tables(home)
    if not store.exists("ml/model_registry"):
        return []
    return [headline(store), *_flagged(home)]


def _flagged(home: Home) -> list[str]:
    """Flagged accounts, by the words and the count of the dashboard."""
    report = Report.open(home, {})
    found = figures.flagged(report)
    if found is None:
        return []
    unmeasured = f" ({figures.UNMEASURED})" if figures.is_measured(report) is False else ""
    return [
        f"{figure('flagged_accounts').label} {found.accounts:,}, "
        f"{figure('accounts_to_block').label.lower()} {found.blocked:,}{unmeasured}"
    ]


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


def _attribution(home: Home) -> list[str]:
    """How the last attribution adds up, and what it found."""
    if not tables(home).exists("modeled/attribution_runs"):
        return []
    report = attribution_figures.opened(home)
    days = attribution_figures.period(report)
    if days is None:
        return []
    settings = home.settings()
    found = attribution_figures.totals(report, settings.reporting_model, days)
    shown = " · ".join(
        f"{figure(name).titled(settings.currency)} {'—' if value is None else f'{value:,.2f}'}"
        for name, value in (
            ("paid_roas", found.paid_roas), ("roas", found.roas),
            ("paid_cost_per_order", found.paid_cpo), ("cost_per_order", found.cpo),
        )
    )  # fmt: skip
    conversions, _ = attribution_figures.added_up(report, days).lines(settings.currency)
    return [f"Attribution {days}: {shown}", f"  {conversions}"]
