"""Access (clients, keys, people, sessions), audit log, and the first published tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; the audit log refuses to be changed."""
    op.execute("CREATE SCHEMA published")

    op.create_table(
        "api_client",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_api_client")),
        sa.UniqueConstraint("name", name=op.f("uq_api_client_name")),
        comment="A machine that calls the API. One row per client.",
    )
    op.create_table(
        "audit_event",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("detail", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_audit_event")),
        comment="Who did, or was not allowed to do, what. Append-only: a trigger refuses changes.",
    )
    op.create_index("ix_audit_event_at", "audit_event", ["at"], unique=False)
    op.create_table(
        "person",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("failed_logins", sa.Integer(), server_default="0", nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "role IN ('admin', 'risk', 'analyst', 'marketer')", name=op.f("ck_person_role_known")
        ),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_person_email_lower_case")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person")),
        sa.UniqueConstraint("email", name=op.f("uq_person_email")),
        comment="A person who logs in. One row per person; no password: logs in by OpenID Connect.",
    )
    op.create_table(
        "publication",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("data_version", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("table_name", name=op.f("pk_publication")),
        comment="Which version of each published table is in place, since when it is known to be "
        "up to date. One row per table.",
    )
    op.create_table(
        "channel_reporting",
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("channel_name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("cost", sa.Numeric(precision=18, scale=8), nullable=False),
        sa.Column("conversions", sa.Double(), nullable=False),
        sa.Column("revenue", sa.Double(), nullable=False),
        sa.Column("conversions_without_abuse", sa.Double(), nullable=False),
        sa.Column("revenue_without_abuse", sa.Double(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("date", "channel_name", "model", name=op.f("pk_channel_reporting")),
        schema="published",
        comment="Cost and credit. One row per day of the sessions (UTC), channel and attribution "
        "model; the cost is the same by every model.",
    )
    op.create_table(
        "code_usage",
        sa.Column("promo_code", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("usages", sa.BigInteger(), nullable=False),
        sa.Column("users", sa.BigInteger(), nullable=False),
        sa.Column("flagged_usages", sa.BigInteger(), nullable=False),
        sa.Column("discount_type", sa.Text(), nullable=True),
        sa.Column("discount_value", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("first_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("promo_code", name=op.f("pk_code_usage")),
        schema="published",
        comment="How each promo code is used. One row per code.",
    )
    op.create_index(
        "ix_code_usage_order",
        "code_usage",
        [sa.literal_column("usages DESC"), "promo_code"],
        unique=False,
        schema="published",
    )
    op.create_table(
        "daily_activity",
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("registrations", sa.BigInteger(), nullable=False),
        sa.Column("verified_email", sa.BigInteger(), nullable=False),
        sa.Column("verified_phone", sa.BigInteger(), nullable=False),
        sa.Column("usages", sa.BigInteger(), nullable=False),
        sa.Column("users", sa.BigInteger(), nullable=False),
        sa.Column("first_usages", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("date", name=op.f("pk_daily_activity")),
        schema="published",
        comment="Registrations and redemptions. One row per day (UTC), days without any included.",
    )
    op.create_table(
        "user_usage",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("usages", sa.BigInteger(), nullable=False),
        sa.Column("codes", sa.BigInteger(), nullable=False),
        sa.Column("first_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_usage")),
        schema="published",
        comment="How each user uses promo codes. One row per user with a usage.",
    )
    op.create_index(
        "ix_user_usage_order",
        "user_usage",
        [sa.literal_column("usages DESC"), "user_id"],
        unique=False,
        schema="published",
    )
    op.create_table(
        "api_key",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["api_client.client_id"],
            name=op.f("fk_api_key_client_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_key")),
        comment="A client's key; several at once while it is rotated. The secret is not stored.",
    )
    op.create_index(op.f("ix_api_key_client_id"), "api_key", ["client_id"], unique=False)
    op.create_table(
        "login_session",
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("csrf_token", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["person.person_id"],
            name=op.f("fk_login_session_person_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_login_session")),
        comment="A logged-in browser. One row per session; the cookie's token is not stored.",
    )
    op.create_index(
        op.f("ix_login_session_person_id"), "login_session", ["person_id"], unique=False
    )
    op.execute(
        """
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """
    )


def downgrade() -> None:
    """Drop them all, and what they held."""

    op.drop_index(op.f("ix_login_session_person_id"), table_name="login_session")
    op.drop_table("login_session")
    op.drop_index(op.f("ix_api_key_client_id"), table_name="api_key")
    op.drop_table("api_key")
    op.drop_index("ix_user_usage_order", table_name="user_usage", schema="published")
    op.drop_table("user_usage", schema="published")
    op.drop_table("daily_activity", schema="published")
    op.drop_index("ix_code_usage_order", table_name="code_usage", schema="published")
    op.drop_table("code_usage", schema="published")
    op.drop_table("channel_reporting", schema="published")
    op.drop_table("publication")
    op.drop_table("person")
    op.drop_index("ix_audit_event_at", table_name="audit_event")
    op.drop_table("audit_event")
    op.drop_table("api_client")
    op.execute("DROP FUNCTION refuse_change()")
    op.execute("DROP SCHEMA published CASCADE")  # with tables that publications made
