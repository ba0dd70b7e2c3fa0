"""The reports on all domains: the quality of what was received, and the index."""

from dmp_assets.cleaned.shop import keys as shop
from dmp_assets.platform.faces.domain import known_sources
from dmp_assets.platform.reporting.report_spec import ReportSpec

_SOURCES = known_sources()

REPORTS = (
    ReportSpec(
        name="data_quality",
        title="Data quality",
        about="What was received, what could be used, and how fresh it is.",
        reads=tuple(key for source in _SOURCES for key in source.keys),
        settings=("expected_weekly_events",),
        # a failure of another source does not hold back the quality of the first
        unawaited=frozenset(key for source in _SOURCES[1:] for key in source.keys),
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
