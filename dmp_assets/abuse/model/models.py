"""Candidate models: each one fitted scikit-learn Pipeline, features in, calibrated probability out.

From simple to complex: the rule list as it is; a logistic regression on the rules' strengths
whose prior is the rule list (what labels do not speak about keeps the analyst's weight); gradient
boosting on all features.

Two things stand around those that learn, because labels are neither complete nor a fair sample:
kinds of abuse that no label shows are still looked for by the rules' prior weights (`UNSEEN_RATE`),
and where analysts looked at suspects first, probabilities are brought back to the share of abusers
among all accounts (`prior_shift`).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.pipeline import Pipeline
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from dmp_assets.abuse.model import rules, trees
from dmp_assets.abuse.model.features import NAMES, Floats

Labels = npt.NDArray[np.bool_]
Groups = npt.NDArray[Any]

PRIOR_SIGMA = 1.0
"""How far (log-odds) labels may move a rule's weight before it counts as surprising."""
INNER_FOLDS = 3
UNSEEN_RATE = rules.BASE_RATE / 2
"""Share of accounts assumed to abuse in a way that no label shows: half of all abuse."""
UNSEEN = float(np.log(UNSEEN_RATE / (1 - UNSEEN_RATE))) - 1.0
"""Log-odds of such abuse where no rule fires; below the rate, as for the rule list."""
SHIFT_ROUNDS = 100
SMALL = 100
"""So few rows are work for one thread whatever is said."""


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Fit and predict on one thread, as here.

    The threads of BLAS and OpenMP spin while they wait for each other, which multiplies the time
    of small problems on a busy machine (a boosting fit of 9,000 rows took 7 s, on one thread
    0.5 s).
    """
    return cast(AbstractContextManager[Any], _threads().limit(limits=1))


class RuleStrengths(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Features → strengths of the rules; with `keep_features`, beside the features."""

    def __init__(self, keep_features: bool = False) -> None:
        self.keep_features = keep_features

    def fit(self, features: Floats, labels: Any = None) -> Self:
        self.n_features_in_ = features.shape[1]
        return self

    def transform(self, features: Floats) -> Floats:
        found = rules.strengths(features)
        if not self.keep_features:
            return found
        return np.hstack([features, (found @ rules.PRIORS)[:, None]])


class _Scored(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier defined by its log-odds."""

    def log_odds(self, strengths: Floats) -> Floats:
        raise NotImplementedError

    def predict_proba(self, strengths: Floats) -> Floats:
        probability = expit(self.log_odds(strengths))
        return np.column_stack([1 - probability, probability])

    def predict(self, strengths: Floats) -> Labels:
        return np.asarray(self.log_odds(strengths) > 0)


class RuleList(_Scored):
    """Sum of the rules' weights as log-odds; nothing is learnt."""

    def fit(self, strengths: Floats, labels: Any = None) -> Self:
        self.classes_ = np.array([False, True])
        return self

    def log_odds(self, strengths: Floats) -> Floats:
        return np.asarray(rules.INTERCEPT + strengths @ rules.WEIGHTS)


class InformedLogistic(_Scored):
    """Logistic regression with a normal prior around the rule list's weights, none below zero.

    Maximum a posteriori: minimises the log loss + Σ (w − w₀)² / 2σ² (Bishop, Pattern Recognition
    and Machine Learning, 4.5), with w ≥ 0, because a rule that clears an account is no rule.
    """

    def __init__(self, sigma: float = PRIOR_SIGMA) -> None:
        self.sigma = sigma

    def fit(self, strengths: Floats, labels: Labels) -> Self:
        self.classes_ = np.array([False, True])
        target = np.asarray(labels, dtype=float)
        start = np.append(rules.PRIORS, rules.INTERCEPT)

        def loss(weights: Floats) -> tuple[float, Floats]:
            score = strengths @ weights[:-1] + weights[-1]
            away = weights[:-1] - rules.PRIORS
            error = expit(score) - target
            value = float(np.sum(np.logaddexp(0, score) - target * score))
            gradient = np.append(strengths.T @ error + away / self.sigma**2, error.sum())
            return value + float(away @ away) / (2 * self.sigma**2), gradient

        bounds = [(0.0, None)] * len(rules.PRIORS) + [(None, None)]
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
        self.weights_, self.intercept_ = found.x[:-1], float(found.x[-1])
        return self

    def log_odds(self, strengths: Floats) -> Floats:
        return np.asarray(self.intercept_ + strengths @ self.weights_)


class Boosting(_Scored):
    """Gradient boosting on whatever varies in the rows that it is fitted on.

    A column that is constant or unknown there has nothing to say, whatever it held in other rows;
    where nothing varies, or all labels are of one class, every account gets the labels' own odds.
    """

    def fit(self, rows: Floats, labels: Labels) -> Self:
        from sklearn.ensemble import HistGradientBoostingClassifier  # 15 MB that scoring can spare

        self.classes_ = np.array([False, True])
        labels = np.asarray(labels, dtype=bool)
        self.varies_ = varying(rows)
        self.odds_ = _odds(labels)
        self.trees_ = None
        if self.varies_.any() and labels.any() and not labels.all():
            self.trees_ = HistGradientBoostingClassifier(
                learning_rate=0.1, max_iter=60, max_leaf_nodes=8, min_samples_leaf=20,
                l2_regularization=5.0, early_stopping=False, random_state=0,
            ).fit(rows[:, self.varies_], labels)  # fmt: skip
        return self

    def log_odds(self, rows: Floats) -> Floats:
        if self.trees_ is None or not len(rows):
            return np.full(len(rows), self.odds_)
        return trees.log_odds(self.trees_, rows[:, self.varies_])


def varying(rows: Floats) -> Labels:
    """Which columns hold at least two different known values."""
    if not len(rows):
        return np.zeros(rows.shape[1], dtype=bool)
    low, high = np.fmin.reduce(rows, axis=0), np.fmax.reduce(rows, axis=0)
    return np.asarray(low < high)


def _odds(labels: Labels) -> float:
    """Log-odds of the share of abusers, as if one more of each had been seen."""
    return float(np.log((labels.sum() + 1) / ((~labels).sum() + 1)))


class Calibrated(_Scored):
    """A classifier whose probabilities mean what they say, of known abuse and of unknown kinds.

    Platt scaling (1999, with his smoothed targets) of the base's out-of-fold scores, groups kept
    together; labels of fewer than two classes leave the scores as they are. `shift_`: see
    `prior_shift`. `unseen`: odds of abuse of a kind that no label shows, by the rules' prior
    weights, are added to the odds by what was learnt (whoever is suspect by either, is). It says
    how the rows tell them: by the rules' strengths, or by their weighted sum in the last column.
    """

    def __init__(self, base: Any = None, unseen: Literal["strengths", "sum"] | None = None) -> None:
        self.base = base
        self.unseen = unseen

    def fit(self, strengths: Floats, labels: Labels, groups: Groups | None = None) -> Self:
        self.classes_ = np.array([False, True])
        labels = np.asarray(labels, dtype=bool)
        self.base_ = clone(self.base).fit(strengths, labels)
        self.slope_, self.offset_, self.shift_ = 1.0, 0.0, 0.0
        self.share_ = float(labels.mean()) if len(labels) else 0.0
        if 0 < labels.sum() < len(labels):
            self.slope_, self.offset_ = _platt(self._held_out(strengths, labels, groups), labels)
        return self

    def _held_out(self, strengths: Floats, labels: Labels, groups: Groups | None) -> Floats:
        if isinstance(self.base, RuleList):
            return np.asarray(self.base_.log_odds(strengths))
        keys = (
            np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
        )
        fold = np.random.default_rng(0).permutation(keys.max() + 1)[keys] % INNER_FOLDS
        scores = np.empty(len(labels))
        for number in range(INNER_FOLDS):
            test, train = fold == number, fold != number
            if labels[train].all() or not labels[train].any():
                scores[test] = self.base_.log_odds(strengths[test])
                continue
            fitted = clone(self.base).fit(strengths[train], labels[train])
            scores[test] = fitted.log_odds(strengths[test])
        return scores

    def learnt(self, strengths: Floats) -> Floats:
        """Log-odds by what labels taught."""
        return np.asarray(self.slope_ * self.base_.log_odds(strengths) + self.offset_ + self.shift_)

    def unknown(self, strengths: Floats) -> Floats:
        """Log-odds of abuse of a kind that no label shows."""
        if self.unseen is None:
            return np.full(len(strengths), -np.inf)
        by_rules = self.unseen == "strengths"
        return np.asarray(UNSEEN + (strengths @ rules.PRIORS if by_rules else strengths[:, -1]))

    def log_odds(self, strengths: Floats) -> Floats:
        return np.asarray(np.logaddexp(self.learnt(strengths), self.unknown(strengths)))

    def bring_back(self, everyone: Floats) -> None:
        """Bring probabilities back to the share of abusers among all accounts (`prior_shift`)."""
        if 0 < self.share_ < 1 and len(everyone):
            self.shift_ = prior_shift(self.learnt(everyone), self.share_)


def prior_shift(log_odds: Floats, share: float) -> float:
    """What to add to log-odds of all accounts, learnt where `share` of the accounts abuses.

    Expectation maximisation by Saerens, Latinne and Decaestecker (Adjusting the Outputs of a
    Classifier to New a Priori Probabilities, 2002): analysts label suspects first, so abusers are
    more frequent among labelled accounts than among all. It only ever lowers: suspicion explains
    why labels hold too many abusers, not too few.
    """
    before = np.log(share / (1 - share))
    shift = 0.0
    for _ in range(SHIFT_ROUNDS):
        mean = float(np.clip(expit(log_odds + shift).mean(), 1e-6, 1 - 1e-6))
        now = min(float(np.log(mean / (1 - mean)) - before), 0.0)
        if abs(now - shift) < 1e-9:
            break
        shift = now
    return shift


def _platt(scores: Floats, labels: Labels) -> tuple[float, float]:
    positives, negatives = int(labels.sum()), int((~labels).sum())
    target = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(line: Floats) -> tuple[float, Floats]:
        score = line[0] * scores + line[1]
        error = expit(score) - target
        value = float(np.sum(np.logaddexp(0, score) - target * score))
        return value, np.array([error @ scores, error.sum()])

    found = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0.05, 5), (-9, 9)])
    return float(found.x[0]), float(found.x[1])


CANDIDATES: dict[str, Callable[[], Pipeline]] = {
    "rule_list": lambda: Pipeline([("rules", RuleStrengths()), ("model", Calibrated(RuleList()))]),
    "informed_logistic": lambda: Pipeline(
        [("rules", RuleStrengths()), ("model", Calibrated(InformedLogistic(), unseen="strengths"))]
    ),
    "gradient_boosting": lambda: Pipeline(
        [
            ("rules", RuleStrengths(keep_features=True)),
            ("model", Calibrated(Boosting(), unseen="sum")),
        ]
    ),
}
"""Candidates from the simplest to the most complex; a tie goes to the earlier one."""


def fit(
    name: str,
    features: Floats,
    labels: Labels,
    groups: Groups | None = None,
    everyone: Floats | None = None,
) -> Pipeline:
    """The candidate, fitted on whatever labels there are, also on those of one class.

    `everyone`: features of all accounts or of a fair sample of them, labelled or not; with them,
    probabilities are those of an account of the shop and not of one that somebody looked at.
    """
    with one_thread():
        pipeline = CANDIDATES[name]().fit(features, labels, model__groups=groups)
        if everyone is not None:
            pipeline.named_steps["model"].bring_back(
                pipeline.named_steps["rules"].transform(everyone)
            )
        return pipeline


def unfitted_rule_list() -> Pipeline:
    """The rule list as it is, for when there is no label at all."""
    return fit("rule_list", np.full((1, len(NAMES)), np.nan), np.zeros(1, dtype=bool))


def probability(pipeline: Pipeline, features: Floats) -> Floats:
    """Probability of abuse of each row.

    What the pipeline's `predict_proba` says, without what scikit-learn looks at before: that takes
    longer than one account.
    """
    (_, strengths), (_, model) = pipeline.steps
    with one_thread() if len(features) > SMALL else nullcontext():
        return np.asarray(expit(model.log_odds(strengths.transform(features))))
