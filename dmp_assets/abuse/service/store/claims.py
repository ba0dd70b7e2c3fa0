"""Cases that somebody has taken on, so that colleagues leave them alone.

Plain functions on a connection; the caller commits.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert

from dmp_assets.abuse.service.store.schema import abuse_case_claim, abuse_prediction
from dmp_assets.abuse.service.store.watching import short_name
from dmp_assets.platform.store.schema import person


@dataclass(frozen=True)
class Claim:
    """Whose case it is, and since when."""

    account_id: str
    person_id: uuid.UUID
    name: str
    claimed_at: datetime


def claim(
    connection: sa.Connection, account_id: str, person_id: uuid.UUID, *, now: datetime
) -> None:
    """Take a case on, also one that somebody else has."""
    mine = upsert(abuse_case_claim).values(
        account_id=account_id, person_id=person_id, claimed_at=now
    )
    connection.execute(
        mine.on_conflict_do_update(
            index_elements=["account_id"], set_={"person_id": person_id, "claimed_at": now}
        )
    )


def release(connection: sa.Connection, accounts: Collection[str]) -> None:
    """Give cases back; those that nobody has stay so."""
    connection.execute(abuse_case_claim.delete().where(abuse_case_claim.c.account_id.in_(accounts)))


def claims(connection: sa.Connection, accounts: Collection[str]) -> dict[str, Claim]:
    """Account → who has it, of those that somebody has."""
    held = abuse_case_claim.c
    rows = connection.execute(
        sa.select(held.account_id, held.person_id, person.c.email, held.claimed_at)
        .join(person, person.c.person_id == held.person_id)
        .where(held.account_id.in_(accounts))
    )
    return {
        row.account_id: Claim(row.account_id, row.person_id, short_name(row.email), row.claimed_at)
        for row in rows
    }


def waiting_since(
    connection: sa.Connection, account_id: str, decided_at: datetime | None
) -> datetime | None:
    """When a caller was first told to review or block it since it was last decided; None: never."""
    said = abuse_prediction.c
    query = sa.select(sa.func.min(said.predicted_at)).where(
        said.account_id == account_id, said.model_decision != "allow"
    )
    if decided_at is not None:
        query = query.where(said.predicted_at > decided_at)
    return connection.scalar(query)
