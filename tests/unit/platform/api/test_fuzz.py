"""Generated requests over the whole OpenAPI document, as each role: nothing breaks, all is said.

`make fuzz` sends 20,000 requests and more, the test suite a tenth of that.
"""

import os
from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dmp_assets.ads.model.pooled.measures import TERMS_VERSION
from dmp_assets.platform.store.roles import ROLES
from tests.support.ads_budget_rows import EVIDENCE
from tests.support.experiments import body
from tests.support.service import FIRST, Api

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "2000"))
CALLERS = (*ROLES, "nobody")
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_schema_conformance,
]  # fmt: skip
PLAN: list[str] = []
"""The id of a plan of budgets that there is."""
FRAMING = ("content-length", "transfer-encoding", "connection", "expect", "upgrade", "host")
"""Headers of HTTP itself: what is wrong with them never reaches the service."""
LEAST_SUCCESS = 0.3
"""Share of well-formed requests that must be answered with 2xx where the caller may call, or with
409, where they can be done once alone."""
ONCE = ("/approve", "/apply", "/undo")
"""Ends of paths of steps that a thing takes once, or that need more than the request says."""
OF_PEOPLE = ("/v1/ads/notices/",)
"""Beginnings of paths of what people have, and no machine."""
EXPERIMENT = "fuzzed"


@pytest.fixture(scope="module")
def api(served_api: Api) -> Api:
    settings_ = served_api.app.state.service.settings
    settings_.api_rate_limit = settings_.api_denied_rate_limit = "100000000/minute"
    settings_.api_score_rate_limit = settings_.api_dry_run_rate_limit = "100000000/minute"
    with served_api.as_role("marketer") as client:
        made = client.post("/v1/ads/plans", json={"evidence_version": EVIDENCE})
    assert made.status_code == 201, made.text
    PLAN[:] = [made.json()["plan_id"]]
    settings_.api_assign_rate_limit = "100000000/minute"
    with served_api.as_role("admin") as client:
        for path, json in (("", body(experiment=EXPERIMENT)), (f"/{EXPERIMENT}/start", None)):
            assert client.post(f"/v1/ads/experiments{path}", json=json).status_code < 300
    return served_api


@pytest.mark.parametrize("caller", CALLERS)
def test_no_request_breaks_the_service_or_its_description(api: Api, caller: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        if caller != "nobody":
            session.headers["Authorization"] = f"Bearer {api.keys[caller]}"
        schema = schemathesis.openapi.from_url(f"{api.url}/v1/openapi.json")
        operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
        assert len(operations) >= 10
        each = -(-REQUESTS // (len(CALLERS) * len(operations) * 2))
        sent = 0
        for operation in operations:
            scopes = operation.definition.raw.get("description", "")
            may = [f"`{scope}`" in scopes for scope in ROLES.get(caller, ())]
            is_open = "Scope: `" not in scopes
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                codes = send(operation, mode, session, each, api.url)
                sent += codes.total()
                good = sum(n for status, n in codes.items() if status < 300 or status == 409)
                if mode is GenerationMode.POSITIVE and (is_open or any(may)):
                    if operation.path.endswith(ONCE) or operation.path.startswith(OF_PEOPLE):
                        continue
                    assert good >= LEAST_SUCCESS * codes.total(), (operation.label, codes)
                elif not is_open and not any(may):
                    assert good == 0, (operation.label, codes)
        assert sent >= REQUESTS / len(CALLERS) * 0.5


def make_sense(case: Case) -> None:
    """Mend what no schema can say: an account has one name, a report is there, a range's start is
    not its end's future and it is not longer than a request may ask for, a column can be sorted
    by."""
    if "name" in (case.path_parameters or {}):
        case.path_parameters["name"] = "promo_abuse.html"
    if "plan_id" in (case.path_parameters or {}):
        case.path_parameters["plan_id"] = PLAN[0]
    if isinstance(case.body, dict):
        if "budgets" in case.body:  # campaigns that there are; without any it is what is advised
            case.body["budgets"] = {"c1": "100"}
        if "evidence_version" in case.body:
            case.body = {"evidence_version": EVIDENCE}
    if "experiment" in (case.path_parameters or {}):
        case.path_parameters["experiment"] = EXPERIMENT
    if isinstance(case.body, dict):
        case.body.update(_mended(case.body))
        accounts: Any = case.body.get("accounts", ())
        for number, account in enumerate(accounts):
            account.pop("user_id", None)  # this shop knows nobody
            account["account_ref"] = f"new-{number}"
            account.pop("registered_at", None)
    query = case.query or {}
    query.pop("advertiser", None)
    days = sorted(
        FIRST + timedelta(days=date.fromisoformat(query[name]).toordinal() % 200)
        for name in ("start", "end")
        if query.get(name) not in (None, "null")
    )
    for name in ("start", "end"):
        if query.get(name) not in (None, "null"):
            query[name] = str(days.pop(0))
    if "sort" in query:
        query["sort"] = ("-" if len(query["sort"]) % 2 else "") + "usages"
    for name in ("cursor", "forecast"):
        query.pop(name, None)


def _mended(given: dict[str, Any]) -> dict[str, Any]:
    """What makes a body one of which the parts agree."""
    if "hypothesis" in given:
        return body(kind="own", study=None, spend_cap=None, places=[0, 10_000])
    if "units_per_day" in given:
        return {"metric": "proportion", "mean": 0.05, "least_effect": 0.2}
    if "terms_version" in given:
        return {"terms_version": TERMS_VERSION}
    return {"unit": f"u-{len(given['unit'])}"} if "unit" in given else {}


def send(
    operation: schemathesis.APIOperation,
    mode: GenerationMode,
    session: requests.Session,
    most: int,
    url: str,
) -> Counter[int]:
    """Send up to `most` generated requests, check every answer; how often each status came."""
    codes: Counter[int] = Counter()

    @seed(1)
    @settings(
        max_examples=most, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Case) -> None:
        if mode is GenerationMode.POSITIVE:
            make_sense(case)
        for name in [n for n in case.headers or {} if n.lower() in FRAMING]:
            del case.headers[name]
        answer = case.call(base_url=url, session=session)
        codes[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    try:
        one()
    except Unsatisfiable:  # nothing can be wrong with a route that takes nothing
        assert mode is GenerationMode.NEGATIVE and not operation.query
    return codes
