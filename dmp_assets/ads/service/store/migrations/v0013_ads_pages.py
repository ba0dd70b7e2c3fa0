"""Views of ad performance that somebody saved."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "ads_saved_view",
        sa.Column("view_id", sa.Uuid(), nullable=False),
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("page", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("view_id", name=op.f("pk_ads_saved_view")),
        sa.UniqueConstraint("actor", "advertiser_id", "name", name=op.f("uq_ads_saved_view_actor")),
        comment="A page of ad performance with its days and filters, by a name. One row per view; "
        "seen by who saved it.",
    )


def downgrade() -> None:
    """Drop it, and what it held."""
    op.drop_table("ads_saved_view")
