"""Since when an advertiser has members: who shuts out the last one opens nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_COMMENT = "Whose rows they are: a shop with its ad accounts. One row per advertiser."


def upgrade() -> None:
    """Add the column, by the members that there are."""
    op.add_column("advertiser", sa.Column("members_since", sa.DateTime(timezone=True)))
    op.execute(
        "UPDATE advertiser a SET members_since = (SELECT min(created_at) FROM advertiser_member m "
        "WHERE m.advertiser_id = a.advertiser_id)"
    )
    op.create_table_comment(
        "advertiser",
        f"{_COMMENT} members_since: when the first member was named, however many there still are.",
        existing_comment=_COMMENT,
    )


def downgrade() -> None:
    """Drop it: then whoever has the scope sees all advertisers once there is no member."""
    op.create_table_comment("advertiser", _COMMENT, existing_comment=None)
    op.drop_column("advertiser", "members_since")
