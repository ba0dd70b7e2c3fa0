"""The operational store's tables: what changes row by row, which a lakehouse is not made for.

These are the platform's; those of a domain are in its `service/store/schema.py`, in one metadata.
`published.*` is different: whole tables that assets compute and swap in, see `publish.py`.
Times are UTC. Secrets are stored as hashes only: keys and session tokens are random (SHA-256 is
enough for 256 random bits), passwords are not (argon2id).
"""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from dmp_assets import domains
from dmp_assets.platform.store.roles import ROLES

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
PUBLISHED = "published"


def time_column(name: str, *, required: bool = False) -> sa.Column:
    """A moment, in UTC."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=not required)


api_client = sa.Table(
    "api_client",
    METADATA,
    sa.Column("client_id", sa.Uuid, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("scopes", ARRAY(sa.Text), nullable=False),
    time_column("created_at", required=True),
    time_column("revoked_at"),
    comment="A machine that calls the API. One row per client.",
)

api_key = sa.Table(
    "api_key",
    METADATA,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column(
        "client_id",
        sa.Uuid,
        sa.ForeignKey("api_client.client_id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("secret_sha256", sa.LargeBinary, nullable=False),
    time_column("created_at", required=True),
    time_column("expires_at"),
    time_column("revoked_at"),
    comment="A client's key; several at once while it is rotated. The secret is not stored.",
)

person = sa.Table(
    "person",
    METADATA,
    sa.Column("person_id", sa.Uuid, primary_key=True),
    sa.Column("email", sa.Text, nullable=False, unique=True),
    sa.Column("password_hash", sa.Text),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("failed_logins", sa.Integer, nullable=False, server_default="0"),
    time_column("locked_until"),
    time_column("created_at", required=True),
    time_column("disabled_at"),
    sa.CheckConstraint(sa.column("role").in_(tuple(ROLES)), name="role_known"),
    sa.CheckConstraint("email = lower(email)", name="email_lower_case"),
    comment="A person who logs in. One row per person; no password: logs in by OpenID Connect.",
)

login_session = sa.Table(
    "login_session",
    METADATA,
    sa.Column("token_sha256", sa.LargeBinary, primary_key=True),
    sa.Column(
        "person_id",
        sa.Uuid,
        sa.ForeignKey("person.person_id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("csrf_token", sa.Text, nullable=False),
    time_column("created_at", required=True),
    time_column("seen_at", required=True),
    time_column("expires_at", required=True),
    comment="A logged-in browser. One row per session; the cookie's token is not stored.",
)

login_link = sa.Table(
    "login_link",
    METADATA,
    sa.Column("token_sha256", sa.LargeBinary, primary_key=True),
    sa.Column(
        "person_id",
        sa.Uuid,
        sa.ForeignKey("person.person_id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    time_column("expires_at", required=True),
    comment="A link that logs in once. One row per link that is still good; its token is not "
    "stored.",
)

audit_event = sa.Table(
    "audit_event",
    METADATA,
    sa.Column("event_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    time_column("at", required=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text),
    sa.Column("detail", JSONB, nullable=False, server_default="{}"),
    sa.Index("ix_audit_event_at", "at"),
    comment="Who did, or was not allowed to do, what. Append-only: a trigger refuses changes.",
)

publication = sa.Table(
    "publication",
    METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("data_version", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    time_column("published_at", required=True),
    comment="Which version of each published table is in place, since when it is known to be up "
    "to date. One row per table.",
)

service_connection = sa.Table(
    "service_connection",
    METADATA,
    sa.Column("connection_id", sa.Uuid, primary_key=True),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("scopes", ARRAY(sa.Text), nullable=False),
    time_column("consented_at", required=True),
    time_column("expires_at"),
    time_column("consent_ends_at"),
    time_column("last_success_at"),
    time_column("last_failure_at"),
    sa.Column("last_failure_kind", sa.Text),
    sa.CheckConstraint("state IN ('active', 'needs_consent')", name="state_known"),
    sa.UniqueConstraint("service", "account"),
    comment="An account at an outside service that we may use, and how that goes. One row per "
    "service and account.",
)

service_token = sa.Table(
    "service_token",
    METADATA,
    sa.Column(
        "connection_id",
        sa.Uuid,
        sa.ForeignKey("service_connection.connection_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False, index=True),
    time_column("changed_at", required=True),
    comment="A connection's tokens, encrypted. One row per connection that needs no consent.",
)

stream_position = sa.Table(
    "stream_position",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("topic_id", sa.Text, primary_key=True),
    sa.Column("last_id", sa.BigInteger, nullable=False),
    time_column("acknowledged_at"),
    comment="Up to which row of a log Kafka has acknowledged records. One row per log and "
    "topic, as that was made: another cluster, or a topic made anew, begins from the log's "
    "first row.",
)

consent_request = sa.Table(
    "consent_request",
    METADATA,
    sa.Column("state_sha256", sa.LargeBinary, primary_key=True),
    time_column("expires_at", required=True),
    comment="A consent that somebody was sent to give. One row until the answer comes, which is "
    "good once; its state is not stored.",
)


webhook_inbox = sa.Table(
    "webhook_inbox",
    METADATA,
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("webhook_id", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    time_column("changed_at"),
    time_column("triggered_at"),
    time_column("received_at", required=True),
    time_column("taken_at"),
    sa.Column("told", JSONB, nullable=False, server_default="{}"),
    sa.Index("ix_webhook_inbox_subject", "service", "account", "subject"),
    sa.Index(
        "ix_webhook_inbox_waiting",
        "service",
        "account",
        postgresql_where=sa.text("taken_at IS NULL"),
    ),
    comment="What outside services told us of by themselves, as a sign to ask them. One row per "
    "webhook, each once; ids only, never its whole body.",
)

advertiser = sa.Table(
    "advertiser",
    METADATA,
    sa.Column("advertiser_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    time_column("created_at", required=True),
    time_column("members_since"),
    comment="Whose rows they are: a shop with its ad accounts. One row per advertiser. "
    "members_since: when the first member was named, however many there still are.",
)

advertiser_member = sa.Table(
    "advertiser_member",
    METADATA,
    sa.Column(
        "advertiser_id",
        sa.Text,
        sa.ForeignKey("advertiser.advertiser_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("actor", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    time_column("created_at", required=True),
    sa.CheckConstraint("role IN ('reader', 'manager')", name="role_known"),
    sa.Index("ix_advertiser_member_actor", "actor"),
    comment="Who sees an advertiser's rows, or acts on them: `person:<id>` or `client:<name>`. "
    "One row per advertiser and member.",
)


def every() -> sa.MetaData:
    """The whole schema: the platform's tables, and those of every domain."""
    domains.rooms("service.store.schema")
    return METADATA


def published_tables() -> Mapping[str, sa.Table]:
    """Name → table that assets compute, in the order of their names."""
    found = (table for table in every().tables.values() if table.schema == PUBLISHED)
    return {table.name: table for table in sorted(found, key=lambda table: table.name)}
