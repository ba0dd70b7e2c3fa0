"""Sample ratio mismatch: units are not spread over the variants as the split says.

Then something loses or moves units of one variant, and no difference between variants means
anything (Fabijan and others, "Diagnosing sample ratio mismatch in online controlled experiments",
KDD 2019).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from dmp_assets.ads.model.experiments.definition import ExperimentError
from dmp_assets.ads.model.experiments.moments import Floats

ALARM = 0.01
"""Below this p value at any time it is a mismatch, wrongly in 1 of 100 experiments at most."""

ALARM_OF_ONE_LOOK = 0.001
"""The same of χ² where it is looked at once, as is usual."""

_CONCENTRATION = 1_000.0
"""Of the Dirichlet prior of the sequential test: as sure of the split as after 1,000 units. More
finds a small mismatch of many units sooner, less a large one of few."""


def chi_squared(counts: npt.ArrayLike, split: Sequence[float]) -> Floats:
    """p value of Pearson's χ² test, Σ (o − e)² / e with k − 1 degrees of freedom.

    `counts` (…, k): units by variant; `split`: shares, in any unit. Right for one look. 1 without
    units. Raises ExperimentError for counts that are none.
    """
    observed, share = _checked(counts, split)
    expected = observed.sum(axis=-1, keepdims=True) * share
    apart = np.divide(
        (observed - expected) ** 2, expected, out=np.zeros_like(expected), where=expected > 0
    )
    p_value: Floats = stats.chi2.sf(apart.sum(axis=-1), len(share) - 1)
    return p_value


def at_any_time(counts: npt.ArrayLike, split: Sequence[float]) -> Floats:
    """p value that may be looked at after every unit: 1 over the Bayes factor of this moment.

    Lindon, Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022): shares
    drawn from a Dirichlet distribution around the split, against the split itself,

        BF = Γ(Σα) / Γ(Σα + n) · Π Γ(αᵢ + nᵢ) / Γ(αᵢ) / splitᵢ^nᵢ.

    The chance that it is ever below α without a mismatch is α at most.
    """
    observed, share = _checked(counts, split)
    prior = share * _CONCENTRATION
    log = (
        special.gammaln(_CONCENTRATION)
        - special.gammaln(_CONCENTRATION + observed.sum(axis=-1))
        + (special.gammaln(prior + observed) - special.gammaln(prior)).sum(axis=-1)
        - special.xlogy(observed, share).sum(axis=-1)
    )
    p_value: Floats = np.exp(-np.maximum(log, 0.0))
    return p_value


def _checked(counts: npt.ArrayLike, split: Sequence[float]) -> tuple[Floats, Floats]:
    observed = np.asarray(counts, dtype=np.float64)
    share = np.asarray(split, dtype=np.float64)
    if observed.shape[-1:] != share.shape or len(share) < 2:
        raise ExperimentError("a split needs two variants or more, and a count for each")
    if not (np.isfinite(observed).all() and (observed >= 0).all()):
        raise ExperimentError("counts of units are 0 or more")
    if not (np.isfinite(share).all() and (share > 0).all()):
        raise ExperimentError("the shares of a split are above 0")
    return observed, share / share.sum()
