"""Which tables each report reads, and which of them it waits for."""

SHOP_TABLES = ("users", "promo_codes", "promo_usages")
WEB_TABLES = ("web_sessions", "web_conversions", "web_session_costs")
CLEANED = tuple(f"cleaned/{table}" for table in SHOP_TABLES)
RECEIVED = ("raw/users", "raw/promo_usages")
"""What tells when the shop was last read."""
LAYERS = ("raw", "cleaned", "quarantine")
READS: dict[str, tuple[str, ...]] = {
    "promo_abuse": (
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
    "model_monitoring": (
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
    "data_quality": tuple(
        f"{layer}/{table}" for layer in LAYERS for table in (*SHOP_TABLES, *WEB_TABLES)
    ),
    "attribution": (
        *(f"{layer}/{table}" for layer in LAYERS for table in WEB_TABLES),
        "modeled/customer_journeys",
        "modeled/customer_paths",
        "modeled/attribution",
        "modeled/attributed_conversions",
        "modeled/channel_reporting",
        "modeled/attribution_runs",
    ),
    "index": (*CLEANED, *RECEIVED, "ml/abuse_scores", "ml/model_registry"),
}
"""Report → the tables that it reads; `index`, which links to the others, comes last."""
UNAWAITED = {
    "data_quality": frozenset(f"{layer}/{table}" for layer in LAYERS for table in WEB_TABLES)
}
"""Report → what it reads as it is: a failure of the web does not keep the shop's quality back."""
AFTERWARDS = ("data_quality", "index")
"""Reports that show what the attribution report's run made: looked at again after it."""
