"""A cluster of linked accounts, as it is shown."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """Two accounts that share rare attributes. `weight`: how much that says."""

    a: str
    b: str
    weight: float
    shared: tuple[str, ...]


@dataclass(frozen=True)
class Cluster:
    """The accounts that links lead to from one account.

    `members`: that account first, at most as many as were asked for; `size`: all of them.
    `links`: those between the members.
    """

    members: tuple[str, ...]
    links: tuple[Link, ...]
    size: int
