"""Connections to outside services, and their encrypted tokens."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "service_connection",
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("consented_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("consent_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_failure_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_failure_kind", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('active', 'needs_consent')", name=op.f("ck_service_connection_state_known")
        ),
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_service_connection")),
        sa.UniqueConstraint("service", "account", name=op.f("uq_service_connection_service")),
        comment="An account at an outside service that we may use, and how that goes. One row per "
        "service and account.",
    )
    op.create_table(
        "service_token",
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["service_connection.connection_id"],
            name=op.f("fk_service_token_connection_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_service_token")),
        comment="A connection's tokens, encrypted. One row per connection that needs no consent.",
    )
    op.create_index(op.f("ix_service_token_key_id"), "service_token", ["key_id"], unique=False)
    op.create_table(
        "consent_request",
        sa.Column("state_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state_sha256", name=op.f("pk_consent_request")),
        comment="A consent that somebody was sent to give. One row until the answer comes, which "
        "is good once; its state is not stored.",
    )


def downgrade() -> None:
    """Drop them; every service has to be connected anew."""
    op.drop_table("consent_request")
    op.drop_index(op.f("ix_service_token_key_id"), table_name="service_token")
    op.drop_table("service_token")
    op.drop_table("service_connection")
