"""ml/model_registry, ml/abuse_evaluation, ml/model_card: training, comparison and promotion.

Grain: one model version. Key: model_version. Sources: ml/abuse_features, modeled/abuse_labels,
cleaned/users (registration), modeled/account_clusters (folds).
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dmp_assets.abuse.model import features, money, registry
from dmp_assets.abuse.model.features import NAMES
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.lake import fingerprint
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.lake.window import Window

_LEARNT_FROM = ("dmp_assets.abuse.model.train", "dmp_assets.abuse.model.store")
WINDOW_ROWS = 5_000
"""Size of the window of the latest accounts that drift compares then and now."""

_COLUMNS = {
    "model_version": Column(
        "string", "Version: hash of code, data and settings it was trained with."
    ),
    "candidate": Column("string", "Kind of model that won the comparison."),
    "is_serving": Column("boolean", "Whether this version scores; one does."),
    "reason": Column("string", "Why it was promoted."),
    "pr_auc_mean": Column(
        "double", "Mean area under precision and recall on held-out folds; null: not measured."
    ),
    "pr_auc_spread": Column("double", "Standard deviation over the folds."),
    "precision": Column(
        "double", "Of held-out accounts from `review_from` on, the share that abuses."
    ),
    "recall": Column("double", "Of held-out abusers, the share from `review_from` on."),
    "review_from": Column("double", "Probability from which a review is the cheapest decision."),
    "block_from": Column("double", "Probability from which blocking is, by the costs."),
    "block_raised_to": Column(
        "double",
        "Probability from which it blocks instead, because too many of the "
        "held-out accounts between the two were honest; null: the costs decide.",
    ),
    "labelled_abusers": Column("long", "Accounts labelled abusers that it was trained on."),
    "labelled_honest": Column("long", "Accounts labelled honest."),
    "labels_known": Column(
        "long", "Labels that there were, of which a sample may have trained it."
    ),
    "data_versions": Column("string", "Delta versions of the tables it was trained on (JSON)."),
    "features": Column("array<string>", "Names of the features, in order."),
    "reference_sample": Column(
        "string", "File of the latest accounts at training time, for drift."
    ),
    "sha256": Column("string", "Hash of the model file."),
    "code": Column("string", "Hash of the code that trained it."),
    "promoted_at": Column("timestamp", "When it was promoted (UTC)."),
    "created_at": Column("timestamp", "When it was trained (UTC)."),
}
_EVALUATION_COLUMNS = {
    "model_version": Column("string", "The model version that was chosen in this comparison."),
    "candidate": Column("string", "The candidate, or the yardstick `shares_a_device`."),
    "metric": Column(
        "string", "pr_auc, brier, precision, recall, flagged_share or cost per account."
    ),
    "setting": Column(
        "string",
        "held_out_folds, time_ordered, unseen_kinds (abusers of kinds of evidence that "
        "training held none of), or what the model may not know (without_…).",
    ),
    "value": Column("double", "Mean over the folds."),
    "spread": Column("double", "Standard deviation over the folds."),
    "folds": Column("long", "Number of folds."),
}
_CARD_COLUMNS = {
    "model_version": Column("string", "The model version."),
    "card": Column(
        "string", "Its card (JSON): labels, quality, calibration, costs, ablations, signals, rules."
    ),
}

REGISTRY = arrow_schema(_COLUMNS)
EVALUATION = arrow_schema(_EVALUATION_COLUMNS)
CARD = arrow_schema(_CARD_COLUMNS)

_LABELLED = f"""
    SELECT {", ".join(f"f.{name}" for name in NAMES)}, l.is_abuser AS label,
        coalesce(c.cluster_id, u.user_id) AS cluster, epoch(u.created_at) AS registered
    FROM modeled.abuse_labels l JOIN cleaned.users u USING (user_id)
    JOIN ml.abuse_features f USING (user_id)
    LEFT JOIN modeled.account_clusters c USING (user_id)
    ORDER BY md5(u.user_id) LIMIT $limit
"""
EVERYONE_ROWS = 5_000
"""So many accounts at random stand for all of them."""
_EVERYONE = f"""
    SELECT {", ".join(NAMES)} FROM ml.abuse_features ORDER BY md5(user_id) LIMIT {EVERYONE_ROWS}
"""
LATEST = f"""
    SELECT u.user_id, l.is_abuser AS label, {", ".join(f"f.{name}" for name in NAMES)}
    FROM cleaned.users u JOIN ml.abuse_features f USING (user_id)
    LEFT JOIN modeled.abuse_labels l USING (user_id)
    ORDER BY u.created_at DESC, u.user_id LIMIT {WINDOW_ROWS}
"""


def matrix_of(table: pa.Table) -> features.Floats:
    """The table's feature columns as a matrix, null as NaN."""
    return np.column_stack([features.numbers(table[name]) for name in NAMES])


def unreadable(lakehouse: Lakehouse, window: Window) -> list[str]:
    """What is wrong with the serving model's file; training writes it again."""
    from dmp_assets.abuse.model import store

    found = [row for row in registry.rows(lakehouse.tables) if row["is_serving"]]
    return [
        problem
        for row in found
        if (problem := store.damage(lakehouse.home.models, row["model_version"], row["sha256"]))
    ]


@table_asset(
    "ml",
    owner="team:risk",
    kinds=("sklearn", "delta"),
    probe=unreadable,
    deps=[
        "ml/abuse_features", "modeled/abuse_labels", "cleaned/users", "modeled/account_clusters",
    ],
    also={"ml/abuse_evaluation": _EVALUATION_COLUMNS, "ml/model_card": _CARD_COLUMNS},
    settings=(
        "cost_blocked_customer", "cost_lost_discount", "review_cost", "train_sample_rows",
        "retrain_min_labels",
    ),
    columns=_COLUMNS,
    key=("model_version",),
    checks=(
        Check(
            "one_model_serves",
            "SELECT abs(count(*) FILTER (is_serving) - 1) FROM ml.model_registry",
            "Exactly one model version serves.",
        ),
        Check(
            "promoted_model_was_measured",
            "SELECT count(*) FILTER (pr_auc_mean IS NULL), "
            "any_value(candidate) AS candidate, any_value(reason) AS reason, "
            "any_value(pr_auc_mean) AS pr_auc_mean, any_value(pr_auc_spread) AS pr_auc_spread, "
            "any_value(precision) AS precision, any_value(recall) AS recall "
            "FROM ml.model_registry WHERE is_serving",
            "The serving model was measured on labels.",
        ),
    ),
)  # fmt: skip
def model_registry(run: TableRun) -> None:
    """Every trained model version, how good it is, and why it serves.

    Grain: one model version. Key: model_version. Also writes ml/abuse_evaluation (figures of the
    comparison) and ml/model_card. A new version is trained when none serves, when code or costs
    changed, when enough new labels are there (`retrain_min_labels`) or when the job `retrain` asks
    for it; else the last one stays.
    """
    tables = run.lakehouse.tables
    known = _existing(run, "ml/model_registry", REGISTRY)
    code = _code_version(run)
    same_code = (code, *fingerprint.same_as("model", fingerprint.code(*_LEARNT_FROM)))
    serving = next((row for row in known if row["is_serving"]), None)
    labels_known = int(run.sql("SELECT count(*) AS n FROM modeled.abuse_labels")["n"][0].as_py())
    new_labels = registry.new_labels(tables)
    evaluation = _existing(run, "ml/abuse_evaluation", EVALUATION)
    cards = _existing(run, "ml/model_card", CARD)
    if (
        serving is not None
        and not run.again
        and not run.probe
        and serving["code"] in same_code
        and new_labels < run.settings.of(AbuseSettings).retrain_min_labels
        and any(card["model_version"] == serving["model_version"] for card in cards)
    ):
        run.log.info(
            f"{serving['model_version']} stays: {new_labels} new labels, "
            f"{run.settings.of(AbuseSettings).retrain_min_labels} are needed to train again"
        )
    else:
        for problem in run.probe:
            run.log.error(f"{problem}; training writes it again")
        versions = {key: tables.version(key) for key in run.deps}
        row, figures, card = _train(run, versions, code)
        row["labels_known"] = labels_known
        version = row["model_version"]
        same = [old for old in known if old["model_version"] == version]
        row |= {key: old[key] for old in same for key in ("created_at", "promoted_at")}
        known = [old | {"is_serving": False} for old in known if old["model_version"] != version]
        evaluation = [old for old in evaluation if old["model_version"] != version]
        cards = [old for old in cards if old["model_version"] != version]
        known.append(row)
        evaluation += figures
        cards.append({"model_version": version, "card": json.dumps(card, sort_keys=True)})
    now_serving = next(row for row in known if row["is_serving"])
    run.metadata |= {key: now_serving[key] for key in ("model_version", "candidate", "reason")}
    run.overwrite(pa.Table.from_pylist(evaluation, EVALUATION), "ml/abuse_evaluation")
    run.overwrite(pa.Table.from_pylist(cards, CARD), "ml/model_card")
    run.overwrite(pa.Table.from_pylist(known, REGISTRY))


def _train(
    run: TableRun, versions: dict[str, int], code: str
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    from dmp_assets.abuse.model import models, store
    from dmp_assets.abuse.model.train import Labelled, train

    costs = registry.costs(run.settings)
    labelled = run.sql(_LABELLED, {"limit": run.settings.of(AbuseSettings).train_sample_rows})
    data = Labelled(
        features=matrix_of(labelled),
        labels=features.numbers(labelled["label"]) == 1,
        groups=labelled["cluster"].combine_chunks().dictionary_encode().indices.to_numpy(),
        times=features.numbers(labelled["registered"]),
        everyone=matrix_of(run.sql(_EVERYONE)),
    )
    trained = train(data, costs)
    content = {key: run.lakehouse.tables.stamp(key).get("data_version") for key in run.deps}
    version = f"m-{_hash(code, json.dumps(content, sort_keys=True))}"
    limits = money.thresholds(costs)
    folder = run.lakehouse.home.models
    digest = store.save(
        folder,
        store.Model(
            version,
            trained.candidate,
            trained.pipeline,
            money.raised(limits, trained.block_raised_to, limits.block_from),
            trained.typical,
        ),
    )
    latest = run.sql(LATEST)
    reference = latest.append_column(
        "probability", pa.array(models.probability(trained.pipeline, matrix_of(latest)))
    )
    reference_file = folder / f"{version}.reference.parquet"
    pq.write_table(reference, reference_file)
    now = datetime.now(UTC)
    held_out = {metric: (value, spread) for name, metric, setting, value, spread, _
                in trained.figures
                if name == trained.candidate and setting == "held_out_folds"}  # fmt: skip
    nothing = (None, None)
    row = {
        "model_version": version,
        "candidate": trained.candidate,
        "is_serving": True,
        "reason": trained.reason,
        "pr_auc_mean": held_out.get("pr_auc", nothing)[0],
        "pr_auc_spread": held_out.get("pr_auc", nothing)[1],
        "precision": held_out.get("precision", nothing)[0],
        "recall": held_out.get("recall", nothing)[0],
        **limits.as_dict(),
        "block_raised_to": trained.block_raised_to,
        "labelled_abusers": trained.card["labelled"]["abusers"],
        "labelled_honest": trained.card["labelled"]["honest"],
        "data_versions": json.dumps(versions, sort_keys=True),
        "features": list(NAMES),
        "reference_sample": reference_file.name,
        "sha256": digest,
        "code": code,
        "promoted_at": now,
        "created_at": now,
    }
    card = trained.card | {
        "model_version": version, "sha256": digest, "data_versions": versions,
        "reference_sample": {"file": reference_file.name, "rows": reference.num_rows},
    }  # fmt: skip
    _write_json(folder / f"{version}.card.json", card)
    figures = [
        dict(zip(EVALUATION.names, (version, *figure), strict=True)) for figure in trained.figures
    ]
    return row, figures, card


def _write_json(file: Path, content: dict[str, Any]) -> None:
    whole_file.write(file, json.dumps(content, indent=2, sort_keys=True) + "\n")


def _existing(run: TableRun, key: str, schema: pa.Schema) -> list[dict[str, Any]]:
    """The table's rows as they are; none when it is not there yet."""
    if not run.exists(key):
        return []
    layer, _, table = key.partition("/")
    there = run.lakehouse.tables.columns(key)  # an older version wrote fewer
    wanted = [name if name in there else f"NULL AS {name}" for name in schema.names]
    return list(run.sql(f"SELECT {', '.join(wanted)} FROM {layer}.{table}").to_pylist())


def _code_version(run: TableRun) -> str:
    """Hash of the code and the costs that a model depends on, not of the data."""
    return _hash(fingerprint.code(*_LEARNT_FROM), repr(registry.costs(run.settings)))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
