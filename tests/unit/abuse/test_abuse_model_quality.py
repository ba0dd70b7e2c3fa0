"""How good the model is: on the real export, and on simulated shops of which the truth is known."""

import numpy as np
import pytest

from tests.support import model_quality as quality

SEEDS = (1, 2, 3)
MODEL = "informed_logistic"


@pytest.mark.given_data
def test_on_the_real_export_the_model_is_better_than_the_rules_by_far() -> None:
    compared = quality.compared_on_real((0, 1, 2, 3, 4), ("rule_list", MODEL))
    assert len(compared.pr_auc(MODEL)) == 25
    assert compared.pr_auc(MODEL).mean() >= 0.65
    assert compared.pr_auc(MODEL).mean() > compared.pr_auc("rule_list").mean() + 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_on_simulated_shops_the_model_finds_abusers_and_spares_honest_look_alikes(
    seed: int,
) -> None:
    assert quality.pr_auc(seed, MODEL) >= 0.90
    assert quality.hard_negatives_flagged(seed, MODEL) <= 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_a_kind_of_abuse_that_training_never_saw_is_still_found(seed: int) -> None:
    kinds = quality.kinds(quality.simulated(seed))
    assert len(kinds) >= 6
    recall = {kind: quality.recall_of_left_out(seed, kind, MODEL) for kind in kinds}
    assert min(recall.values()) >= 0.6, recall


@pytest.mark.parametrize("seed", SEEDS)
def test_trained_on_analysts_labels_alone_it_spares_honest_look_alikes(seed: int) -> None:
    measured = quality.on_analysts_labels(seed, MODEL)
    assert measured["hard_negatives_flagged"] <= 0.06, measured
    assert measured["recall"] >= 0.75, measured


@pytest.mark.parametrize("seed", SEEDS)
def test_the_simulator_is_not_too_easy(seed: int) -> None:
    assert quality.pr_auc_shares_a_device(seed) < 0.5
    assert quality.pr_auc_rule_list(seed) < 0.8


def test_simulated_labels_are_few_and_partly_wrong() -> None:
    sim = quality.simulated(1)
    known = ~np.isnan(sim.data.labels)
    assert 0.1 < known.mean() < 0.2
    assert 0 < ((sim.data.labels[known] == 1) != sim.abuses[known]).mean() < 0.1
