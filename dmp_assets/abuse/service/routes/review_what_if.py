"""What other thresholds would flag."""

import math
from collections.abc import Collection
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from dmp_assets.abuse.model import money, registry
from dmp_assets.abuse.service import drawing
from dmp_assets.abuse.service.part import part_of
from dmp_assets.abuse.service.routes.review import Reviewer, review_page
from dmp_assets.abuse.service.store import hindsight
from dmp_assets.platform.api.problems import FieldError, Problem
from dmp_assets.platform.api.routes.pages import PageRoute
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/review", include_in_schema=False, route_class=PageRoute)
CHART = (720.0, 140.0)


Share = Annotated[float | None, Query(ge=0, le=1)]


@router.get("/what-if")
def what_if(
    request: Request,
    who: Reviewer,
    review_from: Share = None,
    block_from: Share = None,
    days: Annotated[int, Query(ge=1, le=365)] = 30,
) -> HTMLResponse:
    """What other thresholds would flag per day and cost, beside today's; and what was missed."""
    service = service_of(request)
    settings = service.settings
    costs = registry.costs(settings)
    today = part_of(service).scoring.accounts.model.thresholds
    tried = money.Thresholds(
        today.review_from if review_from is None else review_from,
        today.block_from if block_from is None else block_from,
    )

    if tried.review_from > tried.block_from:
        said = (
            f"review begins at {tried.review_from:g}, which is above {tried.block_from:g}, where "
            "block begins: nothing would be reviewed"
        )
        raise Problem(422, "invalid", errors=[FieldError(field="query.review_from", message=said)])

    def read(store: sa.Connection) -> dict[str, Any]:
        return {
            "now": hindsight.by_day(store, today.review_from, today.block_from, days),
            "then": hindsight.by_day(store, tried.review_from, tried.block_from, days),
            "misses": hindsight.misses(store),
        }

    found = service.in_store(read)
    highest = max((day.reviewed + day.blocked for day in found["now"] + found["then"]), default=0)

    def bars(name: str, *kinds: str) -> list[drawing.Bar]:
        counts = [sum(getattr(day, kind) for kind in kinds) for day in found[name]]
        return drawing.bars(counts, 1.1 * highest, *CHART)

    return review_page(
        request, who, "review_what_if.html", here="what-if", today=today, tried=tried, days=days,
        highest=highest, chart=CHART, flagged_now=bars("now", "reviewed", "blocked"),
        flagged_then=bars("then", "reviewed", "blocked"), blocked_then=bars("then", "blocked"),
        totals={name: _total(found[name], costs) for name in ("now", "then")},
        cost=lambda day: money.expected_cost(
            day.reviewed, day.honest_blocked, day.abusers_allowed, costs
        ),
        pairs=list(zip(found["now"], found["then"], strict=True)),
        missed=_interval(*found["misses"]), **found,
    )  # fmt: skip


def _total(days: Collection[hindsight.Day], costs: money.Costs) -> dict[str, float]:
    """Sums over the days, and the mean number flagged per day."""
    names = ("accounts", "reviewed", "blocked", "abusers_allowed", "honest_blocked")
    total: dict[str, float] = {name: sum(getattr(day, name) for day in days) for name in names}
    total["cost"] = money.expected_cost(
        total["reviewed"], total["honest_blocked"], total["abusers_allowed"], costs
    )
    total["flagged_per_day"] = (total["reviewed"] + total["blocked"]) / max(len(days), 1)
    return total


def _interval(decided: int, blocked: int) -> tuple[float, float] | None:
    """The share of misses with 95 % confidence (Wilson's interval); None without any decision."""
    if not decided:
        return None
    z, share = 1.96, blocked / decided
    middle = share + z * z / (2 * decided)
    apart = z * math.sqrt(share * (1 - share) / decided + z * z / (4 * decided**2))
    whole = 1 + z * z / decided
    return max(0.0, (middle - apart) / whole), min(1.0, (middle + apart) / whole)
