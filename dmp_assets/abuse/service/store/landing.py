"""What of the logs of promo-code abuse can go: what has landed and is old, or was never real."""

from datetime import timedelta

import sqlalchemy as sa

from dmp_assets.abuse.service.store.predictions import IDEMPOTENT_FOR
from dmp_assets.abuse.service.store.schema import (
    abuse_case_claim,
    abuse_case_view,
    abuse_decision,
    abuse_list_entry,
    abuse_prediction,
    idempotent_answer,
    review_revision,
)


def _expired(days: int) -> list[tuple[sa.Table, sa.ColumnElement[bool]]]:
    return [
        (abuse_prediction, abuse_prediction.c.predicted_at < sa.func.now() - timedelta(days=days)),
        (idempotent_answer, idempotent_answer.c.answered_at < sa.func.now() - IDEMPOTENT_FOR),
    ]


def has_expired(connection: sa.Connection, *, days: int) -> bool:
    """Whether there are scores older than that, or answers to repeat that nobody may repeat."""
    old = [sa.exists().select_from(table).where(aged) for table, aged in _expired(days)]
    return bool(connection.scalar(sa.select(sa.or_(*old))))


def delete_expired(connection: sa.Connection, *, days: int, landed: int) -> int:
    """Delete what `has_expired` finds, but no score with an id above `landed`; how many scores."""
    (scores, old), (answers, out_of_date) = _expired(days)
    connection.execute(answers.delete().where(out_of_date))
    deleted = connection.execute(
        scores.delete().where(old, abuse_prediction.c.prediction_id <= landed)
    )
    return deleted.rowcount


def clear(connection: sa.Connection) -> None:
    """Forget all scores, decisions and lists: the people that they are about never existed."""
    for table in (
        abuse_prediction, idempotent_answer, abuse_decision, abuse_list_entry, abuse_case_view,
        abuse_case_claim,
    ):  # fmt: skip
        connection.execute(table.delete())
    connection.execute(review_revision.update().values(revision=review_revision.c.revision + 1))
