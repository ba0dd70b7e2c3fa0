"""ml/abuse_scores: probability, decision and reasons for every account.

Grain: one user. Key: user_id. Sources: ml/abuse_features, ml/model_registry.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa

from dmp_assets.abuse.model import registry
from dmp_assets.abuse.model.store import Model
from dmp_assets.abuse.tables.abuse_features import BATCH
from dmp_assets.abuse.tables.model_registry import matrix_of
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "user_id": Column("string", "The user.", "identifier", "user_id"),
    "probability": Column(
        "double", "Probability of promo abuse, calibrated on labelled accounts.", "profile"
    ),
    "decision": Column(
        "string", "The cheapest of allow, review and block at today's costs.", "profile"
    ),
    "reasons": Column(
        "array<struct<code:string,text:string,weight:double>>",
        "Why it was flagged, strongest first: code, text, weight (log-odds).",
        "profile",
    ),
    "model_version": Column("string", "The model that scored it."),
    "scored_at": Column("timestamp", "When it was scored (UTC)."),
}
SCHEMA = arrow_schema(COLUMNS)


def score(
    batches: Iterator[pa.RecordBatch], model: Model, now: datetime
) -> Iterator[pa.RecordBatch]:
    """Features → scores. Reasons are computed for flagged accounts only; others have none."""
    from dmp_assets.abuse.model.explain import explain
    from dmp_assets.abuse.model.models import probability

    for batch in batches:
        rows = matrix_of(pa.table(batch))
        found = probability(model.pipeline, rows)
        decisions = model.thresholds.decide(found)
        flagged = (decisions != "allow").nonzero()[0]
        reasons: list[list[dict[str, str | float]]] = [[] for _ in range(len(found))]
        if len(flagged):
            explained = explain(model, rows[flagged])
            for place, row in enumerate(flagged):
                reasons[row] = explained.of(place)
        yield pa.record_batch(
            [
                batch.column("user_id").cast(pa.string()),
                pa.array(found),
                pa.array(decisions.tolist(), pa.string()),
                pa.array(reasons, SCHEMA.field("reasons").type),
                pa.repeat(pa.scalar(model.version), len(found)),
                pa.repeat(pa.scalar(now, SCHEMA.field("scored_at").type), len(found)),
            ],
            schema=SCHEMA,
        )


@table_asset(
    "ml",
    owner="team:risk",
    kinds=("sklearn", "delta"),
    deps=["ml/abuse_features", "ml/model_registry"],
    settings=("cost_blocked_customer", "cost_lost_discount", "review_cost"),
    columns=COLUMNS,
    key=("user_id",),
    checks=(
        Check(
            "every_user_scored_once",
            "SELECT abs((SELECT count(*) FROM ml.abuse_scores) - "
            "(SELECT count(*) FROM ml.abuse_features))",
            "Every user has one score.",
            blocking=True,
        ),
        Check(
            "scored_by_the_promoted_model",
            "SELECT count(*) FILTER (model_version NOT IN "
            "(SELECT model_version FROM ml.model_registry WHERE is_serving)), "
            "any_value(model_version) AS model_version FROM ml.abuse_scores",
            "The promoted model scored; otherwise its file could not be read and an older model "
            "or the rule list served.",
        ),
        Check(
            "flagged_accounts_have_reasons",
            "SELECT count(*) FILTER (decision <> 'allow' AND len(reasons) = 0), "
            "count(*) FILTER (decision = 'review') AS review, "
            "count(*) FILTER (decision = 'block') AS block FROM ml.abuse_scores",
            "Whoever is flagged can be told why.",
        ),
    ),
)
def abuse_scores(run: TableRun) -> None:
    """Probability, decision and reasons for every account.

    Grain: one user. Key: user_id. Sources: ml/abuse_features, ml/model_registry.
    """
    tables = run.lakehouse.tables
    model, problems = registry.serving(tables, run.lakehouse.home, run.settings)
    for problem in problems:
        run.log.error(problem)
    run.metadata |= {"model_version": model.version, "candidate": model.candidate}
    if problems:
        run.metadata["problems"] = "; ".join(problems)
    batches = tables.dataset("ml/abuse_features").to_batches(batch_size=BATCH)
    scored = score(batches, model, datetime.now(UTC))
    run.overwrite(pa.RecordBatchReader.from_batches(SCHEMA, scored))
