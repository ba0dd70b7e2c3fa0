"""What promo-code abuse gives to the service: scoring, decisions, the review, usage of codes."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import sqlalchemy as sa

from dmp_assets.abuse.service.part import AbusePart
from dmp_assets.abuse.service.routes import (
    abuse,
    decisions,
    promo,
    review,
    review_csv,
    review_lists,
    review_search,
    review_what_if,
)
from dmp_assets.abuse.service.store import figures
from dmp_assets.abuse.service.store.schema import daily_activity
from dmp_assets.abuse.service.streams import STREAMS
from dmp_assets.platform.faces.service import Caller, Entry, Headline, ServiceFace
from dmp_assets.platform.figures.catalogue import figure
from dmp_assets.settings import Settings


def _headlines(store: sa.Connection, settings: Settings, who: Caller) -> Sequence[Headline]:
    newest: date | None = store.scalar(sa.select(sa.func.max(daily_activity.c.date)))
    if not who.may("promo:read") or newest is None:
        return ()
    return [*_of_days(store, newest), *_of_accounts(store)]


def _of_days(store: sa.Connection, newest: date) -> Iterator[Headline]:
    row = store.execute(
        sa.select(
            sa.func.sum(daily_activity.c.registrations).label("registrations"),
            sa.func.sum(daily_activity.c.usages).label("usages"),
        ).where(daily_activity.c.date >= newest - timedelta(days=29))
    ).one()
    for name, value in (("registered_users", row.registrations), ("promo_uses", row.usages)):
        said = f"{figure(name).label}, in the 30 days to {newest}"
        yield Headline(f"{value:,}", said, name)


def _of_accounts(store: sa.Connection) -> Iterator[Headline]:
    counted = figures.accounts(store)
    for name in ("flagged_accounts", "accounts_to_block"):
        said = f"{figure(name).label}, {figure(name).when}"
        yield Headline(f"{counted[name]:,}", said, name)


FACE = ServiceFace(
    routers=(
        abuse.router, decisions.router, promo.router, review.router, review_csv.router,
        review_lists.router, review_search.router, review_what_if.router,
    ),
    entries=(
        Entry(
            "/review", ", the lists, and what other thresholds would flag.", "abuse:review",
            title="Review", link="Accounts that wait for a decision",
        ),
        Entry("/v1/promo/top-users", "users by their use of promo codes", "promo:read"),
        Entry("/v1/promo/top-codes", "promo codes by their use", "promo:read"),
        Entry("/v1/promo/usage", "redemptions per day", "promo:read"),
        Entry("/v1/promo/registrations", "registrations per day", "promo:read"),
        Entry("/v1/abuse/decisions", "what was decided on accounts", "abuse:decisions"),
    ),
    headlines=_headlines,
    part=AbusePart.of,
    streams=STREAMS,
    package=__package__,
)  # fmt: skip
