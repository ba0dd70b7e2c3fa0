"""What the model last said of accounts: the published word, or that of a later score.

Plain functions on a connection; the caller commits. An account is named by the shop's user id, or
by the caller's reference where the shop did not know it when it was scored.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from dmp_assets.abuse.service.store.schema import abuse_prediction, account_score

SAMPLE_DAYS = 30
"""Allowed accounts are drawn from the newest so many days."""


@dataclass(frozen=True)
class Opinion:
    """What the model last said of an account. `is_new`: the shop did not know it then."""

    account_id: str
    is_new: bool
    probability: float
    decision: str
    reasons: list[dict[str, Any]]
    cluster_id: str | None
    cluster_size: int
    expected_abusers: float
    model_version: str
    at: datetime
    is_sampled: bool


def last(share: float) -> sa.Subquery:
    """The last opinion on each account: the published one, or that of a later score.

    `is_sampled`: allowed, of the newest SAMPLE_DAYS, and drawn by its id (`share` of all are).
    """
    known, live = account_score.c, abuse_prediction.c
    later = abuse_prediction.alias("later").c
    other, newest = abuse_prediction.alias("other").c, abuse_prediction.alias("newest").c
    published = sa.select(
        known.user_id.label("account_id"),
        sa.false().label("is_new"),
        known.probability,
        known.decision,
        known.reasons,
        known.cluster_id,
        known.cluster_size,
        known.expected_abusers,
        known.model_version,
        known.scored_at.label("at"),
        _sampled(known.decision, known.user_id, known.registered_at, share),
    ).where(
        ~sa.exists().where(live.account_id == known.user_id, live.predicted_at > known.scored_at)
    )
    scored = (
        sa.select(
            live.account_id,
            live.is_new,
            live.probability,
            live.model_decision,
            live.reasons,
            sa.func.coalesce(live.cluster_id, known.cluster_id).label("cluster_id"),
            live.cluster_size,
            live.expected_abusers,
            live.model_version,
            live.predicted_at,
            _sampled(live.model_decision, live.account_id, live.predicted_at, share),
        )
        .outerjoin(account_score, known.user_id == live.account_id)
        .where(
            sa.or_(known.user_id.is_(None), known.scored_at < live.predicted_at),
            ~sa.exists().where(
                later.account_id == live.account_id,
                sa.or_(~live.is_new, later.caller == live.caller),
                sa.tuple_(later.predicted_at, later.prediction_id)
                > sa.tuple_(live.predicted_at, live.prediction_id),
            ),
            ~sa.exists().where(  # another client's word, if it is its last and says more
                live.is_new,
                other.account_id == live.account_id,
                other.caller != live.caller,
                sa.tuple_(other.probability, other.prediction_id)
                > sa.tuple_(live.probability, live.prediction_id),
                ~sa.exists().where(
                    newest.account_id == other.account_id,
                    sa.or_(~other.is_new, newest.caller == other.caller),
                    newest.prediction_id > other.prediction_id,
                ),
            ),
        )
    )
    return sa.union_all(published, scored).subquery("opinion")


def _sampled(
    decision: sa.Column, account_id: sa.Column, born: sa.Column, share: float
) -> sa.Label[bool]:
    """Whether an allowed account is drawn: the first 32 bits of its id's MD5 are its lot."""
    lot = sa.func.left(sa.func.md5(account_id), 8).collate("C")
    newest = sa.select(sa.func.max(born)).correlate(None).scalar_subquery()
    drawn = sa.and_(
        decision == "allow",
        born >= newest - timedelta(days=SAMPLE_DAYS),
        lot < f"{round(share * 2**32):08x}" if share < 1 else sa.true(),
    )
    return drawn.label("is_sampled")


def of(connection: sa.Connection, accounts: Collection[str], *, share: float) -> dict[str, Opinion]:
    """The model's last opinion on these accounts; those it never saw are left out."""
    found = last(share)
    rows = connection.execute(sa.select(found).where(found.c.account_id.in_(accounts)))
    return {row.account_id: Opinion(**row._mapping) for row in rows}


def predictions(connection: sa.Connection, account_id: str, limit: int = 50) -> list[sa.Row]:
    """The account's rows of `abuse_prediction`, the newest first."""
    return list(
        connection.execute(
            sa.select(abuse_prediction)
            .where(abuse_prediction.c.account_id == account_id)
            .order_by(abuse_prediction.c.predicted_at.desc(), abuse_prediction.c.prediction_id)
            .limit(limit)
        )
    )


def linked(connection: sa.Connection, account_id: str, limit: int) -> list[str]:
    """The account and those linked to it, as far as the store knows; the account first.

    That is its published cluster, or without one what its last score found.
    """
    scores, other = account_score.alias("other").c, account_score.c
    siblings = connection.scalars(
        sa.select(other.user_id)
        .join(scores.user_id.table, scores.cluster_id == other.cluster_id)
        .where(scores.user_id == account_id, other.user_id != account_id)
        .order_by(other.probability.desc(), other.user_id)
        .limit(limit - 1)
    ).all()
    if not siblings:
        last = predictions(connection, account_id, 1)
        siblings = [name for row in last for name in row.linked_accounts if name != account_id]
    return [account_id, *siblings[: limit - 1]]
