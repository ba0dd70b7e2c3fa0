"""What is known of a channel's return beside an advertiser's own days: holdouts, pooled insights.

Not a table. Pooled insights are for who takes part in them: what kind of shop it is nobody else
has said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from dmp_assets.ads.model.budgets.beliefs import Belief
from dmp_assets.ads.model.budgets.fit import Knowledge
from dmp_assets.ads.model.pooled.measures import belief
from dmp_assets.ads.service.store import pooled
from dmp_assets.ads.tables.budget_days import CHANNEL, BudgetDays
from dmp_assets.ads.tables.holdouts import SOURCES as _HOLDOUTS
from dmp_assets.ads.tables.holdouts import Holdout, holdouts
from dmp_assets.platform.lake.table_asset import TableRun
from dmp_assets.platform.store import where

POOLED = "modeled/pooled_insights"
SOURCES = (*_HOLDOUTS, POOLED)
"""Tables that are read where they are there."""
_RETURN = "profit_roas"
_CELLS = f"""
SELECT industry, size, advertisers, centre, spread, period
FROM modeled.pooled_insights
WHERE measure = '{_RETURN}' AND centre > 0 AND spread > 1
QUALIFY period = max(period) OVER ()
"""
Cell = tuple[str, str]


@dataclass(frozen=True)
class Priors:
    """What is known beside the days, and where from, in words."""

    returns: Mapping[str, Belief]
    holdouts: Sequence[Holdout]
    said: Sequence[str]

    @property
    def knowledge(self) -> Knowledge:
        """As the model takes it."""
        return Knowledge(self.returns, [one.measured for one in self.holdouts])


@dataclass(frozen=True)
class Known:
    """What is known of all advertisers."""

    holdouts: Sequence[Holdout]
    cells: Mapping[Cell, Mapping[str, Any]]
    shops: Mapping[str, Cell]

    @classmethod
    def read(cls, run: TableRun) -> "Known":
        """Raises StoreError."""
        cells: dict[Cell, dict[str, Any]] = {}
        if run.exists(POOLED):
            rows = run.sql(_CELLS).to_pylist()
            cells = {(row["industry"], row["size"]): row for row in rows}
        return cls(holdouts(run), cells, _shops(run) if cells else {})

    def of(self, advertiser_id: str, days: BudgetDays) -> Priors:
        """Of an advertiser with these days; experiments within them alone."""
        within = [
            one
            for one in self.holdouts
            if one.advertiser_id == advertiser_id
            and days.first <= one.first <= one.last <= days.last
        ]
        said = [f"experiment {one.experiment}, {one.first} to {one.last}" for one in within]
        cell = self._cell(advertiser_id)
        if cell is None:
            return Priors({}, within, said)
        of = belief(cell["centre"], cell["spread"])
        period: date = cell["period"]
        said.append(f"pooled insights of {cell['advertisers']} shops or more, {period:%B %Y}")
        return Priors({CHANNEL: of}, within, said)

    def _cell(self, advertiser_id: str) -> Mapping[str, Any] | None:
        """The narrowest that is shown."""
        if advertiser_id not in self.shops:
            return None
        industry, size = self.shops[advertiser_id]
        wanted = ((industry, size), (industry, ""), ("", ""))
        return next((self.cells[one] for one in wanted if one in self.cells), None)


def _shops(run: TableRun) -> dict[str, Cell]:
    """What kind of shop each is that takes part now."""
    from dmp_assets.platform.store import database

    home = run.lakehouse.home
    if not where.is_configured(home):
        return {}
    with database.opened(where.store_url(home), checked=False) as store:
        database.check(store, published=False)
        with store.connect() as connection:
            given = pooled.every(connection)
    return {one.advertiser_id: (one.industry, one.size) for one in given if not one.withdrawn_at}
