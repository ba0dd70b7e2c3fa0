"""Connections and their tokens in the operational store, encrypted and bound to their row.

One writer renews a connection's tokens at a time: it holds the row's lock in PostgreSQL, asks the
service, and commits the new tokens before anybody uses them. A lost answer leaves the old ones as
they were. Health says when it went well and badly, and never more than the kind of a failure.
"""

import hashlib
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects.postgresql import insert

from dmp_assets.platform.connect.copies import Place
from dmp_assets.platform.connect.errors import (
    ConnectError,
    NeedsConsentError,
    RefusedConsentError,
)
from dmp_assets.platform.connect.keys import KeyRing, SealError
from dmp_assets.platform.connect.oauth import (
    CONSENT_SECONDS,
    Consent,
    OAuthClient,
    Tokens,
)
from dmp_assets.platform.store.schema import consent_request, service_connection, service_token
from dmp_assets.platform.text.foreign_text import cut, visible

SEALING = 0x746F6B656E  # "token"
"""Advisory lock: who seals shares it, who drops keys has it alone."""
_CONSENT = "consent"
_TRIES = 3
_LONGEST_LOCK = "60s"


@dataclass(frozen=True)
class Health:
    """A connection, as people may see it: no token, of a failure only its kind. Times are UTC."""

    connection_id: uuid.UUID
    service: str
    account: str
    state: str
    scopes: tuple[str, ...]
    consented_at: datetime
    expires_at: datetime | None
    consent_ends_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_failure_kind: str | None

    @property
    def is_failing(self) -> bool:
        """Whether what was tried last went wrong."""
        if self.last_failure_at is None:
            return False
        return self.last_success_at is None or self.last_failure_at > self.last_success_at


@dataclass(frozen=True)
class BegunConsent:
    """Where to send the browser, and the cookie that brings its answer back to it alone.

    Set the cookie `HttpOnly`, `SameSite=Lax`, `Secure` under TLS, for `CONSENT_SECONDS`.
    """

    url: str
    cookie: str


def _now() -> datetime:
    return datetime.now(UTC)


class Connections:
    """The connections of a home's store. `accounts` are what people call them, e.g. a shop's host.

    `place`: of the home, which renews what opens once only where it is no copy.

    All methods raise SealError for a token that does not open, and ConnectError as `OAuthClient`.
    """

    def __init__(
        self,
        store: sa.Engine,
        ring: KeyRing,
        *,
        clock: Callable[[], datetime] = _now,
        place: Place | None = None,
    ) -> None:
        self._store, self._ring, self._now, self._place = store, ring, clock, place
        self._renewing: dict[uuid.UUID, threading.Lock] = defaultdict(threading.Lock)

    # connecting ----------------------------------------------------------------------------------
    def begin(self, client: OAuthClient, account: str, redirect_uri: str) -> BegunConsent:
        """Begin a consent by a browser; its answer is good once, and from that browser."""
        url, consent = client.consent(account, redirect_uri)
        now = self._now()
        with self._store.begin() as store:
            store.execute(consent_request.delete().where(consent_request.c.expires_at <= now))
            store.execute(
                consent_request.insert().values(
                    state_sha256=_digest(consent.state),
                    expires_at=now + timedelta(seconds=CONSENT_SECONDS),
                )
            )
        sealed = self._ring.load().seal(_CONSENT, consent.model_dump_json().encode())
        return BegunConsent(url, sealed.decode())

    def finish(
        self,
        client: OAuthClient,
        cookie: str,
        returned: Mapping[str, str],
        *,
        account: str | None = None,
    ) -> uuid.UUID:
        """Connect by what the browser brought back: its cookie and the query of the redirect.

        `account`: whom the answer is about, where it says so. Raises RefusedConsentError for a
        cookie or state that is not ours, was used or is too old, or was for another account,
        MissingScopeError when not all was granted; then nothing is stored.
        """
        try:
            opened = self._ring.load().open(_CONSENT, cookie.encode(), seconds=CONSENT_SECONDS)
        except SealError:
            raise RefusedConsentError(
                f"{client.service.name}: this browser did not begin it, or too long ago"
            ) from None
        consent = Consent.model_validate_json(opened)
        with self._store.begin() as store:  # used up whatever comes of it
            ends = store.scalar(
                consent_request.delete()
                .where(consent_request.c.state_sha256 == _digest(consent.state))
                .returning(consent_request.c.expires_at)
            )
        if ends is None or ends <= self._now():
            raise RefusedConsentError(
                f"{client.service.name}: this answer was used, or is too old; begin again"
            )
        if account is not None and account != consent.account:
            raise RefusedConsentError(f"{client.service.name}: the consent was for another account")
        tokens = client.by_code(consent, returned, self._now())
        client.check_scopes(tokens)
        return self._connect(client, consent.account, tokens)

    def connect(self, client: OAuthClient, account: str) -> uuid.UUID:
        """Connect by our own credentials, without a person. Raises MissingScopeError."""
        tokens = client.by_credentials(self._now())
        client.check_scopes(tokens)
        return self._connect(client, account, tokens)

    def adopt(self, client: OAuthClient, account: str, access: SecretStr) -> uuid.UUID:
        """Connect by an access token that a person got on the service's own pages.

        Raises MissingScopeError, NeedsConsentError for a token that opens nothing.
        """
        tokens = client.by_token(access, self._now())
        client.check_scopes(tokens)
        return self._connect(client, account, tokens)

    def _connect(self, client: OAuthClient, account: str, tokens: Tokens) -> uuid.UUID:
        with self._sealing() as store:
            known_id = store.scalar(
                sa.select(service_connection.c.connection_id).where(
                    service_connection.c.service == client.service.name,
                    service_connection.c.account == account,
                )
            )
            if known_id is not None:  # the token before its connection, as everybody locks them
                self._lock(store, known_id)
            fresh = {
                "state": "active",
                "scopes": list(tokens.scopes),
                "consented_at": self._now(),
                "expires_at": tokens.expires_at,
                "consent_ends_at": tokens.consent_ends_at,
                "last_failure_at": None,
                "last_failure_kind": None,
            }
            known = insert(service_connection).values(
                connection_id=uuid.uuid4(), service=client.service.name, account=account, **fresh
            )
            connection_id = store.scalar(
                known.on_conflict_do_update(
                    index_elements=["service", "account"], set_=fresh
                ).returning(service_connection.c.connection_id)
            )
            assert connection_id is not None
            self._write(store, connection_id, tokens)
        if self._place is not None:
            self._place.settle()
        return uuid.UUID(str(connection_id))

    # using ---------------------------------------------------------------------------------------
    def tokens(
        self, client: OAuthClient, connection_id: uuid.UUID, *, refused: str | None = None
    ) -> Tokens:
        """Tokens to use now, renewed before they end, or when the service `refused` this one.

        Raises NeedsConsentError when only a person can help, and what the renewal raises unless
        the old token is still good.
        """
        found = self.stored(connection_id)
        if found is None:
            raise _needs_consent(client)
        if found.access != refused and found.is_fresh(self._now()):
            return found
        with self._renewing[connection_id]:  # one connection of the pool for each that renews
            return self._renew(client, connection_id, refused)

    def _renew(self, client: OAuthClient, connection_id: uuid.UUID, refused: str | None) -> Tokens:
        failed: ConnectError
        with self._sealing() as store:
            sealed = self._lock(store, connection_id)
            if sealed is None:
                raise _needs_consent(client)
            old = self._opened(connection_id, sealed)
            if old.access != refused and old.is_fresh(self._now()):
                return old  # somebody else has renewed it meanwhile
            try:
                if self._place is not None and client.service.opens_once:
                    self._place.check()
                new = client.renewed(old, self._now())
                client.check_scopes(new)
            except NeedsConsentError as error:
                self._end_consent(store, connection_id, error)
                failed = error
            except ConnectError as error:
                self._note(store, connection_id, error)
                if old.access != refused and old.is_valid(self._now()):
                    return old
                failed = error
            else:
                self._write(store, connection_id, new)
                store.execute(
                    self._row(connection_id).values(
                        scopes=list(new.scopes),
                        expires_at=new.expires_at,
                        consent_ends_at=new.consent_ends_at,
                    )
                )
                return new
        raise failed  # after what is known of it was committed

    def _lock(self, store: sa.Connection, connection_id: uuid.UUID) -> bytes | None:
        store.execute(sa.text(f"SET LOCAL lock_timeout = '{_LONGEST_LOCK}'"))
        try:
            return store.scalar(
                sa.select(service_token.c.sealed)
                .where(service_token.c.connection_id == connection_id)
                .with_for_update()
            )
        except sa.exc.OperationalError:
            raise ConnectError(
                "another process has been renewing this connection for too long", "busy"
            ) from None

    def stored(self, connection_id: uuid.UUID) -> Tokens | None:
        """Tokens as they are stored, never renewed; None where a person has to consent first.

        Read again where a rotation of keys came between row and keys. Raises SealError, HomeError.
        """
        for attempt in range(_TRIES):
            with self._store.connect() as store:
                sealed = store.scalar(
                    sa.select(service_token.c.sealed).where(
                        service_token.c.connection_id == connection_id
                    )
                )
            if sealed is None:
                return None
            try:
                return self._opened(connection_id, sealed)
            except SealError:
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _opened(self, connection_id: uuid.UUID, sealed: bytes) -> Tokens:
        return Tokens.model_validate_json(self._ring.load().open(purpose(connection_id), sealed))

    def _write(self, store: sa.Connection, connection_id: uuid.UUID, tokens: Tokens) -> None:
        keys = self._ring.load()
        sealed = keys.seal(purpose(connection_id), tokens.model_dump_json().encode())
        new = {"sealed": sealed, "key_id": keys.newest, "changed_at": self._now()}
        store.execute(
            insert(service_token)
            .values(connection_id=connection_id, **new)
            .on_conflict_do_update(index_elements=["connection_id"], set_=new)
        )

    @contextmanager
    def _sealing(self) -> Iterator[sa.Connection]:
        """A transaction during which no key is dropped."""
        with self._store.begin() as store:
            store.execute(sa.text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": SEALING})
            yield store

    # health --------------------------------------------------------------------------------------
    def note_success(self, connection_id: uuid.UUID) -> None:
        """Note that work with the service went well."""
        with self._store.begin() as store:
            store.execute(self._row(connection_id).values(last_success_at=self._now()))

    def note_failure(
        self, connection_id: uuid.UUID, error: ConnectError, *, refused: str | None = None
    ) -> None:
        """Note that it did not, and of what kind the failure was.

        A NeedsConsentError, by which a connector tells that the service has taken the grant back,
        ends the connection until a person consents anew; unless another access token than the
        `refused` one is there by now, because somebody consented meanwhile.
        """
        with self._sealing() as store:
            if not isinstance(error, NeedsConsentError):
                self._note(store, connection_id, error)
                return
            sealed = self._lock(store, connection_id)
            newer = (
                sealed is not None
                and refused is not None
                and (self._opened(connection_id, sealed).access != refused)
            )
            if not newer:
                self._end_consent(store, connection_id, error)

    def health(self) -> Sequence[Health]:
        """Every connection, by service and account."""
        table = service_connection
        with self._store.connect() as store:
            rows = store.execute(sa.select(table).order_by(table.c.service, table.c.account))
            return [Health(**(dict(row._mapping) | {"scopes": tuple(row.scopes)})) for row in rows]

    def forget(self, client: OAuthClient, connection_id: uuid.UUID) -> None:
        """Give the grant back and delete the connection, also when the service does not answer.

        Raises what the revocation raised, after the connection is gone here.
        """
        failed: ConnectError | None = None
        with self._sealing() as store:
            sealed = self._lock(store, connection_id)
            if sealed is not None:
                try:
                    client.revoke(self._opened(connection_id, sealed))
                except ConnectError as error:
                    failed = error
            store.execute(
                service_connection.delete().where(
                    service_connection.c.connection_id == connection_id
                )
            )
        if failed is not None:
            raise failed

    def _row(self, connection_id: uuid.UUID) -> sa.Update:
        return service_connection.update().where(
            service_connection.c.connection_id == connection_id
        )

    def _note(self, store: sa.Connection, connection_id: uuid.UUID, error: ConnectError) -> None:
        store.execute(
            self._row(connection_id).values(
                last_failure_at=self._now(), last_failure_kind=cut(visible(error.kind), 60)
            )
        )

    def _end_consent(
        self, store: sa.Connection, connection_id: uuid.UUID, error: ConnectError
    ) -> None:
        store.execute(service_token.delete().where(service_token.c.connection_id == connection_id))
        self._note(store, connection_id, error)
        store.execute(self._row(connection_id).values(state="needs_consent"))


@dataclass(frozen=True)
class ConnectionCredentials:
    """A connection's access token as `http.Credentials`: renewed before its end, and when refused.

    What a connector gives to `HttpService(credentials=…)`.
    """

    connections: Connections
    client: OAuthClient
    connection_id: uuid.UUID

    def headers(self) -> Mapping[str, str]:
        """The header that the service declares, with a token that is good now."""
        service = self.client.service
        tokens = self.connections.tokens(self.client, self.connection_id)
        return {service.header: f"{service.prefix}{tokens.access}"}

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Get a token other than the one that was refused. Raises as `Connections.tokens`."""
        service = self.client.service
        token = refused[service.header].removeprefix(service.prefix)
        found = self.connections.tokens(self.client, self.connection_id, refused=token)
        return found.access != token


def _needs_consent(client: OAuthClient) -> NeedsConsentError:
    return NeedsConsentError(f"{client.service.name} needs a new consent: connect it anew")


def purpose(connection_id: uuid.UUID) -> str:
    """What a connection's tokens are sealed for."""
    return f"connection {connection_id}"


def targets(store: sa.Connection, ring: KeyRing, service: str) -> Mapping[str, Sequence[str]]:
    """Account of a connection → ids of what its consent is for, the earliest consent first.

    As the service told of the token; without those whose token is gone or does not open, and empty
    for those whose consent is for all there is.
    """
    own = service_connection.c
    query = (
        sa.select(own.account, own.connection_id, service_token.c.sealed)
        .join_from(service_connection, service_token)
        .where(own.service == service)
        .order_by(own.consented_at, own.account)
    )
    found: dict[str, Sequence[str]] = {}
    for row in store.execute(query):
        try:
            opened = ring.load().open(purpose(row.connection_id), row.sealed)
        except SealError:
            continue
        found[row.account] = Tokens.model_validate_json(opened).targets or ()
    return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
