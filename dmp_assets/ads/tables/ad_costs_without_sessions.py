"""modeled/ad_costs_without_sessions: what campaigns cost that no visit of the web carries.

Grain: a campaign on a day. Key: advertiser_id, campaign_id, date. Sources:
modeled/ad_performance_daily, and where they are there cleaned/web_sessions and
cleaned/web_session_costs.

The web knows a cost by the visit that it bought. What is paid for being seen alone, or for clicks
that never became a visit, is in no visit, and a channel looks cheaper than it is. So this is what
the platform says that a campaign cost, less what its visits carry: with both the channel costs what
was paid. The account's days are not the web's: on a day it may be below 0, and the next makes up
for it. Days are those of which both tell, and whose spend is known. One web database is of one
shop: DMP_WEB_ADVERTISER says whose, where there are several advertisers.
"""

from dmp_assets.ads.settings import AdsSettings, currency_of_sums
from dmp_assets.platform.cleaning.machine_values import AMOUNT
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.sources.web.settings import WebSettings

COLUMNS = {
    "advertiser_id": Column("string", "Whose campaign it is."),
    "campaign_id": Column("string", "The campaign."),
    "campaign_name": Column("string", "What it is called."),
    "channel_name": Column("string", "The web's channel that it belongs to."),
    "date": Column("date", "Day, of the account's time zone."),
    "cost": Column(
        AMOUNT, "What it cost less what its visits carry, in the web's currency (DMP_CURRENCY)."
    ),
}
KEY = ("advertiser_id", "campaign_id", "date")
WEB = ("cleaned/web_sessions", "cleaned/web_session_costs")
_QUERY = """
WITH spent AS (
  SELECT advertiser_id, coalesce(campaign_id, '') AS campaign_id,
         any_value(campaign_name) AS campaign_name, date, sum(spend_in_sums) AS cost,
         bool_and(spend_in_sums IS NOT NULL OR spend = 0) AS is_known
  FROM modeled.ad_performance_daily WHERE advertiser_id = $advertiser GROUP BY ALL
),
named AS (
  SELECT campaign_name, min(campaign_id) AS campaign_id FROM spent
  WHERE campaign_name IS NOT NULL GROUP BY ALL
),
visits AS (
  SELECT n.campaign_id, s.event_at::DATE AS date, sum(c.cost) AS carried
  FROM cleaned.web_session_costs c JOIN cleaned.web_sessions s USING (session_id)
  JOIN named n USING (campaign_name)
  WHERE c.cost > 0 AND list_contains($channels, s.channel_name) GROUP BY ALL
),
ids AS (
  SELECT campaign_id, min(campaign_name) AS campaign_name FROM spent GROUP BY campaign_id
),
web AS (SELECT min(event_at)::DATE AS first, max(event_at)::DATE AS last FROM cleaned.web_sessions)
SELECT $advertiser AS advertiser_id, campaign_id,
       coalesce(s.campaign_name, ids.campaign_name) AS campaign_name,
       $channel AS channel_name, date,
       (coalesce(s.cost, 0) - coalesce(carried, 0))::DECIMAL(18, 4) AS cost
FROM spent s FULL JOIN visits USING (campaign_id, date) JOIN ids USING (campaign_id)
WHERE date BETWEEN (SELECT first FROM web) AND (SELECT last FROM web)
  AND date BETWEEN (SELECT min(date) FROM spent) AND (SELECT max(date) FROM spent)
  AND coalesce(s.cost, 0) <> coalesce(carried, 0) AND coalesce(is_known, true)
ORDER BY ALL
"""


@table_asset(
    "modeled",
    deps=["modeled/ad_performance_daily"],
    where_there=WEB,
    columns=COLUMNS,
    key=KEY,
    settings=["currency", "ads_currency", "ads_meta_channels", "web_advertiser"],
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "advertiser_and_currency_known",
            None,
            "It is known whose the web's visits are (DMP_WEB_ADVERTISER), and sums are in "
            "their currency; else costs without visits reach no channel.",
        ),
    ),
)
def ad_costs_without_sessions(run: TableRun) -> None:
    """What campaigns cost that no visit of the web carries.

    Grain: a campaign on a day. Key: advertiser_id, campaign_id, date. Sources:
    modeled/ad_performance_daily, cleaned/web_sessions, cleaned/web_session_costs.
    """
    own = run.settings.of(AdsSettings)
    empty = arrow_schema(COLUMNS).empty_table()
    if not own.ads_meta_channels or not all(run.exists(key) for key in WEB):
        run.overwrite(empty)
        return
    found = run.sql("SELECT DISTINCT advertiser_id FROM modeled.ad_performance_daily ORDER BY 1")
    there = found["advertiser_id"].to_pylist()
    advertiser = run.settings.of(WebSettings).web_advertiser or (
        there[0] if len(there) == 1 else ""
    )
    currency = currency_of_sums(run.settings)
    if there and not advertiser:
        run.metadata["problem"] = (
            f"{len(there)} advertisers, and nothing says whose the web's visits are: set "
            "DMP_WEB_ADVERTISER"
        )
    elif currency != run.settings.currency:
        advertiser = ""
        run.metadata["problem"] = (
            f"sums are in {currency} (DMP_ADS_CURRENCY) and the web's costs in "
            f"{run.settings.currency} (DMP_CURRENCY)"
        )
    if not advertiser:
        run.overwrite(empty)
        return
    told = {
        "advertiser": advertiser,
        "channels": own.ads_meta_channels,
        "channel": own.ads_meta_channels[0],
    }
    run.overwrite(run.sql(_QUERY, told).cast(arrow_schema(COLUMNS)))
