"""Copies of a home: they hold the same refresh tokens as the original, and each opens once.

Whichever renews first takes the other's grant away. So a home notes where it was when it was
connected, and a live one that is elsewhere, or was restored, renews no such token until somebody
says that it is the one that goes on (`dmp connect claim`).
"""

from dataclasses import dataclass

from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import ConnectError

NOTED = "connected_at"
"""What a home remembers: its own path when it was connected; empty once it was restored."""


class CopiedError(ConnectError):
    """A home that may be a copy of one that still runs."""

    def __init__(self, home: Home) -> None:
        super().__init__(
            f"{home.root} was copied, moved or restored: to renew here what opens once would end "
            "the grant of the home that it was made from. Where that one does not run any more, "
            "`dmp connect claim` lets this one go on",
            "copied home",
        )


@dataclass(frozen=True)
class Place:
    """Where a home is, and where it was when it was connected. A sandbox may be copied freely."""

    home: Home

    def settle(self) -> None:
        """Note where the home is, unless that is noted."""
        if self.home.profile == "live" and NOTED not in self.home.state():
            self.claim()

    def claim(self) -> None:
        """Let this home go on with the grants that it holds."""
        self.home.remember(**{NOTED: str(self.home.root)})

    @property
    def is_elsewhere(self) -> bool:
        """Whether another home may hold the same grants."""
        noted = self.home.state().get(NOTED)
        return self.home.profile == "live" and noted not in (None, str(self.home.root))

    def check(self) -> None:
        """Raise CopiedError where another home may hold the same grants."""
        self.settle()
        if self.is_elsewhere:
            raise CopiedError(self.home)


def restored(home: Home) -> None:
    """Note that a home was made from a backup: the one that was backed up may still run."""
    if NOTED in home.state():
        home.remember(**{NOTED: ""})
