"""What experiments found that kept a channel's ads from the control: what its spend brought.

Not a table: its newest reading of each is read of modeled/experiment_readings, and is known to
budgets as it claims orders.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from scipy import stats

from dmp_assets.ads.model.budgets.beliefs import Measured
from dmp_assets.ads.model.experiments.definition import HOLDOUT_METRIC, Definition
from dmp_assets.ads.model.experiments.mismatch import ALARM
from dmp_assets.ads.model.experiments.written import definition_of
from dmp_assets.platform.lake.table_asset import TableRun

SOURCES = ("raw/experiments", "modeled/experiment_readings")
_NEWEST = """
SELECT e.advertiser_id, e.experiment, e.definition, r.last_day, r.reading
FROM raw.experiments e JOIN modeled.experiment_readings r USING (advertiser_id, experiment)
WHERE e.definition::JSON ->> '$.holdout_of' IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY advertiser_id, experiment ORDER BY version DESC) = 1
ORDER BY ALL
"""


@dataclass(frozen=True)
class Holdout:
    """What a channel's ads brought from `first` to `last`, in the currency of sums.

    `effect`: contribution of all whom they reached, less what these would have brought without;
    `error`: its standard error.
    """

    advertiser_id: str
    experiment: str
    channel: str
    first: date
    last: date
    effect: float
    error: float

    @property
    def measured(self) -> Measured:
        """The same as budgets are told it: the control spends nothing."""
        end = self.last + timedelta(days=1)
        return Measured(self.channel, self.first, end, 0.0, self.effect, self.error)


def holdouts(run: TableRun) -> list[Holdout]:
    """Those of which there is a reading that says something; none where there are no tables."""
    if not all(run.exists(key) for key in SOURCES):
        return []
    return [one for row in run.sql(_NEWEST).to_pylist() for one in _read(row)]


def _read(row: dict[str, Any]) -> Iterator[Holdout]:
    definition, reading = definition_of(json.loads(row["definition"])), json.loads(row["reading"])
    mismatch = reading["mismatch_p_value"]
    if mismatch is not None and mismatch < ALARM:
        return  # nothing that it says is so
    for one in reading["comparisons"]:
        if one["metric"] == HOLDOUT_METRIC and one["unknown"] is None:
            error = _error(definition, one)
            if error is not None:
                units = reading["counts"][1]
                yield Holdout(
                    row["advertiser_id"], row["experiment"], str(definition.holdout_of),
                    definition.starts_on, row["last_day"], one["difference"] * units, error * units,
                )  # fmt: skip
            return


def _error(definition: Definition, one: dict[str, Any]) -> float | None:
    """Standard error of the difference, by the width of its interval for one look."""
    low, high = one["welch_low"], one["welch_high"]
    if low is None or high is None:
        return None
    alpha = definition.alpha / len(definition.treatments)
    error = float((high - low) / 2 / stats.norm.isf(alpha / 2))
    return error if np.isfinite(error) and error > 0 else None
