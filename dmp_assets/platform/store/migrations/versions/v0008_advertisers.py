"""Advertisers, and who sees which."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "advertiser",
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("advertiser_id", name=op.f("pk_advertiser")),
        comment="Whose rows they are: a shop with its ad accounts. One row per advertiser.",
    )
    op.create_table(
        "advertiser_member",
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('reader', 'manager')", name=op.f("ck_advertiser_member_role_known")
        ),
        sa.ForeignKeyConstraint(
            ["advertiser_id"],
            ["advertiser.advertiser_id"],
            name=op.f("fk_advertiser_member_advertiser_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("advertiser_id", "actor", name=op.f("pk_advertiser_member")),
        comment="Who sees an advertiser's rows, or acts on them: `person:<id>` or `client:<name>`. "
        "One row per advertiser and member.",
    )
    op.create_index("ix_advertiser_member_actor", "advertiser_member", ["actor"])


def downgrade() -> None:
    """Remove them: then whoever has the scope sees all advertisers."""
    op.drop_table("advertiser_member")
    op.drop_table("advertiser")
