"""The weekly report on ad performance, and its message."""

from dmp_assets.ads.report import weekly
from dmp_assets.ads.settings import currency_of_sums
from dmp_assets.home import Home
from dmp_assets.platform.reporting import renderer
from dmp_assets.platform.reporting.charts import BLUE, ORANGE, Panel, daily_chart
from dmp_assets.platform.reporting.period import Period
from dmp_assets.platform.reporting.reader import Report
from dmp_assets.platform.reporting.report_spec import MessageSpec, Outline, ReportSpec


def _outline(home: Home, problem: str | None, days: Period | None) -> Outline:
    report = Report.open(home, renderer.versions_shown(home, "ads"))
    now = weekly.message(report, as_of=home.now(), days=days, problem=problem)
    shown = Period(now.period_start, now.period_end)
    spend, revenue = weekly.drawn(report, shown)
    currency = currency_of_sums(report.settings)
    panels = (
        Panel(f"Ad spend per day, {currency}", spend, ORANGE),
        Panel(f"Revenue of the shop per day, {currency}", revenue, BLUE),
    )
    return Outline(
        now,
        "UTC",
        daily_chart(shown.days(), panels, home.reports / "ads.png"),
        "Ad spend and revenue per day",
        ((home.reports / "ads.html", "Ad performance report"),),
    )


REPORTS = (
    ReportSpec(
        name="ads",
        title="Ad performance",
        about="What advertising cost and earned last week, what changed, and how much of what the "
        "platform claims is there.",
        reads=weekly.READS,
        settings=("currency", "ads_currency", "reporting_model"),
        is_ranged=True,
        is_apart=True,
        message=MessageSpec(
            _outline,
            ("reports/ads",),
            "The message in Slack, of the last full week or of the run's days: spend, MER, ROAS, "
            "contribution, campaigns, the bridge and the report.",
        ),
    ),
)
