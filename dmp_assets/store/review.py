"""The review: which cases wait, what people decide on them, who looks at which, what would change.

Plain functions on a connection; the caller commits. An account is named by the shop's user id, or
by the caller's reference where the shop did not know it when it was scored.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from dmp_assets.store import audit
from dmp_assets.store.schema import (
    abuse_case_view,
    abuse_decision,
    abuse_prediction,
    account_score,
    person,
    review_revision,
)

Verdict = Literal["allow", "block"]
Why = Literal["block", "review", "sample", "reopened"]
WHYS: tuple[Why, ...] = ("block", "review", "sample", "reopened")
SAMPLE_DAYS = 30
"""Allowed accounts are drawn from the newest so many days."""
LOOKING = timedelta(minutes=5)
"""Who was not seen for so long does not look any more."""


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


# what the model says -----------------------------------------------------------------------------
def _opinions(share: float) -> sa.Subquery:
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


def opinions(
    connection: sa.Connection, accounts: Collection[str], *, share: float
) -> dict[str, Opinion]:
    """The model's last opinion on these accounts; those it never saw are left out."""
    found = _opinions(share)
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


# the queue ---------------------------------------------------------------------------------------
def _verdicts() -> sa.Subquery:
    """The last decision of each account, `undone` ones included."""
    return (
        sa.select(abuse_decision)
        .distinct(abuse_decision.c.account_id)
        .order_by(abuse_decision.c.account_id, abuse_decision.c.decision_id.desc())
        .subquery("verdict")
    )


def _waiting(share: float) -> sa.CTE:
    """Accounts that wait for a decision and why, each with the key of its case."""
    said, decided = _opinions(share), _verdicts()
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


def queue(
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


def queue_length(connection: sa.Connection, *, share: float) -> dict[str, int]:
    """How many cases wait, by why, and `all`: those that wait for several reasons count once."""
    waiting = _waiting(share)
    rows = connection.execute(
        sa.select(waiting.c.why, sa.func.count(waiting.c.case_key.distinct())).group_by(
            sa.func.grouping_sets(sa.tuple_(waiting.c.why), sa.tuple_())
        )
    )
    return dict.fromkeys(("all", *WHYS), 0) | {row[0] or "all": row[1] for row in rows}


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
    last = _verdicts().c
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
    said = opinions(connection, accounts, share=share)
    rows = [
        {"account_id": name, "evidence": _evidence(said.get(name), (live or {}).get(name))}
        for name in accounts
    ]
    return _insert(connection, rows, verdict, category, comment, by, now, request_id)


def _evidence(said: Opinion | None, live: Evidence | None) -> dict[str, Any]:
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


# who looks, and who is who -----------------------------------------------------------------------
@dataclass(frozen=True)
class Watcher:
    """A person who has had an account open since `opened_at`."""

    account_id: str
    name: str
    opened_at: datetime


def watch(
    connection: sa.Connection, account_id: str, person_id: uuid.UUID, *, now: datetime
) -> None:
    """Note that a person looks at an account; what is a day old goes."""
    view = abuse_case_view.c
    connection.execute(abuse_case_view.delete().where(view.seen_at < now - timedelta(days=1)))
    seen = upsert(abuse_case_view).values(
        account_id=account_id, person_id=person_id, opened_at=now, seen_at=now
    )
    away = view.seen_at < now - LOOKING
    connection.execute(
        seen.on_conflict_do_update(
            index_elements=[view.account_id, view.person_id],
            set_={"opened_at": sa.case((away, now), else_=view.opened_at), "seen_at": now},
        )
    )


def watchers(
    connection: sa.Connection,
    accounts: Collection[str],
    *,
    now: datetime,
    but: uuid.UUID | None = None,
) -> list[Watcher]:
    """Who looks at these accounts now, the longest first; `but` this person."""
    view = abuse_case_view.c
    query = (
        sa.select(view.account_id, person.c.email, view.opened_at)
        .join(person, person.c.person_id == view.person_id)
        .where(view.account_id.in_(accounts), view.seen_at >= now - LOOKING)
        .order_by(view.opened_at)
    )
    if but is not None:
        query = query.where(view.person_id != but)
    return [
        Watcher(row.account_id, short_name(row.email), row.opened_at)
        for row in connection.execute(query)
    ]


def short_name(email: str) -> str:
    """`ann@shop.example` → `ann@…`, as colleagues are shown to each other."""
    return f"{email.partition('@')[0]}@…"


def names(connection: sa.Connection, actors: Collection[str]) -> dict[str, str]:
    """How these actors are shown: a person by the address's first part, a client by its name."""
    ids = {
        uuid.UUID(actor.removeprefix("person:")) for actor in actors if actor.startswith("person:")
    }
    rows = connection.execute(
        sa.select(person.c.person_id, person.c.email).where(person.c.person_id.in_(ids))
    )
    people = {f"person:{row.person_id}": short_name(row.email) for row in rows}
    return {actor: people.get(actor, actor.removeprefix("client:")) for actor in actors}


# what if -----------------------------------------------------------------------------------------
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


def what_if(
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
    last = _verdicts().c
    row = connection.execute(
        sa.select(
            sa.func.count().label("decided"),
            sa.func.count().filter(last.verdict == "block").label("blocked"),
        ).where(last.verdict != "undone", last.evidence["is_sampled"].as_boolean())
    ).one()
    return row.decided, row.blocked
