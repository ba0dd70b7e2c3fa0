"""What other thresholds would make of the scored accounts, and how often the model misses."""

from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from dmp_assets.abuse.service.store.review import last_verdicts
from dmp_assets.abuse.service.store.schema import account_score


@dataclass(frozen=True)
class Day:
    """What thresholds would make of the accounts that registered on a day.

    `abusers_allowed`, `honest_blocked`: as many are to be expected by the probabilities.
    """

    date: date
    accounts: int
    reviewed: int
    blocked: int
    abusers_allowed: float
    honest_blocked: float


def by_day(
    connection: sa.Connection, review_from: float, block_from: float, days: int
) -> list[Day]:
    """The last `days` days on which accounts registered, the oldest first."""
    score = account_score.c
    p, day = score.probability, sa.cast(score.registered_at, sa.Date)
    blocked, allowed = p >= block_from, p < sa.func.least(review_from, block_from)
    query = (
        sa.select(
            day.label("date"),
            sa.func.count().label("accounts"),
            sa.func.count().filter(~blocked, ~allowed).label("reviewed"),
            sa.func.count().filter(blocked).label("blocked"),
            sa.func.coalesce(sa.func.sum(p).filter(allowed), 0.0).label("abusers_allowed"),
            sa.func.coalesce(sa.func.sum(1 - p).filter(blocked), 0.0).label("honest_blocked"),
        )
        .group_by(day)
        .order_by(day.desc())
        .limit(days)
    )
    return [Day(**row._mapping) for row in connection.execute(query)][::-1]


def misses(connection: sa.Connection) -> tuple[int, int]:
    """(decided, blocked) of the accounts that the model allowed and that were drawn at random."""
    last = last_verdicts().c
    row = connection.execute(
        sa.select(
            sa.func.count().label("decided"),
            sa.func.count().filter(last.verdict == "block").label("blocked"),
        ).where(last.verdict != "undone", last.evidence["is_sampled"].as_boolean())
    ).one()
    return row.decided, row.blocked
