"""A cluster of linked accounts, as it is shown."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """Two accounts that share rare attributes: how much that says, and which ones."""

    a: str
    b: str
    weight: float
    shared: tuple[str, ...]


@dataclass(frozen=True)
class Cluster:
    """Accounts that hang together: the asked one first, then the nearest.

    `size` counts all members, also those that are not listed.
    """

    members: tuple[str, ...]
    links: tuple[Link, ...]
    size: int
