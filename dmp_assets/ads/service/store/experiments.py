"""Experiments in the store: defined, started, judged, ended; each step with its audit row.

Plain functions on a connection; the caller commits. Every query names the advertiser. `now` is the
home's clock, which stands in a sandbox; the audit log has the true time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert

from dmp_assets.ads.model.experiments import decide
from dmp_assets.ads.model.experiments.decide import Reading, Run, State, Step, Word
from dmp_assets.ads.model.experiments.definition import Definition, ExperimentError, check_layer
from dmp_assets.ads.model.experiments.written import definition_json, definition_of, reading_json
from dmp_assets.ads.service.store.schema_experiments import (
    ads_experiment,
    ads_experiment_reading,
    ads_experiment_step,
)
from dmp_assets.platform.store import audit
from dmp_assets.platform.text.foreign_text import cut, visible

MACHINE = "automation"
"""Who acts where no person does."""
DRAFT = "draft"
_GOING_ON = sorted(state.value for state in decide.GOING_ON)
_OWN = ads_experiment.c
_LONGEST_PROBLEM = 500


class ConflictError(ExperimentError):
    """It cannot be done in the state in which the experiment is."""


@dataclass(frozen=True)
class Draft:
    """What a person says of an experiment. `unit`: by what orders are found, of own assignment;
    `window_days`: how long after its exposure a unit's orders count, None: as long as it runs;
    `study`: accounts and cells of a split test of Meta's."""

    definition: Definition
    hypothesis: str
    kind: str
    unit: str | None = None
    window_days: int | None = None
    study: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Experiment:
    """An experiment as it stands: a row of `ads_experiment`."""

    advertiser_id: str
    experiment: str
    kind: str
    hypothesis: str
    unit: str | None
    window_days: int | None
    study: Mapping[str, Any] | None
    definition: Definition
    digest: str | None
    keyed_by: str | None
    state: str
    version: int
    winner: str | None
    study_id: str | None
    study_state: str | None
    study_problem: str | None
    created_at: datetime
    created_by: str
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def run(self) -> Run:
        """Its state for `decide`. Raises ConflictError for a draft."""
        if self.state == DRAFT:
            raise ConflictError(f"{self.experiment} has not been started")
        return Run(State(self.state), self.version, self.winner)

    def checked(self) -> Definition:
        """The definition, which is the one it started with. Raises ExperimentError."""
        if self.digest is not None:
            self.definition.check_unchanged(self.digest)
        return self.definition


def _read(row: Any) -> Experiment:
    values = dict(row._mapping)
    return Experiment(**values | {"definition": definition_of(values["definition"])})


def _at(advertiser_id: str, experiment: str) -> sa.ColumnElement[bool]:
    return sa.and_(_OWN.advertiser_id == advertiser_id, _OWN.experiment == experiment)


def one(
    connection: sa.Connection, advertiser_id: str, experiment: str, *, locked: bool = False
) -> Experiment | None:
    """An advertiser's experiment of this name; `locked`: nobody else changes it meanwhile."""
    query = sa.select(ads_experiment).where(_at(advertiser_id, experiment))
    row = connection.execute(query.with_for_update() if locked else query).one_or_none()
    return None if row is None else _read(row)


def of_advertiser(
    connection: sa.Connection, advertiser_id: str, *, after: str, limit: int
) -> list[Experiment]:
    """An advertiser's experiments by name, those after a name."""
    query = (
        sa.select(ads_experiment)
        .where(_OWN.advertiser_id == advertiser_id, _OWN.experiment > after)
        .order_by(_OWN.experiment)
        .limit(limit)
    )
    return [_read(row) for row in connection.execute(query)]


def started(connection: sa.Connection) -> list[Experiment]:
    """Every experiment of all advertisers but drafts."""
    query = (
        sa.select(ads_experiment)
        .where(_OWN.state != DRAFT)
        .order_by(_OWN.advertiser_id, _OWN.experiment)
    )
    return [_read(row) for row in connection.execute(query)]


def _going_on(connection: sa.Connection, advertiser_id: str) -> list[Definition]:
    query = sa.select(_OWN.definition).where(
        _OWN.advertiser_id == advertiser_id, _OWN.kind == "own", _OWN.state.in_(_GOING_ON)
    )
    return [definition_of(written) for written in connection.scalars(query)]


def define(
    connection: sa.Connection, draft: Draft, *, by: str, now: datetime, request_id: str | None
) -> None:
    """Note a new experiment. Raises ConflictError where there is one of its name."""
    definition = draft.definition
    made = connection.execute(
        upsert(ads_experiment)
        .values(
            advertiser_id=definition.advertiser_id, experiment=definition.key, state=DRAFT,
            created_at=now, created_by=by, **_said(draft),
        )
        .on_conflict_do_nothing()
        .returning(_OWN.experiment)
    ).one_or_none()  # fmt: skip
    if made is None:
        raise ConflictError(f"there is an experiment {definition.key} already")
    _note(
        connection, definition.advertiser_id, definition.key, by, "define", now,
        before=None, after=DRAFT, request_id=request_id,
    )  # fmt: skip


def redefine(
    connection: sa.Connection, draft: Draft, *, by: str, now: datetime, request_id: str | None
) -> bool:
    """Change an experiment that has not been started; False where there is none.

    Raises ConflictError for one that has been.
    """
    advertiser_id, key = draft.definition.advertiser_id, draft.definition.key
    found = one(connection, advertiser_id, key, locked=True)
    if found is None:
        return False
    if found.state != DRAFT:
        raise ConflictError(
            f"{key} has been started, so its definition stays as it is: stop it and define "
            "another under a new name"
        )
    connection.execute(
        ads_experiment.update().where(_at(advertiser_id, key)).values(**_said(draft))
    )
    _note(
        connection, advertiser_id, key, by, "redefine", now, before=DRAFT, after=DRAFT,
        request_id=request_id,
    )  # fmt: skip
    return True


def _said(draft: Draft) -> dict[str, Any]:
    return {
        "kind": draft.kind, "hypothesis": draft.hypothesis, "unit": draft.unit,
        "window_days": draft.window_days,
        "study": None if draft.study is None else dict(draft.study),
        "definition": definition_json(draft.definition),
    }  # fmt: skip


def start(
    connection: sa.Connection,
    advertiser_id: str,
    experiment: str,
    *,
    keyed_by: str,
    by: str,
    now: datetime,
    request_id: str | None,
) -> bool:
    """Fix the definition and let the experiment run; False where there is none.

    Its first full day is tomorrow's (UTC). Raises ConflictError for one that has been started,
    and where it would share units with another of its layer.
    """
    connection.execute(  # two that start at once look at each other
        sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:who, 15))"), {"who": advertiser_id}
    )
    found = one(connection, advertiser_id, experiment, locked=True)
    if found is None:
        return False
    if found.state != DRAFT:
        raise ConflictError(f"{experiment} has been started already")
    written = definition_json(found.definition)
    first = now.date() + timedelta(days=1)
    definition = definition_of(written | {"starts_on": first.isoformat()})
    if found.kind == "own":
        try:
            check_layer([*_going_on(connection, advertiser_id), definition])
        except ExperimentError as error:
            raise ConflictError(str(error)) from error
    connection.execute(
        ads_experiment.update()
        .where(_at(advertiser_id, experiment))
        .values(
            definition=definition_json(definition), digest=definition.digest(), keyed_by=keyed_by,
            state=State.RUNNING.value, started_at=now,
        )
    )  # fmt: skip
    _note(
        connection, advertiser_id, experiment, by, "start", now, before=DRAFT,
        after=State.RUNNING.value, request_id=request_id,
    )  # fmt: skip
    return True


def say(
    connection: sa.Connection,
    advertiser_id: str,
    experiment: str,
    word: Word,
    *,
    version: int | None,
    by: str,
    now: datetime,
    request_id: str | None,
) -> Step | None:
    """What a person's word does to an experiment; None where there is none.

    Raises ConflictError for a word that cannot be said now, and for the approval of a reading
    that is not the newest.
    """
    found = one(connection, advertiser_id, experiment, locked=True)
    if found is None:
        return None
    try:
        step = decide.on_person(found.run, word, by, version=version)
    except ExperimentError as error:
        raise ConflictError(str(error)) from error
    _go(connection, found, step, word, now, request_id)
    return step


def judge(
    connection: sa.Connection,
    advertiser_id: str,
    experiment: str,
    reading: Reading,
    *,
    is_automatic: bool,
    now: datetime,
) -> Step | None:
    """Do what follows from a reading, once; None where it was judged, or nothing is judged.

    Raises ExperimentError for a definition that is not the one it started with.
    """
    found = one(connection, advertiser_id, experiment, locked=True)
    if found is None or found.state not in _GOING_ON or reading.version <= found.version:
        return None
    step = decide.on_reading(found.checked(), found.run, reading, is_automatic=is_automatic)
    connection.execute(
        ads_experiment_reading.insert().values(
            advertiser_id=advertiser_id, experiment=experiment, version=reading.version,
            last_day=reading.last_day, judged_at=now, reading=reading_json(reading),
        )
    )  # fmt: skip
    _go(connection, found, step, "judge", now, None)
    return step


def _go(
    connection: sa.Connection,
    found: Experiment,
    step: Step,
    action: str,
    now: datetime,
    request_id: str | None,
) -> None:
    """Take a step: the state, and where it is news its row and that of the audit log."""
    after = step.after
    connection.execute(
        ads_experiment.update()
        .where(_at(found.advertiser_id, found.experiment))
        .values(
            state=after.state.value, version=after.version, winner=after.winner,
            ended_at=now if after.state in decide.FINAL else None,
            study_problem=None if after.state in decide.FINAL else found.study_problem,
        )
    )  # fmt: skip
    if step.cause is not None or step.has_changed:
        _note(
            connection, found.advertiser_id, found.experiment, step.by or MACHINE, action, now,
            before=step.before.state.value, after=after.state.value, cause=step.cause,
            winner=after.winner, version=after.version, subjects=step.subjects,
            request_id=request_id,
        )  # fmt: skip


def _note(
    connection: sa.Connection,
    advertiser_id: str,
    experiment: str,
    by: str,
    action: str,
    now: datetime,
    *,
    before: str | None,
    after: str,
    cause: str | None = None,
    winner: str | None = None,
    version: int = 0,
    subjects: Sequence[str] = (),
    request_id: str | None = None,
) -> None:
    connection.execute(
        ads_experiment_step.insert().values(
            advertiser_id=advertiser_id, experiment=experiment, at=now, actor=by, action=action,
            cause=cause, state_before=before, state_after=after, winner=winner, version=version,
            subjects=list(subjects),
        )
    )  # fmt: skip
    audit.record(
        connection, at=datetime.now(UTC), actor=by, action=f"{action} experiment", outcome="done",
        request_id=request_id,
        detail={
            "advertiser": advertiser_id, "experiment": experiment, "cause": cause,
            "before": before, "after": after, "winner": winner, "version": version,
            "subjects": list(subjects),
        },
    )  # fmt: skip


# what is known ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Noted:
    """A step as it was noted."""

    at: datetime
    actor: str
    action: str
    cause: str | None
    state_before: str | None
    state_after: str
    winner: str | None
    version: int
    subjects: list[str]


def steps(connection: sa.Connection, advertiser_id: str, experiment: str) -> list[Noted]:
    """What happened to an experiment, the newest first."""
    step = ads_experiment_step.c
    query = (
        sa.select(*(step[name] for name in Noted.__dataclass_fields__))
        .where(step.advertiser_id == advertiser_id, step.experiment == experiment)
        .order_by(step.step_id.desc())
    )
    return [Noted(**row._mapping) for row in connection.execute(query)]


@dataclass(frozen=True)
class Judged:
    """A reading as it was judged."""

    version: int
    last_day: date
    judged_at: datetime
    reading: Mapping[str, Any]


def readings(
    connection: sa.Connection, advertiser_id: str, experiment: str, *, limit: int
) -> list[Judged]:
    """The readings of an experiment, the newest first."""
    held = ads_experiment_reading.c
    query = (
        sa.select(*(held[name] for name in Judged.__dataclass_fields__))
        .where(held.advertiser_id == advertiser_id, held.experiment == experiment)
        .order_by(held.version.desc())
        .limit(limit)
    )
    return [Judged(**row._mapping) for row in connection.execute(query)]


# at the ad platform -----------------------------------------------------------------------------
def note_study(
    connection: sa.Connection,
    advertiser_id: str,
    experiment: str,
    state: str | None,
    *,
    now: datetime,
    study_id: str | None = None,
) -> None:
    """Note what is intended, or was done, with the split test at the ad platform.

    `state`: None where what was intended is known not to have been done.
    """
    values: dict[str, Any] = {"study_state": state}
    if study_id is not None:
        values["study_id"] = study_id
    connection.execute(
        ads_experiment.update().where(_at(advertiser_id, experiment)).values(**values)
    )
    audit.record(
        connection, at=datetime.now(UTC), actor=MACHINE, outcome="done",
        action=f"split test {state or 'not made'}",
        detail={"advertiser": advertiser_id, "experiment": experiment, "study_id": study_id},
    )  # fmt: skip


def note_study_problem(
    connection: sa.Connection, advertiser_id: str, experiment: str, problem: str | None
) -> None:
    """Note why what is due at the ad platform was not done; None: it was."""
    told = None if problem is None else cut(visible(problem), _LONGEST_PROBLEM)
    connection.execute(
        ads_experiment.update()
        .where(_at(advertiser_id, experiment), _OWN.study_problem.is_distinct_from(told))
        .values(study_problem=told)
    )
