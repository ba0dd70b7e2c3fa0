"""Whom an experiment counts, by keyed hashes: what is stored of a unit leads to nobody by itself.

A unit's id is HMAC-SHA256 (RFC 2104) of the id that the shop gave, by a secret of the home, its
first 32 hexadecimal digits. Without the secret nobody can try ids out; with it an order's customer
is found again, and so is whoever is to be forgotten.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field

from dmp_assets.home import Home
from dmp_assets.platform.config import secret_files

SECRET = "unit_key"  # noqa: S105 # nosec B105 - its name
_DIGITS = 32


@dataclass(frozen=True)
class UnitKey:
    """The home's secret by which units are hashed."""

    key: bytes = field(repr=False)

    @classmethod
    def of(cls, home: Home) -> "UnitKey":
        """That of a home, made once."""
        made = secret_files.of(home, SECRET, lambda: secrets.token_hex(32))
        return cls(bytes.fromhex(made))

    @property
    def known_as(self) -> str:
        """By what the key is told from another; says nothing about the key itself."""
        return hmac.digest(self.key, b"known as", "sha256").hex()[:16]

    def unit(self, given: str) -> str:
        """How the unit of this id is stored."""
        return hmac.digest(self.key, b"unit\0" + given.encode(), hashlib.sha256).hex()[:_DIGITS]


def pseudonyms(home: Home, subject: str, ids: Collection[str]) -> Collection[str]:
    """How tables of experiments name the people with these ids."""
    if subject != "user_id":
        return ()
    key = UnitKey.of(home)
    return {key.unit(one) for one in ids}
