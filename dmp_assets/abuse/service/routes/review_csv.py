"""The review's lists as files: what waits, and what is allowed or blocked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from dmp_assets.abuse.service.routes.review import Reviewer, names_for
from dmp_assets.abuse.service.routes.review_lists import last_day, masked_value
from dmp_assets.abuse.service.store import claims, lists, review_queue, watching
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.platform.api.output import CSV, csv_text
from dmp_assets.platform.api.routes.pages import PageRoute
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/review", include_in_schema=False, route_class=PageRoute)
MOST = 10_000


class Waiting(BaseModel):
    """A case that waits."""

    account_id: str
    why: str
    probability: float
    decision: str
    strongest_reason: str | None
    cluster_size: int
    waiting_accounts: int
    expected_loss: float
    scored_at: datetime
    taken_on_by: str | None


class Listed(BaseModel):
    """An entry of a list."""

    list: str
    kind: str
    value: str
    last_day: str
    owner: str
    added_at: datetime
    comment: str


@router.get("/queue.csv")
def queue(
    request: Request, who: Reviewer, why: Annotated[review_queue.Why | None, Query()] = None
) -> Response:
    """The cases that wait, those with most money at risk first; at most MOST."""
    service, names = service_of(request), names_for(request, who)
    settings = service.settings.of(AbuseSettings)

    def read(store: sa.Connection) -> list[Waiting]:
        cases = review_queue.cases(store, share=settings.review_sample_share, why=why, limit=MOST)
        taken = claims.claims(store, [case.account_id for case in cases])
        return [
            Waiting(
                account_id=names.label(case.account_id), why=case.why,
                probability=case.probability, decision=case.decision,
                strongest_reason=case.reasons[0]["text"] if case.reasons else None,
                cluster_size=case.cluster_size, waiting_accounts=case.waiting,
                expected_loss=round(case.expected_abusers * settings.cost_lost_discount, 2),
                scored_at=case.at,
                taken_on_by=taken[case.account_id].name if case.account_id in taken else None,
            )
            for case in cases
        ]  # fmt: skip

    return _file("queue.csv", Waiting, service.in_store(read))


@router.get("/lists.csv")
def lists_(request: Request, who: Reviewer) -> Response:
    """What is on the lists."""
    service, masked = service_of(request), masked_value(who)

    def read(store: sa.Connection) -> list[Listed]:
        entries = lists.entries(store, now=service.now())
        owners = watching.names(store, {entry.owner for entry in entries})
        return [
            Listed(
                list=entry.effect, kind=entry.kind, value=masked(entry),
                last_day=last_day(entry), owner=owners[entry.owner], added_at=entry.created_at,
                comment=entry.comment,
            )
            for entry in entries
        ]  # fmt: skip

    return _file("lists.csv", Listed, service.in_store(read))


def _file(name: str, model: type[BaseModel], rows: Sequence[BaseModel]) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "private, no-store",
    }
    return Response(csv_text(model, rows), media_type=CSV, headers=headers)
