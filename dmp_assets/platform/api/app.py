"""The app factory: `create_app(home)` is the whole service, under `/v1`, `/reports` and `/`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from importlib.resources import files

import sqlalchemy as sa
from cryptography.fernet import Fernet
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool

from dmp_assets.home import Home
from dmp_assets.platform.api import problems, secret
from dmp_assets.platform.api.access import COOKIE, scopes_of
from dmp_assets.platform.api.advertisers import of_shop
from dmp_assets.platform.api.counting import limiter_of
from dmp_assets.platform.api.hosts import Hosts
from dmp_assets.platform.api.known import Known
from dmp_assets.platform.api.metrics import Metrics
from dmp_assets.platform.api.middleware import Guard
from dmp_assets.platform.api.oidc import Issuer
from dmp_assets.platform.api.problems import ProblemDetail
from dmp_assets.platform.api.routes import (
    health,
    login_link,
    oidc,
    pages,
    reports,
    runs,
)
from dmp_assets.platform.api.state import Service
from dmp_assets.platform.api.tending import tend
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.faces.service import services
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.store import database, where
from dmp_assets.platform.stream import kafka
from dmp_assets.platform.stream.sender import Sender, SenderThread, StreamMetrics
from dmp_assets.platform.text import foreign_text
from dmp_assets.settings import Settings

ABOUT = """
Results of the lakehouse for programs: {titles}, what was materialized when.

Send a key as `Authorization: Bearer dmp_…` (`dmp client add` makes one). Errors are problem
details (RFC 9457). Lists come as JSON pages with a cursor, or as CSV when `Accept: text/csv` asks
for it. Times are UTC, dates are days in UTC, ranges include both ends.
"""


def routers() -> list[APIRouter]:
    """Those of the domains, then the platform's own."""
    return [router for face in services().values() for router in face.routers] + _own()


def _own() -> list[APIRouter]:
    own = (health, runs, reports, pages, login_link, oidc)
    return [module.router for module in own]


def api_routes() -> list[APIRoute]:
    """Every route of the service; static files apart."""
    return [r for router in routers() for r in router.routes if isinstance(r, APIRoute)]


def create_app(home: Home, *, secure: bool = False, store: sa.Engine | None = None) -> FastAPI:
    """The service of a home; `secure` when callers reach it by TLS.

    Raises StoreError when the operational store's schema is not this program's.
    """
    settings = home.settings()
    if store is None:
        store = database.engine(where.store_url(home), pool_size=10, patience=10)
    database.check(store)

    metrics = Metrics()
    tables = Tables.of(home, settings)
    parts = {
        name: face.part(home, settings, tables, store, metrics)
        for name, face in services().items()
        if face.part is not None
    }

    sending = _sending(settings, store, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as ending:
            ending.callback(app.state.service.store.dispose)
            if sending is not None:
                sending.start()
                ending.push_async_callback(run_in_threadpool, sending.stop)
            for part in parts.values():
                await run_in_threadpool(part.start)
                ending.push_async_callback(run_in_threadpool, part.stop)
            tending = asyncio.create_task(tend(app.state.service))
            ending.callback(tending.cancel)
            yield

    app = FastAPI(
        title="dmp_assets",
        version=version("dmp_assets"),
        description=ABOUT.format(titles=", ".join(d.title.lower() for d in known_domains())),
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would lead to whatever host the caller names
        lifespan=lifespan,
        separate_input_output_schemas=False,
        responses=problems.responses(404, 422, 503),
    )
    app.state.service = service = Service(
        home=home,
        settings=settings,
        store=store,
        seal=Fernet(secret.of(home)),
        limiter=limiter_of(settings.api_rate_limit_storage),
        pages=templates(),
        known=Known(),
        secure=secure,
        parts=parts,
        metrics=metrics,
        tables=tables,
        issuer=Issuer.of(settings),
        is_host_told=(hosts := Hosts.of(settings)).are_told,
    )
    problems.install(app)
    pages.install(app)
    for face in services().values():
        about = [Depends(of_shop(face))] if face.shop_of is not None else []
        for router in face.routers:
            app.include_router(router, dependencies=about)
    for router in _own():
        app.include_router(router)
    app.mount("/static", static_files())
    _describe(app)
    app.add_middleware(Guard, metrics=service.metrics, secure=secure, hosts=hosts)
    return app


def _sending(settings: Settings, store: sa.Engine, metrics: Metrics) -> SenderThread | None:
    """What sends the logs of all domains to Kafka; None where that is not configured."""
    if not kafka.is_configured(settings):
        return None
    kafka.library()  # said now, and not while callers wait
    streams = [stream for face in services().values() for stream in face.streams]
    return SenderThread(Sender(settings, store, streams), StreamMetrics(metrics.registry))


def static_files() -> StaticFiles:
    """Styles and scripts of our pages, those of the domains among them."""
    brought: list[str | tuple[str, str]] = [(name, "static") for name in _packages("static")]
    own = str(files("dmp_assets.platform.api") / "static")
    return StaticFiles(directory=own, packages=brought)


def _packages(folder: str) -> list[str]:
    """The packages of domains that have a folder of this name."""
    named = [face.package for face in services().values() if face.package]
    return [name for name in named if (files(name) / folder).is_dir()]


def templates() -> Environment:
    """The templates of our pages, those of the domains among them."""
    brought = [PackageLoader(package) for package in _packages("templates")]
    return Environment(
        loader=ChoiceLoader([PackageLoader("dmp_assets.platform.api"), *brought]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=foreign_text.page_value,
    )


def _describe(app: FastAPI) -> None:
    """Put the schema of problem details, and how to authenticate, into the OpenAPI document."""
    generate = app.openapi

    def described() -> dict[str, object]:
        if app.openapi_schema is None:
            document = generate()
            components = document.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            schema = ProblemDetail.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= schema.pop("$defs", {}) | {"ProblemDetail": schema}
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            components["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "description": "A client's key."},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            }
            for route in api_routes():
                if scopes_of(route) and route.include_in_schema:
                    for method in route.methods or ():
                        operation = document["paths"][route.path_format][method.lower()]
                        operation["security"] = [{"key": []}, {"session": []}]
                        scopes = ", ".join(f"`{scope}`" for scope in scopes_of(route))
                        said = operation.get("description", "")
                        operation["description"] = f"{said}\n\nScope: {scopes}.".strip()
            app.openapi_schema = document
        return dict(app.openapi_schema or {})

    app.openapi = described  # type: ignore[method-assign]
