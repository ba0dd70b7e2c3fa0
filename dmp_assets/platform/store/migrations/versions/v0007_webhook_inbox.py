"""What outside services tell us of by themselves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "webhook_inbox",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("triggered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("service", "webhook_id", name=op.f("pk_webhook_inbox")),
        comment="What outside services told us of by themselves, as a sign to ask them. One row "
        "per webhook, each once; ids only, never its whole body.",
    )
    op.create_index("ix_webhook_inbox_subject", "webhook_inbox", ["service", "account", "subject"])
    op.create_index(
        "ix_webhook_inbox_waiting",
        "webhook_inbox",
        ["service", "account"],
        postgresql_where=sa.text("taken_at IS NULL"),
    )


def downgrade() -> None:
    """Drop it: what was not asked for yet is found by the next reading of the lists."""
    op.drop_table("webhook_inbox")
