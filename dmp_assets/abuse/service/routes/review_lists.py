"""The allow and block lists of the review."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from dmp_assets.abuse.service.routes.review import Comment, Reviewer, review_page
from dmp_assets.abuse.service.store import lists, watching
from dmp_assets.abuse.service.store.lists import ListError
from dmp_assets.platform.api.problems import NO_NUL, FieldError, Problem
from dmp_assets.platform.api.ranges import Day
from dmp_assets.platform.api.routes.pages import PageRoute, wants_page
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.reporting.privacy import mask_device, mask_id, mask_ip
from dmp_assets.platform.store.access import Principal

router = APIRouter(prefix="/review", include_in_schema=False, route_class=PageRoute)


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
            "owners": watching.names(store, {entry.owner for entry in entries}),
        }

    return review_page(
        request, who, "review_lists.html", 422 if refused else 200, here="lists",
        kinds=lists.KINDS, refused=refused, entered=entered or {}, masked=masked_value(who),
        last_day=last_day, **service.in_store(read),
    )  # fmt: skip


def last_day(entry: lists.Entry) -> str:
    """The last day on which an entry holds, as it was typed; empty where it ends by hand."""
    if entry.expires_at is None:
        return ""
    until = entry.expires_at.astimezone(UTC)
    is_after_it = until.time() == time() and until.date() != date.max
    return f"{until - timedelta(days=1) if is_after_it else until:%Y-%m-%d}"


def masked_value(who: Principal) -> Callable[[lists.Entry], str]:
    """How an entry's value is shown to this caller."""

    def shown(entry: lists.Entry) -> str:
        if who.may("personal:read") or entry.kind == "email_domain":
            return entry.value
        masks = {"device": mask_device, "ip_range": mask_ip, "account": mask_id}
        return masks[entry.kind](entry.value)

    return shown


@router.post("/lists")
def add_to_list(
    request: Request,
    who: Reviewer,
    kind: Annotated[lists.Kind, Form()],
    value: Annotated[str, Form(max_length=400, pattern=NO_NUL)],
    effect: Annotated[lists.Effect, Form()],
    expires: Annotated[Literal[""] | Day, Form()] = "",
    comment: Comment = "",
) -> Response:
    """Put a value on a list, until the end of the day `expires` (UTC)."""
    service, until = service_of(request), None
    if expires:
        until = datetime.combine(expires, time(), UTC)
        if expires != date.max:
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
