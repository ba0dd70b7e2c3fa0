"""OAuth 2.0 as a client (RFC 6749, PKCE of RFC 7636): what a connector declares, and the grants.

Requests are put together by authlib and sent by our own HTTP client, so that time-outs, bounds and
silence about secrets are the same everywhere. Nothing here is stored; see `tokens`.
"""

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from pydantic import BaseModel, SecretStr

from dmp_assets.platform.base.addresses import is_loopback
from dmp_assets.platform.base.answers import json_object
from dmp_assets.platform.connect.answer import HttpAnswer
from dmp_assets.platform.connect.errors import (
    AddressError,
    ConnectError,
    MissingScopeError,
    NeedsConsentError,
    RefusedConsentError,
    UnreadableAnswerError,
)
from dmp_assets.platform.connect.http import HttpClient, HttpService, Patience, check_address

CONSENT_SECONDS = 600
"""How long somebody may take at the service."""
_ANSWER_BYTES = 1 << 20
_QUICK = Patience(attempts=3, pause=0.2, longest_pause=5, total=20)
"""Others wait for the lock on a connection meanwhile."""


@dataclass(frozen=True)
class Renewal:
    """How a new access token is had without a person.

    `grant`: its grant_type. `parameter`: what the token that goes with it is called there; `sends`:
    which one that is. `by_kind`: further parameters for a token of that kind (`Tokens.kind`).
    """

    grant: str
    parameter: str = ""
    sends: Literal["refresh", "access", "nothing"] = "nothing"
    parameters: Mapping[str, str] = field(default_factory=dict)
    by_kind: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


REFRESH_TOKEN = Renewal("refresh_token", "refresh_token", "refresh")
CLIENT_CREDENTIALS = Renewal("client_credentials")


@dataclass(frozen=True)
class TokenAnswer:
    """What a token endpoint gave. Lifetimes in seconds; `scopes`: None when it does not say."""

    access: SecretStr
    refresh: SecretStr | None = None
    expires_in: float | None = None
    refresh_expires_in: float | None = None
    scopes: tuple[str, ...] | None = None


def read_tokens(answer: Mapping[str, Any]) -> TokenAnswer:
    """The answer of RFC 6749, 5.1; scopes by space or comma. Raises ValueError for nonsense."""
    kind = answer.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ValueError("a type of token that is not bearer")
    scope = answer.get("scope")
    if scope is not None and not isinstance(scope, str):
        raise ValueError("scopes that are no text")
    refresh = answer.get("refresh_token")
    return TokenAnswer(
        access=_token(answer.get("access_token")),
        refresh=None if refresh is None else _token(refresh),
        expires_in=_seconds(answer.get("expires_in")),
        refresh_expires_in=_seconds(answer.get("refresh_token_expires_in")),
        scopes=None if scope is None else tuple(scope.replace(",", " ").split()),
    )


def _token(given: object) -> SecretStr:
    if not isinstance(given, str) or not given or not given.isascii() or not given.isprintable():
        raise ValueError("no token")
    return SecretStr(given)


def _seconds(given: object) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise ValueError("no number of seconds")
    seconds = float(given)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError("no number of seconds")
    return min(seconds, timedelta(days=3650).total_seconds())


def error_code(answer: HttpAnswer) -> object:
    """The code of a refusal (RFC 6749, 5.2); None where there is none."""
    return (json_object(answer.body) or {}).get("error")


def is_invalid_grant(answer: HttpAnswer) -> bool:
    """Whether a refusal means that only a new consent helps (RFC 6749, 5.2)."""
    return error_code(answer) == "invalid_grant"


@dataclass(frozen=True, kw_only=True)
class OAuthService:
    """A service's OAuth 2.0 as a connector declares it.

    `name`: what people call it. `scopes`: the least that is needed; all of them must be granted.
    `client_auth`: how we prove who we are at the token endpoint. `exchanges_by`: the method of that
    endpoint, some take GET. `authorize_parameters`, `token_parameters`: added to the consent page's
    address and to every token request; `code_parameters`: to that for a code alone. `pkce`: off
    only where the service refuses it. `renewal`: see there; `renews_at_once`: a token for a code
    that ends is short-lived, and exchanged right away.
    `rotates`: whether a refresh token opens once, so that a lost answer must not be asked for
    blindly again. `read`: the token answer, raising ValueError for nonsense. `is_dead`: whether a
    refused renewal needs a new consent; `error`: the code of a refusal, for people. `lifetime`:
    seconds of an access token whose answer does not say (None: until it is refused). `margin`:
    seconds before its end that it is renewed, at most half its life. `header`, `prefix`: how the
    access token travels. `introspect`: what the service tells of new tokens when it is asked (RFC
    7662 and its like): they come back with their scopes, ends, kind and targets; raises
    ConnectError. `revoke`: gives the grant back where that is not done as RFC 7009 says.
    """

    name: str
    token_endpoint: str
    authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    scopes: tuple[str, ...] = ()
    scope_separator: str = " "
    client_auth: Literal["basic", "body", "none"] = "basic"
    exchanges_by: Literal["POST", "GET"] = "POST"
    authorize_parameters: Mapping[str, str] = field(default_factory=dict)
    token_parameters: Mapping[str, str] = field(default_factory=dict)
    code_parameters: Mapping[str, str] = field(default_factory=dict)
    pkce: bool = True
    renewal: Renewal = REFRESH_TOKEN
    renews_at_once: bool = False
    rotates: bool = True
    read: Callable[[Mapping[str, Any]], TokenAnswer] = read_tokens
    is_dead: Callable[[HttpAnswer], bool] = is_invalid_grant
    error: Callable[[HttpAnswer], object] = error_code
    lifetime: float | None = 3600.0
    margin: float = 120.0
    header: str = "Authorization"
    prefix: str = "Bearer "
    patience: Patience = _QUICK
    timeout: float = 10.0
    introspect: "Callable[[OAuthClient, Tokens], Tokens] | None" = None
    revoke: "Callable[[OAuthClient, Tokens], None] | None" = None

    @property
    def opens_once(self) -> bool:
        """Whether a renewal uses up what it sends, for whoever else holds the same."""
        return self.rotates and self.renewal.sends == "refresh"


@dataclass(frozen=True)
class AsStored:
    """An access token as it was found, as `http.Credentials`: for a look that renews nothing."""

    service: OAuthService
    access: SecretStr

    def headers(self) -> Mapping[str, str]:
        return {self.service.header: f"{self.service.prefix}{self.access.get_secret_value()}"}

    def renew(self, refused: Mapping[str, str]) -> bool:
        return False


class Tokens(BaseModel):
    """What is stored of a connection, encrypted. `renew_at`: from when on a new one is asked for.

    Times are UTC; `expires_at` None: until it is refused; `consent_ends_at`: the refresh token's
    end, or of what the consent lets us read, None when nobody said. `kind`: what the service calls
    such a token; `targets`: ids of what it was granted for; None when nobody said.
    """

    access: str
    refresh: str | None
    renew_at: datetime | None
    expires_at: datetime | None
    consent_ends_at: datetime | None
    scopes: tuple[str, ...]
    kind: str | None = None
    targets: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return "Tokens(…)"

    __str__ = __repr__

    def is_fresh(self, now: datetime) -> bool:
        return self.renew_at is None or now < self.renew_at

    def is_valid(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


class Consent(BaseModel):
    """A consent that waits for the service's answer, sealed in a cookie of its browser."""

    service: str
    account: str
    state: str
    verifier: str | None
    redirect_uri: str

    def __repr__(self) -> str:
        return "Consent(…)"

    __str__ = __repr__


@dataclass(frozen=True)
class OAuthClient:
    """Us, at one service. `loopback_only`: of a sandbox home.

    Methods raise ConnectError: NeedsConsentError when the grant is dead, MissingScopeError,
    NoAnswerError when nobody knows, UnreadableAnswerError for an answer that holds no tokens.
    """

    service: OAuthService
    client_id: str
    client_secret: SecretStr
    loopback_only: bool = False

    def consent(self, account: str, redirect_uri: str) -> tuple[str, Consent]:
        """(the consent page's address, what to keep until the browser comes back).

        Raises AddressError for a redirect address that is not https, or has a fragment.
        """
        _check_redirect(redirect_uri)
        endpoint = self.service.authorization_endpoint
        if endpoint is None:
            raise ConnectError(f"{self.service.name} has no consent page", "no consent page")
        check_address(endpoint, loopback_only=self.loopback_only)
        consent = Consent(
            service=self.service.name,
            account=account,
            state=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48) if self.service.pkce else None,
            redirect_uri=redirect_uri,
        )
        proof = {}
        if consent.verifier is not None:
            proof = {
                "code_challenge": create_s256_code_challenge(consent.verifier),
                "code_challenge_method": "S256",
            }
        url = prepare_grant_uri(
            endpoint,
            self.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=self._scope(),
            state=consent.state,
            **proof,
            **self.service.authorize_parameters,
        )
        return url, consent

    def by_code(self, consent: Consent, returned: Mapping[str, str], now: datetime) -> Tokens:
        """Tokens for what the browser brought back. Raises RefusedConsentError, see the class."""
        if not compare_digest(consent.state.encode(), returned.get("state", "").encode()):
            raise RefusedConsentError(f"{self.service.name}: the answer is not to our question")
        if consent.service != self.service.name:
            raise RefusedConsentError(f"{self.service.name}: the consent was for another service")
        if "error" in returned:
            why = _word(returned["error"])
            raise RefusedConsentError(f"{self.service.name}: consent was not given ({why})")
        if not returned.get("code"):
            raise RefusedConsentError(f"{self.service.name}: the answer holds no code")
        asked = {"redirect_uri": consent.redirect_uri, "code": returned["code"]}
        asked |= self.service.code_parameters
        if consent.verifier is not None:
            asked["code_verifier"] = consent.verifier
        try:
            answer = self._ask("authorization_code", asked, repeatable=False)
        except NeedsConsentError:
            raise RefusedConsentError(
                f"{self.service.name} does not take its code: it was used, or is too old"
            ) from None
        tokens = self._introspected(self._tokens(answer, now, None))
        is_short = self.service.renews_at_once and tokens.expires_at is not None
        return self.renewed(tokens, now) if is_short else tokens

    def by_token(self, access: SecretStr, now: datetime) -> Tokens:
        """Tokens for an access token that the service's own pages gave to a person.

        Raises ConnectError for a service that tells nothing of tokens.
        """
        if self.service.introspect is None:
            raise ConnectError(f"{self.service.name} takes no token by hand", "no introspection")
        given = Tokens(
            access=access.get_secret_value(), refresh=None, renew_at=None, expires_at=None,
            consent_ends_at=None, scopes=(),
        )  # fmt: skip
        tokens = self._introspected(given)
        if tokens.expires_at is None:
            return tokens
        early = timedelta(seconds=self._early((tokens.expires_at - now).total_seconds()))
        return tokens.model_copy(update={"renew_at": now + early})

    def _introspected(self, tokens: Tokens) -> Tokens:
        look = self.service.introspect
        return tokens if look is None else look(self, tokens)

    def _early(self, life: float) -> float:
        """Seconds of a life after which the token is renewed."""
        return max(0.0, life - min(self.service.margin, life / 2))

    def by_credentials(self, now: datetime) -> Tokens:
        """Tokens for us ourselves (RFC 6749, 4.4)."""
        scope = {"scope": self._scope()} if self.service.scopes else {}
        answer = self._ask("client_credentials", scope, repeatable=True)
        return self._tokens(answer, now, None)

    def renewed(self, tokens: Tokens, now: datetime) -> Tokens:
        """New tokens in place of these; what the answer leaves out stays as it was."""
        renewal = self.service.renewal
        if renewal.sends == "nothing":
            return self.by_credentials(now)
        sent = tokens.refresh if renewal.sends == "refresh" else tokens.access
        if sent is None:
            raise NeedsConsentError(
                f"{self.service.name} gave nothing to renew its token with: connect it anew"
            )
        answer = self._ask(
            renewal.grant,
            {
                renewal.parameter: sent,
                **renewal.parameters,
                **renewal.by_kind.get(tokens.kind or "", {}),
            },
            repeatable=not self.service.rotates,
        )
        return self._tokens(answer, now, tokens)

    def revoke(self, tokens: Tokens) -> None:
        """Tell the service that we give the grant back (RFC 7009, or as it says itself)."""
        if self.service.revoke is not None:
            self.service.revoke(self, tokens)
            return
        if self.service.revocation_endpoint is None:
            return
        token = tokens.refresh or tokens.access
        hint = "refresh_token" if tokens.refresh else "access_token"
        form = {"token": token, "token_type_hint": hint}
        self._post(self.service.revocation_endpoint, form, repeatable=True).checked()

    def missing(self, granted: tuple[str, ...]) -> tuple[str, ...]:
        """Scopes that are needed and were not granted."""
        return tuple(scope for scope in self.service.scopes if scope not in granted)

    def check_scopes(self, tokens: Tokens) -> None:
        """Raise MissingScopeError, which names them, when a scope that is needed lacks."""
        missing = self.missing(tokens.scopes)
        if missing:
            raise MissingScopeError(
                f"{self.service.name} was connected without {', '.join(missing)}: connect it anew "
                "and grant all that is asked for",
                missing,
            )

    def _scope(self) -> str:
        return self.service.scope_separator.join(self.service.scopes)

    def _ask(self, grant: str, parameters: Mapping[str, str], *, repeatable: bool) -> HttpAnswer:
        service = self.service
        form = {"grant_type": grant, **parameters, **service.token_parameters}
        if service.exchanges_by == "GET":
            query = {"client_id": self.client_id, **form}
            query["client_secret"] = self.client_secret.get_secret_value()
            with self.http(service.token_endpoint) as http:
                answer = http.get(params=query, repeatable=repeatable)
        else:
            answer = self._post(service.token_endpoint, form, repeatable=repeatable)
        if answer.is_success:
            return answer
        if 400 <= answer.status < 500 and answer.status not in (408, 429):
            if service.is_dead(answer):
                raise NeedsConsentError(
                    f"{service.name} no longer takes our grant: connect it anew", "invalid_grant"
                )
            error = _word(service.error(answer))
            raise ConnectError(f"{answer.place} answers {answer.status} ({error})", error)
        return answer.checked()

    def _post(self, url: str, form: Mapping[str, str], *, repeatable: bool) -> HttpAnswer:
        way = {"basic": "client_secret_basic", "body": "client_secret_post", "none": "none"}
        auth = ClientAuth(
            self.client_id,
            self.client_secret.get_secret_value(),
            way[self.service.client_auth],
        )
        rest = dict(form)
        grant = rest.pop("grant_type", None)
        body = prepare_token_request(grant, **rest) if grant else urlencode(rest)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        _, headers, body = auth.prepare("POST", url, headers, body)
        with self.http(url) as http:
            return http.post(
                headers={
                    name: value for name, value in headers.items() if name != "Content-Length"
                },
                content=body.encode(),
                repeatable=repeatable,
            )

    def http(self, url: str) -> HttpClient:
        """A client of one of the service's addresses, for what `introspect` and `revoke` ask."""
        return HttpClient(
            HttpService(
                url=url,
                patience=self.service.patience,
                timeout=self.service.timeout,
                slowest=self.service.timeout,
                limit=_ANSWER_BYTES,
                loopback_only=self.loopback_only,
            )
        )

    def _tokens(self, answer: HttpAnswer, now: datetime, before: Tokens | None) -> Tokens:
        try:
            found = self.service.read(answer.object())
        except (ValueError, LookupError, TypeError, AttributeError):
            raise UnreadableAnswerError(f"{answer.place}: the answer holds no tokens") from None
        life = self.service.lifetime if found.expires_in is None else found.expires_in
        refresh = before.refresh if before else None
        if found.refresh is not None:
            refresh = found.refresh.get_secret_value()
        ends = before.consent_ends_at if before and found.refresh is None else None
        if found.refresh_expires_in is not None:
            ends = now + timedelta(seconds=found.refresh_expires_in)
        asked = before.scopes if before else self.service.scopes
        early = None if life is None else self._early(life)
        return Tokens(
            access=found.access.get_secret_value(),
            refresh=refresh,
            renew_at=None if early is None else now + timedelta(seconds=early),
            expires_at=None if life is None else now + timedelta(seconds=life),
            consent_ends_at=ends,
            scopes=asked if found.scopes is None else found.scopes,
            kind=before.kind if before else None,
            targets=before.targets if before else None,
        )


def _word(given: object) -> str:
    """A code of the service's, if it is one; nothing else of its answer is repeated."""
    text = given if isinstance(given, str) else ""
    is_code = len(text) <= 60 and text.replace("_", "").replace("-", "").isalnum()
    return text if is_code and text.isascii() else "no reason"


def _check_redirect(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise AddressError("the redirect address cannot be read") from None
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if not safe or not host or parts.fragment or "*" in url:
        raise AddressError("the redirect address must be https, whole and without a fragment")
