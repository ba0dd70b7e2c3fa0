"""The published tables of attribution in the operational store."""

import sqlalchemy as sa

from dmp_assets.platform.store.schema import METADATA, PUBLISHED

channel_reporting = sa.Table(
    "channel_reporting",
    METADATA,
    sa.Column("date", sa.Date, primary_key=True),
    sa.Column("channel_name", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("cost", sa.Numeric(18, 8), nullable=False),
    sa.Column("conversions", sa.Double, nullable=False),
    sa.Column("revenue", sa.Double, nullable=False),
    sa.Column("conversions_without_abuse", sa.Double, nullable=False),
    sa.Column("revenue_without_abuse", sa.Double, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
    schema=PUBLISHED,
    comment="Cost and credit. One row per day of the sessions (UTC), channel and attribution "
    "model; the cost is the same by every model.",
)
