"""Pages for people: what is here with its headline numbers, logging in and out."""

import html
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, FastAPI, Form, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException

from dmp_assets.platform.api import logins
from dmp_assets.platform.api.access import (
    COOKIE,
    SAFE,
    credential_of,
    from_our_page,
    principal_of,
)
from dmp_assets.platform.api.advertisers import sees_shop
from dmp_assets.platform.api.logins import begin_session as begin_session
from dmp_assets.platform.api.problems import (
    NO_NUL,
    Problem,
    answer,
    field_errors,
    kind_of,
    more_errors,
    title,
    wrong_fields,
)
from dmp_assets.platform.api.state import Service, service_of
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.faces.service import Entry, Headline, services
from dmp_assets.platform.figures.catalogue import figure
from dmp_assets.platform.store import access
from dmp_assets.platform.store.access import NotLetInError, Principal

router = APIRouter(include_in_schema=False)
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
                if _status(error) == 401 and request.method in SAFE:
                    return to_login(request)
                return _problem_page(request, error)

        return handle_for_people


FOR_PROGRAMS = ("/v1/", "/health", "/metrics", "/static/")


def install(app: FastAPI) -> None:
    """Show a browser a page also where no route is; programs, and what is theirs, get a detail."""

    @app.exception_handler(StarletteHTTPException)
    async def _nowhere(request: Request, error: StarletteHTTPException) -> Response:
        said = str(error.detail or "")
        plain = said if said != HTTPStatus(error.status_code).phrase else None
        if wants_page(request) and not request.url.path.startswith(FOR_PROGRAMS):
            kind = kind_of(error.status_code)
            problem = Problem(error.status_code, kind, plain, headers=error.headers)
            return _problem_page(request, problem)
        return answer(
            request.state.request_id, error.status_code, detail=plain, headers=error.headers
        )


def _status(error: Problem | RequestValidationError) -> int:
    return error.status_code if isinstance(error, Problem) else 422


def wants_page(request: Request) -> bool:
    """Whether a browser asks, rather than a program."""
    return "text/html" in request.headers.get("accept", "")


def _problem_page(request: Request, error: Problem | RequestValidationError) -> HTMLResponse:
    if isinstance(error, Problem):
        status, kind, detail = error.status_code, error.kind, error.detail
        errors, headers = error.errors or [], error.headers
    else:
        status, kind, headers, errors = 422, "invalid", None, field_errors(error)
        detail = wrong_fields(errors, more_errors(error))
    shown = page(
        service_of(request), "problem.html", status, title=title(kind, status),
        is_let_in=status != 401, detail=detail, errors=errors, request_id=request.state.request_id,
        back=None if status in (401, 403) else _entry(request.url.path),
    )  # fmt: skip
    shown.headers.update(headers or {})
    return shown


def _entry(path: str) -> Entry | None:
    """The page of the first page's list that an address is below."""
    every = (entry for face in services().values() for entry in face.entries if entry.title)
    return next((one for one in every if f"{path}/".startswith(f"{one.path}/")), None)


async def person(request: Request) -> Principal | None:
    """Who is logged in; None for nobody, an old session included."""
    try:
        return await principal_of(request)
    except Problem as problem:
        if problem.status_code == 401:
            return None
        raise


@router.get("/")
async def home(request: Request) -> Response:
    """What is here; with headline numbers for those who may see them."""
    service, who = service_of(request), await person(request)
    if who is None and wants_page(request):
        return to_login(request)
    headlines: list[Headline] = []
    if who is not None:
        headlines = await run_in_threadpool(service.in_store, lambda s: _headlines(s, service, who))
    reports: list[RenderedReport] = []
    if who is not None and who.may("reports:read"):
        reports = await run_in_threadpool(_rendered, service.home.reports)
    return page(
        service, "home.html", who=who, headlines=headlines, reports=reports,
        may=frozenset() if who is None else who.scopes,
        meanings={headline.name: figure(headline.name).definition for headline in headlines},
        titles=[domain.title for domain in known_domains()],
        entries=[entry for face in services().values() for entry in face.entries],
    )  # fmt: skip


@dataclass(frozen=True)
class RenderedReport:
    """A report that can be opened: its file, and its title as the page has it."""

    file: str
    title: str


def _rendered(folder: Path) -> list[RenderedReport]:
    """The reports of a home, the index first."""
    found = []
    for path in sorted(folder.glob("*.html"), key=lambda path: (path.stem != "index", path.stem)):
        with path.open(encoding="utf-8", errors="replace") as page_of_report:
            named = re.search(r"<title>([^<]*)</title>", page_of_report.read(5_000))
        title = html.unescape(named[1]).strip() if named else path.stem.replace("_", " ")
        found.append(RenderedReport(path.name, "All reports" if path.stem == "index" else title))
    return found


def _headlines(store: sa.Connection, service: Service, who: Principal) -> list[Headline]:
    return [
        headline
        for face in services().values()
        if face.headlines is not None and sees_shop(store, who, face, service.settings)
        for headline in face.headlines(store, service.settings, who)
    ]


@router.get("/login")
async def login_form(
    request: Request, next: Annotated[str, Query(max_length=2000, pattern=NO_NUL)] = "/"
) -> Response:
    """The form; those who are logged in already go on."""
    if await person(request) is not None:
        return RedirectResponse(here(next), 303)
    return login_page(service_of(request), then=here(next))


@router.post("/login")
async def log_in(
    request: Request,
    email: Annotated[str, Form(max_length=255, pattern=NO_NUL)],
    password: Annotated[str, Form(max_length=1024, pattern=NO_NUL)],
    next: Annotated[str, Form(max_length=2000, pattern=NO_NUL)] = "/",
) -> Response:
    """Begin a session. What was wrong is not told apart, and takes as long as what is right."""
    service, then = service_of(request), here(next)
    if not from_our_page(request):
        raise Problem(403, "forbidden", "the form is not ours: load the page again")
    try:
        token, attempt = await logins.log_in(service, request, email, password)
    except NotLetInError:
        service.metrics.denied.labels("login").inc()
        return login_page(service, 401, "Address or password is wrong.", email, then)
    except Problem as problem:
        service.metrics.denied.labels("login").inc()
        if problem.status_code != 429 or not wants_page(request):
            raise
        said = f"{(problem.detail or '').capitalize()}."
        answer = login_page(service, 429, said, email, then)
        answer.headers.update(problem.headers or {})
        return answer
    going = RedirectResponse(then, 303, headers=NO_STORE)
    set_session(service, going, token)
    service.logins.know(going, attempt, secure=service.secure)
    return going


def here(path: str) -> str:
    """A path of this site, wherever it should have led."""
    is_ours = re.fullmatch(r"/(?!/)[\x21-\x5b\x5d-\x7e]*", path) is not None  # no backslash
    return path if is_ours and not path.startswith("/login") else "/"


def to_login(request: Request) -> RedirectResponse:
    """To the form, and from there back here."""
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = f"?{urlencode({'next': path})}" if here(path) != "/" else ""
    return RedirectResponse(f"/login{back}", 303, headers=NO_STORE)


def login_page(
    service: Service,
    status: int = 200,
    problem: str | None = None,
    email: str = "",
    then: str = "/",
) -> HTMLResponse:
    """The form, and the way to the OpenID provider where there is one; it leads to `then`."""
    return page(
        service, "login.html", status, problem=problem, email=email, issuer=service.issuer,
        then=then,
    )  # fmt: skip


def set_session(service: Service, answer: Response, token: str) -> None:
    """Give the browser its session."""
    answer.set_cookie(
        COOKIE, token, max_age=int(access.SESSION_LONGEST.total_seconds()), httponly=True,
        secure=service.secure, samesite="strict", path="/",
    )  # fmt: skip


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the session, also while the store does not answer: then it ends there later."""
    service, token = service_of(request), request.cookies.get(COOKIE, "")
    if not from_our_page(request):
        raise Problem(403, "forbidden", "the form is not ours: load the page again")
    try:
        who = await person(request)
        if who is not None and token:
            await run_in_threadpool(service.change, lambda store: access.log_out(store, token))
    except (DBAPIError, PoolTimeout):
        service.log.warning("a session ends here, and in the store when it answers")
        service.ended.add(token)
    service.known.forget(credential_of("session", token))
    answer = RedirectResponse("/login", 303, headers=NO_STORE)
    answer.delete_cookie(COOKIE, path="/", secure=service.secure, httponly=True)
    return answer
