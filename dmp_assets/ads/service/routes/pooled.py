"""Pooled insights: an advertiser's consent, and what works for shops like yours."""

import datetime as dt
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from dmp_assets.ads.model.pooled.measures import (
    INDUSTRIES,
    MEASURES,
    SIZES,
    TERMS,
    TERMS_VERSION,
)
from dmp_assets.ads.service.store import pooled
from dmp_assets.ads.service.store.pooled import Given
from dmp_assets.ads.service.store.schema_pooled import pooled_insight
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.output import Page, csv_or_json, rows_answer
from dmp_assets.platform.api.problems import FieldError, Problem, responses
from dmp_assets.platform.api.state import Service, service_of

router = APIRouter(prefix="/v1/ads/pooled", tags=["ads"])
At = Annotated[Seat, Depends(seat("ads:read"))]
Acting = Annotated[Seat, Depends(seat("ads:write", acts=True))]
_ACTING = responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 429)


class ConsentBody(BaseModel):
    """An advertiser's word to take part."""

    model_config = ConfigDict(extra="forbid")

    terms_version: str = Field(
        max_length=20, description="The terms that you have read.", examples=[TERMS_VERSION]
    )
    industry: Literal[INDUSTRIES]  # type: ignore[valid-type]
    size: Literal[tuple(SIZES)] = Field(  # type: ignore[valid-type]
        description="By revenue: " + "; ".join(f"{name}: {said}" for name, said in SIZES.items())
    )


class ConsentAnswer(BaseModel):
    """Whether an advertiser takes part."""

    is_given: bool
    terms_version: str | None = Field(description="To which terms; null: to none.")
    given_at: dt.datetime | None
    industry: str | None
    size: str | None
    current_terms_version: str = Field(description="Consent to any other does not count.")
    terms: str = Field(description="What they say.")


class Insight(BaseModel):
    """A measure of a cell in a month, of ten advertisers at least."""

    period: dt.date = Field(description="First day of the month.")
    industry: str = Field(description="Empty: all.")
    size: str = Field(description="Empty: all.")
    measure: str
    formula: str = Field(description="What it is.")
    advertisers: int = Field(description="Rounded down to fives.")
    centre: float = Field(description="Geometric mean; of a share the mean. Two digits.")
    spread: float = Field(description="Factor of one deviation; of a share the deviation.")
    is_yours: bool = Field(description="Whether the cell is one that your shop is in.")


@router.get(
    "",
    response_model=Page[Insight],
    responses={**csv_or_json(Insight), **responses(401, 403, 404, 406, 422, 429)},
)
def insights(request: Request, response: Response, at: At) -> Any:
    """What works for shops like yours, the newest month first; nothing shows a single shop."""
    rows = insights_of(service_of(request), at.advertiser_id)
    return rows_answer(request, response, Insight, rows)


def insights_of(service: Service, advertiser_id: str) -> list[Insight]:
    """What is shown to an advertiser."""

    def read(store: sa.Connection) -> tuple[list[Any], Given | None]:
        own = pooled_insight.c
        query = sa.select(pooled_insight).order_by(
            own.period.desc(), own.industry, own.size, own.measure
        )
        return list(store.execute(query)), pooled.in_force(store, advertiser_id)

    found, given = service.in_store(read)
    return [
        Insight(
            **row._mapping, formula=MEASURES[row.measure][1],
            is_yours=given is not None and row.industry in ("", given.industry)
            and row.size in ("", given.size),
        )
        for row in found if row.measure in MEASURES
    ]  # fmt: skip


@router.get("/consent", response_model=ConsentAnswer, responses=responses(401, 403, 404, 422, 429))
def consent(request: Request, at: At) -> ConsentAnswer:
    """Whether the advertiser takes part, and what the terms say."""
    return _answer(
        service_of(request).in_store(lambda store: pooled.in_force(store, at.advertiser_id))
    )


@router.post("/consent", status_code=201, response_model=ConsentAnswer, responses=_ACTING)
def give(request: Request, at: Acting, body: ConsentBody) -> ConsentAnswer:
    """Take part from the next run on."""
    if body.terms_version != TERMS_VERSION:
        wrong = FieldError(
            field="body.terms_version", message=f"the terms are those of {TERMS_VERSION}"
        )
        raise Problem(422, "invalid", errors=[wrong])
    service = service_of(request)
    is_new = service.change(
        lambda store: pooled.give(
            store, at.advertiser_id, terms_version=body.terms_version, industry=body.industry,
            size=body.size, by=at.principal.actor, now=service.home.now(),
            request_id=request.state.request_id,
        )
    )  # fmt: skip
    if not is_new:
        raise Problem(409, "conflict", "you take part already; withdraw first to change it")
    return consent(request, at)


@router.delete("/consent", response_model=ConsentAnswer, responses=_ACTING)
def withdraw(request: Request, at: Acting) -> ConsentAnswer:
    """Take part no more: nothing that the next run shows holds anything of yours.

    Who does not take part is answered alike.
    """
    service = service_of(request)
    service.change(
        lambda store: pooled.withdraw(
            store,
            at.advertiser_id,
            by=at.principal.actor,
            now=service.home.now(),
            request_id=request.state.request_id,
        )
    )
    return consent(request, at)


def _answer(given: Given | None) -> ConsentAnswer:
    return ConsentAnswer(
        is_given=given is not None,
        terms_version=None if given is None else given.terms_version,
        given_at=None if given is None else given.given_at,
        industry=None if given is None else given.industry,
        size=None if given is None else given.size,
        current_terms_version=TERMS_VERSION,
        terms=TERMS,
    )
