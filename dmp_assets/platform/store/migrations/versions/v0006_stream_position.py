"""How far the logs have been sent to Kafka."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "stream_position",
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("topic_id", sa.Text(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("stream", "topic_id", name=op.f("pk_stream_position")),
        comment="Up to which row of a log Kafka has acknowledged records. One row per log and "
        "topic, as that was made: another cluster, or a topic made anew, begins from the log's "
        "first row.",
    )


def downgrade() -> None:
    """Drop it: all that the logs hold would be sent again, and land once all the same."""
    op.drop_table("stream_position")
