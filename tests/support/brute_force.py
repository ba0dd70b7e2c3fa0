"""Attribution by definition: exact fractions, every order of players, with none of our own code.

A path is a tuple of channel names with the journeys along it that converted and that did not.
"""

from collections import defaultdict
from fractions import Fraction
from itertools import pairwise, permutations

Path = tuple[tuple[str, ...], int, int]
State = tuple[str, ...]


def channels_of(paths: list[Path]) -> list[str]:
    return sorted({channel for path, _, _ in paths for channel in path})


def removal_effects(paths: list[Path], order: int) -> dict[str, Fraction]:
    """1 − P(conversion without the channel) / P(conversion), for every channel."""
    before = conversion_probability(paths, order, None)
    if not before:
        return dict.fromkeys(channels_of(paths), Fraction(0))
    return {
        channel: 1 - conversion_probability(paths, order, channel) / before
        for channel in channels_of(paths)
    }


def conversion_probability(paths: list[Path], order: int, removed: str | None) -> Fraction:
    """From start to conversion, where a visit to the removed channel ends in null."""
    chain: dict[object, dict[object, int]] = defaultdict(lambda: defaultdict(int))
    for path, conversions, nulls in paths:
        states: list[object] = ["start"]
        states += [path[max(0, end - order) : end] for end in range(1, len(path) + 1)]
        for left, right in pairwise(states):
            chain[left][right] += conversions + nulls
        chain[states[-1]]["conversion"] += conversions
        chain[states[-1]]["null"] += nulls
    names = [state for state, moves in chain.items() if sum(moves.values())]
    place = {state: row for row, state in enumerate(names)}
    rows = []
    for state in names:
        total = sum(chain[state].values())
        row = [Fraction(0)] * (len(names) + 1)
        row[place[state]] += 1
        for target, count in chain[state].items():
            if target == "conversion":
                row[-1] += Fraction(count, total)
            elif isinstance(target, tuple) and target[-1] != removed and target in place:
                row[place[target]] -= Fraction(count, total)
        rows.append(row)
    return _solved(rows)[place["start"]] if "start" in place else Fraction(0)


def _solved(rows: list[list[Fraction]]) -> list[Fraction]:
    """Gauss–Jordan elimination of an augmented matrix."""
    size = len(rows)
    for column in range(size):
        pivot = next(row for row in range(column, size) if rows[row][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = rows[column][column]
        rows[column] = [value / scale if value else value for value in rows[column]]
        for row in range(size):
            factor = rows[row][column]
            if row != column and factor:
                rows[row] = [
                    value - factor * other if other else value
                    for value, other in zip(rows[row], rows[column], strict=True)
                ]
    return [row[-1] for row in rows]


def shapley_values(paths: list[Path]) -> dict[str, Fraction]:
    """Mean marginal contribution over every order of the channels."""
    journeys: dict[frozenset[str], int] = defaultdict(int)
    converted: dict[frozenset[str], int] = defaultdict(int)
    for path, conversions, nulls in paths:
        journeys[frozenset(path)] += conversions + nulls
        converted[frozenset(path)] += conversions

    def worth(coalition: frozenset[str]) -> Fraction:
        expected = Fraction(0)
        for met, count in journeys.items():
            left = met & coalition
            if journeys.get(left):
                expected += count * Fraction(converted[left], journeys[left])
        return expected

    channels = channels_of(paths)
    sums = dict.fromkeys(channels, Fraction(0))
    orders = list(permutations(channels))
    known: dict[frozenset[str], Fraction] = {}
    for order in orders:
        for place, channel in enumerate(order):
            without, with_it = frozenset(order[:place]), frozenset(order[: place + 1])
            for coalition in (without, with_it):
                if coalition not in known:
                    known[coalition] = worth(coalition)
            sums[channel] += known[with_it] - known[without]
    return {channel: value / len(orders) for channel, value in sums.items()}


def shared(path: tuple[str, ...], values: dict[str, Fraction]) -> list[Fraction]:
    """Credit of each touchpoint of a path, in proportion to its channel's value."""
    worth = {channel: max(values.get(channel, Fraction(0)), Fraction(0)) for channel in set(path)}
    total = sum(worth.values())
    if not total:
        return [Fraction(1, len(path))] * len(path)
    return [worth[channel] / total / path.count(channel) for channel in path]
