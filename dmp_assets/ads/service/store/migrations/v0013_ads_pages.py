"""Views of ad performance that somebody saved; campaigns by day, so that their lists are fast."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "ads_campaigns_daily",
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("campaign_id", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("impressions", "clicks", "purchases")
        ),
        *(
            sa.Column(name, sa.Numeric(18, 4), nullable=False)
            for name in ("spend", "purchase_value")
        ),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint(
            "advertiser_id",
            "date",
            "account_id",
            "campaign_id",
            name=op.f("pk_ads_campaigns_daily"),
        ),
        schema="published",
        comment="Sums of ad_performance_daily, so that lists of campaigns need not read every ad. "
        "One row per campaign and day.",
    )
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
    """Drop them, and what they held."""
    op.drop_table("ads_saved_view")
    op.drop_table("ads_campaigns_daily", schema="published")
