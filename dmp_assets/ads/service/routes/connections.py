"""An advertiser's connections to Meta and Shopify, for programs: how they go, and no token."""

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from dmp_assets.ads.service.store import connected
from dmp_assets.ads.service.viewing import shops_of
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.output import Page, csv_or_json, rows_answer
from dmp_assets.platform.api.problems import responses
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/v1/ads", tags=["ads"])


class Connection(BaseModel):
    """A connection to an outside service, and how it goes."""

    service: Literal["Meta", "Shopify"]
    account: str = Field(description="The advertiser at Meta, a shop's domain at Shopify.")
    state: Literal["active", "needs_consent"] = Field(
        description="needs_consent: nothing is read until a person consents anew."
    )
    scopes: list[str] = Field(description="What was granted.")
    missing_scopes: list[str] = Field(description="What reading needs and was not granted.")
    may_write: bool = Field(description="Whether budgets can be written by it.")
    is_throttled: bool = Field(description="Whether the service's limits stopped us last.")
    consented_at: dt.datetime
    ends_at: dt.datetime | None = Field(description="When a person has to consent again.")
    last_success_at: dt.datetime | None
    last_failure_at: dt.datetime | None
    last_failure_kind: str | None = Field(description="What went wrong last, in few words.")


@router.get(
    "/connections",
    response_model=Page[Connection],
    responses={**csv_or_json(Connection), **responses(401, 403, 404, 406, 422, 429)},
)
def connections(
    request: Request, response: Response, at: Annotated[Seat, Depends(seat("ads:read"))]
) -> Any:
    """The advertiser's connections: their state, when they worked, what was granted."""
    service = service_of(request)
    shops = shops_of(service, at.advertiser_id)
    found = service.in_store(lambda store: connected.of(store, at.advertiser_id, shops))
    rows = [
        Connection(
            service=one.service, account=one.account, state=one.state, scopes=list(one.scopes),
            missing_scopes=list(one.missing), may_write=one.may_write,
            is_throttled=one.is_throttled, consented_at=one.consented_at, ends_at=one.ends_at,
            last_success_at=one.last_success_at, last_failure_at=one.last_failure_at,
            last_failure_kind=one.last_failure_kind,
        )
        for one in found
    ]  # fmt: skip
    return rows_answer(request, response, Connection, rows)
