"""What the operational store holds of some people, deleted: scores, decisions, entries of lists."""

import json
from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from dmp_assets.abuse.service.store.schema import (
    abuse_case_claim,
    abuse_case_view,
    abuse_decision,
    abuse_list_entry,
    abuse_prediction,
    idempotent_answer,
    review_revision,
)


def erase(connection: sa.Connection, ids: Collection[str]) -> Mapping[str, int]:
    """Delete the rows that are about these accounts or name them; table → how many.

    A score of another account that names one of them, as linked or as the first of its cluster, is
    deleted too, and so is an answer kept for a repetition. Not looked for: what a reviewer wrote
    or saw on the case of another account.
    """
    of = sorted(ids)
    if not of:
        return {}
    scores = abuse_prediction.c
    entries = abuse_list_entry.c
    wanted: list[tuple[sa.Table, sa.ColumnElement[bool]]] = [
        (
            abuse_prediction,
            sa.or_(
                scores.account_id.in_(of),
                scores.cluster_id.in_(of),
                scores.linked_accounts.overlap(sa.cast(of, ARRAY(sa.Text))),
            ),
        ),
        (abuse_decision, abuse_decision.c.account_id.in_(of)),
        (abuse_list_entry, sa.and_(entries.kind == "account", entries.value.in_(of))),
        (abuse_case_view, abuse_case_view.c.account_id.in_(of)),
        (abuse_case_claim, abuse_case_claim.c.account_id.in_(of)),
    ]
    deleted = {
        table.name: connection.execute(table.delete().where(found)).rowcount
        for table, found in wanted
    }
    deleted[idempotent_answer.name] = _answers_with(connection, of)
    if deleted[abuse_decision.name] or deleted[abuse_list_entry.name]:
        connection.execute(review_revision.update().values(revision=review_revision.c.revision + 1))
    return {name: rows for name, rows in deleted.items() if rows}


def _answers_with(connection: sa.Connection, accounts: Collection[str]) -> int:
    """Delete the kept answers, JSON as bytes, in which the id of an account stands; how many."""
    quoted = [json.dumps(one, ensure_ascii=False).encode() for one in accounts]
    one = sa.func.unnest(sa.cast(quoted, ARRAY(sa.LargeBinary))).column_valued("one")
    stands = sa.func.pg_catalog.position(idempotent_answer.c.answer, one) > 0
    held = sa.exists(sa.select(one).where(stands).correlate(idempotent_answer))
    return connection.execute(idempotent_answer.delete().where(held)).rowcount
