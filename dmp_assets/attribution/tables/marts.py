"""marts of attribution: channels, by day and in all."""

from dmp_assets.platform.marts.mart import Mart

MARTS = (
    Mart(
        "channel_performance",
        "What each channel cost on each day (UTC) and what it earned by each attribution model. "
        "One row per channel, day and model; filter on one model before you add up.",
        {
            "channel_name": "the channel",
            "date": "day of the sessions (UTC) that cost and earned",
            "model": "attribution model that shared the conversions out",
            "cost": "cost of the channel's sessions of the day; the same by every model",
            "conversions": "conversions credited to them",
            "revenue": "revenue credited to them",
            "cpo": "cost per order: cost / conversions; null without conversions",
            "roas": "return on ad spend: revenue / cost; null without cost",
            "is_open": "later conversions will add to the day",
        },
        """
        SELECT channel_name, date, model, cost, conversions, revenue, cpo, roas, is_open
        FROM modeled.channel_reporting ORDER BY date, channel_name, model
        """,
    ),
    Mart(
        "channel_totals",
        "The same over all days. One row per channel and model.",
        {
            "channel_name": "the channel",
            "model": "attribution model that shared the conversions out",
            "cost": "cost of the channel's sessions",
            "conversions": "conversions credited to them",
            "revenue": "revenue credited to them",
            "cpo": "cost per order: cost / conversions; null without conversions or cost",
            "roas": "return on ad spend: revenue / cost; null without cost",
            "first_date": "first day (UTC) with cost or credit",
            "last_date": "last such day",
        },
        """
        WITH summed AS (  -- decimals: floats add up to other last bits in another order
          SELECT channel_name, model, sum(cost) AS cost,
                 sum(conversions::DECIMAL(38, 9))::DOUBLE AS conversions,
                 sum(revenue::DECIMAL(38, 9))::DOUBLE AS revenue,
                 min(date) AS first_date, max(date) AS last_date
          FROM modeled.channel_reporting GROUP BY ALL
        )
        SELECT channel_name, model, cost, conversions, revenue,
               CASE WHEN conversions > 0 AND cost > 0 THEN cost::DOUBLE / conversions END AS cpo,
               CASE WHEN cost > 0 THEN revenue / cost::DOUBLE END AS roas,
               first_date, last_date
        FROM summed ORDER BY channel_name, model
        """,
    ),
)
