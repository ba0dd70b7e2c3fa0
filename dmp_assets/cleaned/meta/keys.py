"""Keys of the tables of Meta, as received and cleaned, for who reads them."""

from dmp_assets.platform.faces.domain import Source

TABLES = (
    "meta_accounts", "meta_campaigns", "meta_ad_sets", "meta_ads", "meta_creatives",
    "meta_insights", "meta_insight_readings", "ad_accounts", "ads", "ad_insights",
)  # fmt: skip
SOURCE = Source("meta", TABLES, {"cleaned/ad_insights": "date"})
