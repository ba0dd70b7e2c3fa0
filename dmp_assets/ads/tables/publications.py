"""published tables of ad performance, which the API and the pages serve."""

from dmp_assets.ads.parts import BRIDGE, LEDGER
from dmp_assets.ads.tables.exchange_rates import in_sums, summed
from dmp_assets.platform.published.publication import Publication

_OWNER = "team:marketing"


def _zero(*names: str, kind: str = "DECIMAL(18, 4)") -> str:
    return ", ".join(f"coalesce({name}, 0)::{kind} AS {name}" for name in names)


PUBLICATIONS = (
    Publication(
        "ads_advertisers",
        "How far the rows of an advertiser go, from which day on ads and orders are both known, "
        "and which days may still change. Key: advertiser_id.",
        "SELECT advertiser_id, min(date) AS first_day, max(date) AS last_day, "
        "greatest(min(date) FILTER (campaign_id <> ''), min(date) FILTER (orders > 0), min(date)) "
        "AS whole_from, min(date) FILTER (is_open) AS open_from FROM modeled.ad_roi_daily "
        "GROUP BY ALL",
        owner=_OWNER,
    ),
    Publication(
        "ad_accounts",
        "Ad accounts as they are now. Key: advertiser_id, account_id.",
        "SELECT advertiser_id, account_id, name, currency, timezone, account_status, "
        "coalesce(is_listed, false) AS is_listed FROM modeled.ad_accounts",
        owner=_OWNER,
    ),
    Publication(
        "ads",
        "Ads as they are now, with their ad set and campaign. "
        "Key: advertiser_id, account_id, ad_id.",
        "SELECT advertiser_id, account_id, ad_id, ad_name, adset_id, adset_name, campaign_id, "
        "campaign_name, objective, effective_status, creative_title, creative_body, "
        "coalesce(is_listed, false) AS is_listed "
        "FROM modeled.ads",
        owner=_OWNER,
    ),
    Publication(
        "ad_performance_daily",
        "What ads cost and delivered, and what Meta claims; amounts in the currency of sums, null "
        "without a rate. Key: advertiser_id, date, account_id, ad_id.",
        "SELECT advertiser_id, date, account_id, ad_id, coalesce(adset_id, '') AS adset_id, "
        "coalesce(campaign_id, '') AS campaign_id, "
        f"{_zero('impressions', 'clicks', 'purchases', kind='BIGINT')}, "
        f"({in_sums('spend')})::DECIMAL(18, 4) AS spend, "
        f"({in_sums('purchase_value')})::DECIMAL(18, 4) AS purchase_value, "
        "coalesce(is_open, false) AS is_open FROM modeled.ad_performance_daily",
        owner=_OWNER,
    ),
    Publication(
        "ads_campaigns_daily",
        "Sums of what ads cost, delivered and claim by campaign and day, in the currency of sums; "
        "null where a part has no rate. Key: advertiser_id, date, account_id, campaign_id.",
        "SELECT advertiser_id, date, account_id, coalesce(campaign_id, '') AS campaign_id, "
        + ", ".join(
            f"coalesce(sum({name}), 0)::BIGINT AS {name}"
            for name in ("impressions", "clicks", "purchases")
        )
        + f", ({summed('spend')})::DECIMAL(18, 4) AS spend, "
        f"({summed('purchase_value')})::DECIMAL(18, 4) AS purchase_value, "
        "coalesce(bool_or(is_open), false) AS is_open FROM modeled.ad_performance_daily "
        "GROUP BY ALL",
        owner=_OWNER,
    ),
    Publication(
        "ad_roi_daily",
        "What advertising cost and earned by campaign and day, and of all campaigns. "
        "Key: advertiser_id, date, campaign_id.",
        "SELECT advertiser_id, date, campaign_id, campaign_name, spend, platform_value, "
        "platform_purchases, modelled_revenue, modelled_contribution, modelled_orders, revenue, "
        "contribution, orders, new_customers, known_customers, is_open FROM modeled.ad_roi_daily",
        owner=_OWNER,
    ),
    Publication(
        "conversion_bridge",
        "From what Meta claims to the orders that there are, in the account's currency. "
        "Key: advertiser_id, date, account_id.",
        "SELECT advertiser_id, date, account_id, currency, "
        + ", ".join(f"{part}_orders, {part}_value" for part in BRIDGE)
        + ", is_open FROM modeled.conversion_bridge",
        owner=_OWNER,
    ),
    Publication(
        "ads_orders_daily",
        "Sums of the order ledger by shop and day, in the shop's currency. "
        "Key: advertiser_id, date, shop.",
        "SELECT advertiser_id, date, shop, any_value(currency) AS currency, "
        "count(*) FILTER (entry = 'sale') AS orders, "
        + ", ".join(f"coalesce(sum({name}), 0)::DECIMAL(18, 4) AS {name}" for name in LEDGER)
        + " FROM modeled.order_ledger WHERE date IS NOT NULL GROUP BY advertiser_id, date, shop",
        owner=_OWNER,
    ),
    Publication(
        "ads_claims_daily",
        "Who says of the orders of a day that they are theirs, tax included, in the currency of "
        "sums; null without a rate. Key: advertiser_id, date, claimant, channel, campaign.",
        "SELECT c.advertiser_id, date, claimant, channel, campaign, bool_or(is_meta) AS is_meta, "
        "sum(credit::DECIMAL(38, 17))::DOUBLE AS orders, "
        "CASE WHEN bool_or(c.value <> 0 AND rate IS NULL) IS NOT TRUE THEN "
        "coalesce(sum((c.value * rate)::DECIMAL(18, 4)), 0) END::DECIMAL(18, 4) AS value "
        "FROM modeled.conversion_claims c "
        "JOIN modeled.order_ledger USING (advertiser_id, shop, order_id) "
        "WHERE entry = 'sale' AND date IS NOT NULL "
        "GROUP BY c.advertiser_id, date, claimant, channel, campaign",
        owner=_OWNER,
    ),
    Publication(
        "ad_notice_coverage",
        "Up to which day each kind of notice was judged, and why not where there is no data. "
        "Key: advertiser_id, account_id, kind.",
        "SELECT advertiser_id, account_id, kind, judged_through, no_data "
        "FROM ml.ad_notice_coverage",
        owner=_OWNER,
    ),
    Publication(
        "pooled_insight",
        "What works for shops like yours, of ten advertisers at least. Key: period, industry, "
        "size, measure.",
        "SELECT period, industry, size, measure, advertisers, centre, spread "
        "FROM modeled.pooled_insights",
        owner=_OWNER,
    ),
)
