"""Training: compare the candidates on the labelled accounts, choose one, fit it, write its card."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dmp_assets.abuse.model import evaluate, models, rules, shares
from dmp_assets.abuse.model.features import FEATURES, NAMES, Floats
from dmp_assets.abuse.model.money import Costs, Thresholds, cost, cost_curve, raised, thresholds

EVALUATED_ROWS = 12_000
"""More labelled accounts than this do not sharpen the comparison, they only make it slow."""
SEEDS = (0, 1)


@dataclass(frozen=True)
class Labelled:
    """Labelled accounts. `groups`: accounts of one cluster share it; `times`: registration.

    `everyone`: features of all the shop's accounts or of a random sample of them.
    """

    features: Floats
    labels: npt.NDArray[np.bool_]
    groups: npt.NDArray[Any]
    times: Floats
    everyone: Floats | None = None

    def some(self, rows: npt.NDArray[np.int64]) -> "Labelled":
        """These rows, of the same shop."""
        return Labelled(
            self.features[rows], self.labels[rows], self.groups[rows], self.times[rows],
            self.everyone,
        )  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """The chosen candidate, fitted on all labelled accounts, and what is known of its quality.

    `figures`: (candidate, metric, setting, value, spread, folds) in the order of a reader;
    `card`: the model card, JSON-ready; `block_raised_to`: see `evaluate.block_end`.
    """

    candidate: str
    reason: str
    pipeline: Any
    typical: Floats
    figures: tuple[tuple[str, str, str, float | None, float | None, int], ...]
    card: dict[str, Any]
    block_raised_to: float | None = None


def train(data: Labelled, costs: Costs, seeds: Sequence[int] = SEEDS) -> Trained:
    """Compare, choose and fit. With too few labels of a class the rule list serves as it is."""
    positives = int(data.labels.sum())
    negatives = len(data.labels) - positives
    typical = _medians(data.features)
    if not evaluate.can_be_folded(data.labels, data.groups):
        reason = (
            f"the rule list serves as it is: {positives} accounts are labelled abusers and "
            f"{negatives} honest; to compare models, {evaluate.FEWEST} of each in "
            f"{evaluate.FOLDS} separate clusters are needed"
        )
        card = _card("rule_list", reason, data, costs)
        pipeline = models.unfitted_rule_list()
        return Trained("rule_list", reason, pipeline, typical, (), card)

    measured = data.some(_sample(data.labels, EVALUATED_ROWS))
    names = tuple(models.CANDIDATES)
    folds = list(evaluate.folds(measured.labels, measured.groups, seeds))
    compared = evaluate.compare(
        measured.features, measured.labels, measured.groups, names, folds, measured.everyone
    )
    unseen = evaluate.unseen_kinds(measured.features, measured.labels, measured.groups, names)
    choice = evaluate.choose(compared, names, unseen)
    figures: list[Any] = [
        (name, "pr_auc", "held_out_folds", float(values.mean()), float(values.std(ddof=1)),
         len(values))
        for name in (*names, evaluate.SHARES_A_DEVICE)
        if len(values := compared.pr_auc(name))
    ]  # fmt: skip
    figures += [
        (name, "brier", "held_out_folds", float(np.mean(b)), float(np.std(b)), len(b))
        for name in names
        if (b := [s.brier for s in compared.scores if s.candidate == name])
    ]
    figures += [
        (name, "pr_auc", "unseen_kinds", float(np.mean(found)), float(np.std(found)), len(found))
        for name in names
        if (found := list(unseen[name].values()))
    ]
    figures += _stress(measured, names)
    figures += _ablations(measured, choice.candidate, folds[: evaluate.FOLDS])
    held_out = compared.held_out[choice.candidate]
    pays = thresholds(costs)
    raised_to = evaluate.block_end(held_out, measured.labels, pays.block_from)
    limits = raised(pays, raised_to, pays.block_from)
    at_limits, flagged = _at_thresholds(held_out, measured.labels, costs, limits)
    figures += [(choice.candidate, name, "held_out_folds", value, None, len(folds))
                for name, value in at_limits.items()]  # fmt: skip
    pipeline = models.fit(choice.candidate, data.features, data.labels, data.groups, data.everyone)
    card = _card(choice.candidate, choice.reason, data, costs) | {
        "pr_auc": {name: {"mean": float(compared.pr_auc(name).mean()),
                          "spread": float(compared.pr_auc(name).std(ddof=1))}
                   for name in (*names, evaluate.SHARES_A_DEVICE)},
        "folds": f"{evaluate.FOLDS} folds × {len(seeds)} seeds, clusters kept together",
        "evaluated_rows": len(measured.labels),
        "thresholds": limits.as_dict(),
        "block_pays_from": pays.block_from,
        "at_thresholds": at_limits,
        "calibration": evaluate.calibration(held_out, measured.labels),
        "cost_curve": cost_curve(held_out, measured.labels, costs),
        "ablations": {setting: value for _, metric, setting, value, _, _ in figures
                      if metric == "pr_auc" and setting.startswith("without")},
        "abusers_no_rule_finds": float(
            (rules.strengths(measured.features[measured.labels & ~flagged]) @ rules.WEIGHTS < 1)
            .sum() / measured.labels.sum()),
        "signals": _signals(pipeline, data),
    }  # fmt: skip
    return Trained(
        choice.candidate, choice.reason, pipeline, typical, tuple(figures), card, raised_to
    )


def _medians(features: Floats) -> Floats:
    known = ~np.isnan(features).all(axis=0) if len(features) else np.zeros(len(NAMES), bool)
    result = np.full(len(NAMES), np.nan)
    if known.any():
        result[known] = np.nanmedian(features[:, known], axis=0)
    return result


def _sample(labels: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.int64]:
    """At most `size` rows, abusers and honest in their proportion."""
    if len(labels) <= size:
        return np.arange(len(labels))
    rng = np.random.default_rng(0)
    parts = [np.flatnonzero(labels == side) for side in (True, False)]
    kept = [rng.permutation(p)[: max(1, round(size * len(p) / len(labels)))] for p in parts]
    return np.sort(np.concatenate(kept))


def _stress(data: Labelled, names: Sequence[str]) -> list[Any]:
    """The time-ordered split: earlier registrations train, later ones test."""
    fold = evaluate.time_fold(data.labels, data.times, data.groups)
    if fold is None:
        return []
    compared = evaluate.compare(data.features, data.labels, data.groups, names, [fold])
    return [(s.candidate, "pr_auc", "time_ordered", s.pr_auc, None, 1) for s in compared.scores]


def _ablations(data: Labelled, name: str, folds: Sequence[evaluate.Fold]) -> list[Any]:
    """PR-AUC of the chosen candidate when a whole kind of features is kept from it.

    Beside them what it must not live on: the age, and whether an account redeemed at all.
    """
    rows = []
    kept_away = {
        f"without_{kind.replace(' ', '_')}": evaluate.without_kind(data.features, kind)
        for kind in dict.fromkeys(feature.kind for feature in FEATURES)
    }
    kept_away["without_has_a_usage"] = evaluate.without_has_a_usage(data.features)
    kept_away["without_age"] = evaluate.without_age(data.features)
    for setting, features in kept_away.items():
        compared = evaluate.compare(features, data.labels, data.groups, [name], folds)
        values = compared.pr_auc(name)
        rows.append((name, "pr_auc", setting, float(values.mean()), float(values.std(ddof=1)),
                     len(values)))  # fmt: skip
    return rows


def _at_thresholds(
    probability: Floats, labels: npt.NDArray[np.bool_], costs: Costs, limits: Thresholds
) -> tuple[dict[str, float | None], npt.NDArray[np.bool_]]:
    flagged = probability >= limits.review_from
    decided = limits.decide(probability)
    nothing = np.full(len(labels), "allow")
    found = dict(evaluate.precision_recall(flagged, labels))
    blocked = decided == "block"
    hits = float((blocked & labels).sum())
    found["blocked_accounts"] = float(blocked.sum())
    found["block_precision"] = hits / float(blocked.sum()) if blocked.any() else None
    found["block_precision_low"], found["block_precision_high"] = shares.interval(
        hits, float(blocked.sum())
    )
    found["cost_per_account"] = cost(decided, labels, costs) / len(labels)
    found["cost_per_account_if_all_allowed"] = cost(nothing, labels, costs) / len(labels)
    return found, flagged


def _signals(pipeline: Any, data: Labelled) -> list[dict[str, Any]]:
    """Per rule: how often it fires on abusers and on honest accounts, and its fitted weight."""
    strengths = rules.strengths(data.features)
    base = pipeline.named_steps["model"].base_
    fitted = getattr(base, "weights_", None)
    rows = []
    for number, rule in enumerate(rules.RULES):
        fires = strengths[:, number] > 0
        rows.append(
            {
                "code": rule.code,
                "text": rule.text,
                "prior_weight": rule.weight,
                "fitted_weight": None if fitted is None else float(fitted[number]),
                "share_of_abusers": float(fires[data.labels].mean()),
                "share_of_honest": float(fires[~data.labels].mean()),
            }
        )
    return rows


def _card(name: str, reason: str, data: Labelled, costs: Costs) -> dict[str, Any]:
    return {
        "candidate": name,
        "reason": reason,
        "purpose": "Probability that an account abuses promo codes; people review and block.",
        "labelled": {"abusers": int(data.labels.sum()), "honest": int((~data.labels).sum())},
        "costs": {"blocked_customer": costs.blocked_customer,
                  "lost_discount": costs.lost_discount, "review": costs.review},
        "thresholds": thresholds(costs).as_dict(),
        "features": [{"name": f.name, "description": f.description, "kind": f.kind,
                      "missing": f.missing} for f in FEATURES],
        "rules": [{"code": r.code, "text": r.text, "weight": r.weight, "reason": r.reason}
                  for r in rules.RULES],
        "never_used": ["analyst label as a feature", "registration year", "gender",
                       "age other than as a plausibility test"],
    }  # fmt: skip
