"""The gate's app: logging in, and Dagster's app behind it, which nothing else leads to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa
from cryptography.fernet import Fernet
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from dmp_assets.home import Home
from dmp_assets.platform.api import problems, secret
from dmp_assets.platform.api.app import static_files, templates
from dmp_assets.platform.api.counting import limiter_of
from dmp_assets.platform.api.known import Known
from dmp_assets.platform.api.metrics import Metrics
from dmp_assets.platform.api.middleware import Guard
from dmp_assets.platform.api.oidc import Issuer
from dmp_assets.platform.api.routes import login_link, oidc, pages
from dmp_assets.platform.api.state import Entrance, service_of
from dmp_assets.platform.api.tending import tend
from dmp_assets.platform.gate.gate import RECHECK_SECONDS, Gate
from dmp_assets.platform.gate.origins import Origins, OwnPagesOnly
from dmp_assets.platform.store import database, where

MAX_BODY = 8 * 2**20
ACCOUNT = "/account"
_LOGIN = ("/login", "/logout")

router = APIRouter(include_in_schema=False)


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "live"}


@router.get(ACCOUNT)
async def account(request: Request) -> Response:
    """Who is logged in and what they may do; logging out."""
    who = await pages.person(request)
    if who is None:
        return RedirectResponse("/login", 303, headers=pages.NO_STORE)
    return pages.page(service_of(request), "gate.html", who=who, needed="")


def create_gate(
    home: Home,
    dagster: ASGIApp,
    origins: Origins,
    *,
    secure: bool,
    store: sa.Engine | None = None,
    recheck_seconds: float = RECHECK_SECONDS,
) -> FastAPI:
    """The gate of a home before `dagster`; `secure` when callers reach it by TLS.

    Raises StoreError when the operational store's schema is not this program's.
    """
    settings = home.settings()
    if store is None:
        store = database.engine(where.store_url(home), pool_size=4, patience=10)
    database.check(store)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tending = asyncio.create_task(tend(app.state.service))
        yield
        tending.cancel()
        app.state.service.store.dispose()

    app = FastAPI(
        title="dmp_assets: gate", openapi_url=None, docs_url=None, redoc_url=None,
        lifespan=lifespan,
    )  # fmt: skip
    app.state.service = entrance = Entrance(
        home=home,
        settings=settings,
        store=store,
        seal=Fernet(secret.of(home)),
        limiter=limiter_of(settings.api_rate_limit_storage),
        pages=templates(),
        known=Known(),
        secure=secure,
        metrics=Metrics(),
        issuer=Issuer.of(settings),
    )
    problems.install(app)
    login = [r for r in pages.router.routes if isinstance(r, APIRoute) and r.path in _LOGIN]
    app.router.routes.extend([*login, *login_link.router.routes, *oidc.router.routes])
    app.include_router(router)
    app.mount("/static", static_files())
    app.mount("", Gate(dagster, recheck_seconds=recheck_seconds))
    app.add_middleware(OwnPagesOnly, origins=origins)
    app.add_middleware(Guard, metrics=entrance.metrics, secure=secure, max_body=MAX_BODY)
    return app
