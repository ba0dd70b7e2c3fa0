"""Who may do what: machines with keys, people with sessions, roles and scopes.

Plain functions on a connection; the caller commits. Nothing here knows HTTP.
"""

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import argon2
import sqlalchemy as sa

from dmp_assets.platform.store.errors import AccessError
from dmp_assets.platform.store.roles import MIN_PASSWORD, ROLES, SCOPES
from dmp_assets.platform.store.schema import api_client, api_key, login_link, login_session, person

SESSION_IDLE = timedelta(hours=8)
SESSION_LONGEST = timedelta(days=7)
_SEEN_EVERY = timedelta(minutes=1)
_KEY = re.compile(r"dmp_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
_HASHER = argon2.PasswordHasher()
_NOBODY = _HASHER.hash(secrets.token_urlsafe())  # an unknown person takes as long as a known one

Denied = Literal["unknown", "expired", "revoked", "wrong", "has a password"]


class NotLetInError(Exception):
    """A credential that does not open: `why` is for the audit log, never for the caller."""

    def __init__(self, why: Denied, actor: str = "unknown") -> None:
        super().__init__(why)
        self.why, self.actor = why, actor


@dataclass(frozen=True)
class Principal:
    """Who calls. `actor` names it in logs: a client's name or a person's id, no address."""

    actor: str
    scopes: frozenset[str]
    role: str | None = None
    csrf_token: str | None = None

    def may(self, scope: str) -> bool:
        return scope in self.scopes


# machines ----------------------------------------------------------------------------------------
def add_client(
    connection: sa.Connection,
    name: str,
    scopes: Collection[str],
    *,
    now: datetime,
    expires: timedelta | None = None,
) -> str:
    """Make a client and its first key, which is returned and cannot be shown again.

    Raises AccessError for a name that is taken or unfit, or an unknown scope.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise AccessError(
            f"{name!r} is no name for a client: letters, digits, dot, dash, at most 63"
        )
    if not scopes:
        raise AccessError("a client needs at least one scope")
    for scope in scopes:
        if scope not in SCOPES:
            raise AccessError(f"{scope!r} is not a scope; known are {', '.join(SCOPES)}")
    client_id = uuid.uuid4()
    made = connection.execute(
        sa.text(
            "INSERT INTO api_client (client_id, name, scopes, created_at) "
            "VALUES (:id, :name, :scopes, :now) ON CONFLICT (name) DO NOTHING"
        ),
        {"id": client_id, "name": name, "scopes": sorted(set(scopes)), "now": now},
    )
    if made.rowcount == 0:
        raise AccessError(
            f"there is or was a client {name!r}; `dmp client rotate {name}` gives it a new key, a "
            "revoked one needs another name"
        )
    return _new_key(connection, client_id, now, expires)


def rotate_client(
    connection: sa.Connection,
    name: str,
    *,
    now: datetime,
    overlap: timedelta,
    expires: timedelta | None = None,
) -> str:
    """A new key for the client; its old ones work for `overlap` longer. Raises AccessError."""
    client_id = _client_id(connection, name)
    until = now + overlap
    connection.execute(
        api_key.update()
        .where(
            api_key.c.client_id == client_id,
            api_key.c.revoked_at.is_(None),
            sa.or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > until),
        )
        .values(expires_at=until)
    )
    return _new_key(connection, client_id, now, expires)


def revoke_client(connection: sa.Connection, name: str, *, now: datetime) -> None:
    """End all keys of the client, for good. Raises AccessError for an unknown one."""
    client_id = _client_id(connection, name)
    for table in (api_client, api_key):
        connection.execute(
            table.update()
            .where(table.c.client_id == client_id, table.c.revoked_at.is_(None))
            .values(revoked_at=now)
        )


def _client_id(connection: sa.Connection, name: str) -> uuid.UUID:
    found = connection.scalar(
        sa.select(api_client.c.client_id).where(
            api_client.c.name == name, api_client.c.revoked_at.is_(None)
        )
    )
    if found is None:
        raise AccessError(f"there is no client {name!r}; `dmp client list` shows them")
    return found


def _new_key(
    connection: sa.Connection, client_id: uuid.UUID, now: datetime, expires: timedelta | None
) -> str:
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    connection.execute(
        api_key.insert().values(
            key_id=key_id,
            client_id=client_id,
            secret_sha256=_digest(secret),
            created_at=now,
            expires_at=now + expires if expires else None,
        )
    )
    return f"dmp_{key_id}_{secret}"


def client_of(connection: sa.Connection, key: str, *, now: datetime) -> Principal:
    """The client that a key opens for. Raises NotLetInError."""
    parts = _KEY.fullmatch(key)
    if parts is None:
        raise NotLetInError("unknown")
    row = connection.execute(
        sa.select(api_key, api_client.c.name, api_client.c.scopes)
        .join(api_client, api_client.c.client_id == api_key.c.client_id)
        .where(api_key.c.key_id == parts[1])
    ).one_or_none()
    if row is None:
        raise NotLetInError("unknown")
    actor = f"client:{row.name}"
    if not hmac.compare_digest(bytes(row.secret_sha256), _digest(parts[2])):
        raise NotLetInError("wrong", actor)
    if row.revoked_at is not None:
        raise NotLetInError("revoked", actor)
    if row.expires_at is not None and row.expires_at <= now:
        raise NotLetInError("expired", actor)
    return Principal(actor, frozenset(row.scopes))


# people ------------------------------------------------------------------------------------------
def add_person(
    connection: sa.Connection, email: str, role: str, password: str | None, *, now: datetime
) -> uuid.UUID:
    """Make a person who logs in with a password, or without one by OpenID Connect.

    Raises AccessError.
    """
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email):
        raise AccessError("this is no e-mail address")
    if role not in ROLES:
        raise AccessError(f"{role!r} is not a role; known are {', '.join(ROLES)}")
    hashed = _hashed(password)
    person_id = uuid.uuid4()
    made = connection.execute(
        sa.text(
            "INSERT INTO person (person_id, email, role, password_hash, created_at) "
            "VALUES (:id, :email, :role, :hash, :now) ON CONFLICT (email) DO NOTHING"
        ),
        {
            "id": person_id, "email": email, "role": role,
            "hash": hashed, "now": now,
        },
    )  # fmt: skip
    if made.rowcount == 0:
        raise AccessError("there is a person with this address already")
    return person_id


def set_password(connection: sa.Connection, email: str, password: str | None) -> uuid.UUID:
    """Give a person a new password (none: they log in by OpenID Connect). Raises AccessError.

    Ends all sessions.
    """
    return _change(connection, email, password_hash=_hashed(password))


def disable_person(connection: sa.Connection, email: str, *, now: datetime) -> uuid.UUID:
    """Let a person in no more; ends all sessions. Raises AccessError."""
    return _change(connection, email, disabled_at=now)


def _change(connection: sa.Connection, email: str, **values: object) -> uuid.UUID:
    found = connection.scalar(
        person.update()
        .where(person.c.email == email.strip().lower())
        .values(**values)
        .returning(person.c.person_id)
    )
    if found is None:
        raise AccessError("there is no person with this address; `dmp user list` shows them")
    for table in (login_session, login_link):
        connection.execute(table.delete().where(table.c.person_id == found))
    return uuid.UUID(str(found))


def _hashed(password: str | None) -> str | None:
    if password is None:
        return None
    if not MIN_PASSWORD <= len(password) <= 1024:
        raise AccessError(f"a password has at least {MIN_PASSWORD} characters")
    return _HASHER.hash(password)


@dataclass(frozen=True)
class Credential:
    """What a person's password is compared with; without a person, nobody's."""

    person_id: uuid.UUID | None = None
    password_hash: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Verified:
    """Whether a password was right, and the hash that should replace the kept one, if any."""

    is_right: bool
    password_hash: str | None = field(default=None, repr=False)


def credential(connection: sa.Connection, email: str) -> Credential:
    """What is kept of this person's password; of an unknown one nothing, which is no error."""
    row = connection.execute(
        sa.select(person.c.person_id, person.c.password_hash).where(
            person.c.email == email.strip().lower()
        )
    ).one_or_none()
    if row is None or row.password_hash is None:
        return Credential()
    return Credential(row.person_id, row.password_hash)


def verify(credential: Credential, password: str) -> Verified:
    """Compare a password. Slow on purpose, and as slow for nobody: hold no connection meanwhile."""
    known = credential.password_hash or _NOBODY
    try:
        _HASHER.verify(known, password)
    except argon2.exceptions.VerifyMismatchError:
        return Verified(False)
    if credential.password_hash is None:
        return Verified(False)
    return Verified(True, _HASHER.hash(password) if _HASHER.check_needs_rehash(known) else None)


def log_in(
    connection: sa.Connection, credential: Credential, verified: Verified, *, now: datetime
) -> str:
    """Begin a session for whose password was right; its token, for the cookie.

    Raises NotLetInError, also when the password was changed since it was compared.
    """
    if credential.person_id is None:
        raise NotLetInError("unknown")
    actor = f"person:{credential.person_id}"
    if not verified.is_right:
        raise NotLetInError("wrong", actor)
    row = connection.execute(
        sa.select(person.c.disabled_at, person.c.password_hash).where(
            person.c.person_id == credential.person_id
        )
    ).one_or_none()
    if row is None or row.password_hash != credential.password_hash:
        raise NotLetInError("wrong", actor)
    if row.disabled_at is not None:
        raise NotLetInError("revoked", actor)
    if verified.password_hash is not None:
        connection.execute(
            person.update()
            .where(
                person.c.person_id == credential.person_id,
                person.c.password_hash == credential.password_hash,
            )
            .values(password_hash=verified.password_hash)
        )
    return begin_session(connection, credential.person_id, now=now)


def log_in_verified(connection: sa.Connection, email: str, *, now: datetime) -> str:
    """Begin a session for whom an OpenID provider has verified this address; its token.

    For those without a password only: everybody has one way in. Raises NotLetInError.
    """
    # Other letters that become these in lower case (K for kelvin) would be another's address.
    address = email.lower() if email.isascii() else email
    row = connection.execute(sa.select(person).where(person.c.email == address)).one_or_none()
    if row is None:
        raise NotLetInError("unknown")
    actor = f"person:{row.person_id}"
    if row.disabled_at is not None:
        raise NotLetInError("revoked", actor)
    if row.password_hash is not None:
        raise NotLetInError("has a password", actor)
    return begin_session(connection, row.person_id, now=now)


def begin_session(connection: sa.Connection, person_id: uuid.UUID, *, now: datetime) -> str:
    """A new session; its token is returned and only its hash kept. Those that are over go."""
    sweep(connection, now=now)
    token = secrets.token_urlsafe(32)
    connection.execute(
        login_session.insert().values(
            token_sha256=_digest(token),
            person_id=person_id,
            csrf_token=secrets.token_urlsafe(24),
            created_at=now,
            seen_at=now,
            expires_at=now + SESSION_LONGEST,
        )
    )
    return token


def person_of(connection: sa.Connection, token: str, *, now: datetime) -> Principal:
    """The person whose session a cookie's token is. Raises NotLetInError.

    A session ends SESSION_IDLE after its last use, at the latest SESSION_LONGEST after it began.
    """
    row = connection.execute(
        sa.select(
            login_session,
            person.c.role,
            person.c.disabled_at,
        )
        .join(person, person.c.person_id == login_session.c.person_id)
        .where(login_session.c.token_sha256 == _digest(token))
    ).one_or_none()
    if row is None:
        raise NotLetInError("unknown")
    actor = f"person:{row.person_id}"
    if row.disabled_at is not None:
        raise NotLetInError("revoked", actor)
    if row.expires_at <= now or row.seen_at + SESSION_IDLE <= now:
        raise NotLetInError("expired", actor)
    if row.seen_at + _SEEN_EVERY <= now:
        connection.execute(
            login_session.update()
            .where(login_session.c.token_sha256 == row.token_sha256)
            .values(seen_at=now)
        )
    return Principal(actor, ROLES[row.role], row.role, row.csrf_token)


def log_out(connection: sa.Connection, token: str) -> None:
    """End a session."""
    connection.execute(login_session.delete().where(login_session.c.token_sha256 == _digest(token)))


def sweep(connection: sa.Connection, *, now: datetime) -> int:
    """Delete sessions that are over; how many."""
    over = sa.or_(login_session.c.expires_at <= now, login_session.c.seen_at + SESSION_IDLE <= now)
    return connection.execute(login_session.delete().where(over)).rowcount


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
