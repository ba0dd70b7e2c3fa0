"""Logging in by a link that works once. Opening it changes nothing: its page has the button."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from dmp_assets.platform.api.access import LOGIN_RATE, from_our_page, limit
from dmp_assets.platform.api.problems import NO_NUL, Problem
from dmp_assets.platform.api.rates import caller_address
from dmp_assets.platform.api.routes.pages import (
    NO_STORE,
    begin_session,
    login_page,
    page,
    set_session,
)
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.store import login_links
from dmp_assets.platform.store.access import NotLetInError

router = APIRouter(include_in_schema=False)


@router.get(login_links.PATH)
async def show(
    request: Request, token: Annotated[str, Query(max_length=128, pattern=NO_NUL)] = ""
) -> Response:
    """The page with the button; programs that look at links ahead do not use them up."""
    return page(service_of(request), "login_once.html", token=token)


@router.post(login_links.PATH)
async def use(
    request: Request,
    response: Response,
    token: Annotated[str, Form(max_length=128, pattern=NO_NUL)],
) -> Response:
    """Begin a session; the link is void afterwards."""
    service = service_of(request)
    if not from_our_page(request):
        raise Problem(403, "forbidden", "the form is not ours: load the page again")
    await limit(request, response, caller_address(request), LOGIN_RATE)
    try:
        session = await run_in_threadpool(
            begin_session, service, request,
            lambda store: login_links.use(store, token, now=service.now()), by="link",
        )  # fmt: skip
    except NotLetInError:
        service.metrics.denied.labels("login").inc()
        said = "This link was used before or is too old. A new one: dmp user link, or dmp up again."
        return login_page(service, 401, said)
    answer = RedirectResponse("/", 303, headers=NO_STORE)
    set_session(service, answer, session)
    return answer
