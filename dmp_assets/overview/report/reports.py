"""The reports on all domains: the quality of what was received, and the index."""

from dmp_assets.cleaned.shop import keys as shop
from dmp_assets.cleaned.web import keys as web
from dmp_assets.platform.reporting.report_spec import ReportSpec

REPORTS = (
    ReportSpec(
        name="data_quality",
        title="Data quality",
        about="What was received, what could be used, and how fresh it is.",
        reads=(*shop.KEYS, *web.KEYS),
        settings=("expected_weekly_events",),
        unawaited=frozenset(web.KEYS),  # a failure of the web keeps the shop's quality not back
        is_last=True,
    ),
    ReportSpec(
        name="index",
        title="Reports",
        about="All reports.",
        reads=(
            *(f"cleaned/{table}" for table in shop.TABLES),
            "raw/users",
            "raw/promo_usages",
            "ml/abuse_scores",
            "ml/model_registry",
        ),
        settings=("expected_weekly_events", "cost_lost_discount", "cost_blocked_customer"),
        is_last=True,
    ),
)
