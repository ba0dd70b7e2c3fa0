"""Markov model: what a channel is worth is what is lost when it is removed from the chain.

After Anderl, Becker, von Wangenheim, Schumann, "Mapping the customer journey: Lessons learned from
graph-based online attribution modeling", International Journal of Research in Marketing 33 (2016).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np  # SciPy only where it solves: who names the models shall not wait for it

from dmp_assets.attribution.model.journeys import Codes, Floats, Integers
from dmp_assets.attribution.model.paths import Paths

if TYPE_CHECKING:
    from scipy.sparse import csc_array

MAX_ORDER = 4
_ELIMINATE = 1_000
"""States up to which a linear system is solved by elimination."""
_TOLERANCE = 1e-13
"""Residual, against the right side, at which an iterated solution is taken."""
_NOISE = 1e-10
"""Effects below are rounding of the solver: one lost conversion in ten billion."""


@dataclass(frozen=True, eq=False)
class _Chain:
    """Counts of an absorbing chain over s states; `channel` is the latest channel of each."""

    channel: Codes
    starts: Integers
    visits: Integers
    conversions: Integers
    moves: "csc_array"


def removal_effects(paths: Paths, order: int = 1) -> dict[str, float]:
    """Removal effect of every channel, in [0, 1].

    The chain goes from start over states to conversion or null; a state is the last `order`
    channels (all so far, near the start), and its transition probabilities are the shares seen in
    the paths, repeats of a channel included. To remove a channel, every visit to it goes to null
    instead. With P the probability to get from start to conversion,

        effect(c) = 1 − P(without c) / P.

    P(without c) comes from one sparse linear system per channel, (I − Q) h = r over the states
    left: Q probabilities to move between them, r to convert from them; nothing is simulated.
    Without any conversion every effect is 0. Raises ValueError for an order that is not 1 to 4.
    """
    if order not in range(1, MAX_ORDER + 1):
        raise ValueError(f"the order of a Markov model is 1 to {MAX_ORDER}, not {order}")
    conversions = int(paths.conversions.sum())
    if conversions == 0:
        return dict.fromkeys(paths.channels, 0.0)
    chain = _chain(paths, order)
    effects = {}
    for code, name in enumerate(paths.channels):
        effect = 1.0 - _converting(chain, np.flatnonzero(chain.channel != code)) / conversions
        effects[name] = min(effect, 1.0) if effect > _NOISE else 0.0
    return effects


def _converting(chain: _Chain, states: Integers) -> float:
    """Conversions that remain when only these states can be visited."""
    from scipy.sparse import diags_array, eye_array

    if not chain.conversions[states].any():
        return 0.0
    share = diags_array(1.0 / chain.visits[states])
    system = eye_array(len(states)) - share @ chain.moves[states, :][:, states]
    reached = _solved(system.tocsc(), share @ chain.conversions[states].astype(np.float64))
    return float(chain.starts[states] @ reached)


def _solved(system: "csc_array", right: Floats) -> Floats:
    """Solution of a sparse system, by elimination where that is quick or the iteration stalls.

    Chains of high order mix so well that elimination fills the matrix, and iterating is quick.
    """
    from scipy.sparse.linalg import gmres, spsolve

    if len(right) > _ELIMINATE:
        iterated, stalled = gmres(system, right, rtol=_TOLERANCE, atol=0.0, restart=50, maxiter=10)
        if not stalled:
            return np.asarray(iterated, dtype=np.float64)
    return np.asarray(spsolve(system, right), dtype=np.float64)


def _chain(paths: Paths, order: int) -> _Chain:
    from scipy.sparse import coo_array

    lengths = np.diff(paths.offsets)
    place = np.arange(len(paths.channel)) - np.repeat(paths.offsets[:-1], lengths)
    base = len(paths.channels) + 1
    digits = paths.channel.astype(np.int64) + 1
    state = digits.copy()
    for back in range(1, order):
        state[back:] += np.where(place[back:] >= back, digits[:-back], 0) * base**back
    names, index = np.unique(state, return_inverse=True)

    first, last = paths.offsets[:-1], paths.offsets[1:] - 1
    weight = np.repeat(paths.journeys, lengths)
    goes_on = np.ones(len(index), dtype=np.bool_)
    goes_on[last] = False
    origin = np.flatnonzero(goes_on)
    count = len(names)
    moves = coo_array(
        (weight[origin].astype(float), (index[origin], index[origin + 1])), shape=(count, count)
    )
    # A path without journeys adds states without visits, which a system cannot hold.
    visits = np.maximum(_tally(index, weight, count), 1)
    return _Chain(
        channel=(names % base - 1).astype(np.int32),
        starts=_tally(index[first], paths.journeys, count),
        visits=visits,
        conversions=_tally(index[last], paths.conversions, count),
        moves=moves.tocsc(),
    )


def _tally(index: Integers, weight: Integers, count: int) -> Integers:
    totals = np.zeros(count, dtype=np.int64)
    np.add.at(totals, index, weight)
    return totals
