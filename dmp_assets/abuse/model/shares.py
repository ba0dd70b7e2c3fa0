"""Shares with what chance leaves open."""

import math


def interval(hits: float, of: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (1927); (0, 1) when nothing was counted."""
    if of <= 0:
        return 0.0, 1.0
    z, share = 1.959964, hits / of
    middle = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z * math.sqrt(share * (1 - share) / of + z**2 / (4 * of**2)) / (1 + z**2 / of)
    return max(0.0, middle - half), min(1.0, middle + half)
