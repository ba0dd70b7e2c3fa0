"""The tables of promo-code abuse in the operational store: published, scores, decisions, lists."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from dmp_assets.platform.store.schema import METADATA, PUBLISHED, time_column

user_usage = sa.Table(
    "user_usage",
    METADATA,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("rank", sa.BigInteger, nullable=False),
    sa.Column("usages", sa.BigInteger, nullable=False),
    sa.Column("codes", sa.BigInteger, nullable=False),
    time_column("first_used_at", required=True),
    time_column("last_used_at", required=True),
    sa.Column("decision", sa.Text),
    sa.Column("probability", sa.Double),
    sa.Index("ix_user_usage_order", sa.desc("usages"), "user_id"),
    schema=PUBLISHED,
    comment="How each user uses promo codes. One row per user with a usage.",
)

code_usage = sa.Table(
    "code_usage",
    METADATA,
    sa.Column("promo_code", sa.Text, primary_key=True),
    sa.Column("rank", sa.BigInteger, nullable=False),
    sa.Column("usages", sa.BigInteger, nullable=False),
    sa.Column("users", sa.BigInteger, nullable=False),
    sa.Column("flagged_usages", sa.BigInteger, nullable=False),
    sa.Column("discount_type", sa.Text),
    sa.Column("discount_value", sa.Numeric(12, 2)),
    time_column("first_used_at"),
    time_column("last_used_at"),
    sa.Index("ix_code_usage_order", sa.desc("usages"), "promo_code"),
    schema=PUBLISHED,
    comment="How each promo code is used. One row per code.",
)

daily_activity = sa.Table(
    "daily_activity",
    METADATA,
    sa.Column("date", sa.Date, primary_key=True),
    sa.Column("registrations", sa.BigInteger, nullable=False),
    sa.Column("verified_email", sa.BigInteger, nullable=False),
    sa.Column("verified_phone", sa.BigInteger, nullable=False),
    sa.Column("usages", sa.BigInteger, nullable=False),
    sa.Column("users", sa.BigInteger, nullable=False),
    sa.Column("first_usages", sa.BigInteger, nullable=False),
    schema=PUBLISHED,
    comment="Registrations and redemptions. One row per day (UTC), days without any included.",
)

account_score = sa.Table(
    "account_score",
    METADATA,
    sa.Column("user_id", sa.Text, primary_key=True),
    time_column("registered_at", required=True),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("reasons", JSONB, nullable=False),
    sa.Column("cluster_id", sa.Text),
    sa.Column("cluster_size", sa.BigInteger, nullable=False),
    sa.Column("expected_abusers", sa.Double, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    time_column("scored_at", required=True),
    sa.Index("ix_account_score_expected_abusers", sa.desc("expected_abusers"), "user_id"),
    schema=PUBLISHED,
    comment="What the model says of each known account. One row per user. expected_abusers: "
    "sum of the probabilities in its cluster.",
)

abuse_prediction = sa.Table(
    "abuse_prediction",
    METADATA,
    sa.Column("prediction_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("score_id", sa.Uuid, nullable=False, unique=True),
    time_column("predicted_at", required=True),
    sa.Column("account_id", sa.Text, nullable=False),
    sa.Column("is_new", sa.Boolean, nullable=False),
    sa.Column("attributes", JSONB(none_as_null=True)),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("model_decision", sa.Text, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Text, nullable=False),
    sa.Column("reasons", JSONB, nullable=False),
    sa.Column("linked_accounts", ARRAY(sa.Text), nullable=False),
    sa.Column("cluster_id", sa.Text),
    sa.Column("cluster_size", sa.BigInteger, nullable=False),
    sa.Column("expected_abusers", sa.Double, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("features", ARRAY(sa.Double)),
    sa.Column("live_links", sa.Boolean, nullable=False),
    sa.Column("caller", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Index("ix_abuse_prediction_account_id", "account_id", "prediction_id"),
    sa.Index("ix_abuse_prediction_predicted_at", "predicted_at"),
    comment="Every answered score. One row per score; an account scored again has several. "
    "attributes: what the caller gave of a new account; null for one that the shop knows. "
    "features: null for a known account that nothing new is linked with: ml/abuse_features "
    "has them. cluster_id: the earliest registered account of its cluster.",
)

idempotent_answer = sa.Table(
    "idempotent_answer",
    METADATA,
    sa.Column("caller", sa.Text, primary_key=True),
    sa.Column("idempotency_key", sa.Text, primary_key=True),
    sa.Column("request_sha256", sa.LargeBinary, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    time_column("answered_at", required=True),
    sa.Index("ix_idempotent_answer_answered_at", "answered_at"),
    comment="Answers that a repeated request gets again. One row per caller and Idempotency-Key, "
    "for 24 hours.",
)

abuse_decision = sa.Table(
    "abuse_decision",
    METADATA,
    sa.Column("decision_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    time_column("decided_at", required=True),
    sa.Column("account_id", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("category", sa.Text),
    sa.Column("comment", sa.Text, nullable=False, server_default=""),
    sa.Column("decided_by", sa.Text, nullable=False),
    sa.Column("group_id", sa.Uuid, nullable=False),
    sa.Column("evidence", JSONB, nullable=False, server_default="{}"),
    sa.CheckConstraint("verdict IN ('allow', 'block', 'undone')", name="verdict_known"),
    sa.Index("ix_abuse_decision_account_id", "account_id", "decision_id"),
    sa.Index("ix_abuse_decision_group_id", "group_id"),
    comment="What a person decided on an account. One row per decision, the last one of an account "
    "holds; `undone` takes the one before back. group_id: decided at once.",
)

abuse_list_entry = sa.Table(
    "abuse_list_entry",
    METADATA,
    sa.Column("entry_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("effect", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("comment", sa.Text, nullable=False, server_default=""),
    sa.Column("owner", sa.Text, nullable=False),
    time_column("created_at", required=True),
    time_column("expires_at"),
    time_column("removed_at"),
    sa.Column("removed_by", sa.Text),
    sa.CheckConstraint("effect IN ('allow', 'block')", name="effect_known"),
    sa.CheckConstraint(
        "kind IN ('account', 'device', 'ip_range', 'email_domain')", name="kind_known"
    ),
    sa.Index(
        "uq_abuse_list_entry_in_force", "kind", "value", unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    ),
    comment="Allow and block lists. One row per entry; a removed one stays for the record.",
)  # fmt: skip

abuse_case_view = sa.Table(
    "abuse_case_view",
    METADATA,
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column(
        "person_id",
        sa.Uuid,
        sa.ForeignKey("person.person_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    time_column("opened_at", required=True),
    time_column("seen_at", required=True),
    comment="Who looks at which account in the review, and since when. One row per account and "
    "person.",
)

abuse_case_claim = sa.Table(
    "abuse_case_claim",
    METADATA,
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column(
        "person_id", sa.Uuid, sa.ForeignKey("person.person_id", ondelete="CASCADE"), nullable=False
    ),
    time_column("claimed_at", required=True),
    comment="Who takes on which case in the review, until it is decided or given back. One row per "
    "account.",
)

review_revision = sa.Table(
    "review_revision",
    METADATA,
    sa.Column("one", sa.Boolean, primary_key=True, server_default=sa.text("true")),
    sa.Column("revision", sa.BigInteger, nullable=False, server_default="0"),
    sa.CheckConstraint("one", name="one_row"),
    comment="Counts changes of decisions and lists, so that scoring sees that there are any. "
    "One row.",
)
