"""Use of promo codes: who, which, when."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from dmp_assets.abuse.service.store.schema import code_usage, daily_activity, user_usage
from dmp_assets.platform.api.access import needs
from dmp_assets.platform.api.output import Listing, Page, csv_or_json, rows_answer
from dmp_assets.platform.api.problems import responses
from dmp_assets.platform.api.ranges import Range, date_range
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.figures.catalogue import figure
from dmp_assets.platform.reporting.privacy import mask_id
from dmp_assets.platform.store.access import Principal

router = APIRouter(prefix="/v1/promo", tags=["promo codes"])
Reader = Annotated[Principal, Depends(needs("promo:read"))]
Limit = Annotated[int, Query(ge=1, le=1000, description="Rows of one page.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next` of the page before.")]
AtLeast = Annotated[int | None, Query(ge=0, le=10**9, description="At least so many.")]
Sort = Annotated[
    str, Query(max_length=40, description="A column, with `-` from the greatest down.")
]
_USERS = Listing(user_usage, "user_id", ("usages", "codes", "first_used_at", "last_used_at"))
_CODES = Listing(code_usage, "promo_code", ("usages", "users", "flagged_usages"))
_DENIED = responses(401, 403, 406, 429)


class UserUsage(BaseModel):
    """How a user uses promo codes."""

    rank: int = Field(description="Place by usages; ties share it.", examples=[1])
    user_id: str = Field(
        description="Id in the shop; masked without the scope personal:read.", examples=["u-000017"]
    )
    usages: int = Field(description=figure("promo_uses").definition, examples=[14])
    codes: int = Field(description=figure("codes_used").definition, examples=[3])
    first_used_at: datetime
    last_used_at: datetime
    decision: Literal["allow", "review", "block"] | None = Field(
        description="What the model advises; null: not scored."
    )
    probability: float | None = Field(description="Estimated probability of abuse.", ge=0, le=1)


class CodeUsage(BaseModel):
    """How a promo code is used."""

    rank: int = Field(description="Place by usages; ties share it.", examples=[1])
    promo_code: str = Field(examples=["SPRING10"])
    usages: int = Field(description=figure("promo_uses").definition)
    users: int = Field(description=figure("users_of_codes").definition)
    flagged_usages: int = Field(description=figure("flagged_uses").definition)
    discount_type: str | None = Field(description="percentage or fixed_amount.")
    discount_value: Decimal | None = Field(description="Per cent, or money.")
    first_used_at: datetime | None
    last_used_at: datetime | None


class Usage(BaseModel):
    """Redemptions of one day."""

    date: date
    usages: int = Field(description=figure("promo_uses").definition)
    users: int = Field(description=figure("users_of_codes").definition)
    first_usages: int = Field(description="Of these a user's first.")


class Registrations(BaseModel):
    """Registrations of one day."""

    date: date
    registrations: int = Field(description=figure("registered_users").definition)
    verified_email: int = Field(description="Of these with a verified e-mail address.")
    verified_phone: int = Field(description="Of these with a verified phone number.")


@router.get(
    "/top-users",
    response_model=Page[UserUsage],
    responses={**csv_or_json(UserUsage), **_DENIED},
)
def top_users(
    request: Request,
    response: Response,
    principal: Reader,
    sort: Sort = "-usages",
    decision: Annotated[
        Literal["allow", "review", "block"] | None, Query(description="Only these.")
    ] = None,
    min_usages: AtLeast = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Any:
    """Users by their use of promo codes, those with the most redemptions first."""
    where: list[sa.ColumnElement[bool]] = []
    if decision is not None:
        where.append(user_usage.c.decision == decision)
    if min_usages is not None:
        where.append(user_usage.c.usages >= min_usages)
    service = service_of(request)
    rows, after = service.in_store(
        lambda store: _USERS.page(
            store, service.seal, where=where, sort=sort, limit=limit, cursor=cursor
        )
    )
    shown = [UserUsage(**row) for row in rows]
    if not principal.may("personal:read"):
        for row in shown:
            row.user_id = mask_id(row.user_id)
    return rows_answer(request, response, UserUsage, shown, after)


@router.get(
    "/top-codes",
    response_model=Page[CodeUsage],
    responses={**csv_or_json(CodeUsage), **_DENIED},
)
def top_codes(
    request: Request,
    response: Response,
    _: Reader,
    sort: Sort = "-usages",
    min_usages: AtLeast = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Any:
    """Promo codes by their use, those with the most redemptions first."""
    where = [] if min_usages is None else [code_usage.c.usages >= min_usages]
    service = service_of(request)
    rows, after = service.in_store(
        lambda store: _CODES.page(
            store, service.seal, where=where, sort=sort, limit=limit, cursor=cursor
        )
    )
    return rows_answer(request, response, CodeUsage, [CodeUsage(**row) for row in rows], after)


def _days(request: Request, model: type[BaseModel], chosen: Range) -> list[Any]:
    columns = [daily_activity.c[name] for name in model.model_fields]
    query = sa.select(*columns).order_by(daily_activity.c.date)
    rows = service_of(request).in_store(
        lambda store: store.execute(chosen.within(query, daily_activity.c.date, store)).all()
    )
    return [model(**row._mapping) for row in rows]


@router.get("/usage", response_model=Page[Usage], responses={**csv_or_json(Usage), **_DENIED})
def usage(
    request: Request,
    response: Response,
    _: Reader,
    chosen: Annotated[Range, Depends(date_range)],
) -> Any:
    """Redemptions per day, days without any included."""
    return rows_answer(request, response, Usage, _days(request, Usage, chosen))


@router.get(
    "/registrations",
    response_model=Page[Registrations],
    responses={**csv_or_json(Registrations), **_DENIED},
)
def registrations(
    request: Request,
    response: Response,
    _: Reader,
    chosen: Annotated[Range, Depends(date_range)],
) -> Any:
    """Registrations per day, days without any included."""
    return rows_answer(request, response, Registrations, _days(request, Registrations, chosen))
