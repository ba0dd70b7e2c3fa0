"""Figures of the catalogue as the service reads them: from the published tables.

Each is the same count as the reports' (`report/figures.py`), by the definition in the domain's
`figures.py`; a test compares them.
"""

from collections.abc import Mapping
from datetime import date

import sqlalchemy as sa

from dmp_assets.attribution.service.store.schema import channel_reporting


def advertising(
    store: sa.Connection, model: str, first: date, last: date
) -> Mapping[str, float | None]:
    """cost, cost_per_order, paid_cost_per_order, roas, paid_roas of the days by one model.

    None without what is divided by, or without any cost.
    """
    reported = channel_reporting.c
    channel = (
        sa.select(
            sa.cast(sa.func.sum(reported.cost), sa.Double).label("cost"),
            sa.func.sum(reported.conversions).label("conversions"),
            sa.func.sum(reported.revenue).label("revenue"),
        )
        .where(reported.model == model, reported.date.between(first, last))
        .group_by(reported.channel_name)
        .subquery()
        .c
    )
    paid = channel.cost > 0
    cost = sa.func.nullif(sa.func.sum(channel.cost), 0)

    def over(above: sa.ColumnElement, below: sa.ColumnElement) -> sa.ColumnElement:
        return above / sa.func.nullif(below, 0)

    row = store.execute(
        sa.select(
            cost.label("cost"),
            over(cost, sa.func.sum(channel.conversions)).label("cost_per_order"),
            over(cost, sa.func.sum(channel.conversions).filter(paid)).label("paid_cost_per_order"),
            over(sa.func.sum(channel.revenue), cost).label("roas"),
            over(sa.func.sum(channel.revenue).filter(paid), cost).label("paid_roas"),
        )
    ).one()
    return dict(row._mapping)
