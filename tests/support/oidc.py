"""An OpenID provider on loopback: real HTTP, real keys, and the faults that one could have."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID = "dmp"
CLIENT_SECRET = "a secret of the client"
FAULTS = {
    "another nonce": "id token invalid_claim nonce",
    "no nonce": "id token missing_claim nonce",
    "another audience": "id token invalid_claim aud",
    "another audience, authorized for us": "id token invalid_claim aud",
    "another issuer": "id token invalid_claim iss",
    "expired": "id token expired_token exp",
    "another access token": "id token invalid_claim at_hash",
    "no signature": "id token unsupported_algorithm",
    "signed with the public key": "id token unsupported_algorithm",
    "signed by another": "id token bad_signature",
    "no id token": "id token unreadable",
    "no e-mail address": "no e-mail address",
    "not verified": "e-mail address not verified",
    "verified, it says in words": "e-mail address not verified",
}
"""What can be wrong with the tokens, and what the audit log says of it."""


@dataclass
class Asked:
    """What the client asked for, under the code that it was given."""

    redirect_uri: str
    nonce: str
    challenge: str


@dataclass
class Provider:
    """The provider's state, and the tokens that it makes.

    `fault` is one of FAULTS; `asks`: a page with a button, as real ones have, stands in between.
    """

    email: str = "ann@shop.example"
    fault: str | None = None
    asks: bool = False
    url: str = ""
    discovery: dict[str, Any] = field(default_factory=dict)
    secret: str | None = CLIENT_SECRET
    auth_method: str = "client_secret_basic"
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    codes: dict[str, Asked] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint_auth_methods_supported": [self.auth_method],
            "id_token_signing_alg_values_supported": ["RS256", "none"],
        } | self.discovery

    def keys(self) -> dict[str, Any]:
        """Its public keys; of the others it uses none for signing."""
        return {
            "keys": [
                {"kty": "future", "kid": "0"},
                self.key.as_dict(private=False, use="sig", alg="RS256"),
            ]
        }

    def code(self, query: dict[str, str]) -> str:
        """Where the browser goes after somebody has logged in here."""
        assert query["response_type"] == "code" and query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        assert set(query["scope"].split()) == {"openid", "email"}
        code = secrets.token_urlsafe()
        self.codes[code] = Asked(query["redirect_uri"], query["nonce"], query["code_challenge"])
        back = {"code": code, "state": query["state"], "iss": self.url}
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def tokens(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """Tokens for a code, once; None unless client, address and verifier are those of it."""
        asked = self.codes.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "").encode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).decode()
        if (
            asked is None
            or not self._is_client(form, authorization)
            or form["grant_type"] != "authorization_code"
            or form["redirect_uri"] != asked.redirect_uri
            or challenge.rstrip("=") != asked.challenge
        ):
            return None
        access_token = secrets.token_urlsafe()
        answer = {"access_token": access_token, "token_type": "Bearer", "expires_in": 60}
        if self.fault != "no id token":
            answer["id_token"] = self._id_token(asked.nonce, access_token)
        return answer

    def _is_client(self, form: dict[str, str], authorization: str) -> bool:
        if self.secret is None:
            return not authorization and form["client_id"] == CLIENT_ID
        if self.auth_method == "client_secret_post":
            return (form["client_id"], form["client_secret"]) == (CLIENT_ID, self.secret)
        basic = base64.b64encode(f"{CLIENT_ID}:{self.secret}".encode()).decode()
        return authorization == f"Basic {basic}"

    def _id_token(self, nonce: str, access_token: str) -> str:
        now = int(time.time())
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims: dict[str, Any] = {
            "iss": self.url, "aud": CLIENT_ID, "sub": "17", "iat": now, "exp": now + 60,
            "nonce": nonce, "at_hash": base64.urlsafe_b64encode(half).decode().rstrip("="),
            "email": self.email, "email_verified": True,
        }  # fmt: skip
        changes: dict[str, dict[str, Any]] = {
            "another nonce": {"nonce": "guessed"},
            "no nonce": {"nonce": None},
            "another audience": {"aud": "somebody else", "azp": None},
            "another audience, authorized for us": {"aud": "somebody else", "azp": CLIENT_ID},
            "another issuer": {"iss": "https://login.example.com"},
            "expired": {"iat": now - 7200, "exp": now - 3600},
            "another access token": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
            "no e-mail address": {"email": None},
            "not verified": {"email_verified": False},
            "verified, it says in words": {"email_verified": "true"},
        }
        claims |= changes.get(self.fault or "", {})
        claims = {name: value for name, value in claims.items() if value is not None}
        key = self.key
        if self.fault == "no signature":
            return f"{_unsigned('none', claims)}."
        if self.fault == "signed with the public key":
            text, public = _unsigned("HS256", claims), self.key.as_pem(private=False)
            return f"{text}.{_base64(hmac.digest(public, text.encode(), 'sha256'))}"
        if self.fault == "signed by another":
            key = RSAKey.generate_key(2048, {"kid": "1"})
        return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)


def _unsigned(algorithm: str, claims: dict[str, Any]) -> str:
    parts = ({"alg": algorithm, "kid": "1"}, claims)
    return ".".join(_base64(json.dumps(part).encode()) for part in parts)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/.well-known/openid-configuration":
            self._json(self.provider.metadata())
        elif parts.path == "/keys":
            self._json(self.provider.keys())
        elif parts.path == "/authorize" and self.provider.asks:
            page = f"<form method=post action='/agree?{parts.query}'><button>It is me</button>"
            self._answer(200, "text/html", page.encode())
        elif parts.path == "/authorize":
            self._go(self.provider.code(query))
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        given = parts.query if parts.path == "/agree" else body
        form = {name: values[0] for name, values in parse_qs(given).items()}
        if parts.path == "/agree":
            self._go(self.provider.code(form))
            return
        tokens = self.provider.tokens(form, self.headers.get("Authorization", ""))
        if tokens is None:
            self._json({"error": "invalid_grant"}, 400)
        else:
            self._json(tokens)

    def _json(self, value: Any, status: int = 200) -> None:
        self._answer(status, "application/json", json.dumps(value).encode())

    def _go(self, url: str) -> None:
        self.send_response(302)
        self.send_header("Location", url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def openid_provider(host: str = "127.0.0.1") -> Iterator[Provider]:
    """A provider that answers until the block ends."""
    provider = Provider()
    handler = type("Handler", (_Handler,), {"provider": provider})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    provider.url = f"http://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=20)
