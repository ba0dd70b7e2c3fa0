"""ml/abuse_drift: how far the latest accounts are from those that the model was trained among.

Grain: one figure of one evaluation. Key: model_version, evaluated_at, kind, feature, measure.
Sources: ml/abuse_features, ml/abuse_scores, modeled/abuse_labels, cleaned/users,
raw/abuse_predictions, ml/model_registry and the reference sample beside the serving model's file.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dmp_assets.abuse.model import features, registry
from dmp_assets.abuse.model.features import NAMES
from dmp_assets.abuse.tables import model_registry
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

# Pinned, because Evidently's own choice changes with the number of rows. Both are distances whose
# value does not grow with the sample: Wasserstein in standard deviations of the reference,
# Jensen-Shannon in bits. 0.1 is Evidently's documented default for both.
NUMBER_METHOD, CATEGORY_METHOD, DISTANCE = "wasserstein", "jensenshannon", 0.1
MISSING_STEP = 0.05  # more missing values than this share above the reference is bad quality
DRIFTED_SHARE = 0.2  # the data set drifts when more than this share of its features do
FEWEST = 100  # fewer rows say nothing about a distribution
REPORTS_KEPT = 10
COLUMNS = (*NAMES, "probability", "label")
# What is known of an account that has just registered: it has redeemed nothing and has no label.
LIVE_COLUMNS = (
    *(f.name for f in features.FEATURES
      if f.kind != "redemption" and f.name != "device_code_others"),
    "probability",
)  # fmt: skip

DRIFT_COLUMNS = {
    "model_version": Column("string", "The serving model."),
    "evaluated_at": Column("timestamp", "When it was evaluated (UTC)."),
    "feature": Column("string", "A feature, `probability`, `label`, or * for the data set."),
    "kind": Column(
        "string",
        "feature, prediction, label, quality or dataset; live_…: the same of new accounts "
        "that the service scored.",
    ),
    "measure": Column("string", "distance, missing_share_increase or share_of_drifted_features."),
    "method": Column("string", "Pinned statistical method; none: too few known values to compare."),
    "value": Column("double", "The figure."),
    "threshold": Column("double", "Drifted above this."),
    "is_drifted": Column("boolean", "Whether the figure is above its threshold."),
    "reference_rows": Column("long", "Known values among the accounts at training time."),
    "current_rows": Column("long", "Known values among the latest accounts now, or the service's."),
    "report": Column("string", "Evidently's page, under the home."),
}
SCHEMA = arrow_schema(DRIFT_COLUMNS)
_FEATURES = ", ".join(
    f"CASE WHEN NOT isnan(features[{i}]) THEN features[{i}] END AS {name}"
    for i, name in enumerate(NAMES, 1)
)
LIVE = f"""
    WITH scores AS (
        SELECT * FROM raw.abuse_predictions WHERE is_new AND model_version = $version
    )
    SELECT probability, {_FEATURES} FROM scores
    WHERE predicted_at > (SELECT max(predicted_at) FROM scores) - INTERVAL 7 DAY
    QUALIFY row_number() OVER (PARTITION BY account_id ORDER BY prediction_id DESC) = 1
"""
"""Scores that the service gave to new accounts in its last week by the model `version`."""

_LAST = """evaluated_at = (SELECT max(evaluated_at) FROM ml.abuse_drift)"""


def measure(
    reference: pa.Table, current: pa.Table, html: Path | None, columns: Sequence[str] = COLUMNS
) -> list[dict[str, Any]]:
    """Distances and shares of missing values, current against reference.

    Both tables have the columns: features, `probability`, `label` (true, false, null unknown).
    Rows of `SCHEMA` without version, time and report. Writes Evidently's page to `html`.
    """
    rows = _missing(reference, current, [name for name in columns if _kind(name) == "feature"])
    known, unknown = _comparable(reference, current, columns)
    rows += [_row(name, _kind(name), "distance", "none", None, None, False, reference, current)
             for name in unknown]  # fmt: skip
    if known:
        rows += _distances(reference, current, known, html)
    drifted = [
        row["is_drifted"]
        for row in rows
        if row["kind"] == "feature" and row["measure"] == "distance" and row["value"] is not None
    ]
    share = float(np.mean(drifted)) if drifted else 0.0
    rows.append(
        _row("*", "dataset", "share_of_drifted_features", "share", share, DRIFTED_SHARE,
             share > DRIFTED_SHARE, reference, current)
    )  # fmt: skip
    return rows


def _kind(name: str) -> str:
    return {"probability": "prediction", "label": "label"}.get(name, "feature")


def _row(
    name: str, kind: str, measured: str, method: str, value: float | None,
    threshold: float | None, is_drifted: bool, reference: pa.Table, current: pa.Table,
) -> dict[str, Any]:  # fmt: skip
    return {
        "feature": name, "kind": kind, "measure": measured, "method": method, "value": value,
        "threshold": threshold, "is_drifted": is_drifted,
        "reference_rows": reference.num_rows - reference[name].null_count if name != "*"
        else reference.num_rows,
        "current_rows": current.num_rows - current[name].null_count if name != "*"
        else current.num_rows,
    }  # fmt: skip


def _missing(reference: pa.Table, current: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for name in names:
        before = reference[name].null_count / max(reference.num_rows, 1)
        now = current[name].null_count / max(current.num_rows, 1)
        worse = now - before
        rows.append(_row(name, "quality", "missing_share_increase", "difference", worse,
                         MISSING_STEP, worse > MISSING_STEP, reference, current))  # fmt: skip
    return rows


def _comparable(
    reference: pa.Table, current: pa.Table, columns: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Columns with enough known values on both sides, and the others."""
    known = [
        name
        for name in columns
        if min(t.num_rows - t[name].null_count for t in (reference, current)) >= FEWEST
    ]
    return known, [name for name in columns if name not in known]


def _distances(
    reference: pa.Table, current: pa.Table, columns: list[str], html: Path | None
) -> list[dict[str, Any]]:
    """Evidently's drift per column. Its import takes 6–9 s, so only here."""
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    numeric = [name for name in columns if name != "label"]
    categories = [name for name in columns if name == "label"]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categories)

    def dataset(table: pa.Table) -> Any:
        frame = table.select(columns).to_pandas()
        for name in categories:
            frame[name] = frame[name].map({True: "abuser", False: "honest"})
        return Dataset.from_pandas(frame, data_definition=definition)

    metrics = [
        ValueDrift(
            column=name,
            method=CATEGORY_METHOD if name in categories else NUMBER_METHOD,
            threshold=DISTANCE,
        )
        for name in columns
    ]
    snapshot = Report(metrics, include_tests=False).run(dataset(current), dataset(reference))
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        snapshot.save_html(str(html))
    rows = []
    for name, metric in zip(columns, snapshot.dict()["metrics"], strict=True):
        value = float(metric["value"])
        method = CATEGORY_METHOD if name in categories else NUMBER_METHOD
        rows.append(_row(name, _kind(name), "distance", method, value, DISTANCE,
                         value > DISTANCE, reference, current))  # fmt: skip
    return rows


def _offending(kind: str) -> str:
    return (
        f"SELECT count(*) FILTER (is_drifted), max(value) AS largest, "
        f"arg_max(feature, value) AS feature, any_value(threshold) AS threshold, "
        f"any_value(method) AS method, max(reference_rows) AS reference_rows, "
        f"max(current_rows) AS current_rows, any_value(report) AS report "
        f"FROM ml.abuse_drift WHERE kind = '{kind}' AND {_LAST}"
    )


@table_asset(
    "ml",
    owner="team:risk",
    kinds=("evidently", "delta"),
    deps=[
        "ml/abuse_features", "ml/abuse_scores", "modeled/abuse_labels", "cleaned/users",
        "raw/abuse_predictions", "ml/model_registry",
    ],
    columns=DRIFT_COLUMNS,
    key=("model_version", "evaluated_at", "kind", "feature", "measure"),
    checks=(
        Check("no_feature_drift", _offending("feature"),
              "No feature of the latest accounts is further from the training sample than its "
              "threshold."),
        Check("no_prediction_drift", _offending("prediction"),
              "The probabilities of the latest accounts are distributed as at training time."),
        Check("no_label_drift", _offending("label"),
              "The share of labelled abusers among the latest accounts is as at training time."),
        Check("no_quality_loss", _offending("quality"),
              "No feature is unknown much more often than at training time."),
        Check("data_set_stays", _offending("dataset"),
              "Few features drift; drift in several evaluations in a row alerts."),
        Check("live_traffic_stays", _offending("live_dataset"),
              "Few features of the new accounts that the service scored in its last week drift."),
    ),
)  # fmt: skip
def abuse_drift(run: TableRun) -> None:
    """How far the latest accounts are from those that the serving model was trained among.

    Grain: one figure of one evaluation. Key: model_version, evaluated_at, kind, feature, measure.
    Both samples are the latest accounts by registration, then and now. The new accounts that the
    service scored in its last week are compared with the same sample, once there are 100.
    """
    serving = next((row for row in registry.rows(run.lakehouse.tables) if row["is_serving"]), None)
    home = run.lakehouse.home
    file = home.models / str(serving["reference_sample"]) if serving else None
    if serving is None or file is None or not file.is_file():
        run.log.warning("no serving model with a reference sample; drift cannot be measured")
        if not run.exists("ml/abuse_drift"):
            run.overwrite(SCHEMA.empty_table())
        return
    now = datetime.now(UTC)
    current = run.sql(
        f"SELECT l.*, s.probability FROM ({model_registry.LATEST}) l "
        "JOIN ml.abuse_scores s USING (user_id)"
    )
    version = str(serving["model_version"])
    html = home.reports / "drift" / f"{now:%Y%m%dT%H%M%SZ}-{version}.html"
    reference = pq.read_table(file)
    rows = measure(reference, current, html)
    live = run.sql(LIVE, {"version": version})
    if live.num_rows >= FEWEST:
        found = measure(reference, live, None, LIVE_COLUMNS)
        rows += [row | {"kind": f"live_{row['kind']}"} for row in found]
    report = str(html.relative_to(home.root)) if html.is_file() else None
    noted = {"model_version": version, "evaluated_at": now, "report": report}
    run.metadata |= {"report": report or "none", "live_accounts": live.num_rows}
    run.append(pa.Table.from_pylist([row | noted for row in rows], SCHEMA))
    for old in sorted(html.parent.glob("*.html"))[:-REPORTS_KEPT]:
        old.unlink()
