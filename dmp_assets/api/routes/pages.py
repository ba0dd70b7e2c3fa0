"""Pages for people: what is here with its headline numbers, logging in and out."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from dmp_assets.api.access import (
    COOKIE,
    caller_address,
    credential_of,
    from_our_page,
    limit,
    principal_of,
)
from dmp_assets.api.problems import Problem, field_errors, title
from dmp_assets.api.routes.attribution import figures
from dmp_assets.api.state import Service, service_of
from dmp_assets.store import access, audit
from dmp_assets.store.access import NotLetInError, Principal
from dmp_assets.store.schema import channel_reporting, daily_activity, user_usage

router = APIRouter(include_in_schema=False)
NO_NUL = r"^[^\x00]*$"
NO_STORE = {"Cache-Control": "no-store"}


def page(service: Service, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page from its template."""
    text = service.pages.get_template(template).render(**values)
    return HTMLResponse(text, status, headers=NO_STORE)


class PageRoute(APIRoute):
    """A route for people: a browser is shown a problem as a page, a program gets it in detail."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_for_people(request: Request) -> Response:
            try:
                return await handle(request)
            except (Problem, RequestValidationError) as error:
                if not wants_page(request):
                    raise
                return _problem_page(request, error)

        return handle_for_people


def wants_page(request: Request) -> bool:
    """Whether a browser asks, rather than a program."""
    return "text/html" in request.headers.get("accept", "")


def _problem_page(request: Request, error: Problem | RequestValidationError) -> HTMLResponse:
    if isinstance(error, Problem):
        status, kind, detail = error.status_code, error.kind, error.detail
        errors, headers = error.errors or [], error.headers
    else:
        status, kind, detail, errors, headers = 422, "invalid", None, field_errors(error), None
    shown = page(
        service_of(request), "problem.html", status, title=title(kind, status),
        is_let_in=status != 401, detail=detail, errors=errors, request_id=request.state.request_id,
    )  # fmt: skip
    shown.headers.update(headers or {})
    return shown


async def person(request: Request) -> Principal | None:
    """Who is logged in; None for nobody, an old session included."""
    try:
        return await principal_of(request)
    except Problem as problem:
        if problem.status_code == 401:
            return None
        raise


@router.get("/")
async def home(request: Request) -> HTMLResponse:
    """What is here; with headline numbers for those who may see them."""
    service, who = service_of(request), await person(request)
    headlines: list[Headline] = []
    if who is not None:
        headlines = await run_in_threadpool(service.in_store, lambda s: _headlines(s, service, who))
    reports = sorted(
        path.name for path in service.home.reports.glob("*.html") if path.name != "index.html"
    )
    return page(
        service, "home.html", who=who, headlines=headlines,
        reports=reports if who is not None and who.may("reports:read") else [],
        may=frozenset() if who is None else who.scopes,
    )  # fmt: skip


@dataclass(frozen=True)
class Headline:
    """One number of the first page."""

    value: str
    label: str


def _headlines(store: sa.Connection, service: Service, who: Principal) -> list[Headline]:
    found: list[Headline] = []
    newest: date | None = store.scalar(sa.select(sa.func.max(daily_activity.c.date)))
    if who.may("promo:read") and newest is not None:
        since = newest - timedelta(days=29)
        row = store.execute(
            sa.select(
                sa.func.sum(daily_activity.c.registrations).label("registrations"),
                sa.func.sum(daily_activity.c.usages).label("usages"),
            ).where(daily_activity.c.date >= since)
        ).one()
        said = f"in the 30 days to {newest}"
        found.append(Headline(f"{row.registrations:,}", f"registrations {said}"))
        found.append(Headline(f"{row.usages:,}", f"promo codes redeemed {said}"))
        flagged = store.scalar(
            sa.select(sa.func.count()).where(user_usage.c.decision.in_(("review", "block")))
        )
        found.append(Headline(f"{flagged:,}", "users of codes to be reviewed or blocked"))
    reported = channel_reporting.c
    closed: date | None = store.scalar(
        sa.select(sa.func.max(reported.date)).where(reported.is_open.is_(False))
    )
    if who.may("attribution:read") and closed is not None:
        total = store.execute(
            figures([]).where(
                reported.model == service.settings.reporting_model,
                reported.date.between(closed - timedelta(days=29), closed),
            )
        ).one()
        said = f"in the 30 days to {closed}"
        if total.cpo is not None:
            found.append(Headline(f"{total.cpo:,.2f}", f"EUR per order {said}"))
        if total.roas is not None:
            found.append(Headline(f"{total.roas:,.2f}", f"return on ad spend {said}"))
    return found


@router.get("/login")
async def login_form(request: Request) -> Response:
    """The form; those who are logged in already go on."""
    if await person(request) is not None:
        return RedirectResponse("/", 303)
    return login_page(service_of(request))


@router.post("/login")
async def log_in(
    request: Request,
    response: Response,
    email: Annotated[str, Form(max_length=255, pattern=NO_NUL)],
    password: Annotated[str, Form(max_length=1024, pattern=NO_NUL)],
) -> Response:
    """Begin a session. What was wrong is not told apart, and takes as long as what is right."""
    service = service_of(request)
    if not from_our_page(request):
        raise Problem(403, "forbidden", "the form is not ours: load the page again")
    await limit(
        request, response, caller_address(request), service.settings.api_denied_rate_limit, "login"
    )
    try:
        token = await run_in_threadpool(
            begin_session, service, request,
            lambda store: access.log_in(store, email, password, now=service.now()),
        )  # fmt: skip
    except NotLetInError:
        service.metrics.denied.labels("login").inc()
        said = "Address or password is wrong, or there were too many attempts: wait 15 minutes."
        return login_page(service, 401, said, email)
    answer = RedirectResponse("/", 303, headers=NO_STORE)
    set_session(service, answer, token)
    return answer


def login_page(
    service: Service, status: int = 200, problem: str | None = None, email: str = ""
) -> HTMLResponse:
    """The form, and the way to the OpenID provider where there is one."""
    return page(service, "login.html", status, problem=problem, email=email, issuer=service.issuer)


def set_session(service: Service, answer: Response, token: str) -> None:
    """Give the browser its session."""
    answer.set_cookie(
        COOKIE, token, max_age=int(access.SESSION_LONGEST.total_seconds()), httponly=True,
        secure=service.secure, samesite="strict", path="/",
    )  # fmt: skip


def begin_session(
    service: Service, request: Request, opened: Callable[[sa.Connection], str], **detail: str
) -> str:
    """The token of the session that `opened` begins; in the audit log whatever comes of it.

    Raises NotLetInError as `opened` does.
    """
    token, error = "", None
    with service.store.begin() as store:
        try:
            token = opened(store)
            actor = access.person_of(store, token, now=service.now()).actor
        except NotLetInError as refused:
            actor, error = refused.actor, refused
        audit.record(
            store, at=service.now(), actor=actor, action="log in",
            outcome="denied" if error else "done", request_id=request.state.request_id,
            detail=detail | ({"why": error.why} if error else {}),
        )  # fmt: skip
    if error:
        raise error
    return token


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the session."""
    service, who = service_of(request), await person(request)
    if who is not None:
        token = request.cookies.get(COOKIE, "")
        await run_in_threadpool(service.change, lambda store: access.log_out(store, token))
        service.known.forget(credential_of("session", token))
    answer = RedirectResponse("/login", 303, headers=NO_STORE)
    answer.delete_cookie(COOKIE, path="/", secure=service.secure, httponly=True)
    return answer
