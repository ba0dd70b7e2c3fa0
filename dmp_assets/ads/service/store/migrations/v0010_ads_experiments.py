"""Experiments: what is tried, its steps and readings, and who met it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "ads_experiment",
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("hypothesis", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("window_days", sa.Integer(), nullable=True),
        sa.Column("study", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("definition", postgresql.JSONB(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("keyed_by", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("winner", sa.Text(), nullable=True),
        sa.Column("study_id", sa.Text(), nullable=True),
        sa.Column("study_state", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('own', 'meta_split')", name=op.f("ck_ads_experiment_kind_known")
        ),
        sa.CheckConstraint(
            "state = 'draft' OR digest IS NOT NULL", name=op.f("ck_ads_experiment_started_is_fixed")
        ),
        sa.CheckConstraint(
            "state IN ('draft', 'running', 'paused', 'proposed', 'stopped', 'promoted', 'ended')",
            name=op.f("ck_ads_experiment_state_known"),
        ),
        sa.CheckConstraint(
            "study_state IN ('creating', 'made', 'ending', 'ended')",
            name=op.f("ck_ads_experiment_study_state_known"),
        ),
        sa.PrimaryKeyConstraint("advertiser_id", "experiment", name=op.f("pk_ads_experiment")),
        comment="What an advertiser tries, and where it stands. One row per experiment. digest:"
        " of the definition at its start, after which it does not change. version: of "
        "its newest reading. study_state: what was last intended or done at the ad "
        "platform.",
    )
    op.create_table(
        "ads_experiment_exposure",
        sa.Column("exposure_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("is_bot", sa.Boolean(), nullable=False),
        sa.Column("exposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("exposure_id", name=op.f("pk_ads_experiment_exposure")),
        sa.UniqueConstraint(
            "advertiser_id",
            "experiment",
            "unit",
            "variant",
            "is_bot",
            name=op.f("uq_ads_experiment_exposure_advertiser_id"),
        ),
        comment="Who met which variant first when. One row per unit, variant and kind of "
        "caller. unit: a keyed hash.",
    )
    op.create_index(
        "ix_ads_experiment_exposure_unit", "ads_experiment_exposure", ["unit"], unique=False
    )
    op.create_table(
        "ads_experiment_reading",
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reading", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["advertiser_id", "experiment"],
            ["ads_experiment.advertiser_id", "ads_experiment.experiment"],
            name="fk_ads_experiment_reading_experiment",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "advertiser_id", "experiment", "version", name=op.f("pk_ads_experiment_reading")
        ),
        comment="What was known of an experiment when it was judged. One row per reading, which"
        " does not change any more.",
    )
    op.create_table(
        "ads_experiment_step",
        sa.Column("step_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("state_before", sa.Text(), nullable=True),
        sa.Column("state_after", sa.Text(), nullable=False),
        sa.Column("winner", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("subjects", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["advertiser_id", "experiment"],
            ["ads_experiment.advertiser_id", "ads_experiment.experiment"],
            name="fk_ads_experiment_step_experiment",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("step_id", name=op.f("pk_ads_experiment_step")),
        comment="What happened to an experiment, by whom and why. One row per step. version: of"
        " the reading that it follows from.",
    )
    op.create_index(
        "ix_ads_experiment_step_experiment",
        "ads_experiment_step",
        ["advertiser_id", "experiment", "step_id"],
        unique=False,
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("ads_experiment_step")
    op.drop_table("ads_experiment_reading")
    op.drop_table("ads_experiment_exposure")
    op.drop_table("ads_experiment")
