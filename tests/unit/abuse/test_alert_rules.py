"""docs/alerts.yml: examples for Prometheus that name metrics and labels which are there."""

import re
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from dmp_assets.abuse.service.metrics import AbuseMetrics
from dmp_assets.platform.api.metrics import Metrics
from dmp_assets.platform.stream.sender import StreamMetrics
from tests.support.docs import ROOT

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "docs" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
PROMETHEUS_ADDS = {"job", "instance", "le"}
SELECTOR = re.compile(r"\b(dmp_\w+|up)\b(?:\{([^}]*)\})?")
NAMED = re.compile(r"\$labels\.(\w+)|\bby \(([^)]*)\)")


def series() -> dict[str, set[str]]:
    """Names of the series that Prometheus has of us, each with its labels."""
    found = {"up": PROMETHEUS_ADDS}
    own = Metrics()
    further = AbuseMetrics(own.registry), StreamMetrics(own.registry)
    for metric in (metric for each in (own, *further) for metric in vars(each).values()):
        if isinstance(metric, MetricWrapperBase):
            for suffix in SUFFIXES[str(metric._type)]:
                found[metric._name + suffix] = {*metric._labelnames} | PROMETHEUS_ADDS
    return found


def test_every_metric_is_there_to_be_watched() -> None:
    assert {name.removesuffix("_total") for name in series()} >= {
        "dmp_api_ready", "dmp_api_request_seconds_bucket", "dmp_published_age_seconds",
        "dmp_abuse_scores", "dmp_model_age_seconds",
    }  # fmt: skip
    watched = {name for rule in RULES for name, _ in SELECTOR.findall(rule["expr"])}
    assert {name for name in series() if not name.endswith(("_sum", "_bucket"))} == {
        name for name in watched if not name.endswith("_bucket")
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_names_metrics_and_labels_that_are_there(rule: dict[str, Any]) -> None:
    known = series()
    selectors = SELECTOR.findall(rule["expr"])
    assert selectors
    for name, matchers in selectors:
        assert name in known
        assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= known[name], name
    labels = set.union(*(known[name] for name, _ in selectors))
    said = rule["expr"] + rule["annotations"]["summary"] + rule["annotations"]["description"]
    named = {
        label.strip() for one, many in NAMED.findall(said) for label in (one or many).split(",")
    }
    assert named <= labels


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "warn")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
