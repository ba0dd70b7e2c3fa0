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
        "webhook_delivery",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("triggered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("service", "delivery_id", name=op.f("pk_webhook_delivery")),
        comment="What outside services told us of by themselves, as a sign to ask them. One row "
        "per delivery, each once; ids only, never its whole body.",
    )
    op.create_index(
        "ix_webhook_delivery_subject", "webhook_delivery", ["service", "account", "subject"]
    )
    op.create_index(
        "ix_webhook_delivery_waiting",
        "webhook_delivery",
        ["service", "account"],
        postgresql_where=sa.text("taken_at IS NULL"),
    )


def downgrade() -> None:
    """Drop it: what was not asked for yet is found by the next reading of the lists."""
    op.drop_table("webhook_delivery")
