"""The attribution models by name: fit once on distinct paths, then credit any journeys.

Fitting needs all paths and is small work; what it returns is small and picklable, so that
journeys can be credited in batches anywhere.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from dmp_assets.attribution.model import markov, positions, roles, shapley
from dmp_assets.attribution.model.channel_values import by_channel
from dmp_assets.attribution.model.journeys import Floats, Journeys
from dmp_assets.attribution.model.paths import Paths
from dmp_assets.attribution.model.roles import Roles


@dataclass(frozen=True)
class Parameters:
    """What a business can choose; times in hours. Each model's function says what is allowed."""

    half_life_hours: float = 168.0
    first_weight: float = 0.4
    last_weight: float = 0.4
    direct_channels: tuple[str, ...] = ("direct",)
    markov_orders: tuple[int, ...] = (1, 2)
    shapley_exact_limit: int = shapley.EXACT_LIMIT
    shapley_samples: int = shapley.SAMPLES
    roles: Roles = field(default_factory=Roles)


@dataclass(frozen=True)
class Fitted:
    """What the paths taught: removal effects by Markov order, Shapley values; each by channel."""

    parameters: Parameters
    removal_effects: Mapping[int, Mapping[str, float]]
    shapley_values: Mapping[str, float]


@dataclass(frozen=True)
class Model:
    """An attribution model: a title for people, what it says, and credit per touchpoint."""

    name: str
    title: str
    description: str
    credit: Callable[[Journeys, Fitted], Floats]


def _markov(order: int) -> Model:
    def credit(journeys: Journeys, fitted: Fitted) -> Floats:
        return by_channel(journeys, fitted.removal_effects[order])

    return Model(
        f"markov_{order}",
        f"Markov, order {order}",
        "By the share of conversions that would be lost without the channel.",
        credit,
    )


_BEFORE = (
    Model("first_touch", "First touch", "All credit to the first touchpoint.",
          lambda journeys, _: positions.first_touch(journeys)),
    Model("last_touch", "Last touch", "All credit to the last touchpoint.",
          lambda journeys, _: positions.last_touch(journeys)),
    Model("last_non_direct", "Last non-direct", "All credit to the last touchpoint not direct.",
          lambda journeys, fitted: positions.last_non_direct(
              journeys, fitted.parameters.direct_channels)),
    Model("linear", "Linear", "Equal credit to every touchpoint.",
          lambda journeys, _: positions.linear(journeys)),
    Model("position_based", "Position based", "Most credit to both ends of the journey.",
          lambda journeys, fitted: positions.position_based(
              journeys, fitted.parameters.first_weight, fitted.parameters.last_weight)),
    Model("time_decay", "Time decay", "More credit the closer to the conversion.",
          lambda journeys, fitted: positions.time_decay(
              journeys, fitted.parameters.half_life_hours)),
)  # fmt: skip
_AFTER = (
    Model("shapley", "Shapley", "By the channel's average marginal contribution to conversions.",
          lambda journeys, fitted: by_channel(journeys, fitted.shapley_values)),
    Model("initializer_holder_closer", "Initializer, holder, closer",
          "By who introduced, who engaged and who closed.",
          lambda journeys, fitted: roles.initializer_holder_closer(
              journeys, fitted.parameters.roles)),
)  # fmt: skip


def models_of(parameters: Parameters) -> dict[str, Model]:
    """The models by name, in the order in which people meet them, with these Markov orders."""
    chain = map(_markov, sorted(set(parameters.markov_orders)))
    return {model.name: model for model in (*_BEFORE, *chain, *_AFTER)}


MODELS: dict[str, Model] = models_of(Parameters())
"""The standard models."""


def fit(paths: Paths, parameters: Parameters | None = None) -> Fitted:
    """Learn from all paths, converting or not. Raises ValueError for parameters out of range."""
    parameters = parameters or Parameters()
    fitted = Fitted(
        parameters=parameters,
        removal_effects={
            order: markov.removal_effects(paths, order) for order in parameters.markov_orders
        },
        shapley_values=shapley.shapley_values(
            paths, parameters.shapley_exact_limit, parameters.shapley_samples
        ),
    )
    credits(_smallest(), fitted)  # a bad parameter fails here, not later in a worker
    return fitted


def credits(
    journeys: Journeys, fitted: Fitted, models: Iterable[str] | None = None
) -> dict[str, Floats]:
    """Credit per touchpoint by each model (all by default), each summing to 1 in every journey.

    A channel that no fitted path had counts 0 with the learnt models. Raises ValueError for a
    model that is not known or was not fitted.
    """
    known = models_of(fitted.parameters)
    names = tuple(known) if models is None else tuple(models)
    if missing := [name for name in names if name not in known]:
        raise ValueError(f"no such model: {', '.join(missing)}; there are {', '.join(known)}")
    return {name: known[name].credit(journeys, fitted) for name in names}


def _smallest() -> Journeys:
    """One journey of one touchpoint."""
    return Journeys(
        channels=("any",),
        offsets=np.array([0, 1], dtype=np.int64),
        channel=np.zeros(1, dtype=np.int32),
        hours_before=np.zeros(1),
        holder_engagement=np.zeros(1),
        closer_engagement=np.zeros(1),
        impression_interaction=np.zeros(1, dtype=np.bool_),
    )
