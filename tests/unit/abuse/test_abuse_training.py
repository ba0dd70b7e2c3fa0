"""Comparing, choosing, calibrating, costing and keeping models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.abuse.model import evaluate, models, money, rules, shares, store, trees
from dmp_assets.abuse.model.explain import explain
from dmp_assets.abuse.model.features import COLUMN, NAMES
from dmp_assets.abuse.model.money import Costs, Thresholds, thresholds
from dmp_assets.abuse.model.train import Labelled, train

COSTS = Costs(60, 20, 3)
MONEY = st.floats(0.1, 1000)


def labelled(rows: int = 600, abusers: int = 40, seed: int = 0) -> Labelled:
    """Abusers share devices with strangers; honest accounts do not."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(rows) * abusers) % rows < abusers
    features = np.full((rows, len(NAMES)), np.nan)
    features[:, COLUMN["device_strangers"]] = np.log1p(
        np.where(labels, rng.integers(0, 5, rows), 0)
    )
    features[:, COLUMN["email_digits"]] = rng.integers(0, 6, rows)
    return Labelled(features, labels, np.arange(rows) // 2, np.arange(rows) / rows)


@settings(deadline=None)
@given(MONEY, MONEY, st.floats(0, 1000), st.floats(0, 1))
def test_the_decision_is_the_cheapest_one(
    blocked: float, lost: float, review: float, probability: float
) -> None:
    costs = Costs(blocked, lost, review)
    expected = {
        "allow": probability * lost,
        "review": review,
        "block": (1 - probability) * blocked,
    }
    decided = str(thresholds(costs).decide(np.array([probability]))[0])
    assert expected[decided] <= min(expected.values()) + 1e-6 * max(blocked, lost, review)


def test_dear_reviews_leave_only_allow_and_block() -> None:
    limits = thresholds(Costs(60, 20, 100))
    assert limits.review_from == limits.block_from == pytest.approx(0.75)


def test_the_cost_of_decisions_adds_up() -> None:
    decided = np.array(["allow", "allow", "review", "block", "block"])
    labels = np.array([True, False, True, True, False])
    assert money.cost(decided, labels, COSTS) == 20 + 3 + 60


@settings(deadline=None)
@given(st.integers(0, 10))
def test_no_cluster_is_on_both_sides_of_a_fold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 60, 200)
    labels = rng.random(200) < 0.3
    tested = np.zeros(200, int)
    for _, _, rows, test in evaluate.folds(labels, groups, [seed]):
        assert not set(groups[rows]) & set(groups[test])
        tested[test] += 1
    assert (tested == 1).all()


def test_time_ordered_split_trains_on_the_past_only() -> None:
    data = labelled()
    fold = evaluate.time_fold(data.labels, data.times, data.groups)
    assert fold is not None
    assert data.times[fold[2]].max() <= data.times[fold[3]].min()
    assert not set(data.groups[fold[2]]) & set(data.groups[fold[3]])


def comparison(simple: list[float], rich: list[float]) -> evaluate.Comparison:
    scores = [
        evaluate.Score(name, 0, fold, value, 0.0, 1, 1)
        for name, values in (("rule_list", simple), ("gradient_boosting", rich))
        for fold, value in enumerate(values)
    ]
    return evaluate.Comparison(tuple(scores), {})


def test_a_tie_goes_to_the_simpler_model() -> None:
    names = ("rule_list", "gradient_boosting")
    near = evaluate.choose(comparison([0.6, 0.7, 0.5], [0.7, 0.6, 0.55]), names)
    assert near.candidate == "rule_list"
    assert "simpler" in near.reason
    clear = evaluate.choose(comparison([0.4, 0.5, 0.42], [0.7, 0.8, 0.71]), names)
    assert clear.candidate == "gradient_boosting"


def test_a_model_that_is_worse_on_kinds_it_was_not_shown_is_not_promoted() -> None:
    names = ("rule_list", "informed_logistic", "gradient_boosting")
    scores = [
        evaluate.Score(name, 0, fold, value + fold / 100, 0.0, 1, 1)
        for name, value in zip(names, (0.4, 0.6, 0.7), strict=True)
        for fold in range(3)
    ]
    clear = evaluate.Comparison(tuple(scores), {})
    unseen = {name: {"phone": value} for name, value in zip(names, (0.6, 0.5, 0.3), strict=True)}
    choice = evaluate.choose(clear, names, unseen)
    assert choice.candidate == "informed_logistic"
    assert "not shown worse" in choice.reason
    unseen["gradient_boosting"]["phone"] = 0.6
    assert evaluate.choose(clear, names, unseen).candidate == "gradient_boosting"


def test_labels_of_suspects_first_do_not_make_everyone_suspect() -> None:
    data = labelled(4000, 400)
    chosen = np.flatnonzero(data.labels | (np.arange(4000) % 8 == 0))
    some = data.some(chosen)
    assert some.labels.mean() > 0.4
    biased, brought_back = (
        models.fit("informed_logistic", some.features, some.labels, some.groups, everyone)
        for everyone in (None, data.features)
    )
    share = data.labels.mean()
    assert models.probability(biased, data.features).mean() > 2 * share
    assert models.probability(brought_back, data.features).mean() == pytest.approx(share, abs=0.05)
    np.testing.assert_array_equal(
        np.argsort(models.probability(biased, data.features), kind="stable"),
        np.argsort(models.probability(brought_back, data.features), kind="stable"),
    )


def test_a_kind_of_abuse_that_no_label_shows_is_still_suspected() -> None:
    data = labelled(600, 40)  # no label speaks of a mailbox with many accounts
    shown = models.fit("gradient_boosting", data.features, data.labels, data.groups)
    strange = np.full((1, len(NAMES)), np.nan)
    for name in ("email_others", "email_series_day", "identity_others"):
        strange[0, COLUMN[name]] = np.log1p(4)
    assert models.probability(shown, strange)[0] > 0.5


def test_a_share_of_few_accounts_has_a_wide_interval() -> None:
    low, high = shares.interval(8, 8)
    assert low == pytest.approx(0.676, abs=0.001) and high == 1
    assert shares.interval(0, 0) == (0, 1)


def test_blocking_begins_where_labels_do_not_contradict_it() -> None:
    likely = np.concatenate([np.full(40, 0.96), np.full(40, 0.99)])
    right, half = np.ones(80, bool), np.arange(80) % 2 == 0
    assert evaluate.block_end(likely, right, 0.95) is None, "as the costs have it"
    assert evaluate.block_end(likely, np.where(likely < 0.98, half, right), 0.95) == 0.99
    assert evaluate.block_end(likely, half, 0.95) == 1.0, "nobody is blocked"
    assert evaluate.block_end(likely[:0], right[:0], 0.95) is None
    by_costs = Thresholds(0.15, 0.95)
    assert money.raised(by_costs, 0.99, 0.95) == Thresholds(0.15, 0.99)
    assert money.raised(by_costs, None, 0.95) == by_costs
    assert money.raised(Thresholds(0.1, 0.7), 0.99, 0.95) == Thresholds(0.1, 0.7)


def test_calibrated_probabilities_mean_what_they_say() -> None:
    data = labelled(4000, 400)
    pipeline = models.fit("informed_logistic", data.features, data.labels, data.groups)
    found = models.probability(pipeline, data.features)
    assert found.mean() == pytest.approx(data.labels.mean(), abs=0.03)
    for row in evaluate.calibration(found, data.labels, bins=4):
        if row["accounts"] >= 100:
            assert row["mean_probability"] == pytest.approx(row["share_of_abusers"], abs=0.15)


def test_a_rule_that_labels_say_nothing_about_keeps_its_prior() -> None:
    data = labelled()
    fitted = models.InformedLogistic().fit(rules.strengths(data.features), data.labels)
    silent = rules.CODES.index("AGE_IMPLAUSIBLE")
    assert fitted.weights_[silent] == pytest.approx(rules.PRIORS[silent])
    assert (fitted.weights_ >= 0).all()


def test_training_compares_all_candidates_and_says_why_one_serves() -> None:
    trained = train(labelled(), COSTS, seeds=(0,))
    assert trained.candidate in models.CANDIDATES
    compared = {f[0] for f in trained.figures if f[1] == "pr_auc" and f[2] == "held_out_folds"}
    assert compared == {*models.CANDIDATES, evaluate.SHARES_A_DEVICE}
    assert {f[2] for f in trained.figures} >= {
        "time_ordered", "without_age", "without_has_a_usage", "without_e-mail", "without_phone",
        "without_identity", "without_place_and_machine", "without_sharing", "without_redemption",
    }  # fmt: skip
    assert trained.card["calibration"]
    assert trained.card["cost_curve"]
    at = trained.card["at_thresholds"]
    assert 0 <= at["block_precision_low"] <= at["block_precision_high"] <= 1
    assert trained.reason


@pytest.mark.parametrize("abusers", [0, 3, 600])
def test_without_labels_of_both_classes_the_rule_list_serves(abusers: int) -> None:
    trained = train(labelled(600, abusers), COSTS)
    assert trained.candidate == "rule_list"
    assert "are needed" in trained.reason
    assert models.probability(trained.pipeline, np.full((1, len(NAMES)), np.nan))[0] > 0


def test_no_label_at_all_is_no_error() -> None:
    nothing = Labelled(np.empty((0, len(NAMES))), np.empty(0, bool), np.empty(0, int), np.empty(0))
    assert train(nothing, COSTS).candidate == "rule_list"


def shaped(rows: int, seed: int) -> np.ndarray:
    """Features of which many are constant, unknown, or known on one to three rows."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, len(NAMES)))
    for number in range(len(NAMES)):
        known = rng.permutation(rows)[: rng.choice([0, 1, 3, rows])]
        column = features[:, number].round() if rng.random() < 0.5 else np.ones(rows)
        features[:, number] = np.nan
        features[known, number] = column[known]
    return features


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(0, 5), st.integers(0, 2**16))
def test_any_candidate_is_fitted_on_any_labels_and_any_columns(
    rows: int, abusers: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    features = shaped(rows, seed)
    labels = rng.permutation(np.arange(rows) < abusers)
    for name in models.CANDIDATES:
        pipeline = models.fit(name, features, labels, rng.integers(0, rows, rows))
        found = models.probability(pipeline, shaped(20, seed + 1))
        assert ((found >= 0) & (found <= 1)).all(), name


def test_few_clusters_leave_a_fold_empty_and_fail_nothing() -> None:
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(40, len(NAMES))), np.arange(40) % 2 == 0
    for clusters in (1, 2):
        for name in models.CANDIDATES:
            pipeline = models.fit(name, features, labels, np.arange(40) % clusters)
            assert np.isfinite(models.probability(pipeline, features)).all()


@settings(deadline=None, max_examples=6)
@given(st.integers(20, 120), st.floats(0, 1), st.integers(0, 2**16))
def test_random_labels_never_fail_a_training(rows: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.random(rows) < share
    groups = rng.integers(0, rng.integers(1, rows), rows)
    data = Labelled(shaped(rows, seed), labels, groups, np.sort(rng.random(rows)))
    trained = train(data, COSTS, seeds=(0,))
    assert trained.candidate in models.CANDIDATES and trained.reason
    found = models.probability(trained.pipeline, data.features)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_split_in_time_needs_both_kinds_of_accounts_on_both_sides() -> None:
    data = labelled(200, 60)
    first = data.times < 0.75
    assert evaluate.time_fold(first, data.times, data.groups) is None


def test_training_twice_gives_the_same_model() -> None:
    data = labelled()
    first, second = (train(data, COSTS, seeds=(0,)) for _ in range(2))
    assert first.figures == second.figures
    np.testing.assert_array_equal(
        models.probability(first.pipeline, data.features),
        models.probability(second.pipeline, data.features),
    )


def kept(folder: Path) -> tuple[store.Model, str]:
    pipeline = models.unfitted_rule_list()
    model = store.Model("m-1", "rule_list", pipeline, Thresholds(0.1, 0.9), np.zeros(len(NAMES)))
    return model, store.save(folder, model)


def test_a_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    model, digest = kept(tmp_path)
    read = store.load(tmp_path, "m-1", digest)
    rows = np.full((2, len(NAMES)), np.nan)
    np.testing.assert_array_equal(
        models.probability(read.pipeline, rows), models.probability(model.pipeline, rows)
    )


def test_a_changed_model_file_is_never_opened(tmp_path: Path) -> None:
    _, digest = kept(tmp_path)
    file = store.path(tmp_path, "m-1")
    file.write_bytes(file.read_bytes()[:-9] + b"malicious")
    with pytest.raises(store.ModelError, match="corrupt or was changed"):
        store.load(tmp_path, "m-1", digest)
    file.unlink()
    with pytest.raises(store.ModelError, match="missing"):
        store.load(tmp_path, "m-1", digest)


def test_a_model_that_other_code_fitted_is_refused_with_the_reason(tmp_path: Path) -> None:
    strange = models.fit("informed_logistic", np.zeros((4, len(NAMES))), np.arange(4) > 2)
    base = strange.named_steps["model"].base_
    base.weights_ = base.weights_[:-1]
    model = store.Model("m-2", "informed_logistic", strange, Thresholds(0.1, 0.9), np.zeros(1))
    digest = store.save(tmp_path, model)
    with pytest.raises(store.ModelError, match="other code"):
        store.load(tmp_path, "m-2", digest)


def test_a_version_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(store.ModelError, match="is not the name"):
        store.load(tmp_path, "../m-1", "0")


def test_a_few_rows_get_the_log_odds_of_scikit_learn_to_the_last_bit() -> None:
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 9, (600, 12)) / 4
    rows[rng.random(rows.shape) < 0.3] = np.nan
    labels = np.isnan(rows[:, 3]) | (np.nan_to_num(rows[:, 0]) > 1.6) & (rng.random(600) < 0.8)
    fitted: Any = models.Boosting().fit(rows, labels).trees_
    splits = np.concatenate([tree.nodes for (tree,) in fitted._predictors])
    assert np.isinf(splits["num_threshold"]).any()  # all but missing values go left
    expected = fitted.decision_function(rows)
    for few in (1, 7, 600):
        parts = [trees.log_odds(fitted, rows[n : n + few]) for n in range(0, 600, few)]
        assert (np.concatenate(parts) == expected).all()
    assert trees.log_odds(fitted, np.vstack([rows, rows])).shape == (1200,)


def test_reasons_of_a_boosting_are_those_of_one_replacement_after_the_other() -> None:
    data = labelled()
    fitted = models.fit("gradient_boosting", data.features, data.labels)
    typical = np.zeros(len(NAMES))
    model = store.Model("m", "gradient_boosting", fitted, thresholds(COSTS), typical)
    found = explain(model, data.features[:450])
    weights = found.weights[:, len(rules.CODES) :]
    whole = odds(model, data.features[:450])
    for name in ("device_strangers", "email_digits", "email_others"):
        without = data.features[:450].copy()
        without[:, COLUMN[name]] = model.typical[COLUMN[name]]
        assert weights[:, COLUMN[name]] == pytest.approx(whole - odds(model, without), abs=1e-9)
    assert np.abs(weights).max() > 1


def odds(model: store.Model, rows: np.ndarray) -> np.ndarray:
    likely = np.clip(models.probability(model.pipeline, rows), 1e-9, 1 - 1e-9)
    return np.log(likely / (1 - likely))
