"""The reports on promo-code abuse: the dashboard with its weekly message, and the model's."""

from dmp_assets.abuse.report import figures
from dmp_assets.abuse.report.charts import usage_chart
from dmp_assets.cleaned.shop import keys as shop
from dmp_assets.home import Home
from dmp_assets.platform.reporting import renderer
from dmp_assets.platform.reporting.messages import ReportFigures
from dmp_assets.platform.reporting.period import Period
from dmp_assets.platform.reporting.reader import Report
from dmp_assets.platform.reporting.report_spec import MessageSpec, Outline, ReportSpec


def weekly_figures(home: Home, problem: str | None = None) -> tuple[Report, ReportFigures]:
    """Reader and figures of the weekly message, from the versions that the report shows."""
    report = Report.open(home, renderer.versions_shown(home, "promo_abuse"))
    return report, figures.weekly(report, as_of=home.now(), problem=problem)


def _outline(home: Home, problem: str | None, days: Period | None) -> Outline:
    report, now = weekly_figures(home, problem)
    used = figures.by_day(report, now)
    return Outline(
        now,
        report.settings.timezone,
        usage_chart(*used, home.reports / "promo_abuse.png"),
        "Promo codes used and accounts registered per day of the week",
        ((home.reports / "promo_abuse.html", "Promo-code abuse dashboard"),),
    )


CLEANED = tuple(f"cleaned/{table}" for table in shop.TABLES)
RECEIVED = ("raw/users", "raw/promo_usages")
"""What tells when the shop was last read."""
COSTS = ("cost_blocked_customer", "cost_lost_discount", "review_cost", "expected_weekly_events")

REPORTS = (
    ReportSpec(
        name="promo_abuse",
        title="Promo-code abuse",
        about="The dashboard: usages, registrations, flagged accounts, clusters, discoveries.",
        reads=(
            *CLEANED,
            *RECEIVED,
            "ml/model_registry",
            "modeled/registrations_daily",
            "modeled/promo_usage_daily",
            "modeled/promo_usage_by_user",
            "modeled/account_clusters",
            "modeled/abuse_labels",
            "ml/abuse_scores",
        ),
        settings=COSTS,
        is_ranged=True,
        message=MessageSpec(
            _outline,
            ("reports/promo_abuse",),
            "The weekly message in Slack: numbers, chart, table, the dashboard to download.",
        ),
    ),
    ReportSpec(
        name="model_monitoring",
        title="Model monitoring",
        about="Which model serves and why, how well it does, and whether the world has drifted.",
        reads=(
            *RECEIVED,
            "cleaned/promo_codes",
            "cleaned/users",
            "modeled/abuse_labels",
            "cleaned/promo_usages",
            "ml/abuse_scores",
            "ml/abuse_evaluation",
            "ml/model_registry",
            "ml/model_card",
            "ml/abuse_drift",
            "ml/cost_to_incriminate",
        ),
        settings=COSTS,
    ),
)
