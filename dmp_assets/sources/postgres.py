"""What sources in PostgreSQL have in common: the session, and words for a refused connection."""

from collections.abc import Sequence
from typing import Any

import psycopg

from dmp_assets.platform.postgres.refusals import why_not_connected

__all__ = ["SESSION", "listed", "relations", "why_not_connected"]

SESSION = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; "
    "SET LOCAL IntervalStyle = 'postgres'; SET LOCAL bytea_output = 'hex'"
)
"""Said first in a transaction: every value has one text then, whatever the server's settings.

As options of the connection it would be refused by PgBouncer, which knows few of them.
"""


def relations(connection: psycopg.Connection[Any], schema: str) -> list[str]:
    """Names of the tables and views of a schema."""
    found = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relkind IN ('r', 'v', 'm', 'p', 'f') ORDER BY 1",
        (schema,),
    )
    return [str(row[0]) for row in found]


def listed(names: Sequence[str], most: int = 20) -> str:
    """The names for people, some of them where there are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "none"
