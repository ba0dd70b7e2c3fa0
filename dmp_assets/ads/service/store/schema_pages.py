"""The table of the pages' own: views that somebody saved."""

import sqlalchemy as sa

from dmp_assets.platform.store.schema import METADATA, time_column

ads_saved_view = sa.Table(
    "ads_saved_view",
    METADATA,
    sa.Column("view_id", sa.Uuid, primary_key=True),
    sa.Column("advertiser_id", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("page", sa.Text, nullable=False),
    sa.Column("query", sa.Text, nullable=False, server_default=""),
    time_column("created_at", required=True),
    sa.UniqueConstraint("actor", "advertiser_id", "name"),
    comment="A page of ad performance with its days and filters, by a name. One row per view; seen "
    "by who saved it.",
)
