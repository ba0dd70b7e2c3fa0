"""published tables of promo-code abuse, which the API serves."""

from dmp_assets.abuse.tables.marts import MARTS
from dmp_assets.platform.published.publication import Publication

_MARTS = {mart.name: mart.sql for mart in MARTS}
"""What people see as the API's callers do."""

PUBLICATIONS = (
    Publication(
        "user_usage",
        "How each user uses promo codes, with what the model advises. One row per user with a "
        "usage. Key: user_id.",
        """
        SELECT b.user_id, rank() OVER (ORDER BY b.usages DESC) AS rank, b.usages, b.codes,
               b.first_used_at, b.last_used_at, s.decision, s.probability
        FROM modeled.promo_usage_by_user b LEFT JOIN ml.abuse_scores s USING (user_id)
        """,
    ),
    Publication(
        "account_score",
        "What the model says of each known account, and how many abusers it expects in its "
        "cluster. One row per user. Key: user_id.",
        """
        SELECT s.user_id, u.created_at AS registered_at, s.probability,
               s.decision, to_json(s.reasons)::VARCHAR AS reasons, c.cluster_id,
               coalesce(c.cluster_size, 1) AS cluster_size,
               (sum(s.probability::DECIMAL(18, 17))
                   OVER (PARTITION BY coalesce(c.cluster_id, s.user_id)))::DOUBLE
                   AS expected_abusers,
               s.model_version, s.scored_at
        FROM ml.abuse_scores s JOIN cleaned.users u USING (user_id)
        LEFT JOIN modeled.account_clusters c USING (user_id)
        """,
        owner="team:risk",
    ),
    Publication(
        "code_usage",
        "How each promo code is used. One row per code. Key: promo_code.",
        f"SELECT *, rank() OVER (ORDER BY usages DESC) AS rank "
        f"FROM ({_MARTS['promo_code_performance']})",
    ),
    Publication(
        "daily_activity",
        "Registrations and redemptions per day (UTC), days without any included. Key: date.",
        _MARTS["daily_activity"],
    ),
)
