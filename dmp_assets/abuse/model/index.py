"""The index: what is known of all accounts at this moment, in memory, for one account's view.

The counts of the account view and the links of account_links and account_clusters are computed
here for one account, by the definitions that the tables have for all: a test compares the two.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from typing import Any

from dmp_assets.abuse.model.clusters import Cluster, Link
from dmp_assets.abuse.model.holders import Holders
from dmp_assets.abuse.model.keys import POSITION
from dmp_assets.abuse.model.links import Links
from dmp_assets.abuse.model.roster import LiveAccount, Roster
from dmp_assets.abuse.model.snapshot import EMPTY, Snapshot
from dmp_assets.abuse.model.totals import Totals
from dmp_assets.abuse.model.view import VIEW
from dmp_assets.abuse.model.view_counts import ViewCounts
from dmp_assets.platform.cleaning import normalise
from dmp_assets.platform.values import words

__all__ = ["AccountIndex", "LiveAccount"]

_OWN = tuple(VIEW.names[: VIEW.names.index("timezone") + 1])
"""Columns of the view that are the account's own attributes."""
_REDEMPTIONS = tuple(VIEW.names[VIEW.names.index("usages") :])
"""Columns of the view that speak of redemptions."""


class AccountIndex:
    """What is said of one account among all others. Used by one thread at a time.

    An account is a number here: its row in the snapshot, or one from `snapshot.size` on.
    """

    def __init__(self, snapshot: Snapshot = EMPTY) -> None:
        self.snapshot = snapshot
        self._roster = Roster(snapshot)
        self._holders = Holders(self._roster)
        self._totals = Totals(snapshot)
        self._links = Links(self._roster, self._holders)
        self._counts = ViewCounts(self._roster, self._holders, self._totals)

    # accounts ------------------------------------------------------------------------------------
    def __len__(self) -> int:
        return len(self._roster)

    def live(self) -> Iterator[LiveAccount]:
        """The live accounts in the order in which they came."""
        return iter(self._roster.live.values())

    def live_of(self, account_id: str) -> LiveAccount | None:
        """The live account of this id; None when there is none."""
        return self._roster.live_of(account_id)

    def number(self, account_id: str) -> int | None:
        """The account's number; None when nobody knows it."""
        return self._roster.number(account_id)

    def is_known(self, account_id: str) -> bool:
        """Whether the account is in the snapshot."""
        return self._roster.is_known(account_id)

    def id_of(self, number: int) -> str:
        return self._roster.id_of(number)

    def put(self, live: LiveAccount) -> int:
        """Add a live account, or replace the one of the same id; its number."""
        live = live.keyed(self.snapshot.salt)
        self.remove(live.account_id)
        number = self._roster.add(live)
        self._holders.add(number, live)
        self._links.grown(before=len(self._roster) - 1)
        self._totals.add(live)
        self._links.changed(live)
        return number

    def remove(self, account_id: str) -> None:
        """Forget a live account; nothing happens when there is none."""
        number = self._roster.live_number(account_id)
        if number is None:
            return
        live = self._roster.live[number]
        self._links.changed(live)
        self._links.forget(number)
        self._holders.discard(number, live)
        self._roster.discard(account_id)
        self._links.grown(before=len(self._roster) + 1)
        self._totals.discard(live)

    def touched(self, number: int) -> bool:
        """Whether a live account shares a value, by which accounts are linked, with this one."""
        return self._holders.touched(number)

    # the account view ----------------------------------------------------------------------------
    def view_of(self, number: int) -> dict[str, Any]:
        """The account's row of the account view as of now, itself counted."""
        live = self._roster.live.get(number)
        if live is None:
            row = self.snapshot.view_of(number)
            codes = row.pop("codes_used") or []
            own = tuple(int(column[number]) for column in self.snapshot.keys)
            created = int(self.snapshot.created[number])
        else:
            row = {name: live.account[name] for name in _OWN}
            row["created_at"] = live.account["created_at"].astimezone(UTC).replace(tzinfo=None)
            row |= dict.fromkeys(_REDEMPTIONS)
            codes = [live.promo_code] if live.promo_code else []
            own, created = live.keys, live.created
        row |= self._counts.of(own, created, codes)
        row |= self._totals.now()
        edges = self._links.of(number)
        counted = [edge.against for edge in edges if edge.counts]
        row["links"] = len(edges) or None
        row["link_weight"] = sum(counted) if counted else None
        row["cluster_size"] = self._links.counted(number) if counted else None
        return row

    # links ---------------------------------------------------------------------------------------
    def members(self, number: int) -> list[int]:
        """Numbers of its cluster: the account itself, then the nearest, at most `MOST_MEMBERS`."""
        return self._links.members(number)

    def first_of(self, numbers: Sequence[int]) -> str:
        """Id of the earliest registered of these: by it a cluster is named."""
        return self._links.first_of(numbers)

    def neighbours(self, number: int) -> list[int]:
        """Numbers of the directly linked accounts, the strongest link first."""
        return self._links.neighbours(number)

    # for people ----------------------------------------------------------------------------------
    def attributes(self, account_id: str) -> dict[str, Any] | None:
        """The account's own attributes and `is_new`; None when nobody knows it."""
        number = self.number(account_id)
        if number is None:
            return None
        live = self._roster.live.get(number)
        row = self.snapshot.view_of(number) if live is None else live.account
        return {name: row[name] for name in _OWN} | {"is_new": live is not None}

    def search(self, text: str, phone_region: str = "US", at_most: int = 50) -> list[str]:
        """Accounts by id, e-mail, phone, device or IP; exact after normalisation."""
        text = words.plain("id", text)
        found: dict[str, None] = {}
        if text and self.number(text) is not None:
            found[text] = None
        for name, value in (
            ("email_key", normalise.email(text).canonical),
            ("phone_key", normalise.phone(text, phone_region).e164),
            ("device_key", text or None),
            ("ip_key", normalise.ip(text).address),
        ):
            if value is not None:
                sharing = self._holders.sharing(POSITION[name], self.snapshot.key_of(value))
                found |= dict.fromkeys(map(self.id_of, reversed(sharing[-at_most:])))
        return list(found)[:at_most]

    def cluster(self, account_id: str, at_most: int = 60) -> Cluster:
        """The account's cluster with the links among the listed members.

        Raises KeyError for an account that nobody knows.
        """
        number = self.number(account_id)
        if number is None:
            raise KeyError(account_id)
        whole = self.members(number)
        listed = dict.fromkeys(whole[:at_most])
        links = {
            (min(a, e.other), max(a, e.other)): (e.weight, e.shared)
            for a in listed
            for e in self._links.of(a)
            if e.other in listed
        }
        return Cluster(
            members=tuple(map(self.id_of, listed)),
            links=tuple(
                Link(self.id_of(a), self.id_of(b), weight, shared)
                for (a, b), (weight, shared) in links.items()
            ),
            size=len(whole),
        )

    def keep(self, accounts: Iterable[LiveAccount]) -> None:
        """Take over live accounts, those that the snapshot has by now left out."""
        for live in accounts:
            if self.snapshot.row_of(live.account_id) is None:
                self.put(live)
