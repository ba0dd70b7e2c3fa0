"""What works for shops like yours: pooled insights, and an advertiser's consent to be part of them.

What is shown and done is that of the API's routes, which these call.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from dmp_assets.ads.model.pooled.measures import INDUSTRIES, SIZES
from dmp_assets.ads.service.routes import pooled
from dmp_assets.ads.service.routes.pooled import ConsentBody
from dmp_assets.ads.service.viewing import Viewer, Views, plain_page
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.problems import NO_CONTROL, FieldError, Problem
from dmp_assets.platform.api.routes.pages import PageRoute, wants_page
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/ads", include_in_schema=False, route_class=PageRoute)
PATH = "/ads/insights"
Acts = Annotated[Seat, Depends(seat("ads:write", acts=True))]
Text = Annotated[str, Form(min_length=1, max_length=60, pattern=NO_CONTROL)]


@router.get("/insights")
def page(request: Request, viewer: Views) -> HTMLResponse:
    """Figures of ten shops at least, and whether this one takes part."""
    return _page(request, viewer)


def _page(request: Request, viewer: Viewer, *, problem: Problem | None = None) -> HTMLResponse:
    at = viewer.seat
    found: dict[str, Any] = {"insights": [], "consent": None}
    if at is not None:
        insights = pooled.insights_of(service_of(request), at.advertiser_id)
        found = {
            "insights": sorted(insights, key=lambda one: not one.is_yours),
            "consent": pooled.consent(request, at),
        }

    def read(store: sa.Connection, advertiser_id: str) -> dict[str, Any]:
        return found

    return plain_page(
        request, viewer, "insights", "ads_insights.html", read,
        problem.status_code if problem else 200, problem=problem, industries=INDUSTRIES,
        sizes=SIZES,
    )  # fmt: skip


@router.post("/insights/consent")
def give(request: Request, at: Acts, terms: Text, industry: Text, size: Text) -> Response:
    """Take part from the next run on, by the terms that were shown."""

    def work() -> Any:
        try:
            body = ConsentBody(terms_version=terms, industry=industry, size=size)
        except ValidationError as error:
            fields = [str(one["loc"][0]) for one in error.errors()]
            wrong = [FieldError(field=f"body.{one}", message="none of these") for one in fields]
            raise Problem(422, "invalid", errors=wrong) from error
        return pooled.give(request, at, body)

    return _done(request, at, work)


@router.post("/insights/withdraw")
def withdraw(request: Request, at: Acts, sure: Annotated[Literal["yes"], Form()]) -> Response:
    """Take part no more."""
    return _done(request, at, lambda: pooled.withdraw(request, at))


def _done(request: Request, at: Seat, work: Callable[[], Any]) -> Response:
    try:
        work()
    except Problem as problem:
        if not wants_page(request):
            raise
        return _page(request, Viewer(at.principal, at), problem=problem)
    return RedirectResponse(f"{PATH}?{urlencode({'advertiser': at.advertiser_id})}", 303)
