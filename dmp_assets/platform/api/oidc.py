"""Logging in by OpenID Connect: the authorization code flow with PKCE, state and nonce.

The issuer says whose address it has verified; who may come in, and as what, is in the store.
Addresses and keys of the issuer are asked for at every login, so it may change them at any time.

The client of `platform/connect/` is not used here: it blocks its thread and waits between tries,
for as long as a connector may. A login is answered on the event loop by one try of PATIENCE_SECONDS
at most; who sits before the browser tries again. The rule for proxies is the same: none on
loopback.
"""

import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.fernet import Fernet, InvalidToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, SecretStr, ValidationError

from dmp_assets.home import HomeError
from dmp_assets.platform.base.addresses import is_loopback
from dmp_assets.platform.base.answers import UNREADABLE
from dmp_assets.platform.text.foreign_text import visible
from dmp_assets.settings import Settings

ALGORITHMS = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip
"""Signatures by the issuer's private key: never `none`, never a secret that both know."""
BEGUN_SECONDS = 600
"""How long somebody may take at the issuer."""
CLOCKS_DIFFER_SECONDS = 60
PATIENCE_SECONDS = 5.0
_PURPOSE = b"login:"


class IssuerDownError(Exception):
    """The issuer gives no answer, or none that makes sense; the message is for the log."""


class RefusedError(Exception):
    """An answer that lets nobody in: `why` is for the audit log, never for the caller."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Begun(BaseModel):
    """A login that waits for the issuer's answer, in a cookie of the browser that began it."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str

    def sealed(self, seal: Fernet) -> str:
        return seal.encrypt(_PURPOSE + self.model_dump_json().encode()).decode()

    @classmethod
    def opened(cls, seal: Fernet, sealed: str) -> "Begun | None":
        """What was sealed; None for what is not ours, of another purpose or too old."""
        try:
            opened = seal.decrypt(sealed.encode(), ttl=BEGUN_SECONDS)
        except InvalidToken:
            return None
        if not opened.startswith(_PURPOSE):
            return None
        return cls.model_validate_json(opened.removeprefix(_PURPOSE))


class _Metadata(BaseModel):
    """What an issuer's discovery document says, as far as it is needed."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]


@dataclass(frozen=True)
class Issuer:
    """An OpenID provider and what it knows us by; a client without a secret is a public one."""

    url: str
    client_id: str
    client_secret: SecretStr | None

    @classmethod
    def of(cls, settings: Settings) -> "Issuer | None":
        """The one that the settings name. Raises HomeError for half a configuration."""
        if not settings.oidc_issuer and not settings.oidc_client_id:
            return None
        if not settings.oidc_issuer or not settings.oidc_client_id:
            raise HomeError(
                "logging in by OpenID Connect needs both DMP_OIDC_ISSUER and DMP_OIDC_CLIENT_ID"
            )
        if not _is_safe(settings.oidc_issuer):
            raise HomeError("DMP_OIDC_ISSUER must be an https address")
        return cls(settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret)

    @property
    def name(self) -> str:
        """What people know it by: its host."""
        return urlsplit(self.url).hostname or self.url

    async def begin(self, redirect_uri: str) -> tuple[str, Begun]:
        """(where to send the browser, what to keep until it comes back to `redirect_uri`).

        Raises IssuerDownError.
        """
        async with self._http() as http:
            metadata = await self._metadata(http)
        begun = Begun(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            redirect_uri=redirect_uri,
        )
        try:
            url = prepare_grant_uri(
                metadata.authorization_endpoint,
                self.client_id,
                "code",
                redirect_uri=redirect_uri,
                scope="openid email",
                state=begun.state,
                nonce=begun.nonce,
                code_challenge=create_s256_code_challenge(begun.verifier),
                code_challenge_method="S256",
            )
        except UNREADABLE as error:
            raise IssuerDownError("its authorization endpoint is no address") from error
        return url, begun

    async def verified_email(self, begun: Begun, code: str) -> str:
        """The address that the issuer has verified of the person who got this code.

        Raises IssuerDownError, RefusedError.
        """
        async with self._http() as http:
            metadata = await self._metadata(http)
            tokens = await self._tokens(http, metadata, begun, code)
            keys = await _json(http, metadata.jwks_uri)
        claims = self._claims(tokens, keys, begun.nonce)
        email = claims.get("email")
        if not isinstance(email, str) or not email:
            raise RefusedError("no e-mail address")
        if claims.get("email_verified") is not True:
            raise RefusedError("e-mail address not verified")
        return email

    def _http(self) -> httpx.AsyncClient:
        # A proxy in the environment has no business within the machine.
        return httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=not is_loopback(self.name))

    async def _metadata(self, http: httpx.AsyncClient) -> _Metadata:
        try:
            said = _Metadata.model_validate(
                await _json(http, get_well_known_url(self.url, external=True))
            )
        except ValidationError as error:
            raise IssuerDownError("its discovery document lacks something") from error
        if said.issuer != self.url:
            raise IssuerDownError("its discovery document names another issuer")
        if not all(
            map(_is_safe, (said.authorization_endpoint, said.token_endpoint, said.jwks_uri))
        ):
            raise IssuerDownError("its discovery document names an address without TLS")
        return said

    async def _tokens(
        self, http: httpx.AsyncClient, metadata: _Metadata, begun: Begun, code: str
    ) -> Any:
        methods = metadata.token_endpoint_auth_methods_supported
        basic = "client_secret_basic" in methods or "client_secret_post" not in methods
        secret = self.client_secret.get_secret_value() if self.client_secret else ""
        way = ("client_secret_basic" if basic else "client_secret_post") if secret else "none"
        try:
            url, headers, body = ClientAuth(self.client_id, secret, way).prepare(
                "POST",
                metadata.token_endpoint,
                {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
                prepare_token_request(
                    "authorization_code",
                    redirect_uri=begun.redirect_uri,
                    code=code,
                    code_verifier=begun.verifier,
                ),
            )
            answer = await http.post(url, headers=headers, content=body)
            if answer.is_client_error:
                raise RefusedError("code")
            return answer.raise_for_status().json()
        except (httpx.HTTPError, httpx.InvalidURL, *UNREADABLE) as error:
            raise IssuerDownError(f"no tokens ({type(error).__name__})") from error

    def _claims(self, tokens: Any, keys: Any, nonce: str) -> CodeIDToken:
        """What the id token says, once signature, issuer, audience, time and nonce are right."""
        try:
            token = jwt.decode(
                tokens["id_token"],
                KeySet.import_key_set({"keys": [key for key in keys["keys"] if _signs(key)]}),
                registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False),
            )
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self.url},
                    "aud": {"essential": True, "value": self.client_id},
                },
                {
                    "nonce": nonce,
                    "client_id": self.client_id,
                    "access_token": tokens.get("access_token"),
                },
            )
            claims.validate(leeway=CLOCKS_DIFFER_SECONDS)
        except JoseError as error:
            said = (error.error, getattr(error, "claim", None))
            raise RefusedError(visible(" ".join(["id token", *filter(None, said)]))) from error
        except (*UNREADABLE, UnsupportedAlgorithm) as error:
            raise RefusedError("id token unreadable") from error
        return claims


async def _json(http: httpx.AsyncClient, url: str) -> Any:
    try:
        return (await http.get(url)).raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, *UNREADABLE) as error:
        raise IssuerDownError(f"{visible(urlsplit(url).path)} ({type(error).__name__})") from error


def _signs(key: Any) -> bool:
    """Whether a key of the issuer's set is one that it signs with; others may be of any kind."""
    return key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"


def _is_safe(url: str) -> bool:
    """Whether nobody on the way can read or change what is sent there."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
