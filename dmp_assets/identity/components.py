"""Connected components of a graph on integer codes."""

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]


def leaders(left: Codes, right: Codes, count: int) -> Codes:
    """For each of the nodes 0 … count-1 the smallest node that it is connected with.

    `left[i]`–`right[i]` are the edges, in any order and direction. Linear in nodes and edges
    (1,000,000 of each: about 0.1 s).
    """
    from scipy.sparse import coo_array  # here: every run names this module, few call it
    from scipy.sparse.csgraph import connected_components

    if count == 0:
        return np.empty(0, dtype=np.int64)
    edges = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    components, labels = connected_components(edges, directed=False)
    smallest = np.full(components, count, dtype=np.int64)
    np.minimum.at(smallest, labels, np.arange(count))
    leader: Codes = smallest[labels]
    return leader


def reached(
    start: Codes, end: Codes, time: Codes, may_be_later: npt.NDArray[np.bool_], at_most: int
) -> Codes:
    """How many nodes can be reached from each, itself included; above `at_most` nobody counts on.

    Edges lead from `start[i]` to `end[i]` and not back. A node whose `time` is later than that of
    the node from which all began is stepped on only if it `may_be_later`.
    """
    found = np.ones(len(time), dtype=np.int64)
    ahead: dict[int, list[int]] = {}
    for here, there in zip(start.tolist(), end.tolist(), strict=True):
        ahead.setdefault(here, []).append(there)
    times, free = time.tolist(), may_be_later.tolist()
    for first, nearest in ahead.items():
        seen, waiting, now = {first}, list(nearest), times[first]
        while waiting and len(seen) < at_most:
            node = waiting.pop()
            if node not in seen and (free[node] or times[node] <= now):
                seen.add(node)
                waiting.extend(ahead.get(node, ()))
        found[first] = len(seen)
    return found
