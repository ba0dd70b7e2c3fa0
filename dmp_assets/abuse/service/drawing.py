"""Pictures that the service draws as SVG: where the points and lines go, nothing of colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmp_assets.abuse.model.clusters import Cluster, Link

MOST_NODES = 60
_ROUNDS = 150
NAME = (112.0, 18.0)
"""Width and height of an account's name as the page writes it."""
NAME_BELOW = 20.0
SYMBOL = 9.0


@dataclass(frozen=True)
class Node:
    """An account at its place; 0 ≤ x ≤ width, 0 ≤ y ≤ height of the picture.

    `name_x`: where the middle of its id is, `NAME_BELOW` below it; None where that has no room.
    """

    account_id: str
    x: float
    y: float
    name_x: float | None


@dataclass(frozen=True)
class Edge:
    """A link between two places; `width` of the line by its weight."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float
    link: Link


@dataclass(frozen=True)
class Graph:
    """A cluster as it is drawn; `hidden`: so many more accounts are not."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    hidden: int


def graph(cluster: Cluster, width: float, height: float, margin: float) -> Graph:
    """Lay a cluster out by springs: linked accounts attract each other, all repel.

    The same cluster gives the same picture (Fruchterman and Reingold, 1991, from a circle).
    """
    members = cluster.members[:MOST_NODES]
    number = {name: n for n, name in enumerate(members)}
    links = [link for link in cluster.links if link.a in number and link.b in number]
    pairs = np.array([(number[k.a], number[k.b]) for k in links], dtype=int).reshape(-1, 2)
    places = _spread(_springs(len(members), pairs), width, height, margin)
    nodes = tuple(
        Node(name, round(float(x), 1), round(float(y), 1), middle)
        for name, (x, y), middle in zip(members, places, _names(places, width), strict=True)
    )
    heaviest = max((link.weight for link in links), default=1.0)
    edges = []
    for link in links:
        a, b = nodes[number[link.a]], nodes[number[link.b]]
        share = max(link.weight, 0.0) / heaviest if heaviest > 0 else 0.0
        edges.append(Edge(a.x, a.y, b.x, b.y, round(1 + 3 * share, 1), link))
    return Graph(nodes, tuple(edges), cluster.size - len(members))


def _springs(count: int, pairs: np.ndarray) -> np.ndarray:
    """Places of `count` points around 0, the first in the middle at the beginning."""
    angles = 2 * math.pi * np.arange(count) / max(count - 1, 1)
    places = np.column_stack([np.cos(angles), np.sin(angles)])
    places[0] = 0.0
    if not len(pairs):
        return places
    ideal = 1.6 / math.sqrt(count)
    for step in range(_ROUNDS):
        apart = places[:, None, :] - places[None, :, :]
        distance = np.maximum(np.hypot(apart[..., 0], apart[..., 1]), 0.01)[..., None]
        force = (apart / distance**2 * ideal**2).sum(axis=1)
        pull = places[pairs[:, 0]] - places[pairs[:, 1]]
        pull *= np.hypot(pull[:, 0], pull[:, 1])[:, None] / ideal
        np.add.at(force, pairs[:, 0], -pull)
        np.add.at(force, pairs[:, 1], pull)
        length = np.maximum(np.hypot(force[:, 0], force[:, 1]), 1e-9)[:, None]
        longest = 0.2 * (1 - step / _ROUNDS)
        places = places + force / length * np.minimum(length, longest)
    return places


def _spread(places: np.ndarray, width: float, height: float, margin: float) -> np.ndarray:
    """The same places, filling the picture but for its margin."""
    low, high = places.min(axis=0), places.max(axis=0)
    span = np.maximum(high - low, 1e-9)
    room = np.array([width - 2 * margin, height - 2 * margin])
    scaled = (places - low) / span * room + margin
    flat = high - low < 1e-6  # nothing to fill with: in the middle
    return np.where(flat, np.array([width / 2, height / 2]), scaled)


def _names(places: np.ndarray, width: float) -> list[float | None]:
    """Where names stand: the first point's, and those that cover neither a point nor a name."""
    named: list[int] = []
    middles = np.column_stack(
        [np.clip(places[:, 0], NAME[0] / 2, width - NAME[0] / 2), places[:, 1] + NAME_BELOW]
    )
    for n, middle in enumerate(middles):
        near = np.abs(places - middle) < np.array(NAME) / 2 + SYMBOL
        near[n] = False
        over = np.abs(middles[named] - middle) < np.array(NAME)
        if n == 0 or (not near.all(axis=1).any() and not over.all(axis=1).any()):
            named.append(n)
    return [round(float(x), 1) if n in named else None for n, x in enumerate(middles[:, 0])]


@dataclass(frozen=True)
class Bar:
    """A bar of a chart, standing on `y` + `height`."""

    x: float
    y: float
    width: float
    height: float


def bars(values: Sequence[float], highest: float, width: float, height: float) -> list[Bar]:
    """Bars beside each other; `highest` is as high as the picture."""
    step = width / max(len(values), 1)
    scale = height / highest if highest > 0 else 0.0
    return [
        Bar(
            round(n * step, 2),
            round(height - v * scale, 2),
            round(step * 0.8, 2),
            round(v * scale, 2),
        )
        for n, v in enumerate(values)
    ]
