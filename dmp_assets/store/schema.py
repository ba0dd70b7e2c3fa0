"""The operational store's tables: what changes row by row, which a lakehouse is not made for.

`published.*` is different: whole tables that assets compute and swap in, see `publish.py`.
Times are UTC. Secrets are stored as hashes only: keys and session tokens are random (SHA-256 is
enough for 256 random bits), passwords are not (argon2id).
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from dmp_assets.store.roles import ROLES

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


def _time(name: str, *, required: bool = False) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=not required)


api_client = sa.Table(
    "api_client",
    METADATA,
    sa.Column("client_id", sa.Uuid, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("scopes", ARRAY(sa.Text), nullable=False),
    _time("created_at", required=True),
    _time("revoked_at"),
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
    _time("created_at", required=True),
    _time("expires_at"),
    _time("revoked_at"),
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
    _time("locked_until"),
    _time("created_at", required=True),
    _time("disabled_at"),
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
    _time("created_at", required=True),
    _time("seen_at", required=True),
    _time("expires_at", required=True),
    comment="A logged-in browser. One row per session; the cookie's token is not stored.",
)

audit_event = sa.Table(
    "audit_event",
    METADATA,
    sa.Column("event_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _time("at", required=True),
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
    _time("published_at", required=True),
    comment="Which version of each published table is in place, since when it is known to be up "
    "to date. One row per table.",
)

user_usage = sa.Table(
    "user_usage",
    METADATA,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("rank", sa.BigInteger, nullable=False),
    sa.Column("usages", sa.BigInteger, nullable=False),
    sa.Column("codes", sa.BigInteger, nullable=False),
    _time("first_used_at", required=True),
    _time("last_used_at", required=True),
    sa.Column("decision", sa.Text),
    sa.Column("probability", sa.Double),
    sa.Index("ix_user_usage_order", sa.desc("usages"), "user_id"),
    schema=PUBLISHED,
    comment="How each user uses promo codes. One row per user with a usage.",
)

code_usage = sa.Table(
    "code_usage",
    METADATA,
    sa.Column("promo_code", sa.Text, primary_key=True),
    sa.Column("rank", sa.BigInteger, nullable=False),
    sa.Column("usages", sa.BigInteger, nullable=False),
    sa.Column("users", sa.BigInteger, nullable=False),
    sa.Column("flagged_usages", sa.BigInteger, nullable=False),
    sa.Column("discount_type", sa.Text),
    sa.Column("discount_value", sa.Numeric(12, 2)),
    _time("first_used_at"),
    _time("last_used_at"),
    sa.Index("ix_code_usage_order", sa.desc("usages"), "promo_code"),
    schema=PUBLISHED,
    comment="How each promo code is used. One row per code.",
)

daily_activity = sa.Table(
    "daily_activity",
    METADATA,
    sa.Column("date", sa.Date, primary_key=True),
    sa.Column("registrations", sa.BigInteger, nullable=False),
    sa.Column("verified_email", sa.BigInteger, nullable=False),
    sa.Column("verified_phone", sa.BigInteger, nullable=False),
    sa.Column("usages", sa.BigInteger, nullable=False),
    sa.Column("users", sa.BigInteger, nullable=False),
    sa.Column("first_usages", sa.BigInteger, nullable=False),
    schema=PUBLISHED,
    comment="Registrations and redemptions. One row per day (UTC), days without any included.",
)

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

PUBLISHED_TABLES = {
    table.name: table for table in METADATA.tables.values() if table.schema == PUBLISHED
}
