"""What was materialized when: version, rows and freshness of every table."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from deltalake.exceptions import DeltaError
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from dmp_assets.platform.api.access import needs
from dmp_assets.platform.api.output import Page, csv_or_json, rows_answer
from dmp_assets.platform.api.problems import STORE_RETRY_SECONDS, Problem, responses
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.lake.tables import TableError
from dmp_assets.platform.lake.writes import Write, newest
from dmp_assets.platform.store.access import Principal
from dmp_assets.platform.store.schema import publication

router = APIRouter(prefix="/v1", tags=["runs"])


class Materialization(BaseModel):
    """The last write of a table."""

    key: str = Field(description="Asset key.", examples=["cleaned/users"])
    written_at: datetime
    version: str = Field(description="Delta version, or data version of a published table.")
    rows: int
    run_id: str | None = Field(description="The Dagster run that wrote it.")
    is_fresh: bool = Field(description="Written within DMP_FRESHNESS_HOURS.")


@router.get(
    "/runs",
    response_model=Page[Materialization],
    responses={**csv_or_json(Materialization), **responses(401, 403, 406, 429)},
)
def runs(
    request: Request,
    response: Response,
    _: Annotated[Principal, Depends(needs("runs:read"))],
) -> Any:
    """Every table of the lakehouse, as it stood within 5 seconds, and every published one."""
    service = service_of(request)
    oldest = service.now() - timedelta(hours=service.settings.freshness_hours)
    try:
        written = service.written.get(lambda: newest(service.home, service.tables))
    except (TableError, DeltaError, OSError) as error:  # a table is being cleared away
        service.log.warning("the lakehouse cannot be read", error=type(error).__name__)
        raise Problem(
            503, "unavailable", "the lakehouse cannot be read",
            headers={"Retry-After": str(STORE_RETRY_SECONDS)},
        ) from error  # fmt: skip
    published = service.in_store(lambda store: store.execute(sa.select(publication)).all())
    found = written + [
        Write(
            f"published/{row.table_name}", row.published_at, row.data_version, row.rows, row.run_id
        )
        for row in published
    ]
    rows = [
        Materialization(**asdict(write), is_fresh=write.written_at >= oldest) for write in found
    ]
    return rows_answer(request, response, Materialization, rows)
