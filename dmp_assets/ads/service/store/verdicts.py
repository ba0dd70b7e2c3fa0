"""What experiments came to by themselves, for people to be told of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dmp_assets.ads.service.store.experiments import MACHINE
from dmp_assets.ads.service.store.schema_experiments import ads_experiment_step


@dataclass(frozen=True)
class Verdict:
    """A step of an experiment that no person took: why, and where it stands since."""

    advertiser_id: str
    experiment: str
    at: datetime
    cause: str
    state: str
    winner: str | None


def since(store: sa.Connection, moment: datetime) -> Sequence[Verdict]:
    """The verdicts from a moment on, the oldest first; plain function on a connection."""
    step = ads_experiment_step.c
    rows = store.execute(
        sa.select(
            step.advertiser_id, step.experiment, step.at, step.cause,
            step.state_after.label("state"), step.winner,
        )
        .where(step.actor == MACHINE, step.cause.is_not(None), step.at >= moment)
        .order_by(step.step_id)
    )  # fmt: skip
    return [Verdict(**row._mapping) for row in rows]
