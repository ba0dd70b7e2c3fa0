"""What an experiment is: said and fixed before it starts, and the same ever after."""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from dmp_assets.platform.base.errors import GivenError

SHARES = 10_000
"""A split and a place in a layer are counted in ten-thousandths."""

HOLDOUT_METRIC = "contribution"
"""What a holdout measures, whatever else: the same as budgets are planned for."""

Kind = Literal["mean", "proportion", "ratio"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class ExperimentError(GivenError):
    """What was given of an experiment cannot be used; the message says what and why."""


@dataclass(frozen=True)
class Metric:
    """What is measured of each unit (a user).

    `mean`: an amount of each unit; `proportion`: 0 or 1 of each unit; `ratio`: the sum of one
    amount over the sum of another, both of each unit (revenue per session where users are
    assigned). `better` says which direction is wanted. `is_adjusted`: the same amounts of each
    unit from before its exposure are at hand and lessen the noise (CUPED).
    """

    name: str
    kind: Kind = "mean"
    better: Literal["higher", "lower"] = "higher"
    is_adjusted: bool = False

    def __post_init__(self) -> None:
        _named(self.name, "a metric")

    @property
    def columns(self) -> tuple[str, ...]:
        """Which amounts of a unit its moments are made of, in this order."""
        amounts = ("amount", "denominator") if self.kind == "ratio" else ("amount",)
        before = tuple(f"{name}_before" for name in amounts) if self.is_adjusted else ()
        return (*amounts, *before)

    @property
    def sign(self) -> int:
        """1 where more is better, −1 where less is."""
        return 1 if self.better == "higher" else -1


@dataclass(frozen=True)
class Guardrail:
    """A metric that must not get worse by more than `margin`, a share of the control's mean."""

    metric: Metric
    margin: float

    def __post_init__(self) -> None:
        if not 0 < self.margin <= 1:
            raise ExperimentError(
                f"the margin of {self.metric.name} is a share above 0 and up to 1, not "
                f"{self.margin}: what cannot be told from 0 harm would never hold"
            )


@dataclass(frozen=True)
class Definition:
    """An experiment. Nothing of it may change once the first unit has been assigned.

    `key` names it and salts its assignment. `variants`: the control first; `split`: their shares
    of those in the experiment, in ten-thousandths that sum to 10,000. `least_effect`: the smallest
    relative change of the primary metric that is worth finding. `tuning`: N*, the number of units
    of the control and a treatment together at which the always-valid intervals are narrowest; the
    planned number is the natural choice (`planning.plan`). `alpha`: how often a difference may be
    called where there is none, over the whole life of the experiment. `days`: full days that it is
    planned for. It takes the places `places[0] <= place < places[1]` of 10,000 in its `layer`;
    experiments of one layer whose places do not overlap never share a unit. `assigned_by`: "us" by
    `assignment`, or the ad "platform" in a split test of its own, whose cells reach whom they
    reach. `spend_cap`: what it may spend in all, in the advertiser's currency, None without a cap.
    `holdout_of`: the channel whose ads the control is not shown, as in a lift test; None: another
    question. Everybody whom the channel reaches is a unit then, and contribution is measured: what
    they brought more is what the channel's spend brought.
    Raises ExperimentError for a definition that cannot be run, with the reason.
    """

    advertiser_id: str
    key: str
    variants: tuple[str, ...]
    split: tuple[int, ...]
    primary: Metric
    least_effect: float
    tuning: int
    starts_on: date
    days: int
    guardrails: tuple[Guardrail, ...] = ()
    secondary: tuple[Metric, ...] = ()
    alpha: float = 0.05
    layer: str = "default"
    places: tuple[int, int] = (0, SHARES)
    assigned_by: Literal["us", "platform"] = "us"
    spend_cap: Decimal | None = None
    holdout_of: str | None = None

    def __post_init__(self) -> None:
        _named(self.key, "an experiment")
        _named(self.layer, "a layer")
        self._check_variants()
        self._check_numbers()
        self._check_holdout()
        names = [metric.name for metric in self.metrics()]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ExperimentError(
                f"each metric of {self.key} is named once: {', '.join(repeated)} is not"
            )

    def _check_variants(self) -> None:
        if len(self.variants) < 2 or len(set(self.variants)) < len(self.variants):
            raise ExperimentError(
                f"{self.key} needs two variants or more of different names, the control first"
            )
        for name in self.variants:
            _named(name, "a variant")
        if len(self.split) != len(self.variants) or min(self.split) < 1:
            raise ExperimentError(f"{self.key} needs a share above 0 for each of its variants")
        if sum(self.split) != SHARES:
            raise ExperimentError(
                f"the shares of {self.key} sum to {sum(self.split)}, not to {SHARES}"
            )
        first, last = self.places
        if not 0 <= first < last <= SHARES:
            raise ExperimentError(
                f"{self.key} takes places from 0 up to {SHARES} of its layer, not {first} to {last}"
            )

    def _check_holdout(self) -> None:
        if self.holdout_of is None:
            return
        if self.assigned_by != "us" or len(self.variants) != 2 or self.places != (0, SHARES):
            raise ExperimentError(
                f"{self.key} withholds the ads of {self.holdout_of}: that is an own experiment of "
                "two variants, in all places of its layer"
            )
        if HOLDOUT_METRIC not in [metric.name for metric in self.metrics()]:
            raise ExperimentError(
                f"{self.key} withholds the ads of {self.holdout_of}: {HOLDOUT_METRIC} is one of "
                "its metrics"
            )

    def _check_numbers(self) -> None:
        if not (math.isfinite(self.least_effect) and self.least_effect > 0):
            raise ExperimentError(
                f"the least effect of {self.key} is a relative change above 0, such as 0.05"
            )
        if not 0 < self.alpha <= 0.2:
            raise ExperimentError(f"alpha of {self.key} is above 0 and up to 0.2, not {self.alpha}")
        if self.tuning < 1:
            raise ExperimentError(f"N* of {self.key} is a number of units, 1 at least")
        if self.days < 7:
            raise ExperimentError(f"{self.key} takes 7 full days at least, so each weekday counts")
        if self.spend_cap is not None and not (self.spend_cap.is_finite() and self.spend_cap > 0):
            raise ExperimentError(f"the spend cap of {self.key} is an amount above 0, or none")

    @property
    def control(self) -> str:
        """The variant that the others are compared with."""
        return self.variants[0]

    @property
    def treatments(self) -> tuple[str, ...]:
        """All variants but the control."""
        return self.variants[1:]

    def metrics(self) -> Iterator[Metric]:
        """Every metric once: the primary, those of the guardrails, the secondary ones."""
        yield self.primary
        yield from (guardrail.metric for guardrail in self.guardrails)
        yield from self.secondary

    def digest(self) -> str:
        """SHA-256 of all that it says, in hexadecimal: noted at the start, compared ever after."""
        named = asdict(self)
        if self.holdout_of is None:  # of experiments that began before there were holdouts
            del named["holdout_of"]
        said = json.dumps(named, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(said.encode()).hexdigest()

    def check_unchanged(self, digest: str) -> None:
        """Raise ExperimentError where it is not what it was at its start."""
        if self.digest() != digest:
            raise ExperimentError(
                f"the definition of {self.key} is not the one that it started with: stop it and "
                "start another under a new key"
            )


def check_layer(definitions: list[Definition]) -> None:
    """Raise ExperimentError where two experiments of a layer would share units.

    `definitions`: those of one advertiser that run at the same time.
    """
    for at, one in enumerate(definitions):
        for other in definitions[:at]:
            is_apart = one.places[1] <= other.places[0] or other.places[1] <= one.places[0]
            if one.key == other.key:
                raise ExperimentError(f"there is an experiment {one.key} already")
            if one.layer == other.layer and not is_apart:
                raise ExperimentError(
                    f"{one.key} and {other.key} overlap in the layer {one.layer}: give one of "
                    "them other places, or another layer"
                )


def _named(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise ExperimentError(
            f"{what} is named by a to z, 0 to 9, - and _, 64 characters at most, not {name[:80]!r}"
        )
