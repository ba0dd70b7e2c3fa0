"""The log of exposures: written in batches, each once, and never out of the order of its ids."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert

from dmp_assets.ads.model.experiments.decide import FINAL
from dmp_assets.ads.service.store.schema_experiments import ads_experiment, ads_experiment_exposure

_LOCKED = sa.text(f"SELECT pg_advisory_xact_lock({0x6578706F73})")  # "expos"
_OWN = ads_experiment_exposure.c


@dataclass(frozen=True, slots=True)
class Exposure:
    """That a unit met a variant. `unit`: its keyed hash."""

    advertiser_id: str
    experiment: str
    unit: str
    variant: str
    is_bot: bool
    exposed_at: datetime

    @property
    def key(self) -> tuple[str, str, str, str, bool]:
        """What is logged once."""
        return (self.advertiser_id, self.experiment, self.unit, self.variant, self.is_bot)

    def as_json(self) -> list[Any]:
        """For a file."""
        return [*self.key, self.exposed_at.isoformat()]

    @classmethod
    def of_json(cls, shown: Any) -> "Exposure":
        """What `as_json` made. Raises ValueError or TypeError for anything else."""
        advertiser_id, experiment, unit, variant, is_bot, at = shown
        if not all(isinstance(one, str) for one in (advertiser_id, experiment, unit, variant)):
            raise ValueError("no exposure")
        moment = datetime.fromisoformat(at)
        return cls(advertiser_id, experiment, unit, variant, bool(is_bot), moment)


def add(connection: sa.Connection, exposures: Sequence[Exposure]) -> None:
    """Log exposures; those that are there already stay as they are.

    Writers wait for each other, so that a reader who has seen up to an id has seen all before it.
    """
    connection.execute(_LOCKED)
    names = list(Exposure.__dataclass_fields__)
    rows = [dict(zip(names, astuple(one), strict=True)) for one in exposures]
    connection.execute(upsert(ads_experiment_exposure).on_conflict_do_nothing(), rows)


def erase(connection: sa.Connection, units: Collection[str]) -> Mapping[str, int]:
    """Delete the exposures of these units; table → how many rows."""
    if not units:
        return {}
    found = connection.execute(ads_experiment_exposure.delete().where(_OWN.unit.in_(sorted(units))))
    return {ads_experiment_exposure.name: found.rowcount} if found.rowcount else {}


_ENDED = (
    sa.select(ads_experiment.c.experiment)
    .where(
        ads_experiment.c.advertiser_id == _OWN.advertiser_id,
        ads_experiment.c.experiment == _OWN.experiment,
        ads_experiment.c.state.in_(sorted(state.value for state in FINAL)),
    )
    .correlate(ads_experiment_exposure)
    .exists()
)


def has_ended(connection: sa.Connection) -> bool:
    """Whether exposures of experiments are there that are over."""
    found = sa.select(_OWN.exposure_id).where(_ENDED).exists()
    return bool(connection.scalar(sa.select(found)))


def delete_ended(connection: sa.Connection, *, landed: int) -> int:
    """Delete what `has_ended` finds, but none with an id above `landed`; how many."""
    deleted = connection.execute(
        ads_experiment_exposure.delete().where(_ENDED, _OWN.exposure_id <= landed)
    )
    return deleted.rowcount
