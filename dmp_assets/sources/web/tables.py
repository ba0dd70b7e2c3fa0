"""The tables of the web analytics database: what each column is, said here and nowhere else.

Times are UTC, money is EUR. People are found by `user_id`, `session_id` and `conv_id`, and not
deleted by `dmp forget` yet: the domain that reads the web says so (`Domain.keeps`).
"""

from collections.abc import Mapping

from dmp_assets.platform.cleaning.received import Kind, Received, ReceivedColumns
from dmp_assets.platform.cleaning.written import Written

ROW_NUMBER = "_row_number"
LOADS = "dmp_web_load"

_USER_ID = Received(
    "visitor", "The account.", personal="identifier", subject="user_id", required=True,
    aliases=("id", "uid", "userid", "customer_id", "customer", "client_id", "account_id",
             "member_id", "kundennummer"),
)  # fmt: skip
_SESSION_ID = Received(
    "id", "The visit.", personal="identifier", subject="session_id", required=True,
    aliases=("session", "sid", "visit_id"),
)  # fmt: skip

TABLES: Mapping[str, ReceivedColumns] = {
    "session_sources": {
        "session_id": _SESSION_ID,
        "user_id": _USER_ID,
        "event_date": Received(
            "day", "Day of the visit (UTC).", personal="behaviour", required=True,
            aliases=("session_date", "visit_date", "date"),
        ),
        "event_time": Received(
            "clock", "Time of the visit (UTC).", personal="behaviour", required=True,
            days="event_date", aliases=("session_time", "visit_time", "time"),
        ),
        "channel_name": Received(
            "channel", "The channel that it came by.", personal=None, required=True,
            aliases=("channel", "source", "medium", "channel_grouping"),
        ),
        "holder_engagement": Received(
            "flag", "Whether the visitor looked around.", personal="behaviour", required=True
        ),
        "closer_engagement": Received(
            "flag", "Whether the visitor was about to buy.", personal="behaviour", required=True
        ),
        "impression_interaction": Received(
            "flag", "Whether it was an impression only.", personal="behaviour", required=True
        ),
        "campaign_name": Received(
            "text", "The campaign.", personal=None, aliases=("campaign", "utm_campaign")
        ),
    },
    "conversions": {
        "conv_id": Received(
            "id", "The conversion.", personal="identifier", subject="conv_id", required=True,
            aliases=("conversion_id", "order_id", "transaction_id"),
        ),
        "user_id": _USER_ID,
        "conv_date": Received(
            "day", "Its day (UTC).", personal="behaviour", required=True,
            aliases=("conversion_date", "order_date", "date"),
        ),
        "conv_time": Received(
            "clock", "Its time (UTC).", personal="behaviour", required=True, days="conv_date",
            aliases=("conversion_time", "order_time", "time"),
        ),
        "revenue": Received(
            "amount", "What it brought, in the currency of DMP_CURRENCY.", personal="behaviour",
            required=True, aliases=("amount", "value", "order_value", "total"),
        ),
    },
    "session_costs": {
        "session_id": _SESSION_ID,
        "cost": Received(
            "amount", "What the visit cost, in the currency of DMP_CURRENCY.",
            personal="behaviour", required=True, aliases=("costs", "spend", "price"),
        ),
    },
}  # fmt: skip
SOURCES: Mapping[str, str] = {
    "web_sessions": "session_sources",
    "web_conversions": "conversions",
    "web_session_costs": "session_costs",
}
"""Table below raw/ → the web database's."""
OPTIONAL = frozenset(
    (table, name)
    for table, columns in TABLES.items()
    for name, column in columns.items()
    if not column.required
)
KINDS: Mapping[str, Mapping[str, Kind]] = {
    table: {name: column.kind for name, column in columns.items()}
    for table, columns in TABLES.items()
}
"""Table → column → what its values are."""
RESULTS: Mapping[str, Mapping[str, Kind]] = {
    "attribution_customer_journey": {"conv_id": "id", "session_id": "id", "ihc": "amount"},
    "channel_reporting": {
        "channel_name": "channel",
        "date": "day",
        "cost": "amount",
        "ihc": "amount",
        "ihc_revenue": "amount",
    },
}
"""The same of the tables that we write there."""
WRITTEN = Written.of(
    {table: TABLES[source] for table, source in SOURCES.items()},
    {source: table for table, source in SOURCES.items()},
)
