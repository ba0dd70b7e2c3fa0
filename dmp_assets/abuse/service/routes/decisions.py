"""What people decided on accounts, for the shop to act on."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from dmp_assets.abuse.service.store import review
from dmp_assets.platform.api.access import needs
from dmp_assets.platform.api.output import Page, csv_or_json, rows_answer
from dmp_assets.platform.api.problems import responses
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.store.access import Principal

router = APIRouter(prefix="/v1/abuse", tags=["abuse"])
_KNOWN = ", ".join(
    f"`{code}` ({category.verdict}: {category.text.lower()})"
    for code, category in review.CATEGORIES.items()
)


class AccountDecision(BaseModel):
    """What a person decided on an account."""

    decision_id: int = Field(description="Grows with every decision.", examples=[17])
    decided_at: datetime
    account_id: str = Field(
        description="Id in the shop, or the reference under which a new account was scored."
    )
    verdict: Literal["allow", "block", "undone"] = Field(
        description="It holds until the account's next one; `undone`: nothing holds any more."
    )
    category: str | None = Field(
        description=f"Why: {_KNOWN}; null for `undone`.", examples=["multi_accounting"]
    )


@router.get(
    "/decisions",
    response_model=Page[AccountDecision],
    responses={**csv_or_json(AccountDecision), **responses(401, 403, 406, 429)},
)
def decisions(
    request: Request,
    response: Response,
    _: Annotated[Principal, Depends(needs("abuse:decisions"))],
    since: Annotated[
        Annotated[int, Field(ge=0, le=2**63 - 1)] | datetime | None,
        Query(
            description="After this decision_id (`next` of the answer before), or from this time "
            "on (UTC unless it says otherwise); without it, from the first one."
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Rows of one page.")] = 100,
) -> Any:
    """Decisions in the order in which they were made.

    Ask again with `next` as `since` for what is new; where it is null there is nothing yet, ask
    again as before. A decision is here as soon as it is made.
    """
    if isinstance(since, datetime) and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    found = service_of(request).in_store(lambda store: review.decisions_since(store, since, limit))
    rows = [AccountDecision.model_validate(row, from_attributes=True) for row in found]
    after: int | None = rows[-1].decision_id if rows else since if isinstance(since, int) else None
    return rows_answer(
        request, response, AccountDecision, rows, None if after is None else str(after),
        parameter="since",
    )  # fmt: skip
