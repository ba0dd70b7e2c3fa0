"""How the review names accounts: in full, or masked and sealed without personal:read."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from cryptography.fernet import Fernet

from dmp_assets.platform.api.output import opened, sealed
from dmp_assets.platform.api.problems import Problem
from dmp_assets.platform.reporting.privacy import mask_id
from dmp_assets.platform.store.access import Principal

_SEALED = "sealed:"
LONGEST = 2_000
"""Characters of an id as it is sent, sealed or not."""


@dataclass(frozen=True)
class Names:
    """Ids as one caller sees them."""

    seal: Fernet
    in_full: bool

    @classmethod
    def of(cls, seal: Fernet, who: Principal) -> "Names":
        return cls(seal, who.may("personal:read"))

    @property
    def label(self) -> Callable[[str], str]:
        """What is read."""
        return str if self.in_full else mask_id

    def token(self, account_id: str) -> str:
        """What is sent back to mean this account."""
        if self.in_full:
            return account_id
        return _SEALED + sealed(self.seal, "account", account_id)

    def meant(self, token: str, field: str = "query.id") -> str:
        """The account that was meant, sealed or, where ids are seen in full, not.

        Raises Problem 422, about the `field`, for a seal that is not ours.
        """
        if not token.startswith(_SEALED):
            return token
        try:
            (account_id,) = opened(self.seal, token.removeprefix(_SEALED), "account", field)
        except Problem:
            if self.in_full:  # whoever names accounts may begin a name so
                return token
            raise
        return str(account_id)

    def address(self, account_id: str) -> str:
        """Where its page is."""
        return f"/review/account?{urlencode({'id': self.token(account_id)})}"
