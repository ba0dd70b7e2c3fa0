"""Consent to pooled insights, and the groups that are made of who agreed.

Plain functions on a connection; the caller commits. Groups are for the run that sums them up; no
route reads them. `now` is the home's clock, which stands in a sandbox; the audit log has the true
time.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert

from dmp_assets.ads.model.pooled.cells import Cell, Consent, Group, Pool
from dmp_assets.ads.service.store.schema_pooled import ads_pool_consent, ads_pool_group
from dmp_assets.platform.store import audit

_OWN = ads_pool_consent.c
_LOCKED = sa.text(f"SELECT pg_advisory_xact_lock({0x706F6F6C})")  # "pool"


@dataclass(frozen=True)
class Given:
    """An advertiser's word: to which terms, as what shop, since when, and until when."""

    advertiser_id: str
    terms_version: str
    industry: str
    size: str
    given_at: datetime
    withdrawn_at: datetime | None

    @property
    def consent(self) -> Consent:
        """The same as the model takes it."""
        until = None if self.withdrawn_at is None else self.withdrawn_at.date()
        return Consent(self.advertiser_id, self.terms_version, self.given_at.date(), until)

    @property
    def cell(self) -> Cell:
        """The narrowest cell that the shop is in."""
        return (self.industry, self.size)


_COLUMNS = [_OWN[name] for name in Given.__dataclass_fields__]


def in_force(connection: sa.Connection, advertiser_id: str) -> Given | None:
    """An advertiser's consent, None where there is none or it was withdrawn."""
    row = connection.execute(
        sa.select(*_COLUMNS).where(_OWN.advertiser_id == advertiser_id, _OWN.withdrawn_at.is_(None))
    ).one_or_none()
    return None if row is None else Given(**row._mapping)


def every(connection: sa.Connection) -> list[Given]:
    """All consents that were ever given, in their order."""
    rows = connection.execute(sa.select(*_COLUMNS).order_by(_OWN.consent_id))
    return [Given(**row._mapping) for row in rows]


def give(
    connection: sa.Connection,
    advertiser_id: str,
    *,
    terms_version: str,
    industry: str,
    size: str,
    by: str,
    now: datetime,
    request_id: str | None,
) -> bool:
    """Note a consent; False where one is in force already, which stays as it is."""
    made = connection.execute(
        upsert(ads_pool_consent)
        .values(
            advertiser_id=advertiser_id, terms_version=terms_version, industry=industry,
            size=size, given_at=now, given_by=by,
        )
        .on_conflict_do_nothing()
        .returning(_OWN.consent_id)
    ).one_or_none()  # fmt: skip
    if made is None:
        return False
    audit.record(
        connection, at=datetime.now(UTC), actor=by, action="consent to pooled insights",
        outcome="done", request_id=request_id,
        detail={"advertiser": advertiser_id, "terms_version": terms_version},
    )  # fmt: skip
    return True


def withdraw(
    connection: sa.Connection,
    advertiser_id: str,
    *,
    by: str,
    now: datetime,
    request_id: str | None,
) -> bool:
    """Take a consent back; False where none is in force."""
    withdrawn = connection.execute(
        ads_pool_consent.update()
        .where(_OWN.advertiser_id == advertiser_id, _OWN.withdrawn_at.is_(None))
        .values(withdrawn_at=now, withdrawn_by=by)
    ).rowcount
    if withdrawn:
        audit.record(
            connection, at=datetime.now(UTC), actor=by, action="withdraw from pooled insights",
            outcome="done", request_id=request_id, detail={"advertiser": advertiser_id},
        )  # fmt: skip
    return bool(withdrawn)


def locked(connection: sa.Connection) -> Pool:
    """All groups there have ever been, which nobody else changes until this transaction ends."""
    connection.execute(_LOCKED)
    rows = connection.execute(sa.select(ads_pool_group).order_by(ads_pool_group.c.number))
    return Pool(
        tuple(
            Group(row.number, tuple(row.cell), frozenset(row.members), row.dissolved_on)
            for row in rows
        )
    )


def keep(connection: sa.Connection, before: Pool, after: Pool, on: date) -> None:
    """Note the groups that were formed and dissolved since `before`, which was `locked`."""
    known = {group.number: group for group in before.groups}
    for group in after.groups:
        if group.number not in known:
            connection.execute(
                ads_pool_group.insert().values(
                    number=group.number, cell=list(group.cell), members=sorted(group.members),
                    formed_on=on, dissolved_on=group.dissolved,
                )
            )  # fmt: skip
        elif group.dissolved != known[group.number].dissolved:
            connection.execute(
                ads_pool_group.update()
                .where(ads_pool_group.c.number == group.number)
                .values(dissolved_on=group.dissolved)
            )
