"""Links that log in once."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "login_link",
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["person.person_id"],
            name=op.f("fk_login_link_person_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_login_link")),
        comment="A link that logs in once. One row per link that is still good; its token is not "
        "stored.",
    )
    op.create_index(op.f("ix_login_link_person_id"), "login_link", ["person_id"], unique=False)


def downgrade() -> None:
    """Drop it; links that nobody used are void."""
    op.drop_index(op.f("ix_login_link_person_id"), table_name="login_link")
    op.drop_table("login_link")
