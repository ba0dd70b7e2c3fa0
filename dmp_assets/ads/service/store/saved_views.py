"""Views that somebody saved: a page with its days and filters, by a name. The caller commits."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from dmp_assets.ads.service.store.schema_pages import ads_saved_view
from dmp_assets.platform.base.errors import UserError

MOST = 50
"""Views of one person and advertiser."""


class TooManyViewsError(UserError):
    """Somebody has as many views as there may be."""


@dataclass(frozen=True)
class SavedView:
    """A saved view. `query`: parameters of the page's address, the advertiser apart."""

    view_id: uuid.UUID
    name: str
    page: str
    query: str


def of(connection: sa.Connection, actor: str, advertiser_id: str) -> Sequence[SavedView]:
    """The views that somebody saved of an advertiser, by name."""
    table = ads_saved_view.c
    rows = connection.execute(
        sa.select(table.view_id, table.name, table.page, table.query)
        .where(table.actor == actor, table.advertiser_id == advertiser_id)
        .order_by(table.name)
    )
    return [SavedView(*row) for row in rows]


def save(
    connection: sa.Connection,
    actor: str,
    advertiser_id: str,
    name: str,
    *,
    page: str,
    query: str,
    now: datetime,
) -> None:
    """Save a view; one of the same name is replaced. Raises TooManyViewsError."""
    there = {one.name for one in of(connection, actor, advertiser_id)}
    if name not in there and len(there) >= MOST:
        raise TooManyViewsError(f"you have {MOST} views of this advertiser: remove one first")
    new = {"page": page, "query": query, "created_at": now}
    connection.execute(
        insert(ads_saved_view)
        .values(view_id=uuid.uuid4(), advertiser_id=advertiser_id, actor=actor, name=name, **new)
        .on_conflict_do_update(index_elements=["actor", "advertiser_id", "name"], set_=new)
    )


def remove(connection: sa.Connection, actor: str, advertiser_id: str, view_id: uuid.UUID) -> bool:
    """Remove a view of somebody's own; whether it was there."""
    table = ads_saved_view.c
    gone = connection.execute(
        ads_saved_view.delete().where(
            table.view_id == view_id, table.actor == actor, table.advertiser_id == advertiser_id
        )
    )
    return bool(gone.rowcount)
