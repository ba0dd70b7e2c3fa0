"""modeled/channel_reporting: cost per order and return on ad spend, by channel, day and model.

Grain: one channel on one day by one model. Key: channel_name, date, model.
Sources: modeled/attribution, modeled/attributed_conversions, modeled/customer_journeys,
cleaned/web_session_costs, cleaned/web_sessions, and modeled/ad_costs_without_sessions where that is
there.

The day is the session's: cost and the credit that it earned, whenever the conversion came. A
channel is there on every day on which it has cost or credit. Every run computes all days from all
credits stored so far, so the days that new journeys touch are always right.
"""

from dmp_assets.attribution.model.maturity import DELAY, open_days
from dmp_assets.attribution.model.models import IHC, models_of
from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.cleaned.web.web_values import MONEY
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "channel_name": Column("string", "Channel."),
    "date": Column("date", "Day of the sessions (UTC)."),
    "model": Column("string", "Attribution model that shared the conversions out."),
    "cost": Column(
        "decimal(18,8)",
        "Cost of the channel's sessions of the day in EUR; the same by every model.",
    ),
    "conversions": Column("double", "Conversions credited to them."),
    "revenue": Column("double", "Revenue credited to them in EUR."),
    "cpo": Column("double", "Cost per order: cost / conversions; null without conversions."),
    "roas": Column("double", "Return on ad spend: revenue / cost; null without cost."),
    "conversions_without_abuse": Column(
        "double", "As conversions, without those of accounts scored as abuse."
    ),
    "revenue_without_abuse": Column(
        "double", "As revenue, without those of accounts scored as promo abuse."
    ),
    "cpo_without_abuse": Column("double", "As cpo, of these conversions."),
    "roas_without_abuse": Column("double", "As roas, of this revenue."),
    "is_open": Column(
        "boolean",
        "Younger than the delay within which nine in ten touchpoints had their conversion "
        "(at most the lookback window): later conversions add to it.",
    ),
}


_OF_SESSIONS = """
  SELECT channel_name, event_at::DATE AS date, sum(cost) AS cost
  FROM cleaned.web_session_costs JOIN cleaned.web_sessions USING (session_id)
  GROUP BY ALL
"""
WITHOUT_SESSIONS = "modeled/ad_costs_without_sessions"
"""Costs of campaigns that no session carries; of a domain that a home may not have."""
_OF_ALL = f"""
  SELECT channel_name, date, sum(cost)::{MONEY} AS cost FROM (
    {_OF_SESSIONS} UNION ALL
    SELECT channel_name, date, cost FROM modeled.ad_costs_without_sessions
  ) GROUP BY ALL
"""


def report(*, without_sessions: bool) -> str:
    """SQL of cost and credit by channel, day and model. Decimals add up to the same in whatever
    order. Parameters: `models`, by which cost is there though nothing was converted, and `days`,
    after which a day is closed. `without_sessions`: whether there are such costs."""
    spent = _OF_ALL if without_sessions else _OF_SESSIONS
    return f"""
WITH earned AS (
  SELECT channel_name, session_date AS date, model,
         sum(credit)::DOUBLE AS conversions,
         sum(money)::DOUBLE AS revenue,
         (sum(credit) FILTER (is_promo_abuse IS NOT TRUE))::DOUBLE AS conversions_without_abuse,
         (sum(money) FILTER (is_promo_abuse IS NOT TRUE))::DOUBLE AS revenue_without_abuse
  FROM (
    SELECT channel_name, session_date, model, is_promo_abuse,
           credit::DECIMAL(38, 17) AS credit,
           (credit * revenue::DOUBLE)::DECIMAL(38, 16) AS money
    FROM modeled.attribution JOIN modeled.attributed_conversions USING (conv_id)
  )
  GROUP BY ALL
), spent AS ({spent}), everything AS (
  SELECT channel_name, date, model
  FROM (SELECT channel_name, date FROM earned UNION SELECT channel_name, date FROM spent)
  CROSS JOIN (SELECT unnest($models::VARCHAR[]) AS model UNION SELECT model FROM earned)
), figures AS (
  SELECT channel_name, date, model,
         coalesce(cost, 0)::{MONEY} AS cost,
         round(coalesce(conversions, 0), 9) AS conversions,
         round(coalesce(revenue, 0), 9) AS revenue,
         round(coalesce(conversions_without_abuse, 0), 9) AS conversions_without_abuse,
         round(coalesce(revenue_without_abuse, 0), 9) AS revenue_without_abuse
  FROM everything LEFT JOIN spent USING (channel_name, date)
  LEFT JOIN earned USING (channel_name, date, model)
), newest AS (SELECT max(event_at)::DATE AS day FROM cleaned.web_sessions)
SELECT *,
       CASE WHEN conversions > 0 THEN cost::DOUBLE / conversions END AS cpo,
       CASE WHEN cost > 0 THEN revenue / cost::DOUBLE END AS roas,
       CASE WHEN conversions_without_abuse > 0
            THEN cost::DOUBLE / conversions_without_abuse END AS cpo_without_abuse,
       CASE WHEN cost > 0 THEN revenue_without_abuse / cost::DOUBLE END AS roas_without_abuse,
       coalesce(date > (SELECT day FROM newest) - $days::INTEGER, false) AS is_open
FROM figures
ORDER BY date, channel_name, model
"""


def _cost_agrees(spent: str) -> str:
    """SQL of the channels and days whose cost is another than what was spent, or by models."""
    return f"""
        WITH reported AS (
          SELECT date, channel_name, min(cost) AS least, max(cost) AS most
          FROM modeled.channel_reporting GROUP BY ALL
        ), spent AS ({spent})
        SELECT count(*) FROM spent FULL JOIN reported USING (date, channel_name)
        WHERE coalesce(spent.cost, 0) IS DISTINCT FROM least OR least <> most
    """


CHECKS = (
    Check(
        "cost_agrees",
        _cost_agrees(_OF_SESSIONS),
        "Every channel's cost of every day is reported to the last decimal.",
        blocking=True,
        with_table=(WITHOUT_SESSIONS, _cost_agrees(_OF_ALL)),
    ),
    Check(
        "revenue_agrees",
        """
        WITH given AS (
          SELECT model, sum(revenue) AS revenue, sum(conversions) AS conversions
          FROM modeled.channel_reporting GROUP BY model
        ), had AS (
          SELECT a.model, sum(c.revenue)::DOUBLE AS revenue, count(*) AS conversions
          FROM (SELECT DISTINCT conv_id, model FROM modeled.attribution) a
          JOIN modeled.attributed_conversions c USING (conv_id) GROUP BY a.model
        )
        SELECT count(*) FROM had LEFT JOIN given USING (model)
        WHERE coalesce(abs(had.conversions - given.conversions), 1)
              > 1e-4 * had.conversions + 1e-6
           OR coalesce(abs(had.revenue - given.revenue), 1) > 1e-4 * had.revenue + 1e-6
        """,
        "Credited revenue and conversions are those of the attributed conversions.",
        blocking=True,
    ),
)


@table_asset(
    "modeled",
    deps=[
        "modeled/attribution", "modeled/attributed_conversions", "modeled/customer_journeys",
        "cleaned/web_session_costs", "cleaned/web_sessions",
    ],
    where_there=[WITHOUT_SESSIONS],
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    columns=COLUMNS,
    key=("channel_name", "date", "model"),
    settings=["lookback_days", "markov_orders"],
    daily="date",
    first_day="web_first_day",
    checks=CHECKS,
)  # fmt: skip
def channel_reporting(run: TableRun) -> None:
    """Cost per order and return on ad spend, by channel, day and model.

    Grain: one channel on one day by one model. Key: channel_name, date, model.
    Sources: modeled/attribution, modeled/attributed_conversions, modeled/customer_journeys,
    cleaned/web_session_costs, cleaned/web_sessions.
    """
    own = run.settings.of(AttributionSettings)
    measured = run.sql(DELAY)["days"].to_pylist()[0]
    days = open_days(measured, own.lookback_days)
    models = [*models_of(own.markov_orders), IHC]
    query = report(without_sessions=run.exists(WITHOUT_SESSIONS))
    run.overwrite(run.sql(query, {"models": models, "days": days}).select(list(COLUMNS)))
