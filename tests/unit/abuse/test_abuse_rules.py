"""The rule list and the reasons that it gives."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.abuse.model import models, rules
from dmp_assets.abuse.model.explain import FEATURE_PREFIX, explain
from dmp_assets.abuse.model.features import COLUMN, NAMES, matrix
from dmp_assets.abuse.model.money import Thresholds
from dmp_assets.abuse.model.store import Model
from tests.unit.abuse.test_abuse_features import ONE


def some(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.normal(1, 2, (rows, len(NAMES)))
    found[rng.random(found.shape) < 0.4] = np.nan
    return found


@settings(deadline=None)
@given(
    st.lists(st.floats(allow_infinity=False, width=32), min_size=len(NAMES), max_size=len(NAMES))
)
def test_strengths_lie_between_nothing_and_all(row: list[float]) -> None:
    found = rules.strengths(np.array([row]))
    assert found.shape == (1, len(rules.RULES))
    assert ((found >= 0) & (found <= 1)).all()


def test_an_account_of_which_nothing_is_known_breaks_no_rule() -> None:
    assert not rules.strengths(np.full((1, len(NAMES)), np.nan)).any()


def test_codes_are_stable_names_with_a_text_and_a_reason() -> None:
    assert len(set(rules.CODES)) == len(rules.RULES)
    assert all(r.code.isupper() and r.text and r.reason for r in rules.RULES)
    assert all(r.weight >= 0 and r.prior >= 0 for r in rules.RULES)


def test_the_rule_list_scores_without_any_label() -> None:
    pipeline = models.unfitted_rule_list()
    found = models.probability(pipeline, np.vstack([matrix(ONE), np.full((1, len(NAMES)), np.nan)]))
    assert found[0] > found[1]
    assert found[1] < rules.BASE_RATE


def test_more_evidence_never_lowers_the_score() -> None:
    pipeline = models.unfitted_rule_list()
    rows = np.full((20, len(NAMES)), np.nan)
    rows[:, COLUMN["device_strangers"]] = np.log1p(np.arange(20))
    assert (np.diff(models.probability(pipeline, rows)) >= 0).all()


@pytest.mark.parametrize("name", ["rule_list", "informed_logistic"])
def test_one_account_is_scored_in_under_half_a_millisecond(name: str) -> None:
    rows = some(500)
    labels = np.arange(500) % 10 == 0
    pipeline = models.fit(name, rows, labels)
    best = 9.0
    for _ in range(200):
        began = time.process_time()
        pipeline.predict_proba(rows[:1])
        best = min(best, time.process_time() - began)
    assert best <= 0.0005


@pytest.mark.parametrize("name", list(models.CANDIDATES))
def test_batch_and_single_scores_agree(name: str) -> None:
    rows = some(400)
    labels = np.nan_to_num(rows[:, COLUMN["device_strangers"]]) > 3
    pipeline = models.fit(name, rows, labels)
    together = models.probability(pipeline, rows)
    alone = [models.probability(pipeline, rows[i : i + 1])[0] for i in range(60)]
    np.testing.assert_allclose(together[:60], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", list(models.CANDIDATES))
def test_a_flagged_account_can_be_told_why(name: str) -> None:
    rows = some(400)
    labels = np.nan_to_num(rows[:, COLUMN["device_strangers"]]) > 3
    pipeline = models.fit(name, rows, labels)
    model = Model("v", name, pipeline, Thresholds(0.1, 0.9), np.nanmedian(rows, axis=0))
    top = rows[np.argsort(-models.probability(pipeline, rows))[:5]]
    explained = explain(model, top)
    for row in range(5):
        reasons = explained.of(row)
        assert reasons
        weights = [reason["weight"] for reason in reasons]
        assert weights == sorted(weights, reverse=True)
        assert all(
            reason["code"] in rules.CODES or str(reason["code"]).startswith(FEATURE_PREFIX)
            for reason in reasons
        )
