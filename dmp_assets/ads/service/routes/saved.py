"""Views that somebody saves: a page with its days and filters, by a name."""

import uuid
from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import StringConstraints

from dmp_assets.ads.service.store import saved_views
from dmp_assets.ads.service.viewing import PAGES
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.problems import NO_CONTROL, NO_NUL, FieldError, Problem
from dmp_assets.platform.api.routes.pages import PageRoute
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/ads", include_in_schema=False, route_class=PageRoute)
Reads = Annotated[Seat, Depends(seat("ads:read"))]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    Form(max_length=60, pattern=NO_CONTROL),
]
SavedPage = Annotated[str, Form(max_length=40, pattern=NO_CONTROL)]
LONGEST_QUERY = 2000


@router.post("/views")
def save(
    request: Request,
    at: Reads,
    name: Name,
    page: SavedPage,
    query: Annotated[str, Form(max_length=LONGEST_QUERY, pattern=NO_NUL)] = "",
) -> Response:
    """Save what is on the page under a name; a view of the same name is replaced."""
    service = service_of(request)
    if page not in PAGES:
        raise Problem(422, "invalid", errors=[
            FieldError(field="body.page", message="there is no such page")
        ])  # fmt: skip
    pairs = [(key, value) for key, value in parse_qsl(query) if key != "advertiser"]
    kept = urlencode(pairs)
    try:
        service.change(
            lambda store: saved_views.save(
                store, at.principal.actor, at.advertiser_id, name, page=page, query=kept,
                now=service.now(),
            )
        )  # fmt: skip
    except saved_views.TooManyViewsError as error:
        wrong = FieldError(field="body.name", message=str(error))
        raise Problem(422, "invalid", errors=[wrong]) from error
    return _back(at, page, pairs)


@router.post("/views/remove")
def remove(
    request: Request, at: Reads, view: Annotated[uuid.UUID, Form()], page: SavedPage = "overview"
) -> Response:
    """Remove a view of one's own."""
    gone = service_of(request).change(
        lambda store: saved_views.remove(store, at.principal.actor, at.advertiser_id, view)
    )
    if not gone:
        raise Problem(404, "not-found", "there is no such view of yours")
    return _back(at, page if page in PAGES else "overview", [])


def _back(at: Seat, page: str, pairs: list[tuple[str, str]]) -> RedirectResponse:
    query = urlencode([("advertiser", at.advertiser_id), *pairs])
    return RedirectResponse(f"{PAGES[page][0]}?{query}", 303)
