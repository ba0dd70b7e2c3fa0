"""published tables of attribution, which the API serves."""

from dmp_assets.platform.published.publication import Publication

PUBLICATIONS = (
    Publication(
        "channel_reporting",
        "Cost and credit by day of the sessions (UTC), channel and attribution model. "
        "Key: date, channel_name, model.",
        "SELECT date, channel_name, model, cost, conversions, revenue, conversions_without_abuse, "
        "revenue_without_abuse, is_open FROM modeled.channel_reporting",
        owner="team:marketing",
    ),
)
