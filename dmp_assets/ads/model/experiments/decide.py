"""What happens to a running experiment: a pure state machine over its daily readings.

Nothing here acts. `on_reading` says which state follows from a reading and why; `on_person` what a
person's word changes. Whoever calls notes each step, does what it says, and keeps the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from dmp_assets.ads.model.experiments.definition import Definition, ExperimentError
from dmp_assets.ads.model.experiments.mismatch import ALARM
from dmp_assets.ads.model.experiments.readout import Comparison, Readout

LEAST_DAYS = 7
"""Full days before a promotion, so that every weekday has been, and closed ones at its end."""


class State(StrEnum):
    """Where an experiment stands. The last three are final."""

    RUNNING = "running"
    PAUSED = "paused"
    PROPOSED = "proposed"
    STOPPED = "stopped"
    PROMOTED = "promoted"
    ENDED = "ended"


FINAL = frozenset({State.STOPPED, State.PROMOTED, State.ENDED})
GOING_ON = frozenset(State) - FINAL

Cause = Literal[
    "sample_ratio_mismatch",
    "overspend",
    "ad_disapproved",
    "guardrail_broken",
    "all_worse",
    "winner",
    "no_longer_won",
    "planned_end",
    "person",
]

MEANINGS: dict[Cause, str] = {
    "sample_ratio_mismatch": "units are not spread over the variants as the split says",
    "overspend": "it has spent more than its cap",
    "ad_disapproved": "an ad of it was disapproved",
    "guardrail_broken": "a guardrail is certainly worse, and by more than its margin",
    "all_worse": "every treatment is certainly worse than the control",
    "winner": "a treatment is certainly better and no guardrail is in danger",
    "no_longer_won": "what spoke for the proposed treatment does not hold any more",
    "planned_end": "its planned days have passed without a winner",
    "person": "a person said so",
}


@dataclass(frozen=True)
class Reading:
    """What is known of an experiment after a full day.

    `version` orders readings: a day that was restated has a later version, and numbers never go
    down. `last_day`: the last full day that the readout holds. `open_days`: days up to it that can
    still be restated. `spent`: by all variants together since the start.
    """

    version: int
    last_day: date
    readout: Readout
    open_days: frozenset[date] = frozenset()
    spent: Decimal = Decimal(0)
    disapproved_ads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """An experiment's state. `winner`: proposed or promoted; `version`: of its newest reading."""

    state: State = State.RUNNING
    version: int = 0
    winner: str | None = None


@dataclass(frozen=True)
class Step:
    """What one reading or one word of a person did, for the audit log.

    `before` and `after` are equal where nothing changed; then `cause` is None. `subjects`: what the
    cause is about: treatments, guardrails, ads. `by`: the person, None for the machine.
    """

    before: Run
    after: Run
    cause: Cause | None = None
    subjects: tuple[str, ...] = ()
    by: str | None = None

    @property
    def has_changed(self) -> bool:
        """The state is another, or another treatment is proposed."""
        return (self.before.state, self.before.winner) != (self.after.state, self.after.winner)


def on_reading(
    definition: Definition, run: Run, reading: Reading, *, is_automatic: bool = False
) -> Step:
    """What follows from a reading. The first that holds, in this order:

    a mismatch of the split, more spent than the cap, or a disapproved ad stops at once; a broken
    guardrail, or nothing but worse treatments, pauses; a winner is promoted where `is_automatic`
    and else proposed to a person; a proposal that does not hold any more is taken back; after
    the planned days it ends. A paused experiment can be stopped or end, and goes on only by a
    person. An old or repeated reading changes nothing, nor does any after a final state.

    There is a winner when the always-valid lower bound of its improvement of the primary metric is
    above 0, each of its guardrails holds, `LEAST_DAYS` full days have passed and the last
    `LEAST_DAYS` of them are closed; of several, the one with the highest lower bound.
    """
    if run.state in FINAL or reading.version <= run.version:
        return Step(run, run)
    seen = replace(run, version=reading.version)
    if alarm := _alarm(definition, reading):
        cause, subjects = alarm
        return Step(run, replace(seen, state=State.STOPPED, winner=None), cause, subjects)
    if run.state is not State.PAUSED:
        if danger := _danger(definition, reading.readout):
            cause, subjects = danger
            return Step(run, replace(seen, state=State.PAUSED, winner=None), cause, subjects)
        if name := winner(definition, reading):
            state = State.PROMOTED if is_automatic else State.PROPOSED
            is_news = (run.state, run.winner) != (state, name)
            after = replace(seen, state=state, winner=name)
            return Step(run, after, "winner" if is_news else None, (name,) if is_news else ())
    if full_days(definition, reading) >= definition.days and _is_closed(reading):
        return Step(run, replace(seen, state=State.ENDED, winner=None), "planned_end")
    if run.state is State.PROPOSED:
        assert run.winner is not None
        after = replace(seen, state=State.RUNNING, winner=None)
        return Step(run, after, "no_longer_won", (run.winner,))
    return Step(run, seen)


Word = Literal["approve", "reject", "pause", "resume", "stop"]

_MAY: dict[Word, tuple[State, ...]] = {
    "approve": (State.PROPOSED,),
    "reject": (State.PROPOSED,),
    "pause": (State.RUNNING, State.PROPOSED),
    "resume": (State.PAUSED,),
    "stop": (State.RUNNING, State.PAUSED, State.PROPOSED),
}
_LEADS: dict[Word, State] = {
    "approve": State.PROMOTED,
    "reject": State.RUNNING,
    "pause": State.PAUSED,
    "resume": State.RUNNING,
    "stop": State.STOPPED,
}


def on_person(run: Run, word: Word, by: str, *, version: int | None = None) -> Step:
    """What a person's word does. An approval names the version of the reading that was shown.

    Raises ExperimentError for a word that cannot be said in this state, and for the approval of
    what has been read anew since.
    """
    if run.state not in _MAY[word]:
        raise ExperimentError(f"an experiment that is {run.state.value} cannot {word}")
    if word == "approve" and version != run.version:
        raise ExperimentError(
            "there is a newer reading than the one that you approved: look at it and approve again"
        )
    winner = run.winner if word == "approve" else None
    after = replace(run, state=_LEADS[word], winner=winner)
    return Step(run, after, "person", (run.winner,) if run.winner else (), by)


def full_days(definition: Definition, reading: Reading) -> int:
    """Full days of the experiment that the reading holds."""
    return max((reading.last_day - definition.starts_on).days + 1, 0)


def winner(definition: Definition, reading: Reading) -> str | None:
    """The treatment that may be promoted by this reading, None where there is none."""
    is_old_enough = full_days(definition, reading) >= LEAST_DAYS
    if not (is_old_enough and _is_closed(reading)):
        return None
    best: Comparison | None = None
    for one in reading.readout.of("primary"):
        holds = one.gain_low > 0 and all(
            holds_guardrail(definition, guardrail)
            for guardrail in reading.readout.of("guardrail", one.treatment_name)
        )
        if holds and (best is None or one.gain_low > best.gain_low):
            best = one
    return best.treatment_name if best else None


def holds_guardrail(definition: Definition, one: Comparison) -> bool:
    """It is certain that the guardrail is not worse by its margin or more (non-inferiority)."""
    low = one.relative_gain_low
    return low is not None and low > -_margin(definition, one)


def breaks_guardrail(definition: Definition, one: Comparison) -> bool:
    """It is certain that the guardrail is worse, and its estimate is beyond the margin."""
    gain = one.relative_gain
    return one.gain_high < 0 and gain is not None and gain < -_margin(definition, one)


def _margin(definition: Definition, one: Comparison) -> float:
    margins: Sequence[float] = [
        guardrail.margin
        for guardrail in definition.guardrails
        if guardrail.metric.name == one.metric.name
    ]
    return margins[0]


def _alarm(definition: Definition, reading: Reading) -> tuple[Cause, tuple[str, ...]] | None:
    mismatch = reading.readout.mismatch_p_value
    if mismatch is not None and mismatch < ALARM:
        return "sample_ratio_mismatch", ()
    if definition.spend_cap is not None and reading.spent > definition.spend_cap:
        return "overspend", ()
    if reading.disapproved_ads:
        return "ad_disapproved", reading.disapproved_ads
    return None


def _danger(definition: Definition, readout: Readout) -> tuple[Cause, tuple[str, ...]] | None:
    broken = [
        one.metric.name for one in readout.of("guardrail") if breaks_guardrail(definition, one)
    ]
    if broken:
        return "guardrail_broken", tuple(dict.fromkeys(broken))
    primary = readout.of("primary")
    if primary and all(one.gain_high < 0 for one in primary):
        return "all_worse", tuple(one.treatment_name for one in primary)
    return None


def _is_closed(reading: Reading) -> bool:
    """None of the last days of the reading can be restated any more."""
    last = {reading.last_day - timedelta(days=back) for back in range(LEAST_DAYS)}
    return not last & reading.open_days
