"""Shopify's signatures: of the query that a browser brings back, and of the body of a webhook.

Both are HMAC-SHA256 (RFC 2104) under the app's client secret, compared in constant time. After a
rotation of the secret the old one still signs for a while.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr

from dmp_assets.sources.shopify.settings import ShopifySettings

ROTATION = timedelta(hours=1)
"""How long the old secret signs after a rotation."""


def query_hmac(query: Mapping[str, str | Sequence[str]], secret: SecretStr) -> str:
    """The hex HMAC of a query string without its `hmac`: `key=value` in the order of the keys,
    joined by `&`. A parameter with several values (`ids[]=2&ids[]=1`) is a list."""
    message = "&".join(
        f"{_escaped(name).replace('=', '%3D')}={_escaped(_value(query[name]))}"
        for name in sorted(query)
        if name != "hmac"
    )
    return hmac.new(_key(secret), message.encode(), hashlib.sha256).hexdigest()


def body_hmac(body: bytes, secret: SecretStr) -> str:
    """The base64 HMAC of a webhook's raw body."""
    return base64.b64encode(hmac.new(_key(secret), body, hashlib.sha256).digest()).decode()


@dataclass(frozen=True)
class Secrets:
    """The app's secrets that sign at a moment, the newest first."""

    those: tuple[SecretStr, ...]

    @staticmethod
    def of(settings: ShopifySettings, now: datetime) -> "Secrets":
        """The secret, and the one before it within `ROTATION` of the rotation."""
        found = [settings.shopify_client_secret]
        rotated = settings.shopify_secret_rotated_at
        if rotated is not None and now < rotated + ROTATION:
            found.append(settings.shopify_old_client_secret)
        return Secrets(tuple(one for one in found if one is not None))

    def signed_query(self, query: Mapping[str, str | Sequence[str]], given: str) -> bool:
        """Whether one of them signed the query."""
        return any(_same(query_hmac(query, one), given) for one in self.those)

    def signed_body(self, body: bytes, given: str) -> bool:
        """Whether one of them signed the body."""
        return any(_same(body_hmac(body, one), given) for one in self.those)


def _key(secret: SecretStr) -> bytes:
    return secret.get_secret_value().encode()


def _same(ours: str, given: str) -> bool:
    return hmac.compare_digest(ours.encode(), given.encode())


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("&", "%26")


def _value(given: str | Sequence[str]) -> str:
    if isinstance(given, str):
        return given
    quoted = [f'"{one}"' for one in given]
    return f"[{', '.join(quoted)}]"
