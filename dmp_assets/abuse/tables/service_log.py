"""raw/abuse_predictions, raw/abuse_decisions: what the service answered and what people decided.

Both are logs of the operational store, taken over from the last id on that is in the lakehouse, or
by Kafka where that is configured. Nothing here stops a run: a home without a store has empty
tables, and while a store or Kafka cannot be read its tables stay as they are and a check says why.
"""

from typing import Any

import sqlalchemy as sa

from dmp_assets.abuse.service import streams
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import TableRun, table_asset
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.store import where
from dmp_assets.platform.stream import log_landing
from dmp_assets.platform.stream.stream import COLUMNS, dead_letter_columns

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


def _predictions_state(lakehouse: Lakehouse, window: Window) -> dict[str, Any] | None:
    from dmp_assets.abuse.service.store.landing import has_expired

    days = lakehouse.settings.of(AbuseSettings).prediction_log_days

    def are_old(connection: sa.Connection) -> bool:
        return has_expired(connection, days=days)

    state = log_landing.state(lakehouse.home, streams.PREDICTIONS, are_old)
    if state and state.get("expired"):  # of interest in every run until it is gone
        state["expired"] = lakehouse.run_id
    return state


def _decisions_state(lakehouse: Lakehouse, window: Window) -> dict[str, Any] | None:
    return log_landing.state(lakehouse.home, streams.DECISIONS)


@table_asset(
    "raw",
    owner="team:risk",
    kinds=("postgres", "delta"),
    probe=_predictions_state,
    settings=("prediction_log_days",),
    columns={**PREDICTIONS, **COLUMNS},
    at_need={streams.PREDICTIONS.dead_letters: dead_letter_columns(PREDICTIONS)},
    key=("prediction_id",),
    checks=log_landing.CHECKS,
)
def abuse_predictions(run: TableRun) -> None:
    """Every score that the service answered, also after the store has forgotten it.

    Grain: one score. Key: prediction_id. Source: abuse_prediction of the operational store, read
    there or by Kafka; its rows older than `prediction_log_days` are deleted once they are here.
    """
    landed = log_landing.land(run, streams.PREDICTIONS, PREDICTIONS)
    if run.probe and run.probe.get("expired"):
        from dmp_assets.abuse.service.store.landing import delete_expired
        from dmp_assets.platform.store import database

        days = run.settings.of(AbuseSettings).prediction_log_days
        with (
            database.opened(where.store_url(run.lakehouse.home)) as store,
            store.begin() as connection,
        ):
            deleted = delete_expired(connection, days=days, landed=landed)
        run.log.info(f"{deleted} scores older than {days} days deleted from the store")


@table_asset(
    "raw",
    owner="team:risk",
    kinds=("postgres", "delta"),
    probe=_decisions_state,
    columns={**DECISIONS, **COLUMNS},
    at_need={streams.DECISIONS.dead_letters: dead_letter_columns(DECISIONS)},
    key=("decision_id",),
    checks=log_landing.CHECKS,
)
def abuse_decisions(run: TableRun) -> None:
    """Every decision of a reviewer on an account.

    Grain: one decision. Key: decision_id. Source: abuse_decision of the operational store,
    read there or by Kafka.
    """
    log_landing.land(run, streams.DECISIONS, DECISIONS)
