"""Abuse: scores of known accounts, the log of predictions, decisions, lists and who looks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "abuse_decision",
        sa.Column("decision_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("comment", sa.Text(), server_default="", nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.CheckConstraint(
            "verdict IN ('allow', 'block', 'undone')", name=op.f("ck_abuse_decision_verdict_known")
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_abuse_decision")),
        comment="What a person decided on an account. One row per decision, the last one of an "
        "account holds; `undone` takes the one before back. group_id: decided at once.",
    )
    op.create_index(
        "ix_abuse_decision_account_id",
        "abuse_decision",
        ["account_id", "decision_id"],
        unique=False,
    )
    op.create_index("ix_abuse_decision_group_id", "abuse_decision", ["group_id"], unique=False)
    op.create_table(
        "abuse_list_entry",
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), server_default="", nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "effect IN ('allow', 'block')", name=op.f("ck_abuse_list_entry_effect_known")
        ),
        sa.CheckConstraint(
            "kind IN ('account', 'device', 'ip_range', 'email_domain')",
            name=op.f("ck_abuse_list_entry_kind_known"),
        ),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_abuse_list_entry")),
        comment="Allow and block lists. One row per entry; a removed one stays for the record.",
    )
    op.create_index(
        "uq_abuse_list_entry_in_force",
        "abuse_list_entry",
        ["kind", "value"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "abuse_prediction",
        sa.Column("prediction_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("score_id", sa.Uuid(), nullable=False),
        sa.Column("predicted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("is_new", sa.Boolean(), nullable=False),
        sa.Column("attributes", postgresql.JSONB(), nullable=True),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("model_decision", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(), nullable=False),
        sa.Column("linked_accounts", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("cluster_id", sa.Text(), nullable=True),
        sa.Column("cluster_size", sa.BigInteger(), nullable=False),
        sa.Column("expected_abusers", sa.Double(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("features", postgresql.ARRAY(sa.Double()), nullable=True),
        sa.Column("live_links", sa.Boolean(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", name=op.f("pk_abuse_prediction")),
        sa.UniqueConstraint("score_id", name=op.f("uq_abuse_prediction_score_id")),
        comment="Every answered score. One row per score; an account scored again has several. "
        "attributes: what the caller gave of a new account; null for one that the shop knows. "
        "features: null for a known account that nothing new is linked with: ml/abuse_features "
        "has them. cluster_id: the earliest registered account of its cluster.",
    )
    op.create_index(
        "ix_abuse_prediction_account_id",
        "abuse_prediction",
        ["account_id", "prediction_id"],
        unique=False,
    )
    op.create_index(
        "ix_abuse_prediction_predicted_at", "abuse_prediction", ["predicted_at"], unique=False
    )
    op.create_table(
        "idempotent_answer",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("caller", "idempotency_key", name=op.f("pk_idempotent_answer")),
        comment="Answers that a repeated request gets again. One row per caller and "
        "Idempotency-Key, for 24 hours.",
    )
    op.create_index(
        "ix_idempotent_answer_answered_at", "idempotent_answer", ["answered_at"], unique=False
    )
    op.create_table(
        "account_score",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(), nullable=False),
        sa.Column("cluster_id", sa.Text(), nullable=True),
        sa.Column("cluster_size", sa.BigInteger(), nullable=False),
        sa.Column("expected_abusers", sa.Double(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_account_score")),
        schema="published",
        comment="What the model says of each known account. One row per user. expected_abusers: "
        "sum of the probabilities in its cluster.",
    )
    op.create_index(
        "ix_account_score_expected_abusers",
        "account_score",
        [sa.literal_column("expected_abusers DESC"), "user_id"],
        unique=False,
        schema="published",
    )
    op.create_table(
        "review_revision",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("one", name=op.f("ck_review_revision_one_row")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_review_revision")),
        comment="Counts changes of decisions and lists, so that scoring sees that there are any. "
        "One row.",
    )
    op.create_table(
        "abuse_case_view",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["person.person_id"],
            name=op.f("fk_abuse_case_view_person_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "person_id", name=op.f("pk_abuse_case_view")),
        comment="Who looks at which account in the review, and since when. One row per account "
        "and person.",
    )

    op.execute("INSERT INTO review_revision DEFAULT VALUES")


def downgrade() -> None:
    """Drop them all, and what they held."""
    op.drop_table("abuse_case_view")
    op.drop_table("review_revision")
    op.drop_index(
        "ix_account_score_expected_abusers", table_name="account_score", schema="published"
    )
    op.drop_table("account_score", schema="published")
    op.drop_index("ix_idempotent_answer_answered_at", table_name="idempotent_answer")
    op.drop_table("idempotent_answer")
    op.drop_index("ix_abuse_prediction_predicted_at", table_name="abuse_prediction")
    op.drop_index("ix_abuse_prediction_account_id", table_name="abuse_prediction")
    op.drop_table("abuse_prediction")
    op.drop_index(
        "uq_abuse_list_entry_in_force",
        table_name="abuse_list_entry",
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("abuse_list_entry")
    op.drop_index("ix_abuse_decision_group_id", table_name="abuse_decision")
    op.drop_index("ix_abuse_decision_account_id", table_name="abuse_decision")
    op.drop_table("abuse_decision")
