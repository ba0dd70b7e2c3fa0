"""An advertiser's connections to outside services, and how they go: no token, no secret.

Meta's account is the advertiser; a shop's is its domain, whose advertiser the settings say.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import sqlalchemy as sa

from dmp_assets.ads.grants import ends_at
from dmp_assets.ads.service.store.schema import (
    ad_performance_daily,
    ads_campaigns_daily,
    ads_claims_daily,
    ads_orders_daily,
    conversion_bridge,
)
from dmp_assets.platform.store.schema import publication, service_connection
from dmp_assets.sources.meta.connection import READING, WRITING
from dmp_assets.sources.meta.connection import SERVICE as META
from dmp_assets.sources.shopify.access import SCOPES
from dmp_assets.sources.shopify.access import SERVICE as SHOPIFY

_NEEDED = {META: READING, SHOPIFY: SCOPES}
THROTTLED = "throttled"
_TABLES = {
    "Ads": ad_performance_daily,
    "Orders": ads_orders_daily,
    "Claims": ads_claims_daily,
    "Truth bridge": conversion_bridge,
}


@dataclass(frozen=True)
class Connected:
    """A connection. `state`: active, or needs_consent; times are UTC. `ends_at`: when a person has
    to consent again at the latest, None when nothing says it."""

    connection_id: uuid.UUID
    service: Literal["Meta", "Shopify"]
    account: str
    state: Literal["active", "needs_consent"]
    scopes: tuple[str, ...]
    consented_at: datetime
    ends_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_failure_kind: str | None

    @property
    def missing(self) -> tuple[str, ...]:
        """Scopes that reading needs and that were not granted."""
        return tuple(one for one in _NEEDED[self.service] if one not in self.scopes)

    @property
    def may_write(self) -> bool:
        """Whether budgets and split tests can be written by it."""
        return self.service == META and all(one in self.scopes for one in WRITING)

    @property
    def is_failing(self) -> bool:
        """Whether what was tried last went wrong."""
        if self.last_failure_at is None:
            return False
        return self.last_success_at is None or self.last_failure_at > self.last_success_at

    @property
    def is_throttled(self) -> bool:
        """Whether it was the service's limits that stopped us last."""
        return self.is_failing and self.last_failure_kind == THROTTLED


def of(connection: sa.Connection, advertiser_id: str, shops: Collection[str]) -> list[Connected]:
    """The connections of an advertiser, whose shops these are."""
    table = service_connection.c
    rows = connection.execute(
        sa.select(service_connection)
        .where(
            sa.or_(
                sa.and_(table.service == META, table.account == advertiser_id),
                sa.and_(table.service == SHOPIFY, table.account.in_(shops)),
            )
        )
        .order_by(table.service, table.account)
    )
    return [
        Connected(
            connection_id=row.connection_id,
            service=row.service,
            account=row.account,
            state=row.state,
            scopes=tuple(row.scopes),
            consented_at=row.consented_at,
            ends_at=ends_at(row.service, row.expires_at, row.consent_ends_at),
            last_success_at=row.last_success_at,
            last_failure_at=row.last_failure_at,
            last_failure_kind=row.last_failure_kind,
        )
        for row in rows
    ]


@dataclass(frozen=True)
class Fresh:
    """How far an advertiser's rows go: the newest day, and since when that is known."""

    name: str
    last_day: date | None
    published_at: datetime | None


def freshness(connection: sa.Connection, advertiser_id: str) -> Sequence[Fresh]:
    """How far what the pages show goes."""
    of_names = publication.c
    published = {
        row.table_name: row.published_at
        for row in connection.execute(
            sa.select(of_names.table_name, of_names.published_at).where(
                of_names.table_name.in_([table.name for table in _TABLES.values()])
            )
        )
    }
    return [
        Fresh(
            name,
            connection.scalar(
                sa.select(sa.func.max(table.c.date)).where(table.c.advertiser_id == advertiser_id)
            ),
            published.get(table.name),
        )
        for name, table in _TABLES.items()
    ]


def last_days(
    connection: sa.Connection, advertiser_id: str
) -> tuple[Mapping[str, date], Mapping[str, date]]:
    """The newest day of each ad account, by its id, and of each shop, by its domain."""

    def newest(table: sa.Table, name: str) -> Mapping[str, date]:
        query = (
            sa.select(table.c[name].label("key"), sa.func.max(table.c.date).label("day"))
            .where(table.c.advertiser_id == advertiser_id)
            .group_by(table.c[name])
            .order_by(table.c[name])
        )
        return {row.key: row.day for row in connection.execute(query)}

    return newest(ads_campaigns_daily, "account_id"), newest(ads_orders_daily, "shop")
