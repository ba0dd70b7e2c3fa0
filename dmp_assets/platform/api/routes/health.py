"""Whether the service lives, whether it can serve, and what Prometheus is told."""

from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool

from dmp_assets.platform.api import problems
from dmp_assets.platform.api.access import needs, principal_of
from dmp_assets.platform.api.counting import Counting
from dmp_assets.platform.api.problems import Problem
from dmp_assets.platform.api.state import Service, service_of
from dmp_assets.platform.faces.service import Found, services
from dmp_assets.platform.store import database
from dmp_assets.platform.store.access import Principal
from dmp_assets.platform.store.errors import SchemaError, StoreError
from dmp_assets.platform.store.schema import publication, published_tables

router = APIRouter(tags=["health"])


class Live(BaseModel):
    """The process answers."""

    status: str = Field(examples=["live"])


class Check(BaseModel):
    """One thing that must be right before the service can serve."""

    name: str = Field(examples=["store"])
    ok: bool
    detail: str = Field(examples=["schema 0001"])


class Ready(BaseModel):
    """What was looked at."""

    ready: bool
    checks: list[Check]


@router.get("/health/live")
async def live() -> Live:
    """Answers as long as the process does; restart it when this does not answer."""
    return Live(status="live")


@router.get("/health/ready", responses={503: {"model": Ready}})
async def ready(request: Request, response: Response) -> Ready:
    """Whether the store answers, its schema fits and the tables are fresh; else 503 and why.

    Paths, versions and numbers are for callers with `runs:read` or `metrics:read` only.
    """
    service = service_of(request)
    found: list[Found] = await run_in_threadpool(service.checks.get, lambda: look(service))
    knows = await _may_know(request)
    checks = [
        Check(name=check.name, ok=check.ok, detail=check.detail if knows else check.summary)
        for check in found
    ]
    whole = all(check.ok for check in checks)
    service.metrics.ready.set(whole)
    if not whole:
        response.status_code = 503
        response.headers["Retry-After"] = str(problems.STORE_RETRY_SECONDS)
    response.headers["Cache-Control"] = "no-store"
    return Ready(ready=whole, checks=checks)


async def _may_know(request: Request) -> bool:
    """Whether the caller may read what is behind a check; a credential that fails may not."""
    try:
        who = await principal_of(request)
    except (Problem, DBAPIError, PoolTimeout):
        return False
    return who is not None and (who.may("runs:read") or who.may("metrics:read"))


def look(service: Service) -> list[Found]:
    """All checks; one that cannot be made fails."""
    try:
        database.check(service.store)
        published, told = service.in_store(lambda store: (_published(store), _told(store, service)))
    except SchemaError as error:
        said = "its schema is not this program's"
        return [Found(name="store", ok=False, detail=str(error), summary=said)]
    except (StoreError, DBAPIError, PoolTimeout) as error:
        service.log.warning("the store does not answer", error=type(error).__name__)
        said = "the store does not answer"
        return [Found(name="store", ok=False, detail=said, summary=said)]
    checks = [Found(name="store", ok=True, detail=f"schema {database.head()}", summary="answers")]
    for name, at in published.items():  # of what this program publishes
        hours = (service.now() - at).total_seconds() / 3600
        service.metrics.published_age.labels(name).set(hours * 3600)
        fresh = hours <= service.settings.freshness_hours
        checks.append(
            Found(
                name=f"published/{name}",
                ok=fresh,
                detail=f"published {hours:.1f} hours ago",
                summary="fresh" if fresh else "older than it should be",
            )
        )
    if not published:
        said = "nothing is published yet: `dmp run`, or materialize the assets `published/…`"
        checks.append(
            Found(name="published", ok=False, detail=said, summary="nothing is published yet")
        )
    checks += [found for part in service.parts.values() for found in part.checks()]
    return [*checks, *told, *_counting(service)]


def _counting(service: Service) -> list[Found]:
    """How calls are counted, where that should be for all processes together.

    A process that counts for itself serves on, so this is a note and fails nothing.
    """
    if not isinstance(service.limiter, Counting):
        return []
    alone = service.limiter.is_alone
    service.metrics.counting_alone.set(alone)
    said = "in this process alone: the counter does not answer" if alone else "for all processes"
    return [Found(name="rate-limits", ok=True, detail=f"counted {said}", summary=f"counted {said}")]


def _told(store: sa.Connection, service: Service) -> list[Found]:
    """What domains read in the store."""
    asked = [face.checks for face in services().values() if face.checks is not None]
    return [found for check in asked for found in check(store, service.settings)]


def _published(connection: sa.Connection) -> dict[str, datetime]:
    rows = connection.execute(
        sa.select(publication.c.table_name, publication.c.published_at).order_by(
            publication.c.table_name
        )
    )
    known = published_tables()
    return {row.table_name: row.published_at for row in rows if row.table_name in known}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **problems.responses(401, 403, 429)},
)
def metrics(request: Request, _: Annotated[Principal, Depends(needs("metrics:read"))]) -> Any:
    """Metrics in Prometheus's text format."""
    return Response(
        generate_latest(service_of(request).metrics.registry), media_type=CONTENT_TYPE_LATEST
    )
