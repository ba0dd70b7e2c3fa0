"""The review: pages on which people decide on accounts and keep the lists."""

import math
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from dmp_assets.abuse import money
from dmp_assets.abuse.clusters import Cluster
from dmp_assets.api import drawing
from dmp_assets.api.access import needs
from dmp_assets.api.output import opened, sealed
from dmp_assets.api.problems import FieldError, Problem
from dmp_assets.api.routes.pages import NO_NUL, PageRoute, page, wants_page
from dmp_assets.api.state import Service, service_of
from dmp_assets.reporting.privacy import ELLIPSIS, mask_device, mask_email, mask_ip, mask_phone
from dmp_assets.store import lists, review
from dmp_assets.store.access import Principal
from dmp_assets.store.lists import ListError
from dmp_assets.store.review import CATEGORIES, ChangedError, Decision, Evidence

router = APIRouter(prefix="/review", include_in_schema=False, route_class=PageRoute)
Reviewer = Annotated[Principal, Depends(needs("abuse:review"))]
MOST_AT_ONCE = 1000
"""Accounts of one decision."""
PAGE = 50
PICTURE = (720.0, 420.0, 48.0)  # width, height and margin of a cluster's drawing
CHART = (720.0, 140.0)
_ID = {"min_length": 1, "max_length": 200, "pattern": NO_NUL}
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
    why: Annotated[review.Why | None, Query()] = None,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    decided: Annotated[uuid.UUID | None, Query()] = None,
) -> HTMLResponse:
    """Cases that wait, those with most money at risk first."""
    service = service_of(request)
    share, purpose = service.settings.review_sample_share, f"review:{why}"
    after = None
    if cursor is not None:
        risk, last = opened(service.seal, cursor, purpose)
        after = (risk, last)

    def read(store: sa.Connection) -> dict[str, Any]:
        cases = review.queue(store, share=share, why=why, after=after, limit=PAGE + 1)
        shown = [case.account_id for case in cases[:PAGE]]
        group = review.decisions_in_group(store, decided) if decided else []
        return {
            "cases": cases,
            "lengths": review.queue_length(store, share=share),
            "watchers": _by_account(
                review.watchers(store, shown, now=service.now(), but=_person(who))
            ),
            "group": group,
        }

    found = service.in_store(read)
    service.metrics.note_queue(found["lengths"])
    cases = found.pop("cases")
    following = None
    if len(cases) > PAGE:
        final = cases[PAGE - 1]
        following = sealed(service.seal, purpose, final.expected_abusers, final.account_id)
    return _page(
        request, who, "review_queue.html", here="queue", why=why, cases=cases[:PAGE],
        following=following, **found,
    )  # fmt: skip


# searching ---------------------------------------------------------------------------------------
@router.post("/search")
def search(
    request: Request,
    _: Reviewer,
    text: Annotated[str, Form(min_length=1, max_length=320, pattern=NO_NUL)],
) -> Response:
    """Go to what is found. What was searched for is sealed: addresses end up in logs."""
    token = sealed(service_of(request).seal, "search", text.strip())
    return RedirectResponse(f"/review/search?token={token}", 303)


@router.get("/search")
def found(
    request: Request, who: Reviewer, token: Annotated[str | None, Query(max_length=4000)] = None
) -> Response:
    """Accounts by id, e-mail, phone, device or IP; a single one is opened."""
    service, text = service_of(request), ""
    if token:
        (text,) = opened(service.seal, token, "search", "query.token")
    names: list[str] = []
    if text and service.live is not None:
        names = service.live.search(text)

    def read(store: sa.Connection) -> dict[str, Any]:
        if text and text not in names and _is_known(service, store, text):
            names.insert(0, text)
        return _described(service, store, names)

    described = service.in_store(read)
    if len(names) == 1:
        return RedirectResponse(_address(names[0]), 303)
    return _page(
        request, who, "review_search.html", here="search", text=text, names=names, **described
    )


def _described(service: Service, store: sa.Connection, names: Collection[str]) -> dict[str, Any]:
    """What is said and decided of accounts, for a list of them."""
    verdicts = review.verdicts(store, names)
    return {
        "opinions": review.opinions(store, names, share=service.settings.review_sample_share),
        "verdicts": verdicts,
    }


def _is_known(service: Service, store: sa.Connection, account_id: str) -> bool:
    share = service.settings.review_sample_share
    return bool(
        review.opinions(store, [account_id], share=share)
        or review.decisions_of(store, [account_id])
        or (service.live is not None and service.live.attributes(account_id))
    )


# an account --------------------------------------------------------------------------------------
@router.get("/account")
def account(request: Request, who: Reviewer, id: AccountQuery) -> HTMLResponse:
    """What is known of an account, why it was flagged, its cluster and its history."""
    return _account(request, who, id)


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
    live = service.live
    person = _person(who)
    now = service.now()

    def read(store: sa.Connection) -> dict[str, Any]:
        if not _is_known(service, store, account_id):
            raise Problem(404, "not-found", "no account of this id was ever scored or decided")
        cluster = _cluster(service, store, account_id, drawing.MOST_NODES)
        scored = review.predictions(store, account_id)
        decisions = review.decisions_of(store, [account_id])
        given = live.attributes(account_id) if live is not None else None
        if given is None:
            given = next((row.attributes for row in scored if row.attributes), {})
        verdict = review.verdicts(store, [account_id]).get(account_id)
        together = review.decisions_in_group(store, verdict.group_id) if verdict else []
        actors = review.names(store, {row.decided_by for row in (*decisions, *conflict)})
        return {
            "attributes": _attributes(account_id, given, live, who.may("personal:read")),
            "cluster": cluster,
            "history": _history(decisions, scored, actors),
            "verdict": verdict,
            "together": len(together),
            "actors": actors,
            "watchers": review.watchers(store, [account_id], now=now, but=person),
            "seen": review.newest_decision(store),
            **_described(service, store, cluster.members),
        }

    found = service.in_store(read)
    if person is not None:
        service.change(lambda store: review.watch(store, account_id, person, now=now))
    judgement = live.judge(account_id) if live is not None else None
    return _page(
        request, who, "review_account.html", status, here="account", account_id=account_id,
        judgement=judgement, graph=drawing.graph(found["cluster"], *PICTURE), picture=PICTURE,
        most_at_once=MOST_AT_ONCE, conflict=conflict, problem=problem, entered=entered or {},
        is_index_loaded=live is not None, **found,
    )  # fmt: skip


def _cluster(service: Service, store: sa.Connection, account_id: str, most: int) -> Cluster:
    """The account's cluster by the live index, else as far as the store knows it."""
    if service.live is not None:
        return service.live.cluster(account_id, most)
    members = review.linked(store, account_id, MOST_AT_ONCE + 1)
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
    now = service.now()
    if person is not None:
        service.change(lambda store: review.watch(store, id, person, now=now))

    def read(store: sa.Connection) -> dict[str, Any]:
        news = [row for row in review.decisions_of(store, [id]) if row.decision_id > seen]
        return {
            "watchers": review.watchers(store, [id], now=now, but=person),
            "news": news,
            "actors": review.names(store, {row.decided_by for row in news}),
        }

    return _page(request, who, "review_watchers.html", account_id=id, **service.in_store(read))


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
    service = service_of(request)
    entered = {"category": category, "scope": scope, "comment": comment}

    def work(store: sa.Connection) -> uuid.UUID:
        if not _is_known(service, store, account):
            raise Problem(404, "not-found", "no account of this id was ever scored or decided")
        members: tuple[str, ...] = (account,)
        if scope == "cluster":
            cluster = _cluster(service, store, account, MOST_AT_ONCE)
            members = cluster.members
            if size is not None and cluster.size != size:
                raise _Stale(f"The cluster had {size} accounts and has {cluster.size} now.")
            if cluster.size > MOST_AT_ONCE:
                raise _Stale(f"At most {MOST_AT_ONCE} accounts are decided at once; use a list.")
        return review.decide(
            store, members, category, comment.strip(), by=who.actor, now=service.now(),
            share=service.settings.review_sample_share, seen=seen,
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
    live = service.live
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
    names = service.in_store(lambda store: review.names(store, actors))
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
    account: Annotated[str | None, Form(max_length=200, pattern=NO_NUL)] = None,
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
    return RedirectResponse(_address(account) if account else f"/review?decided={undone}", 303)


# lists -------------------------------------------------------------------------------------------
@router.get("/lists")
def show_lists(request: Request, who: Reviewer) -> HTMLResponse:
    """What is allowed or blocked whatever the model says."""
    return _lists(request, who)


def _lists(
    request: Request,
    who: Principal,
    *,
    refused: ListError | None = None,
    entered: Mapping[str, Any] | None = None,
) -> HTMLResponse:
    service = service_of(request)

    def read(store: sa.Connection) -> dict[str, Any]:
        entries = lists.entries(store, now=service.now())
        return {
            "entries": entries,
            "owners": review.names(store, {entry.owner for entry in entries}),
        }

    return _page(
        request, who, "review_lists.html", 422 if refused else 200, here="lists",
        kinds=lists.KINDS, refused=refused, entered=entered or {}, masked=_masked_value(who),
        **service.in_store(read),
    )  # fmt: skip


def _masked_value(who: Principal) -> Callable[[lists.Entry], str]:
    """How an entry's value is shown to this caller."""

    def shown(entry: lists.Entry) -> str:
        if who.may("personal:read") or entry.kind not in ("device", "ip_range"):
            return entry.value
        return (mask_device if entry.kind == "device" else mask_ip)(entry.value)

    return shown


@router.post("/lists")
def add_to_list(
    request: Request,
    who: Reviewer,
    kind: Annotated[lists.Kind, Form()],
    value: Annotated[str, Form(max_length=400, pattern=NO_NUL)],
    effect: Annotated[lists.Effect, Form()],
    expires: Annotated[date | Literal[""], Form()] = "",
    comment: Comment = "",
) -> Response:
    """Put a value on a list, until the end of the day `expires` (UTC)."""
    service, until = service_of(request), None
    if expires:
        until = datetime.combine(expires, time(), UTC)
        if until.year < 9999:
            until += timedelta(days=1)
    try:
        service.change(
            lambda store: lists.add(
                store, effect, kind, value, comment=comment.strip(), expires_at=until,
                owner=who.actor, now=service.now(), request_id=request.state.request_id,
            )
        )  # fmt: skip
    except ListError as error:
        if not wants_page(request):
            wrong = FieldError(field=f"body.{error.field}", message=str(error))
            raise Problem(422, "invalid", errors=[wrong]) from error
        entered = {
            "kind": kind, "value": value, "effect": effect, "expires": expires, "comment": comment,
        }  # fmt: skip
        return _lists(request, who, refused=error, entered=entered)
    return RedirectResponse("/review/lists", 303)


@router.post("/lists/remove")
def remove_from_list(
    request: Request, who: Reviewer, entry: Annotated[int, Form(ge=1, le=2**63 - 1)]
) -> Response:
    """Take an entry off its list."""
    service = service_of(request)
    removed = service.change(
        lambda store: lists.remove(
            store, entry, by=who.actor, now=service.now(), request_id=request.state.request_id
        )
    )
    if not removed:
        raise Problem(404, "not-found", "this entry is on no list any more")
    return RedirectResponse("/review/lists", 303)


# what if -----------------------------------------------------------------------------------------
Share = Annotated[float | None, Query(ge=0, le=1)]


@router.get("/what-if")
def what_if(
    request: Request,
    who: Reviewer,
    review_from: Share = None,
    block_from: Share = None,
    days: Annotated[int, Query(ge=1, le=365)] = 30,
) -> HTMLResponse:
    """What other thresholds would flag per day and cost, beside today's; and what was missed."""
    service = service_of(request)
    settings = service.settings
    costs = money.Costs(
        settings.cost_blocked_customer, settings.cost_lost_discount, settings.review_cost
    )
    today = money.thresholds(costs)
    tried = money.Thresholds(
        today.review_from if review_from is None else review_from,
        today.block_from if block_from is None else block_from,
    )

    def read(store: sa.Connection) -> dict[str, Any]:
        return {
            "now": review.what_if(store, today.review_from, today.block_from, days),
            "then": review.what_if(store, tried.review_from, tried.block_from, days),
            "misses": review.misses(store),
        }

    found = service.in_store(read)
    highest = max((day.reviewed + day.blocked for day in found["now"] + found["then"]), default=0)

    def bars(name: str, *kinds: str) -> list[drawing.Bar]:
        counts = [sum(getattr(day, kind) for kind in kinds) for day in found[name]]
        return drawing.bars(counts, 1.1 * highest, *CHART)

    return _page(
        request, who, "review_what_if.html", here="what-if", today=today, tried=tried, days=days,
        highest=highest, chart=CHART, flagged_now=bars("now", "reviewed", "blocked"),
        flagged_then=bars("then", "reviewed", "blocked"), blocked_then=bars("then", "blocked"),
        totals={name: _total(found[name], costs) for name in ("now", "then")},
        cost=lambda day: money.expected_cost(
            day.reviewed, day.honest_blocked, day.abusers_allowed, costs
        ),
        pairs=list(zip(found["now"], found["then"], strict=True)),
        missed=_interval(*found["misses"]), **found,
    )  # fmt: skip


def _total(days: Collection[review.Day], costs: money.Costs) -> dict[str, float]:
    """Sums over the days, and the mean number flagged per day."""
    names = ("accounts", "reviewed", "blocked", "abusers_allowed", "honest_blocked")
    total: dict[str, float] = {name: sum(getattr(day, name) for day in days) for name in names}
    total["cost"] = money.expected_cost(
        total["reviewed"], total["honest_blocked"], total["abusers_allowed"], costs
    )
    total["flagged_per_day"] = (total["reviewed"] + total["blocked"]) / max(len(days), 1)
    return total


def _interval(decided: int, blocked: int) -> tuple[float, float] | None:
    """The share of misses with 95 % confidence (Wilson's interval); None without any decision."""
    if not decided:
        return None
    z, share = 1.96, blocked / decided
    middle = share + z * z / (2 * decided)
    apart = z * math.sqrt(share * (1 - share) / decided + z * z / (4 * decided**2))
    whole = 1 + z * z / decided
    return max(0.0, (middle - apart) / whole), min(1.0, (middle + apart) / whole)


# pages -------------------------------------------------------------------------------------------
def _person(who: Principal) -> uuid.UUID | None:
    """The person who is logged in; None for a program with a key."""
    kind, _, name = who.actor.partition(":")
    return uuid.UUID(name) if kind == "person" else None


def _by_account(found: Collection[review.Watcher]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for watcher in found:
        names.setdefault(watcher.account_id, []).append(watcher.name)
    return names


def _address(account_id: str) -> str:
    return f"/review/account?{urlencode({'id': account_id})}"


def _when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _page(
    request: Request, who: Principal, template: str, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page of the review with what all of them use."""
    service = service_of(request)
    settings, now = service.settings, service.now()

    def ago(at: datetime) -> str:
        minutes = int((now - at).total_seconds() // 60)
        return f"{minutes} minutes" if minutes > 1 else "a minute"

    return page(
        service, template, status, who=who, address=_address, when=_when, ago=ago,
        money=lambda amount: f"{amount:,.0f} {settings.currency}",
        at_risk=lambda abusers: f"{abusers * settings.cost_lost_discount:,.0f}",
        currency=settings.currency, categories=CATEGORIES, whys=review.WHYS, **values,
    )  # fmt: skip
