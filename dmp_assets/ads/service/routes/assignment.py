"""Which variant a unit gets: asked by a shop's own code, once for each unit that comes by."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from starlette.concurrency import run_in_threadpool

from dmp_assets.ads.model.experiments.definition import ExperimentError
from dmp_assets.ads.service.assigning import KeyLostError
from dmp_assets.ads.service.experiment_bodies import AssignedAnswer, UnitBody
from dmp_assets.ads.service.part import part_of
from dmp_assets.ads.service.store.experiments import ConflictError
from dmp_assets.ads.settings import AdsSettings
from dmp_assets.platform.api.access import needs
from dmp_assets.platform.api.advertisers import Named, Seat, chosen, seen_by
from dmp_assets.platform.api.problems import FieldError, Problem, responses
from dmp_assets.platform.api.state import Service, service_of
from dmp_assets.platform.faces.service import RateLimit
from dmp_assets.platform.store.access import Principal
from dmp_assets.platform.store.advertisers import Visible

router = APIRouter(prefix="/v1/experiments", tags=["ads"])
ASSIGN_RATE = RateLimit("assign", lambda settings: settings.of(AdsSettings).api_assign_rate_limit)
_SCOPE = "experiments:assign"
_may_assign = needs(_SCOPE, rate=ASSIGN_RATE)


def _look_up(service: Service, principal: Principal) -> list[Visible]:
    seen = service.in_store(lambda store: seen_by(store, principal))
    part_of(service).seen.put(principal.actor, seen)
    return seen


async def assigner(
    request: Request,
    principal: Annotated[Principal, Depends(_may_assign)],
    advertiser: Named = None,
) -> Seat:
    """The seat of a caller that assigns; whom it sees is known for a few seconds."""
    service = service_of(request)
    seen = part_of(service).seen.get(principal.actor)
    if seen is None:
        seen = await run_in_threadpool(_look_up, service, principal)
    return Seat(principal, chosen(seen, advertiser), tuple(seen))


assigner.scope = _SCOPE  # type: ignore[attr-defined]
assigner.is_seat = True  # type: ignore[attr-defined]


@router.post(
    "/{experiment}/assign",
    response_model=AssignedAnswer,
    responses=responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503),
)
async def assign(
    request: Request,
    at: Annotated[Seat, Depends(assigner)],
    experiment: Annotated[str, Path(max_length=64, description="The experiment's name.")],
    body: UnitBody,
) -> AssignedAnswer:
    """The variant of a unit: the same at every ask, and logged as its exposure the first time.

    Ask when the unit is about to see a difference, not before. Paused, stopped or ended without
    a winner everybody gets the control; a promoted winner everybody gets.
    """
    service = service_of(request)
    part = part_of(service)
    asked = (at.advertiser_id, experiment)
    try:
        if not part.assigning.knows(*asked):
            await run_in_threadpool(part.assigning.learn, *asked)
        found = part.assigning.assign(*asked, body.unit, body.user_agent, part.now())
    except ConflictError as error:
        raise Problem(409, "conflict", str(error)) from error
    except KeyLostError as error:
        service.log.error("units cannot be counted", experiment=experiment)
        raise Problem(503, "unavailable", str(error)) from error
    except ExperimentError as error:
        wrong = FieldError(field="body.unit", message=str(error))
        raise Problem(422, "invalid", errors=[wrong]) from error
    if found is None:
        raise Problem(404, "not-found", "there is no such experiment")
    return AssignedAnswer(
        experiment=experiment, variant=found.variant, state=found.state,
        is_exposed=found.is_exposed,
    )  # fmt: skip
