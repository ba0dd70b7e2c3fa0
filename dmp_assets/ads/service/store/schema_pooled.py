"""The tables of pooled insights in the operational store: who agreed, and who is with whom."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from dmp_assets.platform.store.schema import METADATA, PUBLISHED, time_column

ads_pool_consent = sa.Table(
    "ads_pool_consent",
    METADATA,
    sa.Column("consent_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("advertiser_id", sa.Text, nullable=False),
    sa.Column("terms_version", sa.Text, nullable=False),
    sa.Column("industry", sa.Text, nullable=False),
    sa.Column("size", sa.Text, nullable=False),
    time_column("given_at", required=True),
    sa.Column("given_by", sa.Text, nullable=False),
    time_column("withdrawn_at"),
    sa.Column("withdrawn_by", sa.Text),
    sa.Index(
        "uq_ads_pool_consent_in_force",
        "advertiser_id",
        unique=True,
        postgresql_where=sa.text("withdrawn_at IS NULL"),
    ),
    comment="An advertiser's word to take part in pooled insights. One row per consent, which "
    "stays when it is withdrawn.",
)

ads_pool_group = sa.Table(
    "ads_pool_group",
    METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("cell", ARRAY(sa.Text), nullable=False),
    sa.Column("members", ARRAY(sa.Text), nullable=False),
    sa.Column("formed_on", sa.Date, nullable=False),
    sa.Column("dissolved_on", sa.Date),
    comment="Advertisers whose values are only ever shown summed up. One row per group; its "
    "members never change.",
)

pooled_insight = sa.Table(
    "pooled_insight",
    METADATA,
    sa.Column("period", sa.Date, primary_key=True),
    sa.Column("industry", sa.Text, primary_key=True),
    sa.Column("size", sa.Text, primary_key=True),
    sa.Column("measure", sa.Text, primary_key=True),
    sa.Column("advertisers", sa.BigInteger, nullable=False),
    sa.Column("centre", sa.Double, nullable=False),
    sa.Column("spread", sa.Double, nullable=False),
    schema=PUBLISHED,
    comment="What works for shops like yours, of ten advertisers at least. One row per month, "
    "cell and measure; an empty industry or size is all of them.",
)
