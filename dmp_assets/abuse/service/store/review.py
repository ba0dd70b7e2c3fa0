"""What people decide on accounts, and what holds.

Plain functions on a connection; the caller commits. An account is named by the shop's user id, or
by the caller's reference where the shop did not know it when it was scored.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from dmp_assets.abuse.service.store import opinions
from dmp_assets.abuse.service.store.schema import abuse_decision, review_revision
from dmp_assets.platform.store import audit

Verdict = Literal["allow", "block"]


@dataclass(frozen=True)
class Category:
    """A reason of a decision."""

    verdict: Verdict
    text: str


CATEGORIES: Mapping[str, Category] = {
    "multi_accounting": Category("block", "One person, several accounts"),
    "disposable_identity": Category("block", "Thrown-away e-mail, phone or name"),
    "script_or_bot": Category("block", "Registered or used by a program"),
    "resold_codes": Category("block", "Codes collected for others or sold"),
    "stolen_identity": Category("block", "Somebody else's identity"),
    "other_abuse": Category("block", "Abuse of another kind"),
    "family_or_household": Category("allow", "Several people of one household"),
    "shared_place": Category("allow", "A shared place: office, school, café"),
    "loyal_customer": Category("allow", "A customer who simply buys often"),
    "wrong_data": Category("allow", "The data is wrong or misleading"),
    "other_honest": Category("allow", "Honest for another reason"),
}


@dataclass(frozen=True)
class Evidence:
    """What spoke against an account when it was decided."""

    codes: frozenset[str]
    cluster_size: int
    probability: float
    model_version: str


@dataclass(frozen=True)
class Decision:
    """What a person decided on an account; `undone` took the decision before back."""

    decision_id: int
    decided_at: datetime
    account_id: str
    verdict: Literal["allow", "block", "undone"]
    category: str | None
    comment: str
    decided_by: str
    group_id: uuid.UUID
    evidence: dict[str, Any] = field(default_factory=dict)


class ChangedError(Exception):
    """Somebody decided meanwhile: their decisions."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        super().__init__("somebody decided meanwhile")
        self.decisions = list(decisions)


def begin_change(connection: sa.Connection) -> int:
    """Begin a change of decisions or lists; the new revision, by which scoring sees it.

    Until the transaction ends nobody else begins one, so decisions are committed in the order of
    their ids, and who reads them by id misses none.
    """
    return connection.scalars(
        review_revision.update()
        .values(revision=review_revision.c.revision + 1)
        .returning(review_revision.c.revision)
    ).one()


def last_verdicts() -> sa.Subquery:
    """The last decision of each account, `undone` ones included."""
    return (
        sa.select(abuse_decision)
        .distinct(abuse_decision.c.account_id)
        .order_by(abuse_decision.c.account_id, abuse_decision.c.decision_id.desc())
        .subquery("verdict")
    )


# decisions ---------------------------------------------------------------------------------------
def decisions_of(connection: sa.Connection, accounts: Collection[str]) -> list[Decision]:
    """Every decision on these accounts, the newest first."""
    return _read(
        connection,
        sa.select(abuse_decision)
        .where(abuse_decision.c.account_id.in_(accounts))
        .order_by(abuse_decision.c.decision_id.desc()),
    )


def decisions_in_group(connection: sa.Connection, group_id: uuid.UUID) -> list[Decision]:
    """What was decided at once."""
    return _read(
        connection,
        sa.select(abuse_decision)
        .where(abuse_decision.c.group_id == group_id)
        .order_by(abuse_decision.c.decision_id),
    )


def newest_decision(connection: sa.Connection) -> int:
    """The last decision's id, 0 without any: who saw this saw all."""
    return connection.scalar(sa.select(sa.func.max(abuse_decision.c.decision_id))) or 0


def decisions_since(
    connection: sa.Connection, since: int | datetime | None, limit: int
) -> list[Decision]:
    """Decisions after an id, or from the first one at or after a time, in the order of ids."""
    ids = abuse_decision.c.decision_id
    query = sa.select(abuse_decision).order_by(ids).limit(limit)
    if isinstance(since, datetime):
        first = sa.select(sa.func.min(ids)).where(abuse_decision.c.decided_at >= since)
        query = query.where(ids >= first.scalar_subquery())
    elif since is not None:
        query = query.where(ids > since)
    return _read(connection, query)


def in_force() -> sa.Select[Any]:
    """The last decision of every account, unless that one took the one before it back."""
    last = last_verdicts().c
    return sa.select(*last).where(last.verdict != "undone")


def verdicts(
    connection: sa.Connection, accounts: Collection[str] | None = None
) -> dict[str, Decision]:
    """The decision in force of every account that has one, or of these accounts."""
    query = in_force()
    if accounts is not None:
        query = query.where(query.selected_columns.account_id.in_(accounts))
    return {found.account_id: found for found in _read(connection, query)}


def _read(connection: sa.Connection, query: sa.Select) -> list[Decision]:
    return [Decision(**row._mapping) for row in connection.execute(query)]


def decide(
    connection: sa.Connection,
    accounts: Sequence[str],
    category: str,
    comment: str,
    *,
    by: str,
    now: datetime,
    share: float,
    seen: int,
    live: Mapping[str, Evidence] | None = None,
    request_id: str | None = None,
) -> uuid.UUID:
    """Decide on accounts at once; the group of these decisions, by which they are undone.

    `seen`: id of the newest decision on them that the person knew of (0: none). `live`: what was
    shown beyond the stored opinion; the case does not reopen for it.
    Raises ChangedError when there is a newer decision, KeyError for an unknown category.
    """
    verdict = CATEGORIES[category].verdict
    begin_change(connection)
    newer = [found for found in decisions_of(connection, accounts) if found.decision_id > seen]
    if newer:
        raise ChangedError(newer)
    said = opinions.of(connection, accounts, share=share)
    rows = [
        {"account_id": name, "evidence": _evidence(said.get(name), (live or {}).get(name))}
        for name in accounts
    ]
    return _insert(connection, rows, verdict, category, comment, by, now, request_id)


def _evidence(said: opinions.Opinion | None, live: Evidence | None) -> dict[str, Any]:
    """What is kept of what spoke against an account: the stored and the shown together."""
    newest = live or said
    if newest is None:
        return {}
    codes = {reason["code"] for reason in said.reasons} if said else set()
    return {
        "codes": sorted(codes | (live.codes if live else frozenset())),
        "cluster_size": max(found.cluster_size for found in (said, live) if found),
        "probability": newest.probability,
        "model_version": newest.model_version,
        "is_sampled": said is not None and said.is_sampled,
    }


def undo(
    connection: sa.Connection,
    group_id: uuid.UUID,
    *,
    by: str,
    now: datetime,
    request_id: str | None = None,
) -> uuid.UUID | None:
    """Take decisions made at once back; the group of that, None for a group that there is not.

    Raises ChangedError when one of the accounts was decided anew since.
    """
    begin_change(connection)
    group = decisions_in_group(connection, group_id)
    accounts = [found.account_id for found in group if found.verdict != "undone"]
    if not accounts:
        return None
    last = max(found.decision_id for found in group)
    newer = [found for found in decisions_of(connection, accounts) if found.decision_id > last]
    if newer:
        raise ChangedError(newer)
    rows = [{"account_id": name} for name in accounts]
    return _insert(connection, rows, "undone", None, "", by, now, request_id)


def _insert(
    connection: sa.Connection,
    rows: Sequence[Mapping[str, Any]],
    verdict: str,
    category: str | None,
    comment: str,
    by: str,
    now: datetime,
    request_id: str | None,
) -> uuid.UUID:
    group_id = uuid.uuid4()
    same = {
        "decided_at": now, "verdict": verdict, "category": category, "comment": comment,
        "decided_by": by, "group_id": group_id,
    }  # fmt: skip
    connection.execute(
        abuse_decision.insert(), [{"evidence": {}} | dict(row) | same for row in rows]
    )
    audit.record(
        connection, at=now, actor=by, action="decide on accounts", outcome="done",
        request_id=request_id,
        detail={
            "group_id": str(group_id), "verdict": verdict, "category": category,
            "accounts": len(rows),
        },
    )  # fmt: skip
    return group_id
