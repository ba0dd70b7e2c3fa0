"""The tables of experiments in the operational store: what is tried, its steps, who met it."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from dmp_assets.platform.store.schema import METADATA, time_column

STATES = ("draft", "running", "paused", "proposed", "stopped", "promoted", "ended")
"""A definition that may still change, and the states of `model/experiments/decide.py`."""
KINDS = ("own", "meta_split")
STUDY_STATES = ("creating", "made", "ending", "ended")

ads_experiment = sa.Table(
    "ads_experiment",
    METADATA,
    sa.Column("advertiser_id", sa.Text, primary_key=True),
    sa.Column("experiment", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("hypothesis", sa.Text, nullable=False),
    sa.Column("unit", sa.Text),
    sa.Column("window_days", sa.Integer),
    sa.Column("study", JSONB(none_as_null=True)),
    sa.Column("definition", JSONB, nullable=False),
    sa.Column("digest", sa.Text),
    sa.Column("keyed_by", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("winner", sa.Text),
    sa.Column("study_id", sa.Text),
    sa.Column("study_state", sa.Text),
    sa.Column("study_problem", sa.Text),
    time_column("created_at", required=True),
    sa.Column("created_by", sa.Text, nullable=False),
    time_column("started_at"),
    time_column("ended_at"),
    sa.CheckConstraint(sa.column("state").in_(STATES), name="state_known"),
    sa.CheckConstraint(sa.column("kind").in_(KINDS), name="kind_known"),
    sa.CheckConstraint(sa.column("study_state").in_(STUDY_STATES), name="study_state_known"),
    sa.CheckConstraint("state = 'draft' OR digest IS NOT NULL", name="started_is_fixed"),
    comment="What an advertiser tries, and where it stands. One row per experiment. digest: of "
    "the definition at its start, after which it does not change. version: of its newest reading. "
    "study_state: what was last intended or done at the ad platform. study_problem: why what is "
    "due there was not done when it was last tried.",
)

ads_experiment_step = sa.Table(
    "ads_experiment_step",
    METADATA,
    sa.Column("step_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("advertiser_id", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),
    time_column("at", required=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("cause", sa.Text),
    sa.Column("state_before", sa.Text),
    sa.Column("state_after", sa.Text, nullable=False),
    sa.Column("winner", sa.Text),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("subjects", ARRAY(sa.Text), nullable=False),
    sa.ForeignKeyConstraint(
        ["advertiser_id", "experiment"],
        ["ads_experiment.advertiser_id", "ads_experiment.experiment"],
        ondelete="CASCADE",
        name="fk_ads_experiment_step_experiment",
    ),
    sa.Index("ix_ads_experiment_step_experiment", "advertiser_id", "experiment", "step_id"),
    comment="What happened to an experiment, by whom and why. One row per step. version: of the "
    "reading that it follows from.",
)

ads_experiment_reading = sa.Table(
    "ads_experiment_reading",
    METADATA,
    sa.Column("advertiser_id", sa.Text, primary_key=True),
    sa.Column("experiment", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("last_day", sa.Date, nullable=False),
    time_column("judged_at", required=True),
    sa.Column("reading", JSONB, nullable=False),
    sa.ForeignKeyConstraint(
        ["advertiser_id", "experiment"],
        ["ads_experiment.advertiser_id", "ads_experiment.experiment"],
        ondelete="CASCADE",
        name="fk_ads_experiment_reading_experiment",
    ),
    comment="What was known of an experiment when it was judged. One row per reading, which does "
    "not change any more.",
)

ads_experiment_exposure = sa.Table(
    "ads_experiment_exposure",
    METADATA,
    sa.Column("exposure_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("advertiser_id", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("is_bot", sa.Boolean, nullable=False),
    time_column("exposed_at", required=True),
    sa.UniqueConstraint("advertiser_id", "experiment", "unit", "variant", "is_bot"),
    sa.Index("ix_ads_experiment_exposure_unit", "unit"),
    comment="Who met which variant first when. One row per unit, variant and kind of caller. "
    "unit: a keyed hash.",
)
