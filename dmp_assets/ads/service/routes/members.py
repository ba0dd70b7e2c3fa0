"""Who sees an advertiser: members, whom managers let in and shut out, and what was done."""

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field

from dmp_assets.ads.service.store import members as store_of
from dmp_assets.ads.service.viewing import Viewer, Views, plain_page
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.output import Page, csv_or_json, rows_answer
from dmp_assets.platform.api.problems import NO_NUL, FieldError, Problem, responses
from dmp_assets.platform.api.routes.pages import PageRoute, wants_page
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.store import advertisers, audit
from dmp_assets.platform.store.advertisers import MemberRole
from dmp_assets.platform.store.errors import AccessError, LastManagerError

api = APIRouter(prefix="/v1/ads", tags=["ads"])
router = APIRouter(prefix="/ads", include_in_schema=False, route_class=PageRoute)
PATH = "/ads/members"
Acts = Annotated[Seat, Depends(seat("ads:write", acts=True))]


class Membership(BaseModel):
    """Who sees the advertiser."""

    member: str = Field(description="`person:<id>` or `client:<name>`.")
    name: str = Field(description="How colleagues are shown to each other.")
    role: Literal["reader", "manager"] = Field(description="A manager approves and changes.")
    since: dt.datetime


@api.get(
    "/members",
    response_model=Page[Membership],
    responses={**csv_or_json(Membership), **responses(401, 403, 404, 406, 422, 429)},
)
def memberships(
    request: Request, response: Response, at: Annotated[Seat, Depends(seat("ads:read"))]
) -> Any:
    """The advertiser's members; none: whoever may read ads sees it."""
    found = service_of(request).in_store(lambda store: store_of.members(store, at.advertiser_id))
    rows = [
        Membership(member=one.actor, name=one.name, role=one.role, since=one.since) for one in found
    ]
    return rows_answer(request, response, Membership, rows)


@router.get("/members")
def members(request: Request, viewer: Views) -> HTMLResponse:
    """Who sees the advertiser, and who changed that."""
    return _page(request, viewer)


def _page(
    request: Request,
    viewer: Viewer,
    *,
    status: int = 200,
    problem: str | None = None,
    entered: Mapping[str, str] | None = None,
) -> HTMLResponse:
    now = service_of(request).now()

    def read(store: sa.Connection, advertiser_id: str) -> dict[str, Any]:
        return {
            "members": store_of.members(store, advertiser_id),
            "are_any": advertisers.is_closed(store),
            "events": store_of.events(store, advertiser_id, now=now),
        }

    return plain_page(
        request, viewer, "members", "ads_members.html", read, status, problem=problem,
        entered=entered or {},
    )  # fmt: skip


@router.post("/members")
def let_in(
    request: Request,
    at: Acts,
    email: Annotated[str, Form(min_length=1, max_length=255, pattern=NO_NUL)],
    role: Annotated[MemberRole, Form()],
) -> Response:
    """Make a person a member, or give a member another role.

    The first member ends that everybody sees every advertiser; who lets them in stays a manager.
    """
    service = service_of(request)

    def work(store: sa.Connection) -> None:
        _still_manages(store, at)
        is_first = not advertisers.is_closed(store)
        actor = advertisers.actor_of(store, email=email)
        if actor == at.principal.actor:
            raise AccessError("this is you; somebody else changes what you may do here")
        who = {actor: role}
        if is_first and at.principal.role != "admin":
            who = {at.principal.actor: "manager", actor: role}
        for member, as_role in who.items():
            advertisers.let_in(store, at.advertiser_id, member, as_role, now=service.now())
            _note(request, store, at, "advertiser let-in", member, as_role)

    try:
        service.change(work)
    except AccessError as error:
        if not wants_page(request):
            wrong = FieldError(field="body.email", message=str(error))
            raise Problem(422, "invalid", errors=[wrong]) from error
        entered = {"email": email, "role": role}
        viewer = Viewer(at.principal, at)
        return _page(request, viewer, status=422, problem=str(error), entered=entered)
    return _back(at)


@router.post("/members/shut-out")
def shut_out(
    request: Request,
    at: Acts,
    member: Annotated[str, Form(min_length=1, max_length=300, pattern=NO_NUL)],
) -> Response:
    """End a membership; of one's own it is for somebody else to do."""
    service = service_of(request)
    if member == at.principal.actor:
        raise Problem(422, "invalid", "this is you; somebody else shuts you out")

    def work(store: sa.Connection) -> None:
        _still_manages(store, at)
        advertisers.shut_out(store, at.advertiser_id, member, keeps_a_manager=True)
        _note(request, store, at, "advertiser shut-out", member)

    try:
        service.change(work)
    except LastManagerError as error:
        raise Problem(409, "conflict", str(error)) from error
    except AccessError as error:
        raise Problem(404, "not-found", "that is no member of this advertiser") from error
    return _back(at)


def _still_manages(store: sa.Connection, at: Seat) -> None:
    """Raise Problem 403 for who was shut out, or made a reader, since the request began."""
    advertisers.lock(store, at.advertiser_id)
    found = advertisers.visible(store, at.principal, [at.advertiser_id])
    if not any(one.advertiser_id == at.advertiser_id and one.role == "manager" for one in found):
        raise Problem(403, "forbidden", f"only a manager of {at.advertiser_id} may do this")


def _note(
    request: Request, store: sa.Connection, at: Seat, action: str, member: str, role: str = ""
) -> None:
    told = {"advertiser": at.advertiser_id, "member": member} | ({"role": role} if role else {})
    audit.record(
        store, at=service_of(request).now(), actor=at.principal.actor, action=action,
        outcome="done", request_id=request.state.request_id, detail=told,
    )  # fmt: skip


def _back(at: Seat) -> RedirectResponse:
    return RedirectResponse(f"{PATH}?{urlencode({'advertiser': at.advertiser_id})}", 303)
