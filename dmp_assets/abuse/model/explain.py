"""Reasons of a score that a person can read, in the order of their weight.

A linear model's reasons are its rules' contributions (weight × strength, in log-odds), with the
prior weights in so far as the account is suspect by these and not by what was learnt. Any other
model's are the rules that fire, and the features whose replacement by the training sample's median
lowers the score most (occlusion; Zeiler and Fergus, 2014).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from dmp_assets.abuse.model import rules
from dmp_assets.abuse.model.features import FEATURES, NAMES, Floats
from dmp_assets.abuse.model.models import Calibrated, InformedLogistic, RuleList, probability
from dmp_assets.abuse.model.store import Model

MOST = 5
LEAST_WEIGHT = 0.2
FEATURE_PREFIX = "FEATURE_"
_TOGETHER = 200
"""Accounts whose features are replaced at once: each is as many rows as there are features."""


@dataclass(frozen=True)
class Reasons:
    """Weight (log-odds) of every possible reason on every account; 0: no reason."""

    codes: tuple[str, ...]
    texts: tuple[str, ...]
    weights: Floats

    def of(self, row: int) -> list[dict[str, str | float]]:
        """The strongest reasons of one account, the strongest first."""
        weights = self.weights[row]
        order = np.argsort(-weights, kind="stable")[:MOST]
        return [
            {"code": self.codes[i], "text": self.texts[i], "weight": round(float(weights[i]), 2)}
            for i in order
            if weights[i] >= LEAST_WEIGHT
        ]


_RULE_TEXTS = tuple(rule.text for rule in rules.RULES)


def explain(model: Model, features: Floats) -> Reasons:
    """Reasons for accounts that the model scored."""
    strengths = rules.strengths(features)
    linear = _weights(model, strengths)
    if linear is not None:
        return Reasons(rules.CODES, _RULE_TEXTS, strengths * linear)
    found = _occlusion(model, features)
    return Reasons(
        rules.CODES + tuple(FEATURE_PREFIX + name.upper() for name in NAMES),
        _RULE_TEXTS + tuple(f"unusual: {feature.description.lower()}" for feature in FEATURES),
        np.hstack([strengths * rules.PRIORS, found]),
    )


def _weights(model: Model, strengths: Floats) -> Floats | None:
    calibrated = model.pipeline.named_steps["model"]
    if not isinstance(calibrated, Calibrated):
        return None
    base = calibrated.base_
    if isinstance(base, InformedLogistic):
        unknown = expit(calibrated.unknown(strengths) - calibrated.learnt(strengths))[:, None]
        learnt = base.weights_ * calibrated.slope_
        return np.asarray((1 - unknown) * learnt + unknown * rules.PRIORS)
    return np.asarray(rules.WEIGHTS * calibrated.slope_) if isinstance(base, RuleList) else None


def _occlusion(model: Model, features: Floats) -> Floats:
    """How much lower each account's log-odds are with each feature as the training sample has it.

    All replacements are scored together, because a prediction takes longer to begin than to end.
    """
    drop = np.zeros_like(features)
    typical = np.asarray(model.typical, dtype=np.float64)
    for start in range(0, len(features), _TOGETHER):
        rows = features[start : start + _TOGETHER]
        place, column = np.nonzero((rows != typical) & ~(np.isnan(rows) & np.isnan(typical)))
        without = rows[place]
        without[np.arange(len(place)), column] = typical[column]
        scored = _log_odds(model, np.concatenate([rows, without]))
        drop[start + place, column] = scored[place] - scored[len(rows) :]
    return drop


def _log_odds(model: Model, rows: Floats) -> Floats:
    found = np.clip(probability(model.pipeline, rows), 1e-9, 1 - 1e-9)
    return np.asarray(np.log(found / (1 - found)))
