"""All accounts of this moment, each by a number: the shop's by a snapshot, and those scored lately.

Known accounts come from a snapshot's files, live ones (scored a moment ago, not yet in the shop's
tables) are added one by one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dmp_assets.abuse.model import keys
from dmp_assets.abuse.model.keys import NO_KEY
from dmp_assets.abuse.model.snapshot import Snapshot
from dmp_assets.identity.witness import verified

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(at: datetime) -> int:
    """Since 1970; a time without a zone is in UTC."""
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class LiveAccount:
    """An account that was scored but is not in the snapshot.

    `account`: normal forms (`received.normal_form`); `promo_code`: the code it is about to redeem;
    `verified`: see `identity.witness`; `salt`: by which its keys are made.
    """

    account: Mapping[str, Any]
    keys: tuple[int, ...]
    created: int
    promo_code: str | None
    scored_at: datetime
    verified: int
    salt: str = ""

    @classmethod
    def of(
        cls,
        account: Mapping[str, Any],
        promo_code: str | None = None,
        scored_at: datetime | None = None,
        salt: str = "",
    ) -> "LiveAccount":
        """Scored now, if nothing else is said."""
        created = microseconds(account["created_at"])
        now = scored_at or datetime.now(UTC)
        known = verified(account.get("is_email_verified"), account.get("is_phone_verified"))
        return cls(account, keys.keys_of(account, salt), created, promo_code, now, known, salt)

    @property
    def account_id(self) -> str:
        return str(self.account["user_id"])

    def keyed(self, salt: str) -> "LiveAccount":
        """The same with keys by this salt; what it is not counted by it is not afterwards."""
        if salt == self.salt:
            return self
        made = tuple(
            NO_KEY if old == NO_KEY else new
            for old, new in zip(self.keys, keys.keys_of(self.account, salt), strict=True)
        )
        return replace(self, keys=made, salt=salt)


class Roster:
    """The accounts of a snapshot and the live ones beside it. Used by one thread at a time.

    An account is a number here: its row in the snapshot, or one from `snapshot.size` on.
    `live`: the live accounts by their number, in the order in which they came.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.live: dict[int, LiveAccount] = {}
        self._number: dict[str, int] = {}
        self._next = snapshot.size

    def __len__(self) -> int:
        return self.snapshot.size + len(self.live)

    def add(self, live: LiveAccount) -> int:
        """Add a live account whose id no live one has; its number."""
        number = self._next
        self._next += 1
        self.live[number], self._number[live.account_id] = live, number
        return number

    def discard(self, account_id: str) -> None:
        """Forget a live account."""
        del self.live[self._number.pop(account_id)]

    def live_number(self, account_id: str) -> int | None:
        """The number of the live account of this id; None when there is none."""
        return self._number.get(account_id)

    def live_of(self, account_id: str) -> LiveAccount | None:
        """The live account of this id; None when there is none."""
        number = self._number.get(account_id)
        return None if number is None else self.live[number]

    def number(self, account_id: str) -> int | None:
        """The account's number; None when nobody knows it."""
        found = self._number.get(account_id)
        return self.snapshot.row_of(account_id) if found is None else found

    def is_known(self, account_id: str) -> bool:
        """Whether the account is in the snapshot."""
        return account_id not in self._number and self.snapshot.row_of(account_id) is not None

    def id_of(self, number: int) -> str:
        live = self.live.get(number)
        return self.snapshot.id_of(number) if live is None else live.account_id

    def key(self, number: int, place: int) -> int:
        """The key at a place by which the account is counted; NO_KEY for none."""
        live = self.live.get(number)
        return int(self.snapshot.keys[place][number]) if live is None else live.keys[place]

    def time(self, number: int) -> int:
        """When it registered, in microseconds."""
        live = self.live.get(number)
        return int(self.snapshot.created[number]) if live is None else live.created

    def verified(self, number: int) -> int:
        """What of it is verified, see `identity.witness`."""
        live = self.live.get(number)
        return int(self.snapshot.verified[number]) if live is None else live.verified

    def order(self, number: int) -> tuple[int, str]:
        """Its place among all in time."""
        return self.time(number), self.id_of(number)
