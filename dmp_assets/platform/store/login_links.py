"""Links that log a person in once: for the first login of a home, and for who lost a password.

Plain functions on a connection; the caller commits.
"""

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta

import sqlalchemy as sa

from dmp_assets.platform.store import access
from dmp_assets.platform.store.access import NotLetInError
from dmp_assets.platform.store.errors import AccessError
from dmp_assets.platform.store.schema import login_link, person

PATH = "/login/once"
GOOD_FOR = timedelta(minutes=15)
SANDBOX_PERSON = "demo@localhost"
"""Who looks at a sandbox; made when its first link is."""


def make(connection: sa.Connection, email: str, *, now: datetime) -> tuple[uuid.UUID, str]:
    """(the person, path of a link that logs them in once). Raises AccessError for an unknown one.

    Links that are over go.
    """
    connection.execute(login_link.delete().where(login_link.c.expires_at <= now))
    found = connection.scalar(
        sa.select(person.c.person_id).where(
            person.c.email == email.strip().lower(), person.c.disabled_at.is_(None)
        )
    )
    if found is None:
        raise AccessError(
            "there is no person with this address who is let in; `dmp user list` shows them"
        )
    token = secrets.token_urlsafe(32)
    connection.execute(
        login_link.insert().values(
            token_sha256=_digest(token), person_id=found, expires_at=now + GOOD_FOR
        )
    )
    return uuid.UUID(str(found)), f"{PATH}?token={token}"


def for_sandbox(connection: sa.Connection, *, now: datetime) -> str:
    """Path of a link for the one who looks at a sandbox, an administrator without a password."""
    known = connection.scalar(sa.select(person.c.person_id).where(person.c.email == SANDBOX_PERSON))
    if known is None:
        access.add_person(connection, SANDBOX_PERSON, "admin", None, now=now)
    return make(connection, SANDBOX_PERSON, now=now)[1]


def use(connection: sa.Connection, token: str, *, now: datetime) -> str:
    """Begin a session by a link, which is void from now on; its token. Raises NotLetInError."""
    row = connection.execute(
        login_link.delete()
        .where(login_link.c.token_sha256 == _digest(token))
        .returning(login_link.c.person_id, login_link.c.expires_at)
    ).one_or_none()
    if row is None:
        raise NotLetInError("unknown")
    actor = f"person:{row.person_id}"
    if row.expires_at <= now:
        raise NotLetInError("expired", actor)
    disabled = connection.scalar(
        sa.select(person.c.disabled_at).where(person.c.person_id == row.person_id)
    )
    if disabled is not None:
        raise NotLetInError("revoked", actor)
    return access.begin_session(connection, row.person_id, now=now)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
