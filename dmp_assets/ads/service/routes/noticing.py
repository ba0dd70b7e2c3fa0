"""Notices as a page: what is not as usual, what somebody does not want to hear of, and how they are
told. What is shown and done is that of the API's routes, which these call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from dmp_assets.ads.model.notices.detect import MEANINGS, Kind
from dmp_assets.ads.model.notices.words import figure, usual
from dmp_assets.ads.service.routes import notices
from dmp_assets.ads.service.routes.notices import KindChoice, MuteUntil, OwnPreferences, Preferences
from dmp_assets.ads.service.spans import Span
from dmp_assets.ads.service.store.schema import ad_accounts, ad_notice_coverage
from dmp_assets.ads.service.store.schema_notices import ad_notice
from dmp_assets.ads.service.viewing import (
    Asked,
    Days,
    Focus,
    Viewer,
    Views,
    ads_page,
    file_of,
)
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.problems import NO_CONTROL, FieldError, Problem
from dmp_assets.platform.api.routes.pages import PageRoute, wants_page
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/ads", include_in_schema=False, route_class=PageRoute)
PATH = "/ads/notices"
MOST = 200
Acts = Annotated[Seat, Depends(seat("ads:write", acts=True))]
Reads = Annotated[Seat, Depends(seat("ads:read"))]
MUTE_DAYS: Mapping[int, str] = {1: "a day", 7: "a week", 28: "4 weeks", 365: "a year"}
By = Literal["slack", "email", "none"]
Time = Annotated[str, Form(max_length=8, pattern=r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$|^$")]


@router.get("/notices")
def page(
    request: Request,
    viewer: Views,
    asked: Days,
    kind: Annotated[Kind | None, Query()] = None,
) -> HTMLResponse:
    """What was not as usual, the newest first, and how the reader is told of it."""
    return _page(request, viewer, asked, kind=kind)


def _page(
    request: Request,
    viewer: Viewer,
    asked: Asked,
    *,
    kind: Kind | None = None,
    problem: Problem | None = None,
    entered: Preferences | None = None,
) -> HTMLResponse:
    at = viewer.seat
    own = _preferences(request, at) if at is not None else None

    def read(store: sa.Connection, focus: Focus) -> dict[str, Any]:
        query = _listed(focus, focus.span, kind).limit(MOST)
        counted = (
            sa.select(ad_notice.c.kind, sa.func.count().label("count"))
            .where(*_mine(focus, focus.span))
            .group_by(ad_notice.c.kind)
        )
        coverage = _coverage(store, focus, kind)
        return {
            "coverage": coverage,
            "judged": max((one.through for one in coverage if one.through), default=None),
            "notices": store.execute(query).mappings().all(),
            "counts": {row.kind: row.count for row in store.execute(counted)},
        }

    return ads_page(
        request, viewer, "notices", "ads_notices.html", read, asked=asked,
        tables=("ad_notice_coverage",), meanings=MEANINGS, kind=kind, own=own,
        chosen=entered or own, problem=problem, mute_days=MUTE_DAYS, figured=figure,
        usual=usual, status=problem.status_code if problem else 200, most=MOST,
    )  # fmt: skip


@dataclass(frozen=True)
class Covered:
    """Up to which day a kind was judged of an account, or of all shops; `why` it was not."""

    kind: str
    of: str
    through: date | None
    why: str | None


def _coverage(store: sa.Connection, focus: Focus, kind: Kind | None) -> list[Covered]:
    """What is looked at, in the order in which kinds are told."""
    of, account = ad_notice_coverage.c, ad_accounts.c
    same = sa.and_(account.advertiser_id == of.advertiser_id, account.account_id == of.account_id)
    query = (
        sa.select(ad_notice_coverage, account.name)
        .join_from(ad_notice_coverage, ad_accounts, same, isouter=True)
        .where(of.advertiser_id == focus.advertiser_id)
        .order_by(of.account_id)
    )
    rows = [row for row in store.execute(query) if row.kind in MEANINGS]
    kinds = list(MEANINGS)
    return [
        Covered(row.kind, row.name or row.account_id or "all shops", row.judged_through,
                row.no_data)
        for row in sorted(rows, key=lambda row: kinds.index(row.kind))
        if kind in (None, row.kind)
    ]  # fmt: skip


def _mine(focus: Focus, span: Span) -> list[sa.ColumnElement[bool]]:
    """Of the advertiser, and lasting into these days; later than the newest row where they end."""
    of = ad_notice.c
    last = span.last if span.last < focus.full_day else span.last + timedelta(days=28)
    return [
        of.advertiser_id == focus.advertiser_id, of.day >= span.first, of.since <= last,
    ]  # fmt: skip


def _listed(focus: Focus, span: Span, kind: Kind | None) -> sa.Select:
    of = ad_notice.c
    query = sa.select(ad_notice).where(*_mine(focus, span))
    if kind is not None:
        query = query.where(of.kind == kind)
    return query.order_by(of.day.desc(), of.found_at.desc(), of.notice_id)


def _preferences(request: Request, at: Seat) -> OwnPreferences | None:
    """Those of the reader; None for a program, whom nobody tells of anything."""
    if not at.principal.actor.startswith("person:"):
        return None
    found: OwnPreferences = notices.own_preferences(request, at)
    return found


@router.get("/notices.csv")
def file(
    request: Request, viewer: Views, asked: Days, kind: Annotated[Kind | None, Query()] = None
) -> Response:
    """The same as a file."""

    def read(store: sa.Connection, focus: Focus) -> list[dict[str, Any]]:
        rows = store.execute(_listed(focus, focus.span, kind)).mappings()
        return [{**row, "meaning": MEANINGS[row["kind"]]} for row in rows]

    return file_of(request, viewer, asked, "notices", notices.Notice, read)


# not hearing of it, and how to be told -----------------------------------------------------------
@router.post("/notices/mute")
def mute(
    request: Request,
    at: Acts,
    notice: Annotated[str, Form(max_length=40, pattern=NO_CONTROL)],
    days: Annotated[int, Form(ge=1, le=365)],
    what: Annotated[Literal["notice", "kind", "subject"], Form()] = "notice",
) -> Response:
    """Tell the person nothing of it for so many days; others hear of it all the same."""
    until = service_of(request).now() + timedelta(days=days)
    return _done(
        request, at, lambda: notices.mute(request, at, notice, MuteUntil(until=until, what=what))
    )


@router.post("/notices/unmute")
def unmute(request: Request, at: Acts, mute: Annotated[int, Form(ge=1, le=2**63 - 1)]) -> Response:
    """Hear of it again."""
    return _done(request, at, lambda: notices.unmute(request, at, mute))


@router.post("/notices/preferences")
async def prefer(
    request: Request,
    at: Reads,
    channel: Annotated[By, Form()],
    zone: Annotated[str, Form(max_length=80, pattern=NO_CONTROL)],
    quiet_from: Time = "",
    quiet_to: Time = "",
    digest_at: Time = "",
) -> Response:
    """Say how to be told. A kind is `kind.<kind>`, and `digest.<kind>` for the digest."""
    form = await request.form()
    kinds: dict[Kind, KindChoice] = {}
    for kind in MEANINGS:
        told = str(form.get(f"kind.{kind}", ""))
        if not told:
            continue
        try:
            kinds[kind] = KindChoice.model_validate(
                {"channel": told, "is_digest": f"digest.{kind}" in form}
            )
        except ValidationError as error:
            wrong = FieldError(field=f"body.kind.{kind}", message="slack, email or none")
            raise Problem(422, "invalid", errors=[wrong]) from error
    said = Preferences(
        channel=channel, kinds=kinds, zone=zone.strip(), quiet_from=_time(quiet_from),
        quiet_to=_time(quiet_to), digest_at=_time(digest_at),
    )  # fmt: skip
    return await run_in_threadpool(
        _done, request, at, lambda: notices.put_preferences(request, at, said), said
    )


def _time(text: str) -> time | None:
    return time.fromisoformat(text) if text else None


def _done(
    request: Request, at: Seat, work: Callable[[], Any], entered: Preferences | None = None
) -> Response:
    """Back to the list; a browser is shown what was refused on the page, with what was entered."""
    try:
        work()
    except Problem as problem:
        if not wants_page(request):
            raise
        asked = Asked("last-28", "", "", "before")
        return _page(request, Viewer(at.principal, at), asked, problem=problem, entered=entered)
    query = urlencode({"advertiser": at.advertiser_id})
    return RedirectResponse(f"{PATH}?{query}", 303)
