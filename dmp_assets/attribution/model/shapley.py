"""Shapley model: a channel's worth is its average marginal contribution to the conversions.

Shapley (1953), "A value for n-person games". The game follows the channel importance of
Dalessandro, Perlich, Stitelman, Provost, "Causally motivated attribution for online advertising"
(ADKDD 2012), which compares journeys with and without a channel, converting or not. Counting only
converting journeys instead (v(S) = conversions of journeys within S) would give every channel of a
journey the same: Zhao, Mahboobi, Bagheri, "Shapley value methods for attribution modeling in online
advertising" (2018).
"""

import numpy as np

from dmp_assets.attribution.model.journeys import Floats, Integers
from dmp_assets.attribution.model.paths import Paths

EXACT_LIMIT = 14
SAMPLES = 200
_SEED = 20_120_812
_NOISE = 1e-10
"""Values below this share of all conversions are rounding."""


def shapley_values(
    paths: Paths, exact_limit: int = EXACT_LIMIT, samples: int = SAMPLES
) -> dict[str, float]:
    """Shapley value of every channel, in conversions; they sum to all conversions.

    Let n(T) be the journeys whose set of channels is T and p(T) the share of them that converted
    (0 if there are none, and for the empty set). A coalition S is worth the conversions expected
    if the same people had met only the channels of S:

        v(S) = Σ_T n(T) · p(T ∩ S).

    A channel whose presence lowers the share that converts has a negative value. Without paths
    that did not convert, p(T) is 1 for every set seen: once all subsets are seen, too, the values
    are an equal split among the channels of a journey. Up to
    `exact_limit` channels the value is exact over all 2^k coalitions, by the game's dividends
    (Harsanyi 1963): d(U) = Σ_{W ⊆ U} (−1)^|U∖W| p(W), weighed by the journeys N(U) that hold U,

        φ(c) = Σ_{U ∋ c} d(U) · N(U) / |U|.

    Above, it is the mean over `samples` random orders of the channels (Castro, Gómez, Tejada 2009)
    with a fixed seed, whose error falls with √samples; the sum stays exact.
    Raises ValueError for an exact limit out of 0 to 20 or for less than one sample.
    """
    if not 0 <= exact_limit <= 20:
        raise ValueError(f"the limit for exact Shapley values is 0 to 20, not {exact_limit}")
    if samples < 1:
        raise ValueError(f"Shapley values need one sample at least, not {samples}")
    exact = len(paths.channels) <= exact_limit
    values = _exact(paths) if exact else _sampled(paths, samples)
    values[np.abs(values) < _NOISE * paths.conversions.sum()] = 0.0
    return dict(zip(paths.channels, values.tolist(), strict=True))


def _exact(paths: Paths) -> Floats:
    players = len(paths.channels)
    size = 1 << players
    coalition = np.bitwise_or.reduceat(1 << paths.channel.astype(np.int64), paths.offsets[:-1])
    holding = _tally(coalition, paths.journeys, size)
    dividend = _rate(_tally(coalition, paths.conversions, size), holding)
    for player in range(players):
        by_player = (-1, 2, 1 << player)
        dividend.reshape(by_player)[:, 1] -= dividend.reshape(by_player)[:, 0]
        holding.reshape(by_player)[:, 0] += holding.reshape(by_player)[:, 1]
    members = np.bitwise_count(np.arange(size))
    shared = dividend * holding / np.maximum(members, 1)
    return np.array([shared.reshape(-1, 2, 1 << p)[:, 1].sum() for p in range(players)])


def _sampled(paths: Paths, samples: int) -> Floats:
    """Mean marginal contribution over random orders of the channels.

    v adds up over the sets T, so an order is walked within every T at once. Each random order is
    followed by its rotations, which put every channel in every place as often.
    A set is known by the sum of random 64-bit numbers of its channels: some two of a million sets
    share one with a chance of 1 in 37 million.
    """
    random = np.random.default_rng(_SEED)
    players = len(paths.channels)
    numbers = random.integers(1, 2**64, size=players, dtype=np.uint64)

    path = np.repeat(np.arange(len(paths)), np.diff(paths.offsets))
    path, player = np.divmod(np.unique(path * players + paths.channel), players)
    key = np.zeros(len(paths), dtype=np.uint64)
    np.add.at(key, path, numbers[player])
    keys, representative, group = np.unique(key, return_index=True, return_inverse=True)
    journeys = _tally(group, paths.journeys, len(keys))
    rate = _rate(_tally(group, paths.conversions, len(keys)), journeys)

    chosen = np.isin(path, representative)
    team, player = group[path[chosen]], player[chosen]
    by_team = np.argsort(team, kind="stable")
    team, player = team[by_team], player[by_team]
    starts = np.flatnonzero(np.diff(team, prepend=-1))
    lengths = np.diff(starts, append=len(team))

    values = np.zeros(players)
    for sample in range(samples):
        if sample % players == 0:
            rank = random.permutation(players)
        rank = (rank + 1) % players
        walk = player[np.argsort(team * players + rank[player])]
        met = np.cumsum(numbers[walk])  # modulo 2^64, as is the difference
        met -= np.repeat(met[starts] - numbers[walk[starts]], lengths)
        found = np.minimum(np.searchsorted(keys, met), len(keys) - 1)
        worth = np.where(keys[found] == met, rate[found], 0.0)
        gained = np.diff(worth, prepend=0.0)
        gained[starts] = worth[starts]
        values += np.bincount(walk, gained * journeys[team], players)
    mean: Floats = values / samples
    return mean


def _tally(index: Integers, counts: Integers, size: int) -> Floats:
    return np.bincount(index, counts, size).astype(np.float64)


def _rate(conversions: Floats, journeys: Floats) -> Floats:
    return conversions / np.maximum(journeys, 1.0)
