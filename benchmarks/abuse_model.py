"""Prints how good the abuse model is, on the real export and on simulated shops.

    python -m benchmarks.abuse_model [real|simulated]

Real: stratified 5 folds × 5 seeds, clusters kept together. Simulated: ten shops, on which nothing
was chosen but for signals, which seeds 1 to 3 had a part in; what robustness needs was chosen on
the shops of `CHOSEN_ON`.
"""

import sys

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score

from dmp_assets.abuse.model import evaluate, models, rules
from dmp_assets.abuse.model.features import FEATURES, Floats
from tests.support import model_quality as quality

Rows = npt.NDArray[np.int64]
SEEDS = (0, 1, 2, 3, 4)
SIMULATED_SEEDS = tuple(range(1, 11))
CHOSEN_ON = (11, 12, 14, 16)
"""Seeds that are not judged on."""


def _plain_boosting(features: Floats, labels: evaluate.Labels, train: Rows, test: Rows) -> float:
    """PR-AUC of scikit-learn's gradient boosting as it comes, on the bare features."""
    with models.one_thread():
        model = HistGradientBoostingClassifier(random_state=0).fit(features[train], labels[train])
        found = model.predict_proba(features[test])[:, 1]
    return float(average_precision_score(labels[test], found))


def real() -> None:
    data = quality.real()
    labels = data.labels == 1
    compared = quality.compared_on_real(SEEDS)
    print(f"real export: {len(labels)} accounts, {labels.sum()} abusers, 5 folds × 5 seeds")
    for name in (*quality.CANDIDATES, evaluate.SHARES_A_DEVICE):
        values = compared.pr_auc(name)
        print(f"  {name:20s} PR-AUC {values.mean():.3f} ± {values.std(ddof=1):.3f}")
    folds = list(evaluate.folds(labels, data.groups, SEEDS))
    varies = [c for c in range(data.features.shape[1])
              if len(np.unique(data.features[~np.isnan(data.features[:, c]), c])) > 1]  # fmt: skip
    plain = [_plain_boosting(data.features[:, varies], labels, *fold[2:]) for fold in folds]
    print(f"  {'plain boosting':20s} PR-AUC {np.mean(plain):.3f} ± {np.std(plain, ddof=1):.3f}")
    choice = evaluate.choose(compared, quality.CANDIDATES)
    print(f"  serves: {choice.reason}")
    fold = evaluate.time_fold(labels, data.created, data.groups)
    if fold is not None:
        stress = evaluate.compare(data.features, labels, data.groups, quality.CANDIDATES, [fold])
        for score in stress.scores:
            print(f"  time-ordered {score.candidate:20s} PR-AUC {score.pr_auc:.3f}")
    kinds = dict.fromkeys(feature.kind for feature in FEATURES)
    for name, features in (
        *((f"without {kind}", evaluate.without_kind(data.features, kind)) for kind in kinds),
        ("without has-a-usage", evaluate.without_has_a_usage(data.features)),
        ("without age", evaluate.without_age(data.features)),
    ):
        found = evaluate.compare(features, labels, data.groups, [choice.candidate], folds)
        values = found.pr_auc(choice.candidate)
        print(f"  {name:20s} PR-AUC {values.mean():.3f} ± {values.std(ddof=1):.3f}")
    strengths = rules.strengths(data.features)
    for number, rule in enumerate(rules.RULES):
        fires = strengths[:, number] > 0
        if fires.any() and labels[fires].mean() > 0.2:
            print(
                f"    {rule.code:24s} fires on {fires.sum():4d}, {labels[fires].mean():.0%} abuse"
            )
    telling = [rules.CODES.index(code) for code in (
        "FAST_REDEMPTION", "PHONE_UNUSUAL_FORM", "PHONE_EXTENSION", "PHONE_IMPOSSIBLE",
        "NAME_UNUSUAL_FORM", "AGE_IMPLAUSIBLE", "EMAIL_RARE_DOMAIN")]  # fmt: skip
    silent = labels & ~(strengths[:, telling] > 0).any(axis=1)
    print(f"  abusers that none of the telling signals gives away: {silent.sum()}")


def simulated() -> None:
    print(
        "simulated shops: the model that is promoted, on held-out folds by truth; least recall on"
    )
    print("a kind left out of training; trained on analysts' labels alone, judged by truth")
    print("seed serves             PR-AUC hard  rules device | left out | PR-AUC recall hard")
    for seed in SIMULATED_SEEDS:
        sim = quality.simulated(seed)
        name = quality.chosen_on_simulated(seed).candidate
        left = {kind: quality.recall_of_left_out(seed, kind, name) for kind in quality.kinds(sim)}
        worst = min(left, key=lambda kind: left[kind])
        own = quality.on_analysts_labels(seed, name)
        print(
            f"{seed:4d} {name:18s} {quality.pr_auc(seed, name):.3f} "
            f"{quality.hard_negatives_flagged(seed, name):6.1%} "
            f"{quality.pr_auc_rule_list(seed):.3f} {quality.pr_auc_shares_a_device(seed):.3f} | "
            f"{left[worst]:.2f} {worst:17s}| {own['pr_auc']:.3f} {own['recall']:.2f} "
            f"{own['hard_negatives_flagged']:6.1%}",
            flush=True,
        )


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["real", "simulated"]
    if "real" in wanted:
        real()
    if "simulated" in wanted:
        simulated()
