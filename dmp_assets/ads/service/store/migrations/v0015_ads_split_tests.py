"""Why a split test was not made or ended at the ad platform when it was last tried."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
_BEFORE = (
    "What an advertiser tries, and where it stands. One row per experiment. digest: of the "
    "definition at its start, after which it does not change. version: of its newest reading. "
    "study_state: what was last intended or done at the ad platform."
)


def upgrade() -> None:
    """Add the column."""
    op.add_column("ads_experiment", sa.Column("study_problem", sa.Text()))
    op.create_table_comment(
        "ads_experiment",
        f"{_BEFORE} study_problem: why what is due there was not done when it was last tried.",
        existing_comment=_BEFORE,
    )


def downgrade() -> None:
    """Drop it, and what it held."""
    op.create_table_comment("ads_experiment", _BEFORE)
    op.drop_column("ads_experiment", "study_problem")
