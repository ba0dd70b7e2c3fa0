"""Connected components of a graph on integer codes."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Codes = npt.NDArray[np.int64]


def leaders(left: Codes, right: Codes, count: int) -> Codes:
    """For each of the nodes 0 … count-1 the smallest node that it is connected with.

    `left[i]`–`right[i]` are the edges, in any order and direction. Linear in nodes and edges
    (1,000,000 of each: about 0.1 s).
    """
    if count == 0:
        return np.empty(0, dtype=np.int64)
    edges = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    components, labels = connected_components(edges, directed=False)
    smallest = np.full(components, count, dtype=np.int64)
    np.minimum.at(smallest, labels, np.arange(count))
    leader: Codes = smallest[labels]
    return leader
