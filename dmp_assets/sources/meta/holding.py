"""Whose an ad account is: of one advertiser of an installation, the first that connected it.

A person who runs several advertisers' accounts may tick one for the wrong advertiser. Whoever has
it connected already keeps it; for the other one it is as if it had not been ticked.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from dmp_assets.platform.connect.errors import ConnectError

Key = tuple[str, str]
"""(advertiser, account)."""


class HeldElsewhereError(ConnectError):
    """Accounts that another advertiser of this installation has connected; they are left out."""

    def __init__(self, accounts: Collection[str]) -> None:
        told = ", ".join(f"act_{one}" for one in sorted(accounts))
        super().__init__(
            f"{told}: another advertiser of this installation has it connected and keeps it, so it "
            "is left out here; connect anew without it, or disconnect it there",
            "account of another",
        )


def owners(
    listed: Mapping[str, Collection[str]], known: Mapping[Key, datetime], holders: Sequence[str]
) -> dict[str, str]:
    """Account → the advertiser that has it.

    listed: what the connection of each advertiser lists now. known: since when accounts are there
    that were listed when their advertiser was read last. holders: advertisers with a connection,
    in use or not, the earliest consent first; what they had they have while they are not read.
    """
    claims: dict[str, set[str]] = {}
    for whose, accounts in listed.items():
        for account in accounts:
            claims.setdefault(account, set()).add(whose)
    for whose, account in known:
        if whose in holders and whose not in listed:
            claims.setdefault(account, set()).add(whose)

    def place(account: str, whose: str) -> tuple[bool, float, int]:
        since = known.get((whose, account))
        order = holders.index(whose) if whose in holders else len(holders)
        return (since is None, since.timestamp() if since else 0.0, order)

    return {
        account: min((*place(account, whose), whose) for whose in those)[-1]
        for account, those in claims.items()
    }
