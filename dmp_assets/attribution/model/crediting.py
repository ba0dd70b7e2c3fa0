"""Attribution: fit all models once on distinct paths, then credit any journeys.

Fitting needs all paths and is small work; what it returns is small and picklable, so that
journeys can be credited in batches anywhere.
"""

from collections.abc import Iterable

import numpy as np

from dmp_assets.attribution.model.journeys import Floats, Journeys
from dmp_assets.attribution.model.models import models_of
from dmp_assets.attribution.model.parameters import Fitted, Parameters
from dmp_assets.attribution.model.paths import Paths


def fit(paths: Paths, parameters: Parameters | None = None) -> Fitted:
    """Learn from all paths, converting or not. Raises ValueError for parameters out of range."""
    parameters = parameters or Parameters()
    fitted = Fitted(
        parameters=parameters,
        learnt={
            name: model.learn(paths, parameters)
            for name, model in models_of(parameters.markov_orders).items()
            if model.learn is not None
        },
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
    known = models_of(fitted.parameters.markov_orders)
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
