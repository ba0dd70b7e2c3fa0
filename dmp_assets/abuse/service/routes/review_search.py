"""Searching for an account in the review."""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from dmp_assets.abuse.service import finding
from dmp_assets.abuse.service.part import part_of
from dmp_assets.abuse.service.routes.review import (
    Reviewer,
    described,
    is_known,
    names_for,
    review_page,
)
from dmp_assets.platform.api.output import opened, sealed
from dmp_assets.platform.api.problems import NO_NUL
from dmp_assets.platform.api.routes.pages import PageRoute
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/review", include_in_schema=False, route_class=PageRoute)


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
    """Accounts by id, e-mail, phone, device or IP; a single one is opened.

    Without personal:read by the whole id alone: what is masked must not be learnt by guessing it.
    """
    service, text = service_of(request), ""
    if token:
        (text,) = opened(service.seal, token, "search", "query.token")
    names: list[str] = []
    in_full = names_for(request, who).in_full
    if text and in_full and (live := part_of(service).live) is not None:
        names = live.search(text)

    def read(store: sa.Connection) -> dict[str, Any]:
        if text and text not in names and is_known(service, store, text):
            names.insert(0, text)
        if not names and in_full:
            names.extend(finding.by_part(service, store, text))
        return described(service, store, names)

    shown = service.in_store(read)
    if len(names) == 1:
        return RedirectResponse(names_for(request, who).address(names[0]), 303)
    return review_page(
        request, who, "review_search.html", here="search", text=text, names=names,
        in_full=in_full, **shown,
    )  # fmt: skip
