"""published tables of budgets, which the API serves."""

from dmp_assets.platform.published.publication import Publication

_OWNER = "team:marketing"
_KEPT_DAYS = 400

PUBLICATIONS = (
    Publication(
        "ads_budget_forecasts",
        "Forecasts of contribution before ads, as they were made, of the last 400 days. Key: "
        "advertiser_id, forecast_id, day, days.",
        f"""
        SELECT * FROM ml.ads_budget_forecasts
        QUALIFY made_at > max(made_at) OVER () - INTERVAL {_KEPT_DAYS} DAY
        """,
        owner=_OWNER,
    ),
    Publication(
        "ads_forecast_scores",
        "How good each forecast was whose days are closed. Key: advertiser_id, forecast_id, "
        "horizon.",
        "SELECT * FROM ml.ads_forecast_scores",
        owner=_OWNER,
    ),
    Publication(
        "ads_budget_advice",
        "The newest advice by campaign. Key: advertiser_id, campaign_id.",
        "SELECT * FROM ml.ads_budget_advice",
        owner=_OWNER,
    ),
    Publication(
        "ads_budget_curves",
        "The curves behind the advice by campaign. Key: advertiser_id, campaign_id.",
        "SELECT * FROM ml.ads_budget_curves",
        owner=_OWNER,
    ),
    Publication(
        "ad_budgets",
        "Budgets as they stand at Meta. Key: advertiser_id, account_id, object_id.",
        "SELECT * FROM modeled.ad_budgets",
        owner=_OWNER,
    ),
)
