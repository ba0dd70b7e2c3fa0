"""Which known word a person likely meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known word that was likely meant, whatever its case; None when none is near."""
    by_fold = {word.casefold(): word for word in known}
    found = get_close_matches(given.casefold(), by_fold, n=1, cutoff=0.72)
    return by_fold[found[0]] if found else None


def meant(given: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing when no known word is near."""
    word = nearest(given, known)
    return f"; did you mean {word}?" if word else ""
