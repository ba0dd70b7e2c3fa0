"""The attribution models by name, in the order in which people meet them.

A model is a function of this folder and an entry here: settings, tables, figures and tests follow.
Naming the models loads no numpy, for every command does it; an entry imports its function when it
is called.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmp_assets.attribution.model.journeys import Floats, Journeys
    from dmp_assets.attribution.model.parameters import Fitted, Parameters
    from dmp_assets.attribution.model.paths import Paths

IHC = "ihc"
"""The name under which credits of the IHC service stand, or our own where it gave none."""


@dataclass(frozen=True)
class Model:
    """An attribution model: a title for people, what it says, and credit per touchpoint.

    `credit` gives shape (n,) and 1 in every journey. A model that judges channels by all paths says
    with `learn` what each is worth, which its `credit` finds in `Fitted.learnt` under its name.
    """

    name: str
    title: str
    description: str
    credit: "Callable[[Journeys, Fitted], Floats]"
    learn: "Callable[[Paths, Parameters], Mapping[str, float]] | None" = None


def models_of(markov_orders: Iterable[int] = (1, 2)) -> dict[str, Model]:
    """The models by name, with these Markov orders."""
    return {
        model.name: model
        for model in (
            Model("first_touch", "First touch", "All credit to the first touchpoint.",
                  _first_touch),
            Model("last_touch", "Last touch", "All credit to the last touchpoint.", _last_touch),
            Model("last_non_direct", "Last non-direct",
                  "All credit to the last touchpoint not direct.", _last_non_direct),
            Model("linear", "Linear", "Equal credit to every touchpoint.", _linear),
            Model("position_based", "Position based",
                  "Most credit to both ends of the journey.", _position_based),
            Model("time_decay", "Time decay", "More credit the closer to the conversion.",
                  _time_decay),
            *map(_markov, sorted(set(markov_orders))),
            _by_channel("shapley", "Shapley",
                        "By the channel's average marginal contribution to conversions.",
                        _shapley_values),
            Model("initializer_holder_closer", "Initializer, holder, closer",
                  "By who introduced, who engaged and who closed.", _initializer_holder_closer),
        )
    }  # fmt: skip


def names_of(markov_orders: Iterable[int] = (1, 2)) -> tuple[str, ...]:
    """What a row of credits may name as its model: the IHC service first, then our own."""
    return (IHC, *models_of(markov_orders))


def _by_channel(
    name: str,
    title: str,
    description: str,
    learn: "Callable[[Paths, Parameters], Mapping[str, float]]",
) -> Model:
    """A model that shares a journey out by what its channels are worth."""

    def credit(journeys: "Journeys", fitted: "Fitted") -> "Floats":
        from dmp_assets.attribution.model.channel_values import by_channel

        return by_channel(journeys, fitted.learnt[name])

    return Model(name, title, description, credit, learn)


def _markov(order: int) -> Model:
    def removal_effects(paths: "Paths", parameters: "Parameters") -> Mapping[str, float]:
        from dmp_assets.attribution.model import markov

        return markov.removal_effects(paths, order)

    return _by_channel(
        f"markov_{order}",
        f"Markov, order {order}",
        "By the share of conversions that would be lost without the channel.",
        removal_effects,
    )


def _shapley_values(paths: "Paths", parameters: "Parameters") -> Mapping[str, float]:
    from dmp_assets.attribution.model import shapley

    return shapley.shapley_values(paths, parameters.shapley_exact_limit, parameters.shapley_samples)


def _first_touch(journeys: "Journeys", fitted: "Fitted") -> "Floats":
    from dmp_assets.attribution.model import positions

    return positions.first_touch(journeys)


def _last_touch(journeys: "Journeys", fitted: "Fitted") -> "Floats":
    from dmp_assets.attribution.model import positions

    return positions.last_touch(journeys)


def _last_non_direct(journeys: "Journeys", fitted: "Fitted") -> "Floats":
    from dmp_assets.attribution.model import positions

    return positions.last_non_direct(journeys, fitted.parameters.direct_channels)


def _linear(journeys: "Journeys", fitted: "Fitted") -> "Floats":
    from dmp_assets.attribution.model import positions

    return positions.linear(journeys)


def _position_based(journeys: "Journeys", fitted: "Fitted") -> "Floats":
    from dmp_assets.attribution.model import positions

    given = fitted.parameters
    return positions.position_based(journeys, given.first_weight, given.last_weight)


def _time_decay(journeys: "Journeys", fitted: "Fitted") -> "Floats":
    from dmp_assets.attribution.model import positions

    return positions.time_decay(journeys, fitted.parameters.half_life_hours)


def _initializer_holder_closer(journeys: "Journeys", fitted: "Fitted") -> "Floats":
    from dmp_assets.attribution.model import roles

    return roles.initializer_holder_closer(journeys, fitted.parameters.roles)
