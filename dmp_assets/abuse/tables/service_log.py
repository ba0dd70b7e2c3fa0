"""raw/abuse_predictions, raw/abuse_decisions: what the service answered and what people decided.

Both are logs of the operational store, taken over from the last id on that is in the lakehouse.
Nothing here stops a run: a home without a store has empty tables, and while a store cannot be
read its tables stay as they are and a check says why.
"""

from typing import Any

import pyarrow as pa

from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.postgres.embedded import PostgresError
from dmp_assets.platform.store import where
from dmp_assets.platform.store.errors import StoreError

PREDICTIONS = {
    "prediction_id": Column("long", "Number of the score, growing."),
    "score_id": Column("string", "Id by which the caller was answered.", "identifier", "score_id"),
    "predicted_at": Column("timestamp", "When it was answered (UTC).", "behaviour"),
    "account_id": Column("string", "The account, by the shop's user id.", "identifier", "user_id"),
    "is_new": Column("boolean", "Whether the shop's tables did not have the account yet."),
    "attributes": Column(
        "string", "What the caller gave of a new account (JSON); null for a known one.", "free text"
    ),
    "probability": Column("double", "Probability of promo abuse.", "profile"),
    "model_decision": Column(
        "string", "What the model advises: allow, review or block.", "profile"
    ),
    "decision": Column(
        "string", "What was answered, lists and reviewers' decisions considered.", "profile"
    ),
    "decided_by": Column("string", "Who had the last word: the model, a list or a reviewer."),
    "reasons": Column("string", "Why, strongest first (JSON).", "profile"),
    "linked_accounts": Column(
        "array<string>", "Accounts that it is linked with.", "identifier", "user_id"
    ),
    "cluster_id": Column(
        "string",
        "The earliest registered account of its cluster; null: it has no link.",
        "identifier",
        "user_id",
    ),
    "cluster_size": Column("long", "Accounts in its cluster, itself included.", "profile"),
    "expected_abusers": Column("double", "Sum of the probabilities in its cluster.", "profile"),
    "model_version": Column("string", "The model that scored it."),
    "features": Column(
        "array<double>",
        "What the model saw, in the order of the columns of ml/abuse_features.",
        "profile",
    ),
    "live_links": Column("boolean", "Whether links with accounts since the last run were known."),
    "caller": Column("string", "The client that asked.", "identifier", "api_client"),
    "request_id": Column("string", "Id of the request.", "identifier"),
}
DECISIONS = {
    "decision_id": Column("long", "Number of the decision, growing."),
    "decided_at": Column("timestamp", "When it was taken (UTC)."),
    "account_id": Column("string", "The account, by the shop's user id.", "identifier", "user_id"),
    "verdict": Column(
        "string", "allow, block, or undone: the account's decision is taken back.", "profile"
    ),
    "category": Column("string", "Kind of abuse; null when none was named.", "profile"),
    "comment": Column("string", "The reviewer's words.", "free text"),
    "decided_by": Column("string", "The reviewer.", "identifier", "reviewer"),
    "group_id": Column("string", "Decisions that were taken at once share it."),
    "evidence": Column("string", "What the reviewer saw (JSON).", "free text"),
}


CHECKS = (
    Check(
        "store_was_read",
        None,
        "The operational store could be read; otherwise what has landed stays as it was.",
    ),
)


def _state(home: Home, log: str, days: int | None = None) -> dict[str, Any] | None:
    """Where the store's log ends, or what is wrong with the store; None: the home has none.

    `days`: tell also whether rows older than that are there.
    """
    if not where.is_configured(home):
        return None
    from dmp_assets.abuse.service.store.landing import has_expired
    from dmp_assets.platform.store import database, landing

    try:
        with database.opened(where.store_url(home)) as store, store.connect() as connection:
            expired = days is not None and has_expired(connection, days=days)
            return {"newest": landing.newest(connection, log), "expired": expired}
    except (StoreError, PostgresError) as error:
        return {"problem": str(error)}


def _predictions_state(lakehouse: Lakehouse, window: Window) -> dict[str, Any] | None:
    days = lakehouse.settings.of(AbuseSettings).prediction_log_days
    state = _state(lakehouse.home, "abuse_prediction", days)
    if state and state.get("expired"):  # of interest in every run until it is gone
        state["expired"] = lakehouse.run_id
    return state


def _decisions_state(lakehouse: Lakehouse, window: Window) -> dict[str, Any] | None:
    return _state(lakehouse.home, "abuse_decision")


def _landed(run: TableRun, key: str) -> int | None:
    """Greatest id in the lakehouse; None when there is no row."""
    if not run.exists(run.key):
        return None
    found = run.sql(f"SELECT max({key}) AS last FROM {run.key.replace('/', '.')}")
    last: int | None = found["last"][0].as_py()
    return last


def _land(run: TableRun, log: str, schema: pa.Schema) -> None:
    """Append the rows of the store's log that are not in the lakehouse yet, in one commit."""
    key = schema.names[0]
    state, landed = run.probe or {}, _landed(run, key)
    newest, problem = state.get("newest"), state.get("problem")
    if run.probe is None:
        run.log.info("nothing to land: this home has no operational store (`dmp migrate`)")
    if newest is not None and newest < (landed or 0):
        problem = (
            f"the operational store's {log} ends with {newest}, and {landed} has landed before: it "
            "is another store or an older copy. Let it count on: "
            f"ALTER TABLE {log} ALTER {key} RESTART WITH {(landed or 0) + 1}"
        )
    if problem:
        run.log.error(problem)
        run.metadata["problem"] = problem
    if newest is not None and newest > (landed or 0):
        from dmp_assets.platform.store import database, landing

        home = run.lakehouse.home
        with database.opened(where.store_url(home)) as store, store.connect() as connection:
            run.append(landing.rows_after(connection, log, landed, schema))
    elif run.exists(run.key):
        run.keep()
    else:
        run.overwrite(schema.empty_table())


@table_asset(
    "raw",
    owner="team:risk",
    kinds=("postgres", "delta"),
    probe=_predictions_state,
    settings=("prediction_log_days",),
    columns=PREDICTIONS,
    key=("prediction_id",),
    checks=CHECKS,
)
def abuse_predictions(run: TableRun) -> None:
    """Every score that the service answered, also after the store has forgotten it.

    Grain: one score. Key: prediction_id. Source: abuse_prediction of the operational store, whose
    rows older than `prediction_log_days` are deleted there once they are here.
    """
    _land(run, "abuse_prediction", arrow_schema(PREDICTIONS))
    landed = _landed(run, "prediction_id")
    if run.probe and run.probe.get("expired"):
        from dmp_assets.abuse.service.store.landing import delete_expired
        from dmp_assets.platform.store import database

        days = run.settings.of(AbuseSettings).prediction_log_days
        with (
            database.opened(where.store_url(run.lakehouse.home)) as store,
            store.begin() as connection,
        ):
            deleted = delete_expired(connection, days=days, landed=landed or 0)
        run.log.info(f"{deleted} scores older than {days} days deleted from the store")


@table_asset(
    "raw",
    owner="team:risk",
    kinds=("postgres", "delta"),
    probe=_decisions_state,
    columns=DECISIONS,
    key=("decision_id",),
    checks=CHECKS,
)
def abuse_decisions(run: TableRun) -> None:
    """Every decision of a reviewer on an account.

    Grain: one decision. Key: decision_id. Source: abuse_decision of the operational store.
    """
    _land(run, "abuse_decision", arrow_schema(DECISIONS))
