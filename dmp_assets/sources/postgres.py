"""What sources in PostgreSQL have in common: the session, and words for a refused connection."""

import re
from collections.abc import Sequence
from typing import Any

import psycopg

SESSION = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; "
    "SET LOCAL IntervalStyle = 'postgres'; SET LOCAL bytea_output = 'hex'"
)
"""Said first in a transaction: every value has one text then, whatever the server's settings.

As options of the connection it would be refused by PgBouncer, which knows few of them.
"""


def why_not_connected(what: str, said: str, setting: str) -> str:
    """Which of address, user, password or database is wrong, in one line without a secret.

    `what` names the database for people (`the shop user@host:5432/db`), `said` is the driver's
    message, `setting` the environment variable that holds the URL.
    """
    last = " ".join(said.split())
    lowered = last.lower()
    if "unsupported startup parameter" in lowered:
        named = re.search(r"unsupported startup parameter[^:]*: ?([\w., ]+)", last)
        return (
            f"{what}: the connection pooler in front of it refuses the parameter "
            f"{named[1].strip() if named else 'options'}: leave it out of {setting}, or let "
            "PgBouncer pass it by (ignore_startup_parameters in pgbouncer.ini), or name the server "
            "behind it"
        )
    if "password" in lowered or "authentication failed" in lowered:
        return f"{what} refuses the user or password; check {setting}"
    missing = re.search(r'(database|role) "([^"]*)" does not exist', last)
    if missing:
        return f"{what} cannot be opened: {missing[0]}; check {setting}"
    unreachable = ("refused", "resolve", "translate", "timeout", "timed out", "no route", "unreach")
    if any(word in lowered for word in unreachable):
        return f"no PostgreSQL answers for {what}: is it up, and host and port right?"
    return f"{what} cannot be opened: {last}"


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
