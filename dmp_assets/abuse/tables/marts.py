"""marts of promo-code abuse: accounts, codes, days, clusters, what was flagged and why."""

from collections.abc import Mapping

from dmp_assets.platform.marts.mart import Mart, Personal

_USER: Personal = ("identifier", "user_id")
_PERSONAL: Mapping[str, Mapping[str, Personal]] = {
    "promo_abuse_accounts": {
        "user_id": _USER,
        "registered_at": ("behaviour", None),
        "decision": ("profile", None),
        "probability": ("profile", None),
        "reasons": ("profile", None),
        "usages": ("behaviour", None),
        "codes": ("behaviour", None),
        "first_used_at": ("behaviour", None),
        "cluster_id": _USER,
        "cluster_size": ("profile", None),
        "labelled_abuser": ("profile", None),
    },
    "top_users": {
        "user_id": _USER,
        "usages": ("behaviour", None),
        "codes": ("behaviour", None),
        "first_used_at": ("behaviour", None),
        "last_used_at": ("behaviour", None),
        "decision": ("profile", None),
        "probability": ("profile", None),
    },
    "risky_clusters": {"cluster_id": _USER},
}
"""Mart → its columns that hold personal data."""

MARTS = (
    Mart(
        "promo_abuse_accounts",
        "Every scored account: how likely it abuses promo codes, and why. One row per user.",
        {
            "user_id": "id of the user in the shop",
            "registered_at": "time of registration (UTC)",
            "decision": "allow, review or block, by the cost of either mistake",
            "probability": "estimated probability that the account abuses promo codes, 0 to 1",
            "reasons": "why, in words, the weightiest first",
            "usages": "redemptions of promo codes",
            "codes": "different promo codes redeemed",
            "first_used_at": "time of the first redemption (UTC)",
            "cluster_id": "the cluster of linked accounts (its earliest member); null: no links",
            "cluster_size": "accounts in that cluster; 1: no links",
            "labelled_abuser": "the reviewer's decision, else the shop's label; null: neither",
            "model_version": "model that scored the account",
            "scored_at": "time of scoring (UTC)",
        },
        """
        SELECT s.user_id, u.created_at AS registered_at, s.decision, s.probability,
               array_to_string(list_transform(s.reasons, lambda r: r.text), '; ') AS reasons,
               coalesce(b.usages, 0) AS usages, coalesce(b.codes, 0) AS codes, b.first_used_at,
               c.cluster_id, coalesce(c.cluster_size, 1) AS cluster_size,
               l.is_abuser AS labelled_abuser, s.model_version, s.scored_at
        FROM ml.abuse_scores s
        JOIN cleaned.users u USING (user_id)
        LEFT JOIN modeled.abuse_labels l USING (user_id)
        LEFT JOIN modeled.promo_usage_by_user b USING (user_id)
        LEFT JOIN modeled.account_clusters c USING (user_id)
        ORDER BY s.probability DESC, s.user_id
        """,
        _PERSONAL["promo_abuse_accounts"],
    ),
    Mart(
        "promo_code_performance",
        "Every promo code: its terms and how it is used, by whom. One row per code.",
        {
            "promo_code": "the code",
            "discount_type": "percentage or fixed_amount; null: unknown or disputed",
            "discount_value": "per cent, or money",
            "min_purchase_amount": "least amount of the order",
            "usages": "redemptions",
            "users": "different users who redeemed it",
            "flagged_usages": "redemptions by accounts that are to be reviewed or blocked",
            "first_used_at": "first redemption (UTC)",
            "last_used_at": "last redemption (UTC)",
        },
        """
        SELECT c.promo_code, c.discount_type, c.discount_value, c.min_purchase_amount,
               coalesce(b.usages, 0) AS usages, coalesce(b.users, 0) AS users,
               coalesce(f.flagged, 0) AS flagged_usages, b.first_used_at, b.last_used_at
        FROM cleaned.promo_codes c
        LEFT JOIN modeled.promo_usage_by_code b USING (promo_code)
        LEFT JOIN (
            SELECT promo_code, count(*) AS flagged
            FROM cleaned.promo_usages JOIN ml.abuse_scores USING (user_id)
            WHERE decision <> 'allow' GROUP BY promo_code
        ) f USING (promo_code)
        ORDER BY usages DESC, c.promo_code
        """,
    ),
    Mart(
        "daily_activity",
        "Registrations and redemptions per day (UTC), days without any included.",
        {
            "date": "the day (UTC)",
            "registrations": "accounts registered",
            "verified_email": "of these with a verified e-mail address",
            "verified_phone": "of these with a verified phone number",
            "usages": "redemptions of promo codes",
            "users": "different users who redeemed",
            "first_usages": "redemptions that were a user's first",
        },
        """
        WITH days AS (
            SELECT unnest(generate_series(min(date), max(date), INTERVAL 1 DAY))::DATE AS date
            FROM (SELECT date FROM modeled.registrations_daily
                  UNION ALL SELECT date FROM modeled.promo_usage_daily)
        )
        SELECT date, coalesce(r.registrations, 0) AS registrations,
               coalesce(r.verified_email, 0) AS verified_email,
               coalesce(r.verified_phone, 0) AS verified_phone,
               coalesce(p.usages, 0) AS usages, coalesce(p.users, 0) AS users,
               coalesce(p.first_usages, 0) AS first_usages
        FROM days
        LEFT JOIN modeled.registrations_daily r USING (date)
        LEFT JOIN modeled.promo_usage_daily p USING (date)
        ORDER BY date
        """,
    ),
    Mart(
        "top_users",
        "The users with the most redemptions, with rank; ties share a rank (100 rows).",
        {
            "rank": "place by usages; ties share it",
            "user_id": "id of the user in the shop",
            "usages": "redemptions",
            "codes": "different promo codes",
            "first_used_at": "first redemption (UTC)",
            "last_used_at": "last redemption (UTC)",
            "decision": "allow, review or block; null: not scored",
            "probability": "estimated probability of abuse",
        },
        """
        SELECT rank() OVER (ORDER BY b.usages DESC) AS rank, b.user_id, b.usages, b.codes,
               b.first_used_at, b.last_used_at, s.decision, s.probability
        FROM modeled.promo_usage_by_user b LEFT JOIN ml.abuse_scores s USING (user_id)
        ORDER BY rank, b.user_id LIMIT 100
        """,
        _PERSONAL["top_users"],
    ),
    Mart(
        "top_codes",
        "The promo codes with the most redemptions, with rank; ties share a rank (100 rows).",
        {
            "rank": "place by usages; ties share it",
            "promo_code": "the code",
            "usages": "redemptions",
            "users": "different users",
            "discount_type": "percentage or fixed_amount",
            "discount_value": "per cent, or money",
            "first_used_at": "first redemption (UTC)",
            "last_used_at": "last redemption (UTC)",
        },
        """
        SELECT rank() OVER (ORDER BY usages DESC) AS rank, promo_code, usages, users,
               discount_type, discount_value, first_used_at, last_used_at
        FROM modeled.promo_usage_by_code ORDER BY rank, promo_code LIMIT 100
        """,
    ),
    Mart(
        "abuse_by_signal",
        "How many accounts each signal of abuse was a reason for. One row per signal.",
        {
            "signal": "code of the signal",
            "accounts": "accounts that have it among their reasons",
            "flagged": "of these to be reviewed or blocked",
            "usages": "redemptions by the flagged ones",
            "labelled_abusers": "of all these, labelled as abusers",
        },
        """
        WITH reasons AS (
            SELECT DISTINCT user_id, decision,
                   unnest(list_transform(reasons, lambda r: r.code)) AS signal
            FROM ml.abuse_scores
        )
        SELECT signal, count(*) AS accounts, count(*) FILTER (decision <> 'allow') AS flagged,
               coalesce(sum(b.usages) FILTER (decision <> 'allow'), 0)::BIGINT AS usages,
               count(*) FILTER (l.is_abuser) AS labelled_abusers
        FROM reasons
        LEFT JOIN modeled.promo_usage_by_user b USING (user_id)
        LEFT JOIN modeled.abuse_labels l USING (user_id)
        GROUP BY signal ORDER BY flagged DESC, accounts DESC, signal
        """,
    ),
    Mart(
        "risky_clusters",
        "Clusters of linked accounts, those with the most flagged members first.",
        {
            "cluster_id": "the earliest-registered member's user id",
            "accounts": "members",
            "flagged": "members to be reviewed or blocked",
            "mean_probability": "mean estimated probability of abuse",
            "usages": "redemptions of all members",
            "links": "pairs of members that share a rare attribute",
            "first_registered_at": "earliest registration (UTC)",
            "last_registered_at": "latest registration (UTC)",
        },
        """
        SELECT c.cluster_id, count(*) AS accounts,
               count(*) FILTER (s.decision <> 'allow') AS flagged,
               avg(s.probability::DECIMAL(18, 17)) AS mean_probability,
               coalesce(sum(b.usages), 0)::BIGINT AS usages, (sum(c.links) / 2)::BIGINT AS links,
               min(u.created_at) AS first_registered_at, max(u.created_at) AS last_registered_at
        FROM modeled.account_clusters c
        JOIN cleaned.users u USING (user_id)
        LEFT JOIN ml.abuse_scores s USING (user_id)
        LEFT JOIN modeled.promo_usage_by_user b USING (user_id)
        GROUP BY c.cluster_id ORDER BY flagged DESC, mean_probability DESC, c.cluster_id
        """,
        _PERSONAL["risky_clusters"],
    ),
    Mart(
        "data_quality",
        "Rows that could not be used, by table and the rule that they broke.",
        {
            "table": "the table that the rows did not enter",
            "rule": "the rule that they broke (a row may break several)",
            "rows": "quarantined rows that broke it",
        },
        " UNION ALL ".join(
            f"""SELECT '{name}' AS "table", rule, count(*) AS "rows"
            FROM (SELECT unnest(failed_rules) AS rule FROM quarantine.{name}) GROUP BY rule"""
            for name in ("users", "promo_codes", "promo_usages")
        )
        + ' ORDER BY "table", "rows" DESC, rule',
    ),
)
