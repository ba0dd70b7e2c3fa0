"""Experiments as pages: what is tried, what is known of it by now, and what people do about it.

What is shown and done is that of the API's routes, which these call.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, BackgroundTasks, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from dmp_assets.ads.model.experiments.measures import MEASURES
from dmp_assets.ads.service import charts
from dmp_assets.ads.service.charts import Chart, Line
from dmp_assets.ads.service.experiment_bodies import ApprovalBody, ExperimentDetail
from dmp_assets.ads.service.routes import experiments
from dmp_assets.ads.service.spans import Span
from dmp_assets.ads.service.store import experiments as store_of
from dmp_assets.ads.service.store import members
from dmp_assets.ads.service.viewing import Viewer, Views, plain_page
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.problems import NO_CONTROL, FieldError, Problem
from dmp_assets.platform.api.routes.pages import PageRoute, wants_page

router = APIRouter(prefix="/ads", include_in_schema=False, route_class=PageRoute)
PATH = "/ads/experiments"
MOST, READINGS = 100, 400
Acts = Annotated[Seat, Depends(seat("ads:write", acts=True))]
Name = Annotated[str, Query(max_length=64, pattern=NO_CONTROL)]
Word = Literal["start", "pause", "resume", "stop", "approve", "reject"]
WORDS: Mapping[str, Sequence[tuple[Word, str]]] = {
    "draft": (("start", "Start"),),
    "running": (("pause", "Pause"),),
    "paused": (("resume", "Let it go on"),),
    "proposed": (("approve", "Promote the winner"), ("reject", "Go on without")),
}
"""State → what may be said then, the first being what is most likely; stopping apart."""
GOING_ON = ("running", "paused", "proposed")
STATES: Mapping[str, str] = {
    "draft": "is not started",
    "running": "is running",
    "paused": "is paused: all units get the control",
    "proposed": "has a winner, which waits for approval",
    "stopped": "was stopped",
    "promoted": "is decided",
    "ended": "ended as planned",
}
ROLES: Mapping[str, str] = {
    "primary": "decides", "guardrail": "must not get worse", "secondary": "is looked at, too",
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A metric of one treatment against the control. `bar`: left and width of the interval, and
    the middle, within WIDTH; None where nothing bounds it. `zero`: where no change is."""

    role: str
    metric: str
    about: str
    treatment: str
    told: Mapping[str, Any]
    bar: tuple[int, int, int] | None
    zero: int


@router.get("/experiments")
def page(request: Request, viewer: Views, experiment: Name = "") -> HTMLResponse:
    """Experiments, or one of them with its newest reading."""
    return _page(request, viewer, experiment)


def _page(
    request: Request, viewer: Viewer, experiment: str, *, problem: Problem | None = None
) -> HTMLResponse:
    at, detail = viewer.seat, None
    if at is not None and experiment:
        detail = experiments.shown(request, at, experiment)

    def read(store: sa.Connection, advertiser_id: str) -> dict[str, Any]:
        if detail is None:
            found = store_of.of_advertiser(store, advertiser_id, after="", limit=MOST)
            newest = {
                one.experiment: store_of.readings(store, advertiser_id, one.experiment, limit=1)
                for one in found
            }
            return {
                "experiments": [
                    (one, _primary(newest[one.experiment][0].reading, one.definition.primary.name)
                     if newest[one.experiment] else None)
                    for one in found
                ]
            }  # fmt: skip
        readings = store_of.readings(store, advertiser_id, experiment, limit=READINGS)
        actors = {step.actor for step in detail.steps if ":" in step.actor}
        names = members.names(store, actors)
        return {
            "names": {step.actor: names.get(step.actor, step.actor) for step in detail.steps},
            "drawn": _chart(detail, [(one.last_day, one.reading) for one in readings]),
            "comparisons": compared(detail),
        }

    return plain_page(
        request, viewer, "experiments", "ads_experiments.html", read,
        problem.status_code if problem else 200, problem=problem, detail=detail, states=STATES,
        roles=ROLES, words=WORDS, going_on=GOING_ON, width=charts.WIDTH,
    )  # fmt: skip


def _primary(reading: Mapping[str, Any], metric: str) -> Mapping[str, Any] | None:
    """The first treatment's primary metric."""
    found = (one for one in reading["comparisons"] if one["role"] == "primary")
    return next((one for one in found if one["metric"] == metric), None)


def compared(detail: ExperimentDetail) -> list[Shown]:
    """The newest reading's comparisons, on one scale of relative changes."""
    if detail.reading is None:
        return []
    told = detail.reading.reading["comparisons"]
    bounds = [
        abs(one[name])
        for one in told
        for name in ("lift_low", "lift_high")
        if one["lift"] is not None and one[name] is not None
    ]
    most = min(max(bounds, default=0.1) or 0.1, 1.0)

    def place(value: float) -> int:
        return round(charts.WIDTH * (min(max(value, -most), most) + most) / (2 * most))

    found = []
    for one in told:
        bar = None
        if one["lift"] is not None:
            low = place(-most if one["lift_low"] is None else one["lift_low"])
            high = place(most if one["lift_high"] is None else one["lift_high"])
            bar = (low, max(high - low, 2), place(one["lift"]))
        about = MEASURES[one["metric"]].about if one["metric"] in MEASURES else ""
        found.append(
            Shown(one["role"], one["metric"], about, one["treatment_name"], one, bar, place(0))
        )
    return found


def _chart(
    detail: ExperimentDetail, readings: Sequence[tuple[date, Mapping[str, Any]]]
) -> Chart | None:
    """The primary metric's change as it was known each day, in percent."""
    metric = detail.definition["primary"]["name"]
    days = {day: one for day, reading in readings if (one := _primary(reading, metric))}
    if len(days) < 2:
        return None

    def line(name: str, label: str, *, dashed: bool) -> Line:
        values = {day: None if one[name] is None else 100 * one[name] for day, one in days.items()}
        return Line(label, values, "grey" if dashed else "blue", dashed)

    return Chart(
        "lift", f"By how many percent is {metric} higher, as it was known each day?",
        Span(min(days), max(max(days), min(days) + timedelta(days=1))),
        [line("lift_high", "At most", dashed=True), line("lift", "Found", dashed=False),
         line("lift_low", "At least", dashed=True)],
        "ratio",
    )  # fmt: skip


@router.post("/experiments")
def say(
    request: Request,
    later: BackgroundTasks,
    at: Acts,
    experiment: Annotated[str, Form(max_length=64, pattern=NO_CONTROL)],
    word: Annotated[Word, Form()],
    version: Annotated[int | None, Form(ge=1, le=2**63 - 1)] = None,
) -> Response:
    """Start, pause, stop it, or judge its winner by the reading that was shown."""
    done: Mapping[str, Callable[..., ExperimentDetail]] = {
        "start": experiments.start, "pause": experiments.pause, "resume": experiments.resume,
        "stop": experiments.stop, "reject": experiments.reject,
    }  # fmt: skip
    try:
        if word == "approve":
            if version is None:
                wrong = FieldError(field="body.version", message="the reading that was shown")
                raise Problem(422, "invalid", errors=[wrong])
            approval = ApprovalBody(version=version)
            experiments.approve(request, later, at, experiment, approval)
        else:
            done[word](request, later, at, experiment)
    except Problem as problem:
        if not wants_page(request) or problem.status_code == 404:
            raise
        return _page(request, Viewer(at.principal, at), experiment, problem=problem)
    query = urlencode({"advertiser": at.advertiser_id, "experiment": experiment})
    return RedirectResponse(f"{PATH}?{query}", 303)
