"""Why a PostgreSQL did not let us in, in words for whoever can put it right."""

import re


def why_refused(what: str, said: str, setting: str) -> str | None:
    """Which of user, password, database or pooler is wrong; None where nobody answered.

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
    return None


def why_not_connected(what: str, said: str, setting: str) -> str:
    """Which of address, user, password or database is wrong, in one line without a secret."""
    if (refused := why_refused(what, said, setting)) is not None:
        return refused
    last = " ".join(said.split())
    unreachable = ("refused", "resolve", "translate", "timeout", "timed out", "no route", "unreach")
    if any(word in last.lower() for word in unreachable):
        return f"no PostgreSQL answers for {what}: is it up, and host and port right?"
    return f"{what} cannot be opened: {last}"
