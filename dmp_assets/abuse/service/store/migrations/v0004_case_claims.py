"""Cases that somebody takes on."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "abuse_case_claim",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["person.person_id"],
            name=op.f("fk_abuse_case_claim_person_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_abuse_case_claim")),
        comment="Who takes on which case in the review, until it is decided or given back. One "
        "row per account.",
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("abuse_case_claim")
