"""Initializer, holder, closer: credit for three roles in a journey, after the IHC idea.

Who introduced the customer, who kept them engaged, who closed the sale? Each role has one credit
to give, and a journey's credit is the weighted mean of the roles that somebody played.
"""

from dataclasses import dataclass

import numpy as np

from dmp_assets.attribution.model.journeys import Floats, Journeys
from dmp_assets.attribution.model.positions import decay


@dataclass(frozen=True)
class Roles:
    """Parameters of the model.

    The weights of the roles need no sum of 1; the defaults are close to those that a trained IHC
    service shows in its answers. `impression_weight` is how much an ad that was only seen counts
    against a visit. Raises ValueError for values out of range.
    """

    initializer: float = 0.345
    holder: float = 0.380
    closer: float = 0.275
    closer_half_life_hours: float = 24.0
    impression_weight: float = 0.5

    def __post_init__(self) -> None:
        weights = (self.initializer, self.holder, self.closer)
        if not (np.isfinite(weights).all() and min(weights) >= 0):
            raise ValueError("weights of roles must be finite and not negative")
        if not self.initializer + self.closer > 0:
            raise ValueError("initializer or closer needs a weight: a journey may have no holder")
        if not 0 <= self.impression_weight <= 1:
            raise ValueError("impression_weight must be between 0 and 1")


@dataclass(frozen=True, eq=False)
class RoleCredits:
    """Credit per touchpoint and role, each shape (n,).

    `initializer` and `closer` sum to 1 in every journey, `holder` to 1 or, without a holder, 0.
    `combined` is their weighted mean and sums to 1.
    """

    initializer: Floats
    holder: Floats
    closer: Floats
    combined: Floats


def initializer_holder_closer(journeys: Journeys, roles: Roles | None = None) -> Floats:
    """The combined credit of the three roles; formula at `role_credits`."""
    return role_credits(journeys, roles).combined


def role_credits(journeys: Journeys, roles: Roles | None = None) -> RoleCredits:
    """Credits by role. With q = impression_weight for an impression and 1 for a visit:

    - initializer: the first touchpoint gets q, the first visit after it the remaining 1 − q (the
      first touchpoint gets all when it is a visit or no visit follows);
    - holder: all touchpoints but the first, in proportion to q · holder_engagement;
    - closer: all touchpoints, in proportion to
      q · (1 + closer_engagement) · 2^(−hours to the last touchpoint / half life);
    - combined: Σ weight · credit / Σ weight over the roles that the journey has.
    """
    roles = roles or Roles()
    weight = np.where(journeys.impression_interaction, roles.impression_weight, 1.0)

    places = np.where(journeys.impression_interaction, len(weight), np.arange(len(weight)))
    visit = np.minimum.reduceat(places, journeys.first)
    visit = np.where(visit > journeys.last, journeys.first, visit)
    introduced = np.where(visit == journeys.first, 1.0, weight[journeys.first])
    initializer = np.zeros(len(weight))
    initializer[visit] = 1.0 - introduced
    initializer[journeys.first] = introduced

    holding = weight * journeys.holder_engagement
    holding[journeys.first] = 0.0
    held = np.maximum.reduceat(holding, journeys.first) > 0
    is_held = np.repeat(held, journeys.length)
    holder = np.where(is_held, journeys.normalised(holding), 0.0)

    closing = weight * (1.0 + journeys.closer_engagement)
    closer = journeys.normalised(closing * decay(journeys, roles.closer_half_life_hours))

    total = roles.initializer + roles.closer + np.where(is_held, roles.holder, 0.0)
    combined = roles.initializer * initializer + roles.holder * holder + roles.closer * closer
    return RoleCredits(initializer, holder, closer, combined / total)
