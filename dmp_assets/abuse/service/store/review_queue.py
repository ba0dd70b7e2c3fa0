"""The queue of the review: which cases wait for a decision, and why.

Plain functions on a connection; the caller commits. An account is named by the shop's user id, or
by the caller's reference where the shop did not know it when it was scored.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from dmp_assets.abuse.service.store import opinions
from dmp_assets.abuse.service.store.review import last_verdicts

Why = Literal["block", "review", "sample", "reopened"]
WHYS: tuple[Why, ...] = ("block", "review", "sample", "reopened")


@dataclass(frozen=True)
class Case:
    """A place in the queue: an account that waits, for all `waiting` ones of its cluster."""

    account_id: str
    why: Why
    probability: float
    decision: str
    reasons: list[dict[str, Any]]
    cluster_size: int
    waiting: int
    expected_abusers: float
    at: datetime


def _waiting(share: float) -> sa.CTE:
    """Accounts that wait for a decision and why, each with the key of its case."""
    said, decided = opinions.last(share), last_verdicts()
    flagged = said.c.decision.in_(("review", "block"))
    is_open = sa.or_(decided.c.account_id.is_(None), decided.c.verdict == "undone")
    codes = sa.func.jsonb_path_query_array(said.c.reasons, sa.literal_column("'$[*].code'"))
    known_codes = sa.func.coalesce(decided.c.evidence["codes"], sa.text("'[]'::jsonb"))
    known_size = sa.func.coalesce(decided.c.evidence["cluster_size"].as_integer(), 0)
    is_news = sa.or_(
        sa.not_(sa.type_coerce(known_codes, JSONB).contains(codes)),
        said.c.cluster_size > known_size,
    )
    why = sa.case((sa.not_(is_open), "reopened"), (flagged, said.c.decision), else_="sample")
    return (
        sa.select(
            said,
            why.label("why"),
            sa.func.coalesce(said.c.cluster_id, said.c.account_id).label("case_key"),
        )
        .outerjoin(decided, decided.c.account_id == said.c.account_id)
        .where(
            sa.or_(flagged, said.c.is_sampled),
            sa.or_(is_open, sa.and_(flagged, is_news)),
        )
        .cte("waiting")
    )


def cases(
    connection: sa.Connection,
    *,
    share: float,
    why: Why | None = None,
    after: tuple[float, str] | None = None,
    limit: int = 50,
) -> list[Case]:
    """Cases that wait, those with most money at risk first.

    Accounts of one cluster are one case, named by the likeliest abuser that waits. `after`:
    (expected_abusers, account_id) of the last one seen.
    """
    waiting = _waiting(share)
    key, first = waiting.c.case_key, [waiting.c.probability.desc(), waiting.c.account_id]
    ranked = sa.select(
        *(
            column
            for column in waiting.c
            if column.name not in ("expected_abusers", "cluster_size")
        ),
        sa.func.max(waiting.c.expected_abusers).over(partition_by=key).label("expected_abusers"),
        sa.func.max(waiting.c.cluster_size).over(partition_by=key).label("cluster_size"),
        sa.func.row_number().over(partition_by=key, order_by=first).label("place"),
        sa.func.count().over(partition_by=key).label("waiting"),
    )
    if why is not None:
        ranked = ranked.where(waiting.c.why == why)
    row = ranked.subquery("ranked").c
    query = sa.select(*(row[name] for name in Case.__dataclass_fields__)).where(row.place == 1)
    if after is not None:
        money, last = after
        query = query.where(
            sa.or_(
                row.expected_abusers < money,
                sa.and_(row.expected_abusers == money, row.account_id > last),
            )
        )
    query = query.order_by(row.expected_abusers.desc(), row.account_id).limit(limit)
    return [Case(**found._mapping) for found in connection.execute(query)]


def length(connection: sa.Connection, *, share: float) -> dict[str, int]:
    """How many cases wait, by why, and `all`: those that wait for several reasons count once."""
    waiting = _waiting(share)
    rows = connection.execute(
        sa.select(waiting.c.why, sa.func.count(waiting.c.case_key.distinct())).group_by(
            sa.func.grouping_sets(sa.tuple_(waiting.c.why), sa.tuple_())
        )
    )
    return dict.fromkeys(("all", *WHYS), 0) | {row[0] or "all": row[1] for row in rows}
