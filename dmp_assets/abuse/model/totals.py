"""Counts of the whole shop, the live accounts counted."""

from bisect import bisect_left, bisect_right, insort

from dmp_assets.abuse.model.features import zone_countries
from dmp_assets.abuse.model.roster import LiveAccount
from dmp_assets.abuse.model.snapshot import Snapshot


class Totals:
    """What the account view says of all accounts together (`accounts_…`), and when they came."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._known = snapshot.totals
        self._live = dict.fromkeys(snapshot.totals, 0)
        self._created: list[int] = []

    def add(self, live: LiveAccount) -> None:
        """Count a live account."""
        insort(self._created, live.created)
        self._count(live, 1)

    def discard(self, live: LiveAccount) -> None:
        """Count it no more."""
        self._created.pop(bisect_left(self._created, live.created))
        self._count(live, -1)

    def now(self) -> dict[str, int]:
        """The columns of the view."""
        return {name: self._known[name] + more for name, more in self._live.items()}

    def live_within(self, created: int, width: int) -> int:
        """Live accounts that registered within so many microseconds of a time."""
        return bisect_right(self._created, created + width) - bisect_left(
            self._created, created - width
        )

    def _count(self, live: LiveAccount, step: int) -> None:
        a, totals = live.account, self._live
        for name, counted in (
            ("accounts", True),
            ("accounts_with_name", True),
            ("accounts_with_email", a["email_received"] is not None),
            ("accounts_with_valid_email", a["is_email_valid"] is True),
            ("accounts_with_phone", a["phone_received"] is not None),
            ("accounts_with_valid_phone", a["is_phone_valid"] is True),
            ("accounts_with_city", a["city"] is not None),
            ("accounts_with_device", a["device_id"] is not None),
            ("accounts_with_ip", a["ip"] is not None),
            ("accounts_with_invalid_ip", a["is_ip_valid"] is False),
            ("accounts_with_user_agent", a["user_agent_received"] is not None),
            ("accounts_with_date_of_birth", a["date_of_birth"] is not None),
            ("accounts_with_impossible_birth", a["is_date_of_birth_valid"] is False),
            (
                "accounts_with_home_phone",
                a["phone_country"] is not None
                and a["phone_country"] == zone_countries().get(a["timezone"]),
            ),
        ):
            totals[name] += step * counted
