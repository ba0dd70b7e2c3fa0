"""Models side by side: what each credits to a channel, how far they differ, and what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dmp_assets.attribution.model.journeys import Floats, Journeys


@dataclass(frozen=True, eq=False)
class Totals:
    """Credited conversions and revenue, each of shape (models, channels)."""

    models: tuple[str, ...]
    channels: tuple[str, ...]
    conversions: Floats
    revenue: Floats

    def to_arrow(self) -> pa.Table:
        """Columns model, channel, conversions, revenue; a row per model and channel."""
        return pa.table(
            {
                "model": [model for model in self.models for _ in self.channels],
                "channel": list(self.channels) * len(self.models),
                "conversions": self.conversions.ravel(),
                "revenue": self.revenue.ravel(),
            },
            schema=pa.schema(
                {
                    "model": pa.string(),
                    "channel": pa.string(),
                    "conversions": pa.float64(),
                    "revenue": pa.float64(),
                }
            ),
        )


def totals(journeys: Journeys, credits: Mapping[str, Floats], revenue: Floats) -> Totals:
    """Add up credits by model and channel. `revenue`: of each journey's conversion, shape (m,)."""
    if revenue.shape != (len(journeys),):
        raise ValueError("revenue needs one value per journey")
    count = len(journeys.channels)
    earned = np.repeat(revenue, journeys.length)
    shape = (len(credits), count)
    conversions, money = np.zeros(shape), np.zeros(shape)
    for row, credit in enumerate(credits.values()):
        conversions[row] = np.bincount(journeys.channel, credit, count)
        money[row] = np.bincount(journeys.channel, credit * earned, count)
    return Totals(tuple(credits), journeys.channels, conversions, money)


def shares(amounts: Floats) -> Floats:
    """Amounts as shares of their sum along the last axis; all 0 where there is none."""
    sums = amounts.sum(axis=-1, keepdims=True)
    return np.divide(amounts, sums, out=np.zeros_like(amounts, dtype=float), where=sums > 0)


def distances(amounts: Floats) -> Floats:
    """Share of all credit that moves to another channel between two models, in [0, 1].

    `amounts` has a row per model; the result is symmetric with a row and column per model. It is
    the total variation distance of their shares p, q: ½ Σ |p − q|.
    """
    parts = shares(amounts)
    moved: Floats = np.abs(parts[:, None, :] - parts[None, :, :]).sum(axis=-1) / 2
    return moved


@dataclass(frozen=True, eq=False)
class Misled:
    """How far each of m models would have misled a budget over k channels.

    `share_error` (m,): share of all credit on the wrong channel, against the true effects.
    `budget` (m, k) and `true_budget` (k,): the money that each channel would get.
    `misplaced` (m,): money put on the wrong channel, in the unit of the costs.
    """

    models: tuple[str, ...]
    channels: tuple[str, ...]
    share_error: Floats
    budget: Floats
    true_budget: Floats
    misplaced: Floats


def misled(credited: Totals, true_effect: Mapping[str, float], cost: Mapping[str, float]) -> Misled:
    """What believing a model would do to the budget, given each channel's true effect.

    `true_effect`: conversions that would not have been without the channel (a channel not named,
    or harmful, counts 0); `cost`: money spent on it in the same time. The rule for the budget:
    the money spent, B = Σ cost, goes to the channels that cost anything in proportion to
    conversions per cost,

        budget(c) = B · e(c) / Σ e,   e(c) = conversions(c) / cost(c),

    once with credited and once with true conversions. misplaced = ½ Σ |budget − true budget| is
    what lies on the wrong channels, and share_error = ½ Σ |credited share − true share| over all
    channels. Where a rule has nothing to go by (no conversions at all on channels that cost), its
    budget stays as it was spent. Raises ValueError for a negative or unknown cost.
    """
    names = tuple(dict.fromkeys((*credited.channels, *true_effect, *cost)))
    spent = np.array([float(cost.get(name, 0.0)) for name in names])
    if not (np.isfinite(spent).all() and (spent >= 0).all()):
        raise ValueError("costs must be finite and not negative")
    true = np.array([max(float(true_effect.get(name, 0.0)), 0.0) for name in names])
    believed = np.zeros((len(credited.models), len(names)))
    believed[:, : len(credited.channels)] = credited.conversions

    budget, true_budget = _budget(believed, spent), _budget(true, spent)
    return Misled(
        models=credited.models,
        channels=names,
        share_error=np.abs(shares(believed) - shares(true)).sum(axis=-1) / 2,
        budget=budget,
        true_budget=true_budget,
        misplaced=np.abs(budget - true_budget).sum(axis=-1) / 2,
    )


def _budget(conversions: Floats, spent: Floats) -> Floats:
    per_cost = np.divide(conversions, spent, out=np.zeros_like(conversions), where=spent > 0)
    part = shares(per_cost)
    lost = part.sum(axis=-1, keepdims=True) == 0
    kept: Floats = np.where(lost, spent, part * spent.sum())
    return kept
