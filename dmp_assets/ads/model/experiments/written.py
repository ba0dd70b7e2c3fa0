"""Definitions and readings as JSON, and back: what is stored is what was meant.

JSON knows no infinite number: a bound that is infinite, and a figure that is none, are null.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from datetime import date
from decimal import Decimal
from typing import Any

from dmp_assets.ads.model.experiments.decide import Reading
from dmp_assets.ads.model.experiments.definition import Definition, Guardrail, Metric
from dmp_assets.ads.model.experiments.exposures import Excluded
from dmp_assets.ads.model.experiments.readout import Comparison, Readout

Written = dict[str, Any]

_LOW = ("low", "lift_low", "welch_low")
_HIGH = ("high", "lift_high", "welch_high")
_MAY_LACK = (
    "control", "treatment", "lift", "lift_low", "lift_high", "chance_to_win", "loss_of_choosing",
    "loss_of_leaving",
)  # fmt: skip
"""Figures that are None, and not infinite or no number, where there is none."""


def definition_json(definition: Definition) -> Written:
    """A definition as JSON has it."""
    return asdict(definition) | {
        "starts_on": definition.starts_on.isoformat(),
        "spend_cap": None if definition.spend_cap is None else str(definition.spend_cap),
    }


def definition_of(written: Mapping[str, Any]) -> Definition:
    """What `definition_json` wrote. Raises ExperimentError for one that cannot be run."""
    cap = written["spend_cap"]
    guardrails = [
        Guardrail(Metric(**one["metric"]), one["margin"]) for one in written["guardrails"]
    ]
    return Definition(**{
        **written,
        "variants": tuple(written["variants"]),
        "split": tuple(written["split"]),
        "places": tuple(written["places"]),
        "primary": Metric(**written["primary"]),
        "guardrails": tuple(guardrails),
        "secondary": tuple(Metric(**one) for one in written["secondary"]),
        "starts_on": date.fromisoformat(written["starts_on"]),
        "spend_cap": None if cap is None else Decimal(cap),
    })  # fmt: skip


def reading_json(reading: Reading) -> Written:
    """A reading as JSON has it."""
    readout = reading.readout
    return {
        "version": reading.version,
        "last_day": reading.last_day.isoformat(),
        "open_days": sorted(day.isoformat() for day in reading.open_days),
        "spent": str(reading.spent),
        "disapproved_ads": list(reading.disapproved_ads),
        "counts": list(readout.counts),
        "mismatch_p_value": readout.mismatch_p_value,
        "chi_squared_p_value": readout.chi_squared_p_value,
        "excluded": None if readout.excluded is None else asdict(readout.excluded),
        "comparisons": [comparison_json(one) for one in readout.comparisons],
    }


def comparison_json(one: Comparison) -> Written:
    """A comparison as JSON has it; `metric` is its name."""
    return {
        name: value if not isinstance(value, float) or math.isfinite(value) else None
        for name, value in asdict(replace(one)).items()
    } | {"metric": one.metric.name}


def reading_of(written: Mapping[str, Any], definition: Definition) -> Reading:
    """What `reading_json` wrote, of an experiment with this definition."""
    metrics = {metric.name: metric for metric in definition.metrics()}
    excluded = written["excluded"]
    return Reading(
        version=written["version"],
        last_day=date.fromisoformat(written["last_day"]),
        open_days=frozenset(date.fromisoformat(day) for day in written["open_days"]),
        spent=Decimal(written["spent"]),
        disapproved_ads=tuple(written["disapproved_ads"]),
        readout=Readout(
            counts=tuple(written["counts"]),
            mismatch_p_value=written["mismatch_p_value"],
            chi_squared_p_value=written["chi_squared_p_value"],
            comparisons=tuple(_comparison(one, metrics) for one in written["comparisons"]),
            excluded=None if excluded is None else Excluded(**excluded),
        ),
    )


def _comparison(written: Mapping[str, Any], metrics: Mapping[str, Metric]) -> Comparison:
    own = {one.name for one in fields(Comparison)}
    values = {name: value for name, value in written.items() if name in own}
    for name, value in values.items():
        if value is None and name not in (*_MAY_LACK, "unknown"):
            values[name] = -math.inf if name in _LOW else math.inf if name in _HIGH else math.nan
    if values["lift"] is not None:
        values["lift_low"] = -math.inf if values["lift_low"] is None else values["lift_low"]
        values["lift_high"] = math.inf if values["lift_high"] is None else values["lift_high"]
    return Comparison(**values | {"metric": metrics[values["metric"]]})
