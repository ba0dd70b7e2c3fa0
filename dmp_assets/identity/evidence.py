"""How strongly a shared attribute value says that two accounts belong together.

Sharing a device says much, sharing a browser's name nothing; and sharing *any* value says less the
more accounts hold it, down to nothing where a campus, an office or a carrier hides behind it.
"""

import math
from dataclasses import dataclass
from datetime import timedelta

from dmp_assets.identity.witness import Verified


@dataclass(frozen=True)
class Kind:
    """One kind of evidence: what is compared, how strong it is, and when it says nothing.

    name: as it stands in `account_links.shared`.
    value: SQL expression over one row of cleaned/users; null: nothing to compare.
    family: only the strongest kind of a family counts (equal addresses have equal networks, so
        counting both would count the same coincidence twice).
    strength: weight when only two accounts hold the value, from 0 to 1.
    cap: number of holders at which sharing says nothing; values held more often link nobody.
    within: only registrations this near to each other count; None: any two.
    verified: what must be verified of the later account for the link to count against the earlier
        (see `witness`).
    """

    name: str
    value: str
    family: str
    strength: float
    cap: int
    within: timedelta | None = None
    verified: Verified = "either"

    def weight(self, holders: int) -> float:
        """Weight of sharing a value that `holders` accounts hold, themselves included.

        strength · ln(cap / (holders − 1)) / ln(cap), and 0 above the cap: the inverse document
        frequency of Spärck Jones (1972), and the frequency-based agreement weight of Fellegi and
        Sunter (1969) and Winkler (1989), divided by its greatest value. The reference is `cap`
        and not the number of all accounts: how many strangers share a household, an office or a
        second-hand phone does not depend on how large the shop is, so a shop's growth neither
        makes nor breaks links. Raises ValueError below two holders.
        """
        if holders < 2:
            raise ValueError(f"a value held by {holders} accounts is not shared")
        if holders > self.cap:
            return 0.0
        return self.strength * (1 - math.log(holders - 1) / math.log(self.cap))

    def weight_sql(self, holders: str) -> str:
        """`weight` as a SQL expression over the column `holders`."""
        return (
            f"CASE WHEN {holders} > {self.cap} THEN 0.0 "
            f"ELSE {self.strength} * (1 - ln({holders} - 1) / ln({self.cap})) END"
        )


LEAST_CROWD = 50
CROWD_SHARE = 20


SUSPECT, SUSPECT_SHARE = 10, 4
"""So many holders, more than one in `SUSPECT_SHARE` of those who give such a value: a form's word
for nothing, or a ring that is most of a small shop. Counts do not tell which, so such a value still
links, and a check names it."""


def most_holders(cap: int, accounts: int) -> int:
    """Above so many holders a value is no identity, whatever it looks like.

    `cap` (of the value's kind) is where sharing says nothing in the largest shop; in a small one a
    value that more than one account in `CROWD_SHARE` holds, and more than `LEAST_CROWD`, is what
    some form or program fills in, and not one machine or person.
    """
    return min(cap, max(LEAST_CROWD, accounts // CROWD_SHARE))


def most_holders_sql(cap: int, accounts: str) -> str:
    """`most_holders` as a SQL expression."""
    return f"least({cap}, greatest({LEAST_CROWD}, ({accounts}) // {CROWD_SHARE}))"


# A series' stem is the mailbox without its digits: shop.a017@… and shop.a018@… have one. Short
# stems (info1@, ann2@) are too common to mean anything.
_STEM = r"regexp_replace(split_part(email, '@', 1), '[0-9]', '', 'g')"
_PRIVATE_IP = r"'^(10|127|192\.168|169\.254|172\.(1[6-9]|2[0-9]|3[01]))\.'"

# Strengths and caps come from how people live, not from any shop's labels:
KINDS = (
    # One device serves a household (2–6 people); hundreds on one id is a kiosk or a broken id.
    Kind("device", "device_id", "device", 1.0, 200),
    # One mailbox behind several accounts has one reader, aliases and dots included.
    Kind("email", "email", "email", 1.0, 200, verified="email"),
    # A number in series (offer01@, offer02@ …) within a day comes from a script.
    Kind(
        "email_series",
        f"CASE WHEN email SIMILAR TO '.*[0-9].*@.*' AND length({_STEM}) >= 5 "
        f"THEN {_STEM} || '@' || email_domain END",
        "email", 0.6, 200, timedelta(days=1), "email",
    ),
    # A number is one person's; networks give given-up numbers to others (FCC: after 45–90 days).
    Kind("phone", "phone", "phone", 0.9, 100, verified="phone"),
    # Providers give home addresses to others within weeks, so only registrations near in time
    # count; more than a household's worth of accounts is an office, a campus or a carrier.
    Kind(
        "ip",
        f"CASE WHEN NOT regexp_matches(ip, {_PRIVATE_IP}) THEN ip END",
        "network", 0.6, 20, timedelta(days=30),
    ),
    # The same browser, to the build, from the same network within the hour: one person whose
    # address rotates. In a busy network that is chance, hence the low cap.
    Kind(
        "network",
        f"CASE WHEN NOT regexp_matches(ip, {_PRIVATE_IP}) "
        "THEN ip_prefix || ' ' || user_agent_received END",
        "network", 0.5, 20, timedelta(hours=1),
    ),
    # Namesakes born on one day are rare; the name alone would link strangers.
    Kind(
        "name_and_birth",
        "lower(first_name) || ' ' || lower(last_name) || ' ' || date_of_birth",
        "person", 0.8, 20,
    ),
)  # fmt: skip

# A pair's weight is the sum over families. The threshold is a quarter of "one device, two
# accounts": it keeps a household of 5 on one address and a device farm of 54, and no address of 8.
MIN_WEIGHT = 0.25

# Among the holders of one value, each is compared with this many that registered before it:
# everyone with everyone up to 5 holders (a household), linear in the holders beyond, and still
# one connected chain.
PREDECESSORS = 4

IDENTITIES = ("device", "email", "phone", "name_and_birth")
"""Kinds of evidence that name one machine or person. A value that more accounts hold than
`most_holders` allows names none: who holds it counts as its only holder."""

CAPS: dict[str, int] = {kind.name: kind.cap for kind in KINDS}
