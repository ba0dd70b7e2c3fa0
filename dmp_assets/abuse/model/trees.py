"""A fitted gradient boosting as flat arrays, for a few rows at a time.

scikit-learn looks at what it is given and then asks tree after tree, which takes longer than a few
rows need. Here all trees are gone down together. The sums are those of `decision_function`, to the
last bit: a test compares them.
"""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FEW = 1_000
"""More rows than these take less time, and less memory, in scikit-learn."""


class FlatTrees:
    """The trees of a fitted `HistGradientBoostingClassifier` of two classes, numbers only.

    The nodes of all trees stand one after the other. A leaf leads to itself.
    """

    def __init__(self, fitted: Any) -> None:
        trees = [tree.nodes for (tree,) in fitted._predictors]  # one a round: two classes
        sizes = [len(nodes) for nodes in trees]
        nodes = np.concatenate(trees)
        self._roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        first = np.repeat(self._roots, sizes)
        is_leaf = nodes["is_leaf"].astype(bool)
        here = np.arange(len(nodes))
        left = np.where(is_leaf, here, nodes["left"] + first)
        right = np.where(is_leaf, here, nodes["right"] + first)
        self._next = np.ascontiguousarray(np.column_stack([right, left]).ravel())
        self._missing_left = nodes["missing_go_to_left"].astype(bool)
        self._feature = nodes["feature_idx"].astype(np.int64)
        # "all but missing ones": those are the largest number here, and must go right
        self._threshold = np.minimum(nodes["num_threshold"], np.finfo(np.float64).max)
        self._value = nodes["value"].astype(np.float64)
        self._value[: sizes[0]] += np.ravel(fitted._baseline_prediction)[0]  # what sums begin with
        self._depth = int(nodes["depth"].max())

    def log_odds(self, rows: Floats) -> Floats:
        """Of each row, shape (rows,); NaN is unknown, as in training."""
        count, width = rows.shape
        unknown = np.isnan(rows)
        values = np.concatenate(  # where unknown goes right, and where it goes left
            [np.where(unknown, np.inf, rows), np.where(unknown, -np.inf, rows)], axis=1
        ).ravel()
        column = self._feature + width * self._missing_left
        of_row = (np.arange(count) * 2 * width)[:, None]
        at = np.broadcast_to(self._roots, (count, len(self._roots)))
        for _ in range(self._depth):
            goes_left = values.take(column.take(at) + of_row) <= self._threshold.take(at)
            at = self._next.take(2 * at + goes_left)
        return np.asarray(np.cumsum(self._value.take(at), axis=1)[:, -1])  # in scikit-learn's order


_FLAT: "WeakKeyDictionary[Any, FlatTrees]" = WeakKeyDictionary()


def log_odds(fitted: Any, rows: Floats) -> Floats:
    """`decision_function` of a fitted `HistGradientBoostingClassifier` of two classes."""
    if not 0 < len(rows) <= FEW:
        return np.asarray(fitted.decision_function(rows))
    flat = _FLAT.get(fitted)
    if flat is None:
        flat = _FLAT[fitted] = FlatTrees(fitted)
    return flat.log_odds(rows)
