"""Notices in the operational store: what was found, who is told of it, and what became of that."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from dmp_assets.platform.store.schema import METADATA, time_column

_AMOUNT = sa.Numeric(18, 4)


def _advertiser(*, key: bool = False) -> sa.Column:
    return sa.Column("advertiser_id", sa.Text, primary_key=key, nullable=False)


def _person(*, key: bool = False) -> sa.Column:
    person = sa.ForeignKey("person.person_id", ondelete="CASCADE")
    return sa.Column("person_id", sa.Uuid, person, primary_key=key, nullable=False)


def _range() -> list[sa.Column]:
    return [
        sa.Column("figure", _AMOUNT, nullable=False),
        sa.Column("low", _AMOUNT),
        sa.Column("high", _AMOUNT),
        sa.Column("since", sa.Date, nullable=False),
    ]


def _notice() -> sa.Column:
    notice = sa.ForeignKey("ad_notice.notice_id", ondelete="CASCADE")
    return sa.Column("notice_id", sa.Text, notice, nullable=False, index=True)


ad_notice = sa.Table(
    "ad_notice",
    METADATA,
    sa.Column("notice_id", sa.Text, primary_key=True),
    _advertiser(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("subject_name", sa.Text, nullable=False),
    sa.Column("account_id", sa.Text),
    sa.Column("day", sa.Date, nullable=False),
    *_range(),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("currency", sa.Text),
    sa.Column("link", sa.Text, nullable=False),
    time_column("found_at", required=True),
    sa.Index("ix_ad_notice_advertiser_id", "advertiser_id", "day"),
    sa.Index("ix_ad_notice_subject", "advertiser_id", "subject", "kind", "day"),
    comment="What is or was not as usual, as of the last day on which it was so. One row per "
    "subject, kind and run of days.",
)

ad_notice_day = sa.Table(
    "ad_notice_day",
    METADATA,
    _advertiser(key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    _notice(),
    *_range(),
    time_column("found_at", required=True),
    comment="The figure of each day of a notice. One row per subject, kind and day.",
)

ad_notice_preference = sa.Table(
    "ad_notice_preference",
    METADATA,
    _advertiser(key=True),
    _person(key=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("kinds", JSONB, nullable=False, server_default="{}"),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("quiet_from", sa.Time),
    sa.Column("quiet_to", sa.Time),
    sa.Column("digest_at", sa.Time),
    time_column("changed_at", required=True),
    sa.CheckConstraint("channel IN ('slack', 'email', 'none')", name="channel_known"),
    comment="How a person wants to be told of an advertiser's notices; kinds: those that are told "
    "otherwise (channel, is_digest). One row per advertiser and person who said so.",
)

ad_notice_mute = sa.Table(
    "ad_notice_mute",
    METADATA,
    sa.Column("mute_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _advertiser(),
    _person(),
    sa.Column("kind", sa.Text),
    sa.Column("subject", sa.Text),
    time_column("ends_at", required=True),
    time_column("made_at", required=True),
    sa.Index("ix_ad_notice_mute_person_id", "person_id", "advertiser_id"),
    comment="What a person does not want to hear of for a while; null: any kind, or any subject. "
    "One row per mute, until it has ended.",
)

ad_notice_told = sa.Table(
    "ad_notice_told",
    METADATA,
    _advertiser(key=True),
    sa.Column("recipient", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    time_column("told_at", required=True),
    sa.Column("seen", sa.Date, nullable=False),
    sa.Column("excess", sa.Double, nullable=False),
    comment="What a recipient was told of last, so that it is told once. One row per recipient, "
    "subject and kind.",
)

ad_notice_message = sa.Table(
    "ad_notice_message",
    METADATA,
    sa.Column("message_id", sa.Uuid, primary_key=True),
    _advertiser(),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("is_digest", sa.Boolean, nullable=False),
    time_column("made_at", required=True),
    sa.Column("state", sa.Text, nullable=False),
    time_column("state_at", required=True),
    sa.Column("reason", sa.Text),
    sa.CheckConstraint(
        "state IN ('kept', 'sent', 'refused', 'unsure', 'given up', 'nobody')", name="state_known"
    ),
    sa.Index("ix_ad_notice_message_kept", "made_at", postgresql_where=sa.text("state = 'kept'")),
    comment="A message of one or several notices and what became of it; nobody: its recipient may "
    "not see the advertiser any more. One row per message.",
)

ad_notice_due = sa.Table(
    "ad_notice_due",
    METADATA,
    sa.Column("due_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _advertiser(),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    _notice(),
    sa.Column("day", sa.Date, nullable=False),
    time_column("due_at", required=True),
    sa.Column("is_digest", sa.Boolean, nullable=False),
    sa.Column(
        "message_id", sa.Uuid, sa.ForeignKey("ad_notice_message.message_id"), index=True
    ),
    time_column("dropped_at"),
    sa.Index(
        "ix_ad_notice_due_waiting", "due_at",
        postgresql_where=sa.text("message_id IS NULL AND dropped_at IS NULL"),
    ),
    comment="Whom a notice is to be told and when; dropped: it was muted, or not wanted any more. "
    "One row per recipient, channel and telling.",
)  # fmt: skip
