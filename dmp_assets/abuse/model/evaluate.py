"""Comparing candidates on the same folds, and choosing one.

Folds keep clusters of linked accounts together, so that no ring is half in training. A candidate
replaces a simpler one only when it is better beyond the noise of paired fold differences
(corrected resampled t-test; Nadeau and Bengio, Inference for the Generalization Error, 2003).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, brier_score_loss
from sklearn.model_selection import StratifiedKFold

from dmp_assets.abuse.model import models, rules
from dmp_assets.abuse.model.features import COLUMN, FEATURES, Floats
from dmp_assets.abuse.model.shares import interval

Labels = npt.NDArray[np.bool_]
Groups = npt.NDArray[Any]
Fold = tuple[int, int, npt.NDArray[np.int64], npt.NDArray[np.int64]]

FOLDS = 5
FEWEST = 10
"""Fewer labelled accounts of a class than this cannot be divided into folds that mean anything."""
SHARES_A_DEVICE = "shares_a_device"
USAGE = ("minutes_to_first_use", "used_before_registration", "usages", "usages_first_day",
         "usages_first_week", "busiest_day", "days_asleep",
    "woke_uses", "code_repeats", "over_limit",
         "code_users", "discount_percent", "discount_fixed")  # fmt: skip


def folds(labels: Labels, groups: Groups, seeds: Sequence[int]) -> Iterator[Fold]:
    """(seed, fold, training rows, test rows), stratified by label, no group on both sides.

    Whole groups are dealt out, those with an abuser evenly: scikit-learn's StratifiedGroupKFold
    does the same row by row and takes minutes where most groups are single accounts.
    """
    group, abusive = _by_group(labels, groups)
    for seed in seeds:
        split = StratifiedKFold(n_splits=FOLDS, shuffle=True, random_state=seed)
        for number, (_, test) in enumerate(split.split(abusive, abusive)):
            inside = np.isin(group, test)
            yield seed, number, np.flatnonzero(~inside), np.flatnonzero(inside)


def can_be_folded(labels: Labels, groups: Groups) -> bool:
    """Whether both classes have enough accounts, in enough groups, for every fold."""
    _, abusive = _by_group(labels, groups)
    accounts = min(int(labels.sum()), int((~labels).sum()))
    return accounts >= FEWEST and min(int(abusive.sum()), int((~abusive).sum())) >= FOLDS


def _by_group(labels: Labels, groups: Groups) -> tuple[npt.NDArray[np.int64], Labels]:
    """Number of each row's group, and whether each group has an abuser."""
    names, group = np.unique(groups, return_inverse=True)
    return group, np.bincount(group, weights=labels, minlength=len(names)) > 0


def time_fold(labels: Labels, times: Floats, groups: Groups) -> Fold | None:
    """The earlier 70 % of registrations train, the later 30 % test; None where labels forbid.

    Groups that lie on both sides stay in training only.
    """
    limit = np.quantile(times, 0.7)
    train = np.flatnonzero(times <= limit)
    test = np.flatnonzero((times > limit) & ~np.isin(groups, groups[train]))
    both = labels[train], labels[test]
    if any(side.sum() < FEWEST or side.all() for side in both):
        return None
    return -1, 0, train, test


@dataclass(frozen=True)
class Score:
    """One candidate on one fold."""

    candidate: str
    seed: int
    fold: int
    pr_auc: float
    brier: float
    train_rows: int
    test_rows: int


@dataclass(frozen=True)
class Comparison:
    """Scores of all candidates on the same folds, and each account's mean held-out probability."""

    scores: tuple[Score, ...]
    held_out: Mapping[str, Floats]

    def pr_auc(self, candidate: str) -> Floats:
        return np.array([s.pr_auc for s in self.scores if s.candidate == candidate])


def _score(name: str, fold: Fold, labels: Labels, predicted: Floats) -> Score:
    seed, number, train, test = fold
    return Score(
        candidate=name,
        seed=seed,
        fold=number,
        pr_auc=float(average_precision_score(labels[test], predicted)),
        brier=float(brier_score_loss(labels[test], np.clip(predicted, 0, 1))),
        train_rows=len(train),
        test_rows=len(test),
    )


def compare(
    features: Floats,
    labels: Labels,
    groups: Groups,
    candidates: Sequence[str],
    chosen_folds: Sequence[Fold],
    everyone: Floats | None = None,
) -> Comparison:
    """Fit and score every candidate, and the "shares a device" yardstick, on every fold.

    `everyone`: see `models.fit`.
    """
    scores: list[Score] = []
    total = {name: np.zeros(len(labels)) for name in candidates}
    times = np.zeros(len(labels))
    for fold in chosen_folds:
        train, test = fold[2], fold[3]
        times[test] += 1
        for name in candidates:
            model = models.fit(name, features[train], labels[train], groups[train], everyone)
            predicted = models.probability(model, features[test])
            total[name][test] += predicted
            scores.append(_score(name, fold, labels, predicted))
        shares = np.nan_to_num(features[test, COLUMN["device_others"]]) > 0
        scores.append(_score(SHARES_A_DEVICE, fold, labels, shares.astype(float)))
    with np.errstate(invalid="ignore"):
        return Comparison(tuple(scores), {name: total[name] / times for name in candidates})


def unseen_kinds(
    features: Floats, labels: Labels, groups: Groups, candidates: Sequence[str]
) -> dict[str, dict[str, float]]:
    """PR-AUC of each candidate on abusers of a kind that its training held none of.

    An abuser's kind is the kind of evidence that speaks loudest of it by the rules' prior weights
    (`rules.KINDS`). Each kind with `FEWEST` abusers is left out once, with a fold of the honest
    accounts; candidate → kind → PR-AUC.
    """
    kind = rules.loudest(rules.strengths(features))
    found: dict[str, dict[str, float]] = {name: {} for name in candidates}
    if not can_be_folded(labels, groups):
        return found
    _, _, train, test = next(folds(labels, groups, (0,)))
    for number, wanted in enumerate(rules.KINDS):
        left_out = labels & (kind == number)
        rest = train[~left_out[train]]
        if left_out.sum() < FEWEST or labels[rest].sum() < FEWEST:
            continue
        judged = np.concatenate([np.flatnonzero(left_out), test[~labels[test]]])
        for name in candidates:
            model = models.fit(name, features[rest], labels[rest], groups[rest])
            predicted = models.probability(model, features[judged])
            found[name][wanted] = float(average_precision_score(labels[judged], predicted))
    return found


@dataclass(frozen=True)
class Choice:
    """The candidate that serves and why, in words."""

    candidate: str
    reason: str


def difference(
    better: Floats, simpler: Floats, test_share: float = 1 / FOLDS
) -> tuple[float, float]:
    """Mean paired difference and its corrected standard error."""
    paired = better - simpler
    correction = 1 / len(paired) + test_share / (1 - test_share)
    spread = float(np.var(paired, ddof=1)) if len(paired) > 1 else 0.0
    return float(paired.mean()), float(np.sqrt(correction * spread))


def choose(
    comparison: Comparison,
    candidates: Sequence[str],
    unseen: Mapping[str, Mapping[str, float]] | None = None,
) -> Choice:
    """The simplest within one standard error of the best on paired folds.

    The one-standard-error rule of Breiman et al., Classification and Regression Trees (1984).
    `unseen` (see `unseen_kinds`): a candidate that finds kinds of abuse, of which it was shown
    none, worse than a simpler one that learns is not promoted: labels never show all kinds.
    """
    means = {name: float(comparison.pr_auc(name).mean()) for name in candidates}
    fit_to_serve, refused = _as_robust(candidates, unseen or {})
    best = max(fit_to_serve, key=lambda name: means[name])
    for name in fit_to_serve:
        if name == best:
            beaten = any(means[other] > means[name] for other in refused)
            among = " of the candidates that may serve" if beaten else ""
            reason = f"{name} has the best PR-AUC{among} ({means[name]:.3f}) on the same folds"
            return Choice(name, reason + _but_not(refused, means, means[name]))
        gain, noise = difference(comparison.pr_auc(best), comparison.pr_auc(name))
        if gain <= noise:
            return Choice(
                name,
                f"{name} (PR-AUC {means[name]:.3f}) is simpler than {best} ({means[best]:.3f}), "
                f"and the difference {gain:.3f} is within the noise of paired folds "
                f"({noise:.3f})" + _but_not(refused, means, means[name]),
            )
    raise ValueError("no candidates")


def _as_robust(
    candidates: Sequence[str], unseen: Mapping[str, Mapping[str, float]]
) -> tuple[list[str], dict[str, tuple[float, float]]]:
    """Candidates as good on unseen kinds as simpler ones that learn; of the others both figures.

    The first candidate learns nothing, so it has no kind that it was not shown.
    """
    kept: list[str] = []
    refused: dict[str, tuple[float, float]] = {}
    strongest = 0.0
    for name in candidates:
        figures = list(unseen.get(name, {}).values())
        own = float(np.mean(figures)) if figures else 1.0
        if own < strongest:
            refused[name] = own, strongest
            continue
        kept.append(name)
        if figures and name != candidates[0]:
            strongest = max(strongest, own)
    return kept, refused


def _but_not(
    refused: Mapping[str, tuple[float, float]], means: Mapping[str, float], served: float
) -> str:
    """Why a candidate with better figures on the folds does not serve."""
    return "".join(
        f"; {name} ({means[name]:.3f}) finds kinds of abuse that it was not shown worse than a "
        f"simpler one (PR-AUC {own:.3f} against {better:.3f})"
        for name, (own, better) in refused.items()
        if means[name] > served
    )


def calibration(predicted: Floats, labels: Labels, bins: int = 10) -> list[dict[str, float]]:
    """Mean probability and share of abusers in bins of equal width; empty bins are left out."""
    place = np.clip((predicted * bins).astype(int), 0, bins - 1)
    rows = []
    for number in range(bins):
        inside = place == number
        if inside.any():
            rows.append(
                {
                    "from": number / bins,
                    "accounts": int(inside.sum()),
                    "mean_probability": float(predicted[inside].mean()),
                    "share_of_abusers": float(labels[inside].mean()),
                }
            )
    return rows


def block_end(predicted: Floats, labels: Labels, pays_from: float) -> float | None:
    """From which held-out probability on blocking is right as often as it must be; None: at once.

    Blocking from p on pays where a share p of the blocked abuses. Where labels contradict that for
    accounts above `pays_from` (Wilson's 95 % interval lies below it), the limit rises until they
    do not; 1.0 when they always do.
    """
    for limit in (pays_from, *np.unique(predicted[predicted > pays_from])):
        above = predicted >= limit
        if not above.any() or interval(float(labels[above].sum()), float(above.sum()))[1] >= (
            pays_from
        ):
            return None if limit == pays_from else float(limit)
    return 1.0


def precision_recall(flagged: Labels, labels: Labels) -> dict[str, float | None]:
    """Of the flagged, the share that abuses; of the abusers, the share flagged."""
    hits = float((flagged & labels).sum())
    return {
        "precision": hits / float(flagged.sum()) if flagged.any() else None,
        "recall": hits / float(labels.sum()) if labels.any() else None,
        "flagged_share": float(flagged.mean()),
    }


def without_kind(features: Floats, kind: str) -> Floats:
    """Nothing known of one kind of features (`Feature.kind`)."""
    result = features.copy()
    result[:, [feature.kind == kind for feature in FEATURES]] = np.nan
    return result


def without_age(features: Floats) -> Floats:
    """Nothing known of the age."""
    result = features.copy()
    result[:, COLUMN["age_implausible"]] = np.nan
    return result


def without_has_a_usage(features: Floats) -> Floats:
    """An account without redemption looks like the median one with: only how, not whether."""
    result = features.copy()
    for name in USAGE:
        column = result[:, COLUMN[name]]
        if np.isnan(column).any() and not np.isnan(column).all():
            column[np.isnan(column)] = np.nanmedian(column)
    return result
