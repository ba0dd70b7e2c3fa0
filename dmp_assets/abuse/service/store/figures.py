"""Figures of the catalogue as the service reads them: from the published tables.

Each is the same count as the reports' (`report/figures.py`), by the definition in the domain's
`figures.py`; a test compares them.
"""

from collections.abc import Mapping

import sqlalchemy as sa

from dmp_assets.abuse.service.store.schema import account_score


def accounts(store: sa.Connection) -> Mapping[str, int]:
    """scored_accounts, flagged_accounts, accounts_to_review, accounts_to_block."""
    decision = account_score.c.decision
    to_review = sa.func.count().filter(decision == "review")
    to_block = sa.func.count().filter(decision == "block")
    row = store.execute(
        sa.select(
            sa.func.count().label("scored_accounts"),
            (to_review + to_block).label("flagged_accounts"),
            to_review.label("accounts_to_review"),
            to_block.label("accounts_to_block"),
        ).select_from(account_score)
    ).one()
    return dict(row._mapping)
