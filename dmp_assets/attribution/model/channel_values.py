"""From a value per channel to a credit per touchpoint, for models that judge channels."""

from collections.abc import Mapping

import numpy as np

from dmp_assets.attribution.model.journeys import Floats, Journeys


def by_channel(journeys: Journeys, values: Mapping[str, float]) -> Floats:
    """Credit in proportion to the values of the channels on a journey, shape (n,).

    A channel's part is split equally among its touchpoints of the journey. Values below 0 and
    channels without a value count 0; a journey where every channel counts 0 is credited linearly.
    """
    value = np.array([max(values.get(name, 0.0), 0.0) for name in journeys.channels])
    weights = value[journeys.channel] / journeys.repeats
    return journeys.normalised(weights)
