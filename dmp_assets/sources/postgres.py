"""What sources in PostgreSQL have in common: the session, and words for a refused connection."""

import re

SESSION = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c bytea_output=hex"
"""Options of a connection under which every value has one text, whatever the server's settings."""


def why_not_connected(what: str, said: str, setting: str) -> str:
    """Which of address, user, password or database is wrong, in one line without a secret.

    `what` names the database for people (`the shop user@host:5432/db`), `said` is the driver's
    message, `setting` the environment variable that holds the URL.
    """
    last = " ".join(said.split())
    lowered = last.lower()
    if "password" in lowered or "authentication failed" in lowered:
        return f"{what} refuses the user or password; check {setting}"
    missing = re.search(r'(database|role) "([^"]*)" does not exist', last)
    if missing:
        return f"{what} cannot be opened: {missing[0]}; check {setting}"
    unreachable = ("refused", "resolve", "translate", "timeout", "timed out", "no route", "unreach")
    if any(word in lowered for word in unreachable):
        return f"no PostgreSQL answers for {what}: is it up, and host and port right?"
    return f"{what} cannot be opened: {last}"
