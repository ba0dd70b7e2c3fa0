"""Experiments of an advertiser: planned, defined, started, judged by people, ended."""

from collections.abc import Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, BackgroundTasks, Depends, Path, Query, Request, Response

from dmp_assets.ads.model.experiments import planning
from dmp_assets.ads.model.experiments.decide import Word
from dmp_assets.ads.model.experiments.definition import ExperimentError
from dmp_assets.ads.service import split_tests
from dmp_assets.ads.service.experiment_bodies import (
    ApprovalBody,
    CalculatorBody,
    ExperimentAnswer,
    ExperimentBody,
    ExperimentDetail,
    NewExperimentBody,
    PlanAnswer,
    ReadingAnswer,
    StepAnswer,
)
from dmp_assets.ads.service.store import experiments, owning
from dmp_assets.ads.service.store.experiments import ConflictError
from dmp_assets.ads.service.units import UnitKey
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.output import Page, csv_or_json, opened, rows_answer, sealed
from dmp_assets.platform.api.problems import FieldError, Problem, responses
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.base.errors import UserError

router = APIRouter(prefix="/v1/ads/experiments", tags=["ads"])
At = Annotated[Seat, Depends(seat("ads:read"))]
Acting = Annotated[Seat, Depends(seat("ads:write", acts=True))]
Key = Annotated[str, Path(max_length=64, description="The experiment's name.")]
_DENIED = responses(401, 403, 404, 406, 422, 429)
_ACTING = responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 429)
_LISTED = "experiments"


@router.post(
    "/calculator",
    response_model=PlanAnswer,
    responses=responses(400, 401, 403, 404, 408, 413, 415, 422, 429),
)
def calculate(at: At, body: CalculatorBody) -> PlanAnswer:
    """How many units and days an experiment takes, and how likely it finds the least effect.

    All variants get equal shares.
    """
    variants = body.treatments + 1
    try:
        plan = planning.plan(
            body.expected(), body.least_effect, body.units_per_day * 2 / variants,
            alpha=body.alpha / body.treatments, power=body.power,
        )  # fmt: skip
    except ExperimentError as error:
        raise _invalid(error) from error
    return PlanAnswer(
        units=plan.units, all_units=-(-plan.units * variants // 2), days=plan.days,
        power=plan.power, power_fixed=plan.power_fixed, tuning=plan.tuning,
    )  # fmt: skip


@router.post("", status_code=201, response_model=ExperimentDetail, responses=_ACTING)
def define(request: Request, at: Acting, body: NewExperimentBody) -> ExperimentDetail:
    """Define an experiment. It begins when it is started, and may be changed until then."""
    service = service_of(request)
    try:
        draft = body.draft(at.advertiser_id, body.experiment, service.home.now().date())

        def change(store: sa.Connection) -> None:
            _check_own(store, at, draft.study)
            experiments.define(
                store, draft, by=at.principal.actor, now=service.home.now(),
                request_id=request.state.request_id,
            )  # fmt: skip

        service.change(change)
    except ExperimentError as error:
        raise _refused(error) from error
    return _detail(request, at, body.experiment)


@router.get(
    "",
    response_model=Page[ExperimentAnswer],
    responses={**csv_or_json(ExperimentAnswer), **_DENIED},
)
def listed(
    request: Request,
    response: Response,
    at: At,
    limit: Annotated[int, Query(ge=1, le=1000, description="Rows of one page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Any:
    """Experiments by name."""
    service, purpose = service_of(request), f"{_LISTED}:{at.advertiser_id}"
    after = str(opened(service.seal, cursor, purpose)[0]) if cursor else ""
    found = service.in_store(
        lambda store: experiments.of_advertiser(
            store, at.advertiser_id, after=after, limit=limit + 1
        )
    )
    rows = [ExperimentAnswer.of(one) for one in found[:limit]]
    further = sealed(service.seal, purpose, rows[-1].experiment) if len(found) > limit else None
    return rows_answer(request, response, ExperimentAnswer, rows, further)


@router.get(
    "/{experiment}", response_model=ExperimentDetail, responses=responses(401, 403, 404, 422, 429)
)
def shown(request: Request, at: At, experiment: Key) -> ExperimentDetail:
    """An experiment with its newest reading and all that happened to it."""
    return _detail(request, at, experiment)


@router.get(
    "/{experiment}/readings",
    response_model=Page[ReadingAnswer],
    responses={**csv_or_json(ReadingAnswer), **_DENIED},
)
def readings(
    request: Request,
    response: Response,
    at: At,
    experiment: Key,
    limit: Annotated[int, Query(ge=1, le=1000, description="The newest so many.")] = 100,
) -> Any:
    """The readings that were judged, the newest first."""
    found = service_of(request).in_store(
        lambda store: (
            experiments.one(store, at.advertiser_id, experiment),
            experiments.readings(store, at.advertiser_id, experiment, limit=limit),
        )
    )
    if found[0] is None:
        raise _unknown()
    rows = [ReadingAnswer.model_validate(one, from_attributes=True) for one in found[1]]
    return rows_answer(request, response, ReadingAnswer, rows)


@router.put("/{experiment}", response_model=ExperimentDetail, responses=_ACTING)
def redefine(
    request: Request, at: Acting, experiment: Key, body: ExperimentBody
) -> ExperimentDetail:
    """Define an experiment otherwise, before it is started; later that is a conflict."""
    service = service_of(request)
    _existing(request, at, experiment)
    try:
        draft = body.draft(at.advertiser_id, experiment, service.home.now().date())

        def change(store: sa.Connection) -> None:
            _check_own(store, at, draft.study)
            experiments.redefine(
                store, draft, by=at.principal.actor, now=service.home.now(),
                request_id=request.state.request_id,
            )  # fmt: skip

        service.change(change)
    except ExperimentError as error:
        raise _refused(error) from error
    return _detail(request, at, experiment)


@router.post("/{experiment}/start", response_model=ExperimentDetail, responses=_ACTING)
def start(
    request: Request, later: BackgroundTasks, at: Acting, experiment: Key
) -> ExperimentDetail:
    """Start it; from now on its definition is fixed. Its first full day is tomorrow's (UTC).

    A split test is then made at Meta, else by the next run; `study_state` says how far that is,
    and `study_problem` why it is not.
    """
    service = service_of(request)
    key = UnitKey.of(service.home)

    def change(store: sa.Connection) -> bool:
        found = experiments.one(store, at.advertiser_id, experiment)
        if found is not None and found.state == experiments.DRAFT:
            _check_own(store, at, found.study, "study")
        return experiments.start(
            store, at.advertiser_id, experiment, keyed_by=key.known_as, by=at.principal.actor,
            now=service.home.now(), request_id=request.state.request_id,
        )  # fmt: skip

    try:
        is_there = service.change(change)
    except ExperimentError as error:
        raise _refused(error) from error
    if not is_there:
        raise _unknown()
    _settle(request, later, at, experiment)
    return _detail(request, at, experiment)


@router.post("/{experiment}/stop", response_model=ExperimentDetail, responses=_ACTING)
def stop(request: Request, later: BackgroundTasks, at: Acting, experiment: Key) -> ExperimentDetail:
    """End it for good. Units get the control from then on; a split test is ended at Meta."""
    return _say(request, later, at, experiment, "stop")


@router.post("/{experiment}/pause", response_model=ExperimentDetail, responses=_ACTING)
def pause(
    request: Request, later: BackgroundTasks, at: Acting, experiment: Key
) -> ExperimentDetail:
    """Give all units the control until it is resumed. What Meta shows goes on."""
    return _say(request, later, at, experiment, "pause")


@router.post("/{experiment}/resume", response_model=ExperimentDetail, responses=_ACTING)
def resume(
    request: Request, later: BackgroundTasks, at: Acting, experiment: Key
) -> ExperimentDetail:
    """Let a paused one go on."""
    return _say(request, later, at, experiment, "resume")


@router.post("/{experiment}/approve", response_model=ExperimentDetail, responses=_ACTING)
def approve(
    request: Request, later: BackgroundTasks, at: Acting, experiment: Key, body: ApprovalBody
) -> ExperimentDetail:
    """Promote the winner that is proposed, by the reading that you were shown."""
    return _say(request, later, at, experiment, "approve", body.version)


@router.post("/{experiment}/reject", response_model=ExperimentDetail, responses=_ACTING)
def reject(
    request: Request, later: BackgroundTasks, at: Acting, experiment: Key
) -> ExperimentDetail:
    """Do not promote the winner that is proposed; the experiment goes on."""
    return _say(request, later, at, experiment, "reject")


def _say(
    request: Request,
    later: BackgroundTasks,
    at: Seat,
    experiment: str,
    word: Word,
    version: int | None = None,
) -> ExperimentDetail:
    service = service_of(request)
    try:
        step = service.change(
            lambda store: experiments.say(
                store, at.advertiser_id, experiment, word, version=version,
                by=at.principal.actor, now=service.home.now(), request_id=request.state.request_id,
            )
        )  # fmt: skip
    except ExperimentError as error:
        raise _refused(error) from error
    if step is None:
        raise _unknown()
    _settle(request, later, at, experiment)
    return _detail(request, at, experiment)


def _settle(request: Request, later: BackgroundTasks, at: Seat, experiment: str) -> None:
    """Do at Meta what has to be done, once the caller is answered; the next run does what fails."""
    service, of = service_of(request), {(at.advertiser_id, experiment)}

    def work() -> None:
        try:
            split_tests.settle(service.home, service.store, of)
        except UserError as error:
            service.log.warning("a split test waits for the next run", error=type(error).__name__)

    later.add_task(work)


def _check_own(
    store: sa.Connection, at: Seat, study: Mapping[str, Any] | None, field: str = "body.study"
) -> None:
    """Raises Problem 422 for a split test of what is not the advertiser's."""
    wrong = {} if study is None else owning.not_own(store, at.advertiser_id, study)
    if wrong:
        told = [FieldError(field=f"{field}.{name}", message=one) for name, one in wrong.items()]
        raise Problem(422, "invalid", errors=told)


def _existing(request: Request, at: Seat, experiment: str) -> None:
    found = service_of(request).in_store(
        lambda store: experiments.one(store, at.advertiser_id, experiment)
    )
    if found is None:
        raise _unknown()


def _detail(request: Request, at: Seat, experiment: str) -> ExperimentDetail:
    """Raises Problem 404."""
    one, newest, steps = service_of(request).in_store(
        lambda store: (
            experiments.one(store, at.advertiser_id, experiment),
            experiments.readings(store, at.advertiser_id, experiment, limit=1),
            experiments.steps(store, at.advertiser_id, experiment),
        )
    )
    if one is None:
        raise _unknown()
    told = ExperimentAnswer.of(one).model_dump()
    return ExperimentDetail(
        **told,
        reading=ReadingAnswer.model_validate(newest[0], from_attributes=True) if newest else None,
        steps=[StepAnswer.of(step) for step in steps],
    )


def _unknown() -> Problem:
    return Problem(404, "not-found", "there is no such experiment")


def _invalid(error: ExperimentError) -> Problem:
    return Problem(422, "invalid", errors=[FieldError(field="body", message=str(error))])


def _refused(error: ExperimentError) -> Problem:
    if isinstance(error, ConflictError):
        return Problem(409, "conflict", str(error))
    return _invalid(error)
