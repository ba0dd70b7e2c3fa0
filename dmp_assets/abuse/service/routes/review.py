"""The review: pages on which people decide on accounts and keep the lists."""

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from dmp_assets.abuse.model.clusters import Cluster
from dmp_assets.abuse.service import case, drawing
from dmp_assets.abuse.service.names import LONGEST, Names
from dmp_assets.abuse.service.part import part_of
from dmp_assets.abuse.service.store import claims, opinions, review, review_queue, watching
from dmp_assets.abuse.service.store.review import CATEGORIES, ChangedError, Decision, Evidence
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.platform.api.access import needs
from dmp_assets.platform.api.output import opened, sealed
from dmp_assets.platform.api.problems import NO_NUL, Problem
from dmp_assets.platform.api.routes.pages import PageRoute, page, wants_page
from dmp_assets.platform.api.state import Service, service_of
from dmp_assets.platform.figures.catalogue import figure
from dmp_assets.platform.reporting.privacy import (
    ELLIPSIS,
    mask_device,
    mask_email,
    mask_ip,
    mask_phone,
)
from dmp_assets.platform.store.access import Principal

router = APIRouter(prefix="/review", include_in_schema=False, route_class=PageRoute)
Reviewer = Annotated[Principal, Depends(needs("abuse:review"))]
MOST_AT_ONCE = 1000
"""Accounts of one decision."""
PAGE = 50
PICTURE = (720.0, 420.0, 48.0)  # width, height and margin of a cluster's drawing
_ID = {"min_length": 1, "max_length": LONGEST, "pattern": NO_NUL}
AccountQuery = Annotated[str, Query(**_ID)]
AccountForm = Annotated[str, Form(**_ID)]
Comment = Annotated[str, Form(max_length=2000, pattern=NO_NUL)]


def _mask_name(value: str) -> str:
    return f"{value[:1]}{ELLIPSIS}"


# label, names in the index and in what a caller gave, mask, whether it may be shared
ATTRIBUTES: tuple[tuple[str, tuple[str, ...], Callable[[str], str] | None, bool], ...] = (
    ("E-mail", ("email_received", "email"), mask_email, True),
    ("Phone", ("phone_received", "phone"), mask_phone, True),
    ("Device", ("device_id",), mask_device, True),
    ("IP", ("ip", "ip_address"), mask_ip, True),
    ("First name", ("first_name",), _mask_name, False),
    ("Last name", ("last_name",), _mask_name, False),
    ("Date of birth", ("date_of_birth",), lambda value: f"{value[:4]}{ELLIPSIS}", False),
    ("City", ("city",), None, False),
    ("Time zone", ("timezone",), None, False),
    ("Browser", ("user_agent_received", "user_agent"), None, False),
    ("Registered", ("created_at",), None, False),
)


# the queue ---------------------------------------------------------------------------------------
@router.get("")
def queue(
    request: Request,
    who: Reviewer,
    why: Annotated[review_queue.Why | None, Query()] = None,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    decided: Annotated[uuid.UUID | None, Query()] = None,
) -> HTMLResponse:
    """Cases that wait, those with most money at risk first."""
    service = service_of(request)
    share, purpose = _share(service), f"review:{why}"
    after = None
    if cursor is not None:
        risk, last = opened(service.seal, cursor, purpose)
        after = (risk, last)

    def read(store: sa.Connection) -> dict[str, Any]:
        cases = review_queue.cases(store, share=share, why=why, after=after, limit=PAGE + 1)
        shown = [case.account_id for case in cases[:PAGE]]
        group = review.decisions_in_group(store, decided) if decided else []
        return {
            "cases": cases,
            "lengths": review_queue.length(store, share=share),
            "watchers": _by_account(
                watching.watchers(store, shown, now=service.now(), but=_person(who))
            ),
            "claimed": claims.claims(store, shown),
            "group": group,
        }

    found = service.in_store(read)
    part_of(service).metrics.note_queue(found["lengths"])
    cases = found.pop("cases")
    following = None
    if len(cases) > PAGE:
        final = cases[PAGE - 1]
        following = sealed(service.seal, purpose, final.expected_abusers, final.account_id)
    return review_page(
        request, who, "review_queue.html", here="queue", why=why, cases=cases[:PAGE],
        following=following, **found,
    )  # fmt: skip


# an account --------------------------------------------------------------------------------------
@router.get("/account")
def account(request: Request, who: Reviewer, id: AccountQuery) -> HTMLResponse:
    """What is known of an account, why it was flagged, its cluster and its history."""
    return _account(request, who, names_for(request, who).meant(id))


def _account(
    request: Request,
    who: Principal,
    account_id: str,
    *,
    status: int = 200,
    conflict: Collection[Decision] = (),
    problem: str | None = None,
    entered: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The page of an account; `entered`: what the form held before it could not be taken."""
    service = service_of(request)
    live = part_of(service).live
    person = _person(who)
    now = service.now()

    def read(store: sa.Connection) -> dict[str, Any]:
        if not is_known(service, store, account_id):
            raise Problem(404, "not-found", "no account of this id was ever scored or decided")
        cluster = _cluster(service, store, account_id, drawing.MOST_NODES)
        scored = opinions.predictions(store, account_id)
        decisions = review.decisions_of(store, [account_id])
        given = live.attributes(account_id) if live is not None else None
        if given is None:
            given = next((row.attributes for row in scored if row.attributes), {})
        verdict = review.verdicts(store, [account_id]).get(account_id)
        together = review.decisions_in_group(store, verdict.group_id) if verdict else []
        used = live.codes(account_id) if live is not None else []
        decided_at = decisions[0].decided_at if decisions else None
        actors = watching.names(store, {row.decided_by for row in (*decisions, *conflict)})
        return {
            "attributes": _attributes(account_id, given, live, who.may("personal:read")),
            "cluster": cluster,
            "history": _history(decisions, scored, actors),
            "verdict": verdict,
            "together": len(together),
            "actors": actors,
            "watchers": watching.watchers(store, [account_id], now=now, but=person),
            "seen": review.newest_decision(store),
            "claim": claims.claims(store, [account_id]).get(account_id),
            "redeemed": case.redemptions(store, account_id, used),
            "used": used,
            "since": claims.waiting_since(store, account_id, decided_at),
            **described(service, store, cluster.members),
        }

    found = service.in_store(read)
    if person is not None:
        service.change(lambda store: watching.watch(store, account_id, person, now=now))
    judgement = live.judge(account_id) if live is not None else None
    return review_page(
        request, who, "review_account.html", status, here="account", account_id=account_id,
        judgement=judgement, graph=drawing.graph(found["cluster"], *PICTURE), picture=PICTURE,
        most_at_once=MOST_AT_ONCE, conflict=conflict, problem=problem, entered=entered or {},
        is_index_loaded=live is not None, person=person, **found,
    )  # fmt: skip


def _cluster(service: Service, store: sa.Connection, account_id: str, most: int) -> Cluster:
    """The account's cluster by the live index, else as far as the store knows it."""
    if (live := part_of(service).live) is not None:
        return live.cluster(account_id, most)
    members = opinions.linked(store, account_id, MOST_AT_ONCE + 1)
    return Cluster(tuple(members[:most]), (), len(members))


@dataclass(frozen=True)
class Event:
    """What happened to an account. `mark`: allow, review, block or undone."""

    at: datetime
    mark: str
    text: str
    by: str


def _history(
    decisions: Collection[Decision], scored: Collection[sa.Row], actors: Mapping[str, str]
) -> list[Event]:
    """Decisions and scores, the newest first."""
    events = [
        Event(
            row.decided_at, row.verdict,
            CATEGORIES[row.category].text + (f": “{row.comment}”" if row.comment else "")
            if row.category else "the decision before is taken back",
            actors[row.decided_by],
        )
        for row in decisions
    ]  # fmt: skip
    for row in scored:
        text = f"scored {row.probability:.2f} by model {row.model_version}"
        if row.decision != row.model_decision:
            text += f"; answered {row.decision} because of a {row.decided_by}"
        events.append(
            Event(row.predicted_at, row.model_decision, text, row.caller.removeprefix("client:"))
        )
    return sorted(events, key=lambda event: event.at, reverse=True)


def _attributes(
    account_id: str, given: Mapping[str, Any], index: Any, may_see: bool
) -> list[tuple[str, str, str]]:
    """(label, value, with how many others it is shared) of what is known."""
    shown = []
    for label, names, mask, is_shared in ATTRIBUTES:
        value = next((given[name] for name in names if given.get(name) is not None), None)
        if value is None:
            continue
        others = ""
        if is_shared and index is not None:
            found = index.search(str(value))
            count = sum(name != account_id for name in found)
            others = f"{'at least ' if len(found) >= 50 else ''}{count}"
        text = f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)
        shown.append((label, text if may_see or mask is None else mask(text), others))
    return shown


@router.get("/watchers")
def watchers(
    request: Request,
    who: Reviewer,
    id: AccountQuery,
    seen: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
) -> HTMLResponse:
    """Part of an account's page, asked for again while it is open: who looks, what is new."""
    service, person = service_of(request), _person(who)
    now, id = service.now(), names_for(request, who).meant(id)
    if person is not None:
        service.change(lambda store: watching.watch(store, id, person, now=now))

    def read(store: sa.Connection) -> dict[str, Any]:
        news = [row for row in review.decisions_of(store, [id]) if row.decision_id > seen]
        return {
            "watchers": watching.watchers(store, [id], now=now, but=person),
            "news": news,
            "actors": watching.names(store, {row.decided_by for row in news}),
        }

    return review_page(
        request, who, "review_watchers.html", account_id=id, **service.in_store(read)
    )


# deciding ----------------------------------------------------------------------------------------
@router.post("/decide")
def decide(
    request: Request,
    who: Reviewer,
    account: AccountForm,
    category: Annotated[Literal[tuple(CATEGORIES)], Form()],  # type: ignore[valid-type]
    seen: Annotated[int, Form(ge=0, le=2**63 - 1)],
    scope: Annotated[Literal["account", "cluster"], Form()] = "account",
    size: Annotated[int | None, Form(ge=1)] = None,
    comment: Comment = "",
) -> Response:
    """Decide on an account, or on its whole cluster as it was shown (`size` accounts)."""
    service, account = service_of(request), names_for(request, who).meant(account, "body.account")
    entered = {"category": category, "scope": scope, "comment": comment}

    def work(store: sa.Connection) -> uuid.UUID:
        if not is_known(service, store, account):
            raise Problem(404, "not-found", "no account of this id was ever scored or decided")
        members: tuple[str, ...] = (account,)
        if scope == "cluster":
            cluster = _cluster(service, store, account, MOST_AT_ONCE)
            members = cluster.members
            if size is not None and cluster.size != size:
                raise _Stale(f"The cluster had {size} accounts and has {cluster.size} now.")
            if cluster.size > MOST_AT_ONCE:
                raise _Stale(f"At most {MOST_AT_ONCE} accounts are decided at once; use a list.")
        claims.release(store, members)
        return review.decide(
            store, members, category, comment.strip(), by=who.actor, now=service.now(),
            share=_share(service), seen=seen,
            live=_shown_live(service, members), request_id=request.state.request_id,
        )  # fmt: skip

    try:
        group = service.change(work)
    except ChangedError as error:
        if not wants_page(request):
            raise _conflict(service, error) from error
        return _account(
            request, who, account, status=409, conflict=error.decisions, entered=entered
        )
    except _Stale as error:
        if not wants_page(request):
            raise Problem(409, "conflict", str(error)) from error
        return _account(request, who, account, status=409, problem=str(error), entered=entered)
    return RedirectResponse(f"/review?decided={group}", 303)


class _Stale(Exception):
    """The cluster is not what was shown."""


def _shown_live(service: Service, members: Collection[str]) -> dict[str, Evidence]:
    """What the live model says of accounts now, which may be news to the store."""
    said: dict[str, Evidence] = {}
    live = part_of(service).live
    for name in members if live is not None else ():
        judgement = live.judge(name) if live is not None else None
        if judgement is not None:
            said[name] = Evidence(
                codes=frozenset(str(reason["code"]) for reason in judgement.reasons),
                cluster_size=judgement.cluster_size,
                probability=judgement.probability,
                model_version=judgement.model_version,
            )
    return said


def _conflict(service: Service, error: ChangedError) -> Problem:
    """Who decided what meanwhile, for a program."""
    actors = {found.decided_by for found in error.decisions}
    names = service.in_store(lambda store: watching.names(store, actors))
    last = error.decisions[0]
    said = f"{names[last.decided_by]} decided `{last.verdict}`"
    if last.category is not None:
        said += f" ({last.category})"
    others = len(error.decisions) - 1
    more = f", and {others} more decisions" if others else ""
    return Problem(
        409, "conflict", f"{said} on {last.account_id} at {_when(last.decided_at)}{more}"
    )


@router.post("/undo")
def undo(
    request: Request,
    who: Reviewer,
    group: Annotated[uuid.UUID, Form()],
    account: Annotated[str | None, Form(max_length=LONGEST, pattern=NO_NUL)] = None,
) -> Response:
    """Take decisions that were made at once back."""
    service = service_of(request)
    try:
        undone = service.change(
            lambda store: review.undo(
                store, group, by=who.actor, now=service.now(),
                request_id=request.state.request_id,
            )
        )  # fmt: skip
    except ChangedError as error:
        raise _conflict(service, error) from error
    if undone is None:
        raise Problem(404, "not-found", "there are no such decisions")
    names = names_for(request, who)
    back = (
        names.address(names.meant(account, "body.account"))
        if account
        else f"/review?decided={undone}"
    )
    return RedirectResponse(back, 303)


@router.post("/claim")
def claim(
    request: Request, who: Reviewer, account: AccountForm, mine: Annotated[bool, Form()]
) -> Response:
    """Take a case on, or give it back."""
    service, person, names = service_of(request), _person(who), names_for(request, who)
    account = names.meant(account, "body.account")
    if person is None:
        raise Problem(422, "invalid", "only a person takes a case on; this is a program's key")

    def work(store: sa.Connection) -> None:
        if not is_known(service, store, account):
            raise Problem(404, "not-found", "no account of this id was ever scored or decided")
        if mine:
            claims.claim(store, account, person, now=service.now())
        else:
            claims.release(store, [account])

    service.change(work)
    return RedirectResponse(names.address(account), 303)


def described(service: Service, store: sa.Connection, names: Collection[str]) -> dict[str, Any]:
    """What is said and decided of accounts, for a list of them."""
    verdicts = review.verdicts(store, names)
    return {
        "opinions": opinions.of(store, names, share=_share(service)),
        "verdicts": verdicts,
    }


def _share(service: Service) -> float:
    """The share of allowed accounts that are reviewed, too."""
    return service.settings.of(AbuseSettings).review_sample_share


def is_known(service: Service, store: sa.Connection, account_id: str) -> bool:
    """Whether the account was ever scored or decided."""
    return bool(
        opinions.of(store, [account_id], share=_share(service))
        or review.decisions_of(store, [account_id])
        or ((live := part_of(service).live) is not None and live.attributes(account_id))
    )


# pages -------------------------------------------------------------------------------------------
def _person(who: Principal) -> uuid.UUID | None:
    """The person who is logged in; None for a program with a key."""
    kind, _, name = who.actor.partition(":")
    return uuid.UUID(name) if kind == "person" else None


def _by_account(found: Collection[watching.Watcher]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for watcher in found:
        names.setdefault(watcher.account_id, []).append(watcher.name)
    return names


def names_for(request: Request, who: Principal) -> Names:
    """How this caller is shown ids."""
    return Names.of(service_of(request).seal, who)


def _when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def review_page(
    request: Request, who: Principal, template: str, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page of the review with what all of them use."""
    service = service_of(request)
    settings, now = service.settings, service.now()
    discount = settings.of(AbuseSettings).cost_lost_discount

    def ago(at: datetime) -> str:
        minutes = int((now - at).total_seconds() // 60)
        return f"{minutes} minutes" if minutes > 1 else "a minute"

    seen_as = names_for(request, who)
    return page(
        service, template, status, who=who, address=seen_as.address, label=seen_as.label,
        token=seen_as.token, when=_when, ago=ago, figure=figure,
        money=lambda amount: f"{amount:,.0f} {settings.currency}",
        at_risk=lambda abusers: f"{abusers * discount:,.0f}",
        currency=settings.currency, categories=CATEGORIES, whys=review_queue.WHYS, **values,
    )  # fmt: skip
