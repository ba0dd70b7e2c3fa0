"""What callers say of experiments and are told of them, as the API has it."""

import datetime as dt
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from dmp_assets.ads.model.experiments.decide import MEANINGS, Cause
from dmp_assets.ads.model.experiments.definition import (
    SHARES,
    Definition,
    ExperimentError,
    Guardrail,
    Metric,
)
from dmp_assets.ads.model.experiments.measures import MEASURES, check_measures, metric_of
from dmp_assets.ads.model.experiments.planning import Expected
from dmp_assets.ads.service.store.experiments import Draft, Experiment, Noted
from dmp_assets.platform.api.problems import NO_CONTROL, NO_NUL
from dmp_assets.platform.values.numerals import INVISIBLE
from dmp_assets.platform.values.words import SPACES
from dmp_assets.sources.meta.studies import MOST_CELLS, MOST_ENTITIES

MOST_VARIANTS, MOST_METRICS = 20, 20
LEAST_ALPHA = 0.0001
Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Id = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9]{1,30}$")]
Places = Annotated[int, Field(strict=True, ge=0, le=SHARES)]
_METRICS = ", ".join(f"`{name}` ({one.about})" for name, one in MEASURES.items())


class MetricBody(BaseModel):
    """A metric of an experiment."""

    model_config = ConfigDict(extra="forbid")

    name: Name = Field(description=f"One of {_METRICS}.", examples=["conversion"])
    is_adjusted: bool = Field(
        False,
        description="Whether what units did in the 28 days before lessens the noise (CUPED).",
    )

    def metric(self) -> Metric:
        """Raises ExperimentError."""
        return metric_of(self.name, is_adjusted=self.is_adjusted)


class GuardrailBody(BaseModel):
    """A metric that must not get worse by as much as a margin."""

    model_config = ConfigDict(extra="forbid")

    metric: MetricBody
    margin: float = Field(gt=0, le=1, description="A share of the control's mean.", examples=[0.02])


class StudyBody(BaseModel):
    """What a split test at Meta is made of."""

    model_config = ConfigDict(extra="forbid")

    business_id: Id
    account_id: Id = Field(description="The ad account, without `act_`.")
    entities: Literal["campaigns", "adsets"] = Field(description="What cells hold.")
    cells: dict[Name, Annotated[list[Id], Field(min_length=1, max_length=MOST_ENTITIES)]] = Field(
        max_length=MOST_CELLS, description="Variant → the campaigns or ad sets that it sees."
    )


class ExperimentBody(BaseModel):
    """An experiment as it is defined before it starts."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["own", "meta_split"] = Field(
        "own", description="own: your shop asks which variant a unit gets; meta_split: Meta splits."
    )
    hypothesis: Annotated[
        str, StringConstraints(min_length=1, max_length=2_000, pattern=NO_NUL)
    ] = Field(description="What is believed, and why.")
    variants: Annotated[list[Name], Field(min_length=2, max_length=MOST_VARIANTS)] = Field(
        description="The control first.", examples=[["control", "free-shipping"]]
    )
    split: Annotated[
        list[Annotated[int, Field(strict=True, ge=1, le=SHARES)]],
        Field(min_length=2, max_length=MOST_VARIANTS),
    ] = Field(description=f"Their shares, which sum to {SHARES}.", examples=[[5000, 5000]])
    primary: MetricBody
    least_effect: float = Field(
        gt=0, le=10, description="The smallest relative change worth finding.", examples=[0.05]
    )
    guardrails: Annotated[list[GuardrailBody], Field(max_length=MOST_METRICS)] = []
    secondary: Annotated[list[MetricBody], Field(max_length=MOST_METRICS)] = []
    tuning: int = Field(
        strict=True, ge=1, le=10**12, description="N*: units planned, as the calculator says."
    )
    days: int = Field(strict=True, ge=7, le=365, description="Full days that it is planned for.")
    alpha: float = Field(0.05, ge=LEAST_ALPHA, le=0.2)
    layer: Name = Field("default", description="Experiments of one layer share no unit.")
    places: tuple[Places, Places] = Field(
        (0, SHARES), description="From and before which places of its layer it takes units."
    )
    unit: Literal["customer", "visitor", "tag"] | None = Field(
        None,
        description="How its units' orders are found: by the shop's customer id, by the web's "
        "visitor id, or by what the order's tag `unit:<id>` says. Of an own one alone.",
    )
    window_days: int | None = Field(
        None, strict=True, ge=1, le=90,
        description="Days after its exposure in which a unit's orders count; null: all so far.",
    )  # fmt: skip
    spend_cap: Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=4)] | None = Field(
        None, description="What a split test may spend in all, in the account's currency."
    )
    study: StudyBody | None = Field(None, description="Of a split test at Meta.")
    holdout_of: Literal["meta"] | None = Field(
        None,
        description="The channel whose ads your shop keeps from the control. Everybody whom it "
        "reaches is a unit; contribution is among the metrics. What it finds is known to budgets "
        "and claims orders. Of an own one of two variants.",
    )

    def draft(self, advertiser_id: str, key: str, today: dt.date) -> Draft:
        """What it defines. Raises ExperimentError for what cannot be run."""
        is_own = self.kind == "own"
        if is_own and (self.unit is None or self.study is not None or self.spend_cap is not None):
            raise ExperimentError(
                "an own experiment says by what its units' orders are found (unit), and has "
                "neither study nor spend_cap"
            )
        if not is_own and (self.study is None or self.unit or self.window_days):
            raise ExperimentError("a split test has a study, and neither unit nor window_days")
        if self.study is not None:
            self._check_study(self.study)
        definition = Definition(
            advertiser_id=advertiser_id, key=key, variants=tuple(self.variants),
            split=tuple(self.split), primary=self.primary.metric(),
            least_effect=self.least_effect, tuning=self.tuning,
            starts_on=today + dt.timedelta(days=1), days=self.days,
            guardrails=tuple(Guardrail(o.metric.metric(), o.margin) for o in self.guardrails),
            secondary=tuple(one.metric() for one in self.secondary), alpha=self.alpha,
            layer=self.layer, places=self.places, assigned_by="us" if is_own else "platform",
            spend_cap=self.spend_cap, holdout_of=self.holdout_of,
        )  # fmt: skip
        check_measures(list(definition.metrics()), definition.assigned_by)
        study = None if self.study is None else self.study.model_dump()
        return Draft(definition, self.hypothesis, self.kind, self.unit, self.window_days, study)

    def _check_study(self, study: StudyBody) -> None:
        if set(study.cells) != set(self.variants):
            raise ExperimentError("the study needs a cell for each variant, and no other")
        held = [entity for cell in study.cells.values() for entity in cell]
        if len(set(held)) < len(held):
            raise ExperimentError("nothing may be in two cells of a split test")
        if any(share % 100 for share in self.split):
            raise ExperimentError("Meta splits by whole percent: give shares in hundreds")


class NewExperimentBody(ExperimentBody):
    """A new experiment."""

    experiment: Name = Field(
        description="Its name, for good: units are assigned by it.", examples=["free-shipping"]
    )


class CalculatorBody(BaseModel):
    """What is known before an experiment."""

    model_config = ConfigDict(extra="forbid")

    metric: Literal["mean", "proportion", "ratio"] = Field(
        "proportion", description="Kind of the primary metric."
    )
    mean: float = Field(
        ge=-1e12, le=1e12, description="Of a unit, now; of a proportion the share.", examples=[0.03]
    )
    variance: float | None = Field(
        None, gt=0, le=1e18, description="Of a unit's value; a proportion needs none."
    )
    correlation: float = Field(
        0.0, gt=-1, lt=1, description="With the same units' values from before, where adjusted."
    )
    least_effect: float = Field(ge=-0.99, le=10, examples=[0.1])
    units_per_day: float = Field(ge=0.001, le=1e9, examples=[2000])
    treatments: int = Field(1, strict=True, ge=1, le=MOST_VARIANTS - 1)
    alpha: float = Field(0.05, ge=LEAST_ALPHA, le=0.2)
    power: float = Field(0.8, ge=0.05, le=0.999)

    def expected(self) -> Expected:
        """Raises ExperimentError."""
        return Expected(self.mean, self.variance, self.metric, self.correlation)


class PlanAnswer(BaseModel):
    """What an experiment takes."""

    units: int = Field(description="In the control and one treatment together.")
    all_units: int = Field(description="In all variants.")
    days: int | None = Field(description="At that traffic; null: over a year.")
    power: float = Field(description="Looked at daily with bounds that hold at any time.")
    power_fixed: float = Field(description="Of one look at the planned end.")
    tuning: int = Field(description="N* for the definition.")


class StepAnswer(BaseModel):
    """What happened to an experiment."""

    at: dt.datetime
    actor: str = Field(description="Who: a person, a client, or `automation`.")
    action: str
    cause: str | None
    meaning: str | None = Field(description="The cause in words.")
    state_before: str | None
    state_after: str
    winner: str | None
    version: int = Field(description="The reading that it follows from; 0: none.")
    subjects: list[str] = Field(description="What the cause is about: treatments, metrics, ads.")

    @classmethod
    def of(cls, step: Noted) -> "StepAnswer":
        """As it is told."""
        meaning = MEANINGS.get(cast(Cause, step.cause))
        return cls(**asdict(step), meaning=meaning)


class ReadingAnswer(BaseModel):
    """What is known of an experiment after a full day."""

    version: int = Field(description="An approval names it.")
    last_day: dt.date
    judged_at: dt.datetime
    reading: dict[str, Any] = Field(
        description="Counts, mismatch, who was left out, and each metric of each treatment; bounds "
        "hold at any time, null: infinite."
    )


class ExperimentAnswer(BaseModel):
    """An experiment as it stands."""

    experiment: str
    kind: str
    hypothesis: str
    state: str = Field(
        description="draft, running, paused, proposed (a winner waits for approval), stopped, "
        "promoted or ended."
    )
    winner: str | None = Field(description="Proposed or promoted.")
    version: int = Field(description="Of the newest reading that was judged; 0: none.")
    unit: str | None
    window_days: int | None
    definition: dict[str, Any] = Field(description="All that it says; fixed at its start.")
    study: dict[str, Any] | None
    study_id: str | None = Field(description="The split test at Meta.")
    study_state: str | None = Field(description="creating, made, ending or ended; null: none yet.")
    study_problem: str | None = Field(
        description="Why it was not made or ended at Meta when that was last tried; each run tries "
        "again. Null: nothing is known to be in the way."
    )
    created_at: dt.datetime
    started_at: dt.datetime | None
    ended_at: dt.datetime | None

    @classmethod
    def of(cls, one: Experiment) -> "ExperimentAnswer":
        """As it is told."""
        return cls(**_told(one))


class ExperimentDetail(ExperimentAnswer):
    """An experiment with its newest reading and its steps."""

    reading: ReadingAnswer | None = Field(description="The newest that was judged.")
    steps: list[StepAnswer] = Field(description="The newest first.")


def _told(one: Experiment) -> dict[str, Any]:
    from dmp_assets.ads.model.experiments.written import definition_json

    values = {name: getattr(one, name, None) for name in ExperimentAnswer.model_fields}
    return values | {"definition": definition_json(one.definition)}


class ApprovalBody(BaseModel):
    """Which reading is approved."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(strict=True, ge=1, le=2**63 - 1, description="That you were shown.")


def _plain(unit: str) -> str:
    """An id that means the same to whoever trims: who is to be forgotten is found by it."""
    if unit != unit.strip(SPACES) or not unit.isprintable() or set(unit) & set(INVISIBLE):
        raise ValueError("no spaces around it, and nothing that cannot be seen")
    return unit


class UnitBody(BaseModel):
    """Whom a variant is asked for."""

    model_config = ConfigDict(extra="forbid")

    unit: Annotated[
        str,
        StringConstraints(strict=True, min_length=1, max_length=200, pattern=NO_CONTROL),
        AfterValidator(_plain),
    ] = Field(description="Its id, by which its orders are found.", examples=["customer-17"])
    user_agent: Annotated[str, StringConstraints(strict=True, max_length=2_000)] | None = Field(
        None, description="Its browser's, to tell bots; it is not kept."
    )


class AssignedAnswer(BaseModel):
    """What a unit gets."""

    experiment: str
    variant: str | None = Field(description="Null: it is not in the experiment.")
    state: str
    is_exposed: bool = Field(description="Whether it counts as having met the variant.")
