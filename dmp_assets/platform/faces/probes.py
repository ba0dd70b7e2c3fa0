"""What `dmp doctor` tries of the outside: what a domain gives it, and how a try can end.

A probe returns one line on what it found, or raises an error whose message says what to put right.
Nothing stays written anywhere, and no secret is in any line.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dmp_assets.platform.base.errors import UserError

PATIENCE_SECONDS = 5.0
"""How long one request of a probe waits."""
USUAL_SECONDS = 20.0


class UnreachableError(UserError):
    """What is wrong with something outside, and which setting names it."""


class NotKnownError(UserError):
    """Nothing is wrong as far as is known, and not all is known, or something is still to do."""


@dataclass(frozen=True)
class Probe:
    """One thing to try: its name for people, how, and how long at most in seconds."""

    name: str
    look: Callable[[], str]
    longest: float = USUAL_SECONDS
