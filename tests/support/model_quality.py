"""How good the abuse model is: on the real export and on simulated shops, of which truth is known.

Used by tests and by benchmarks/abuse_model.py, which prints the figures.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from sklearn.metrics import average_precision_score

from dmp_assets.abuse.model import evaluate, features, models, rules
from dmp_assets.abuse.model.money import Costs, thresholds
from dmp_assets.abuse.model.train import SEEDS
from dmp_assets.abuse.tables.model_registry import EVERYONE_ROWS
from dmp_assets.demo.business import shop
from dmp_assets.settings import Settings
from tests.support import accounts

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "noaat"
CANDIDATES = tuple(models.CANDIDATES)


def default_costs() -> Costs:
    field = Settings.model_fields
    return Costs(
        field["cost_blocked_customer"].default,
        field["cost_lost_discount"].default,
        field["review_cost"].default,
    )


@dataclass(frozen=True)
class Accounts:
    """Features of all accounts, analysts' labels (NaN unknown) and groups for the folds."""

    features: features.Floats
    labels: features.Floats
    groups: npt.NDArray[Any]
    user_ids: tuple[str, ...]
    created: features.Floats


def read(folder: Path) -> Accounts:
    """Accounts of a folder of CSV exports."""
    connection = accounts.shop(accounts.received(folder))
    view = accounts.account_view(connection)
    labels, groups = accounts.labels(connection)
    return Accounts(
        features=features.matrix(view),
        labels=labels,
        groups=groups,
        user_ids=tuple(view["user_id"].to_pylist()),
        created=features.View(view).days("created_at"),
    )


@cache
def real() -> Accounts:
    return read(REAL)


@cache
def compared_on_real(
    seeds: tuple[int, ...], candidates: tuple[str, ...] = CANDIDATES
) -> evaluate.Comparison:
    """Candidates on 5 folds × seeds of the real accounts."""
    data = real()
    labels = data.labels == 1
    folds = list(evaluate.folds(labels, data.groups, seeds))
    return evaluate.compare(data.features, labels, data.groups, candidates, folds)


@dataclass(frozen=True)
class Simulated:
    """A simulated shop's accounts with the truth about them."""

    data: Accounts
    abuses: npt.NDArray[np.bool_]
    kind: npt.NDArray[np.str_]
    hard: npt.NDArray[np.bool_]


@cache
def simulated(seed: int, users: int = 10_000) -> Simulated:
    with TemporaryDirectory() as folder:
        written = shop.generate(Path(folder), users=users, seed=seed, end=date(2024, 3, 31))
        data = read(written.export)
        truth = {
            row["user_id"]: row
            for row in pq.read_table(written.truth / "users.parquet").to_pylist()
        }
    known = [truth.get(user) or {} for user in data.user_ids]
    return Simulated(
        data,
        np.array([bool(row.get("is_abuser")) for row in known]),
        np.array([row.get("abuse_kind") or "" for row in known]),
        np.array([bool(row.get("is_hard_negative")) for row in known]),
    )


def everyone(sim: Simulated) -> features.Floats:
    """Features of accounts drawn at random, as training has them of all."""
    rows = np.random.default_rng(0).permutation(len(sim.abuses))[:EVERYONE_ROWS]
    return sim.data.features[rows]


def kinds(sim: Simulated) -> list[str]:
    return sorted(set(sim.kind) - {""})


def review_from() -> float:
    return thresholds(default_costs()).review_from


@cache
def held_out(seed: int, candidate: str) -> features.Floats:
    """Probability of every simulated account by a model trained on the other folds' truth."""
    sim = simulated(seed)
    result = np.empty(len(sim.abuses))
    for _, _, train, test in evaluate.folds(sim.abuses, sim.data.groups, (0,)):
        model = models.fit(
            candidate, sim.data.features[train], sim.abuses[train], sim.data.groups[train]
        )
        result[test] = models.probability(model, sim.data.features[test])
    return result


def pr_auc(seed: int, candidate: str) -> float:
    return float(average_precision_score(simulated(seed).abuses, held_out(seed, candidate)))


def pr_auc_rule_list(seed: int) -> float:
    sim = simulated(seed)
    score = rules.strengths(sim.data.features) @ rules.WEIGHTS
    return float(average_precision_score(sim.abuses, score))


def pr_auc_shares_a_device(seed: int) -> float:
    sim = simulated(seed)
    shares = np.nan_to_num(sim.data.features[:, features.COLUMN["device_others"]]) > 0
    return float(average_precision_score(sim.abuses, shares))


def hard_negatives_flagged(seed: int, candidate: str) -> float:
    return float((held_out(seed, candidate)[simulated(seed).hard] >= review_from()).mean())


def recall_of_left_out(seed: int, kind: str, candidate: str) -> float:
    """Share flagged of a kind of abuse that no account in training had."""
    sim = simulated(seed)
    train = sim.kind != kind
    model = models.fit(
        candidate, sim.data.features[train], sim.abuses[train], sim.data.groups[train]
    )
    found = models.probability(model, sim.data.features[~train])
    return float((found >= review_from()).mean())


@cache
def chosen_on_simulated(seed: int) -> evaluate.Choice:
    """Which candidate the product picks on the analysts' labels of a simulated shop."""
    sim = simulated(seed)
    known = ~np.isnan(sim.data.labels)
    features, labels, groups = (
        sim.data.features[known], sim.data.labels[known] == 1, sim.data.groups[known],
    )  # fmt: skip
    folds = list(evaluate.folds(labels, groups, SEEDS))
    compared = evaluate.compare(features, labels, groups, CANDIDATES, folds, everyone(sim))
    unseen = evaluate.unseen_kinds(features, labels, groups, CANDIDATES)
    return evaluate.choose(compared, CANDIDATES, unseen)


def on_analysts_labels(seed: int, candidate: str) -> dict[str, float]:
    """Trained on the analysts' labels alone, measured by truth on the accounts without one."""
    sim = simulated(seed)
    known = ~np.isnan(sim.data.labels)
    model = models.fit(
        candidate,
        sim.data.features[known],
        sim.data.labels[known] == 1,
        sim.data.groups[known],
        everyone(sim),
    )
    found = models.probability(model, sim.data.features[~known])
    truth = sim.abuses[~known]
    flagged = found >= review_from()
    return {
        "pr_auc": float(average_precision_score(truth, found)),
        "recall": float(flagged[truth].mean()),
        "hard_negatives_flagged": float(flagged[sim.hard[~known]].mean()),
    }
