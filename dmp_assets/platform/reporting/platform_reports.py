"""The reports on all domains: the quality of what was received, and the index."""

from dmp_assets.platform.reporting.report_spec import ReportSpec

SHOP_TABLES = ("users", "promo_codes", "promo_usages")
WEB_TABLES = ("web_sessions", "web_conversions", "web_session_costs")
CLEANED = tuple(f"cleaned/{table}" for table in SHOP_TABLES)
RECEIVED = ("raw/users", "raw/promo_usages")
"""What tells when the shop was last read."""
LAYERS = ("raw", "cleaned", "quarantine")
OF_THE_WEB = tuple(f"{layer}/{table}" for layer in LAYERS for table in WEB_TABLES)
OF_THE_SHOP = tuple(f"{layer}/{table}" for layer in LAYERS for table in SHOP_TABLES)

REPORTS = (
    ReportSpec(
        name="data_quality",
        reads=(*OF_THE_SHOP, *OF_THE_WEB),
        unawaited=frozenset(OF_THE_WEB),  # a failure of the web keeps the shop's quality not back
        is_last=True,
    ),
    ReportSpec(
        name="index",
        reads=(*CLEANED, *RECEIVED, "ml/abuse_scores", "ml/model_registry"),
        is_last=True,
    ),
)
