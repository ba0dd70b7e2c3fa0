"""modeled/ad_accounts and modeled/ads: the accounts and ads of Meta as they are now.

Grain: an account; an ad. Sources: raw/meta_accounts, raw/meta_campaigns, raw/meta_ad_sets,
raw/meta_ads, raw/meta_creatives, cleaned/meta_exports. What Meta does not list any more is there as
it was last, and so is what only files tell of.
"""

from urllib.parse import parse_qsl

import pyarrow as pa

from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.raw.meta_readings import ACCOUNT, ADVERTISER

UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content")
ACCOUNT_COLUMNS = {
    "advertiser_id": ADVERTISER,
    "account_id": ACCOUNT,
    "name": Column("string", "What it is called."),
    "currency": Column("string", "Its currency (ISO 4217)."),
    "timezone": Column("string", "Its time zone, of which its days are."),
    "account_status": Column("string", "1 active; by anything else nothing is written to it."),
    "is_listed": Column("boolean", "False: Meta did not list it any more."),
}
AD_COLUMNS = {
    "advertiser_id": ADVERTISER,
    "account_id": ACCOUNT,
    "ad_id": Column("string", "The ad."),
    "ad_name": Column("string", "What it is called."),
    "adset_id": Column("string", "Its ad set."),
    "adset_name": Column("string", "What that is called."),
    "campaign_id": Column("string", "Its campaign."),
    "campaign_name": Column("string", "What that is called."),
    "objective": Column("string", "What the campaign is to bring."),
    "effective_status": Column("string", "Its status with those above it and the review."),
    "creative_title": Column("string", "The headline of what it shows."),
    "creative_body": Column("string", "The text of what it shows."),
    **{name: Column("string", f"{name} that its links carry.") for name in UTM},
    "is_listed": Column("boolean", "False: Meta did not list it any more."),
}


def latest(table: str, key: str) -> str:
    """SQL of the last state of each thing of a raw table. Its key is within an account."""
    return (
        f"SELECT * FROM raw.{table} QUALIFY row_number() OVER "
        f"(PARTITION BY advertiser_id, account_id, {key} ORDER BY read_at DESC) = 1"
    )


_IN_FILES = ("ad_name", "adset_id", "adset_name", "campaign_id", "campaign_name", "objective")
_NEWEST = "arg_max({0}, (received_at, file_number, line))"
_ACCOUNTS = f"""
WITH told AS (
  SELECT advertiser_id, account_id, name, upper(currency) AS currency, timezone_name AS timezone,
         account_status, is_listed
  FROM ({latest("meta_accounts", "account_id")})
)
FROM told UNION ALL BY NAME (
  SELECT advertiser_id, account_id, {_NEWEST.format("currency")} AS currency,
         {_NEWEST.format("timezone")} AS timezone, false AS is_listed
  FROM cleaned.meta_exports ANTI JOIN told USING (advertiser_id, account_id) GROUP BY ALL
) ORDER BY advertiser_id, account_id
"""
_ADS = f"""
WITH told AS (
SELECT advertiser_id, account_id, a.ad_id, a.name AS ad_name, a.adset_id, s.name AS adset_name,
       coalesce(a.campaign_id, s.campaign_id) AS campaign_id, c.name AS campaign_name, c.objective,
       a.effective_status, k.url_tags, a.is_listed,
       coalesce(nullif(k.title, ''), story->>'$.link_data.name', story->>'$.video_data.title',
                feed->>'$.titles[0].text') AS creative_title,
       coalesce(nullif(k.body, ''), story->>'$.link_data.message', story->>'$.video_data.message',
                feed->>'$.bodies[0].text') AS creative_body
FROM ({latest("meta_ads", "ad_id")}) a
LEFT JOIN ({latest("meta_ad_sets", "adset_id")}) s
  USING (advertiser_id, account_id, adset_id)
LEFT JOIN ({latest("meta_campaigns", "campaign_id")}) c
  ON (c.advertiser_id, c.account_id, c.campaign_id)
   = (a.advertiser_id, a.account_id, coalesce(a.campaign_id, s.campaign_id))
LEFT JOIN (
  SELECT *, TRY_CAST(object_story_spec AS JSON) AS story, TRY_CAST(asset_feed_spec AS JSON) AS feed
  FROM ({latest("meta_creatives", "creative_id")})
) k
  ON (k.advertiser_id, k.account_id, k.creative_id)
   = (a.advertiser_id, a.account_id, TRY_CAST(a.creative AS JSON)->>'$.id')
)
FROM told UNION ALL BY NAME (
  SELECT advertiser_id, account_id, ad_id, {
    ", ".join(f"{_NEWEST.format(name)} AS {name}" for name in _IN_FILES)
}, false AS is_listed
  FROM cleaned.meta_exports ANTI JOIN told USING (advertiser_id, account_id, ad_id) GROUP BY ALL
) ORDER BY advertiser_id, account_id, ad_id
"""


@table_asset(
    "modeled",
    deps=["raw/meta_accounts", "cleaned/meta_exports"],
    columns=ACCOUNT_COLUMNS,
    key=("advertiser_id", "account_id"),
    owner="team:marketing",
    kinds=("duckdb", "delta"),
)
def ad_accounts(run: TableRun) -> None:
    """Ad accounts as they are now.

    Grain: an account. Key: advertiser_id, account_id. Sources: raw/meta_accounts,
    cleaned/meta_exports.
    """
    run.overwrite(run.sql(_ACCOUNTS))


@table_asset(
    "modeled",
    deps=[
        "raw/meta_ads",
        "raw/meta_ad_sets",
        "raw/meta_campaigns",
        "raw/meta_creatives",
        "cleaned/meta_exports",
    ],
    columns=AD_COLUMNS,
    key=("advertiser_id", "account_id", "ad_id"),
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "campaigns_known",
            "SELECT count(*) FROM modeled.ads WHERE campaign_name IS NULL",
            "Every ad's campaign is known by name.",
        ),
    ),
)
def ads(run: TableRun) -> None:
    """Ads as they are now, with their ad set, campaign, creative and the UTM parameters of links.

    Grain: an ad. Key: advertiser_id, account_id, ad_id. Sources: raw/meta_ads, raw/meta_ad_sets,
    raw/meta_campaigns, raw/meta_creatives, cleaned/meta_exports.
    """
    found = run.sql(_ADS)
    tags = [dict(parse_qsl((text or "").lstrip("?&"))) for text in found["url_tags"].to_pylist()]
    for name in UTM:
        told = pa.array([one.get(name) for one in tags], pa.string())
        found = found.append_column(name, told)
    run.overwrite(found.select(list(AD_COLUMNS)).cast(arrow_schema(AD_COLUMNS)))
