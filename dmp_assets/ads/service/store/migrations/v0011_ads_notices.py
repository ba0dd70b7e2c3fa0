"""Notices: what was found, who is told of it, what became of that."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "ad_notice",
        sa.Column("notice_id", sa.Text(), nullable=False),
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("subject_name", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("figure", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("low", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("high", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("notice_id", name=op.f("pk_ad_notice")),
        comment="What is or was not as usual, as of the last day on which it was so. "
        "One row per subject, kind and run of days.",
    )
    op.create_index(
        "ix_ad_notice_advertiser_id", "ad_notice", ["advertiser_id", "day"], unique=False
    )
    op.create_index(
        "ix_ad_notice_subject",
        "ad_notice",
        ["advertiser_id", "subject", "kind", "day"],
        unique=False,
    )
    op.create_table(
        "ad_notice_day",
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("notice_id", sa.Text(), nullable=False),
        sa.Column("figure", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("low", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("high", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["notice_id"],
            ["ad_notice.notice_id"],
            name=op.f("fk_ad_notice_day_notice_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "advertiser_id", "subject", "kind", "day", name=op.f("pk_ad_notice_day")
        ),
        comment="The figure of each day of a notice. One row per subject, kind and day.",
    )
    op.create_index(
        op.f("ix_ad_notice_day_notice_id"), "ad_notice_day", ["notice_id"], unique=False
    )
    op.create_table(
        "ad_notice_preference",
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column(
            "kinds", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("quiet_from", sa.Time(), nullable=True),
        sa.Column("quiet_to", sa.Time(), nullable=True),
        sa.Column("digest_at", sa.Time(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "channel IN ('slack', 'email', 'none')",
            name=op.f("ck_ad_notice_preference_channel_known"),
        ),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["person.person_id"],
            name=op.f("fk_ad_notice_preference_person_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("advertiser_id", "person_id", name=op.f("pk_ad_notice_preference")),
        comment="How a person wants to be told of an advertiser's notices; kinds: those that are "
        "told otherwise (channel, is_digest). One row per advertiser and person who said so.",
    )
    op.create_table(
        "ad_notice_mute",
        sa.Column("mute_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["person.person_id"],
            name=op.f("fk_ad_notice_mute_person_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("mute_id", name=op.f("pk_ad_notice_mute")),
        comment="What a person does not want to hear of for a while; null: any kind, or"
        " any subject. One row per mute, until it has ended.",
    )
    op.create_index(
        "ix_ad_notice_mute_person_id",
        "ad_notice_mute",
        ["person_id", "advertiser_id"],
        unique=False,
    )
    op.create_table(
        "ad_notice_told",
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen", sa.Date(), nullable=False),
        sa.Column("excess", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint(
            "advertiser_id", "recipient", "subject", "kind", name=op.f("pk_ad_notice_told")
        ),
        comment="What a recipient was told of last, so that it is told once. One row "
        "per recipient, subject and kind.",
    )
    op.create_table(
        "ad_notice_message",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("is_digest", sa.Boolean(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('kept', 'sent', 'refused', 'unsure', 'given up', 'nobody')",
            name=op.f("ck_ad_notice_message_state_known"),
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_ad_notice_message")),
        comment="A message of one or several notices and what became of it; nobody: its"
        " recipient may not see the advertiser any more. One row per message.",
    )
    op.create_index(
        "ix_ad_notice_message_kept",
        "ad_notice_message",
        ["made_at"],
        unique=False,
        postgresql_where=sa.text("state = 'kept'"),
    )
    op.create_table(
        "ad_notice_due",
        sa.Column("due_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("advertiser_id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("notice_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_digest", sa.Boolean(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("dropped_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["ad_notice_message.message_id"],
            name=op.f("fk_ad_notice_due_message_id"),
        ),
        sa.ForeignKeyConstraint(
            ["notice_id"],
            ["ad_notice.notice_id"],
            name=op.f("fk_ad_notice_due_notice_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("due_id", name=op.f("pk_ad_notice_due")),
        comment="Whom a notice is to be told and when; dropped: it was muted, or not "
        "wanted any more. One row per recipient, channel and telling.",
    )
    op.create_index(
        op.f("ix_ad_notice_due_message_id"), "ad_notice_due", ["message_id"], unique=False
    )
    op.create_index(
        op.f("ix_ad_notice_due_notice_id"), "ad_notice_due", ["notice_id"], unique=False
    )
    op.create_index(
        "ix_ad_notice_due_waiting",
        "ad_notice_due",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("message_id IS NULL AND dropped_at IS NULL"),
    )


def downgrade() -> None:
    """Drop them; what was found stays in the lakehouse."""
    for name in (
        "ad_notice_due",
        "ad_notice_message",
        "ad_notice_told",
        "ad_notice_mute",
        "ad_notice_preference",
        "ad_notice_day",
        "ad_notice",
    ):
        op.drop_table(name)
