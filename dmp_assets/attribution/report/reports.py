"""The report on attribution, and its message."""

from dmp_assets.attribution.report import figures as attribution_figures
from dmp_assets.cleaned.web import keys as web
from dmp_assets.home import Home
from dmp_assets.platform.reporting import renderer
from dmp_assets.platform.reporting.charts import BLUE, ORANGE, Panel, daily_chart
from dmp_assets.platform.reporting.period import Period
from dmp_assets.platform.reporting.report_spec import MessageSpec, Outline, ReportSpec


def _outline(home: Home, problem: str | None, days: Period | None) -> Outline:
    report = attribution_figures.opened(home, renderer.versions_shown(home, "attribution"))
    now = attribution_figures.message(report, as_of=home.now(), days=days, problem=problem)
    shown = Period(now.period_start, now.period_end)
    every, revenue, cost = attribution_figures.by_day(report, shown)
    currency = report.settings.currency
    panels = (
        Panel(f"Credited revenue per day, {currency}", revenue, BLUE),
        Panel(f"Cost per day, {currency}", cost, ORANGE),
    )
    return Outline(
        now,
        "UTC",
        daily_chart(every, panels, home.reports / "attribution.png"),
        "Credited revenue and cost per day",
        (
            (home.reports / "attribution.html", "Attribution report"),
            (home.exports / "channel_reporting.csv", "Channels by day, of all days in range"),
        ),
    )


REPORTS = (
    ReportSpec(
        name="attribution",
        title="Attribution",
        about="Cost per order and ROAS by channel, how far the models disagree, paths to a "
        "conversion.",
        reads=(
            *web.SOURCE.keys,
            "modeled/customer_journeys",
            "modeled/customer_paths",
            "modeled/attribution",
            "modeled/attributed_conversions",
            "modeled/channel_reporting",
            "modeled/attribution_runs",
        ),
        settings=("reporting_model", "lookback_days", "markov_orders", "expected_weekly_events"),
        is_ranged=True,
        is_apart=True,
        message=MessageSpec(
            _outline,
            ("reports/attribution", "exports/channel_reporting"),
            "The message in Slack, of the last full week or of the run's days: cost per order, "
            "ROAS, channels, how the conversions add up, the report and the CSV to download.",
        ),
    ),
)
