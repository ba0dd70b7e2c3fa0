"""Models that look at a touchpoint's place in its journey only; nothing is learnt.

Definitions as common in web analytics (for one: Google Analytics' "attribution models"). Each
function returns a credit per touchpoint, shape (n,), which sums to 1 in every journey.
"""

from collections.abc import Collection

import numpy as np

from dmp_assets.attribution.model.journeys import Floats, Journeys


def first_touch(journeys: Journeys) -> Floats:
    """All credit to the first touchpoint."""
    return journeys.all_to(journeys.first)


def last_touch(journeys: Journeys) -> Floats:
    """All credit to the last touchpoint."""
    return journeys.all_to(journeys.last)


def last_non_direct(journeys: Journeys, direct_channels: Collection[str]) -> Floats:
    """All credit to the last touchpoint that is not direct; to the last one if all are."""
    places = np.arange(len(journeys.channel))
    places[journeys.is_channel(direct_channels)] = -1
    latest = np.maximum.reduceat(places, journeys.first)
    return journeys.all_to(np.where(latest < 0, journeys.last, latest))


def linear(journeys: Journeys) -> Floats:
    """Equal credit to every touchpoint: 1 / length of the journey."""
    return np.repeat(1.0 / journeys.length, journeys.length)


def position_based(journeys: Journeys, first: float = 0.4, last: float = 0.4) -> Floats:
    """`first` and `last` of the credit to the two ends, the rest equally to those between.

    Of two touchpoints the ends share in the ratio first : last (equally if both are 0); a single
    one gets all. Raises ValueError unless first and last are shares with a sum of 1 at most.
    """
    if not (first >= 0 and last >= 0 and first + last <= 1):
        raise ValueError(f"first and last must be shares of one credit, not {first} and {last}")
    rest = max(1.0 - first - last, 0.0)
    weights = np.repeat(rest / np.maximum(journeys.length - 2, 1), journeys.length)
    weights[journeys.first] = first
    weights[journeys.last] = last
    weights[journeys.first[journeys.length == 1]] = 1.0
    return journeys.normalised(weights)


def time_decay(journeys: Journeys, half_life_hours: float = 168.0) -> Floats:
    """Credit that halves with every half life before the conversion: w = 2^(−hours / half life).

    Counted from the journey's last touchpoint, which changes nothing after normalising but keeps
    weights of very old journeys above 0. Raises ValueError for a half life that is not positive.
    """
    return journeys.normalised(decay(journeys, half_life_hours))


def decay(journeys: Journeys, half_life_hours: float) -> Floats:
    """2^(−hours from the touchpoint to the journey's last one / half life), in [0, 1]."""
    if not (half_life_hours > 0 and np.isfinite(half_life_hours)):
        raise ValueError(f"a half life must be a positive number of hours, not {half_life_hours}")
    latest = np.repeat(journeys.hours_before[journeys.last], journeys.length)
    with np.errstate(over="ignore"):
        return np.exp2((latest - journeys.hours_before) / half_life_hours)
