"""modeled/ad_performance_daily: what each ad cost and delivered on each day, and what Meta claims.

Grain: an ad on a day of its account's time zone. Key: advertiser_id, account_id, ad_id, date.
Sources: cleaned/meta_insights, modeled/ads, modeled/ad_accounts, cleaned/rates.
"""

from dmp_assets.ads.settings import currency_of_sums
from dmp_assets.ads.tables.ads import ACCOUNT_COLUMNS, AD_COLUMNS
from dmp_assets.ads.tables.exchange_rates import RATE, with_rate
from dmp_assets.cleaned.meta.meta_insights import COLUMNS as INSIGHTS
from dmp_assets.cleaned.meta.meta_insights import PURCHASES, VALUES
from dmp_assets.platform.cleaning.machine_values import AMOUNT
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

KEY = ("advertiser_id", "account_id", "ad_id", "date")
_NAMES = ("ad_name", "adset_name", "campaign_name")
COLUMNS = {
    **{name: INSIGHTS[name] for name in KEY},
    "campaign_id": AD_COLUMNS["campaign_id"],
    "adset_id": AD_COLUMNS["adset_id"],
    **{name: AD_COLUMNS[name] for name in _NAMES},
    **{name: INSIGHTS[name] for name in ("impressions", "reach", "clicks", "inline_link_clicks")},
    "currency": ACCOUNT_COLUMNS["currency"],
    "spend": INSIGHTS["spend"],
    **PURCHASES,
    **VALUES,
    "attribution_setting": INSIGHTS["attribution_setting"],
    "rate": Column(RATE, "What one unit of the currency is worth in that of sums; null: unknown."),
    "spend_in_sums": Column(AMOUNT, "The spend in the currency of sums; null: no rate."),
    "purchase_value_in_sums": Column(AMOUNT, "The claimed value in it; null: no rate."),
    "is_open": INSIGHTS["is_open"],
}
_ROWS = """
SELECT i.* REPLACE (coalesce(i.currency, c.currency) AS currency), a.ad_name, a.adset_name,
       a.campaign_name
FROM cleaned.meta_insights i
LEFT JOIN modeled.ads a USING (advertiser_id, account_id, ad_id)
LEFT JOIN modeled.ad_accounts c USING (advertiser_id, account_id)
"""
_QUERY = f"""
SELECT *, (spend * rate)::DECIMAL(18, 4) AS spend_in_sums,
       (purchase_value * rate)::DECIMAL(18, 4) AS purchase_value_in_sums
FROM ({with_rate(_ROWS, "date")})
"""


@table_asset(
    "modeled",
    deps=["cleaned/meta_insights", "modeled/ads", "modeled/ad_accounts", "cleaned/rates"],
    columns=COLUMNS,
    key=KEY,
    settings=["currency", "ads_currency"],
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "spend_agrees",
            """
            SELECT count(*) FROM (
              SELECT advertiser_id, account_id, date, sum(spend) AS spend
              FROM cleaned.meta_insights GROUP BY ALL
            ) FULL JOIN (
              SELECT advertiser_id, account_id, date, sum(spend) AS modeled
              FROM modeled.ad_performance_daily GROUP BY ALL
            ) USING (advertiser_id, account_id, date)
            WHERE spend IS DISTINCT FROM modeled
            """,
            "The spend of every account and day is what Meta told, to the last decimal.",
            blocking=True,
        ),
        Check(
            "rates_known",
            """
            SELECT count(*) AS offending, string_agg(DISTINCT currency, ', ') AS currencies
            FROM modeled.ad_performance_daily WHERE rate IS NULL
            """,
            "Every currency has a rate (DMP_ADS_EXCHANGE_RATES); a sum without one is unknown.",
        ),
    ),
)
def ad_performance_daily(run: TableRun) -> None:
    """What each ad cost and delivered on each day, and what Meta claims of it.

    Grain: an ad on a day of its account's time zone. Key: advertiser_id, account_id, ad_id, date.
    Sources: cleaned/meta_insights, modeled/ads, modeled/ad_accounts, cleaned/rates.
    """
    columns = ", ".join(COLUMNS)
    found = run.sql(
        f"SELECT {columns} FROM ({_QUERY}) ORDER BY {', '.join(KEY)}",
        {"currency": currency_of_sums(run.settings)},
    )
    run.overwrite(found)
