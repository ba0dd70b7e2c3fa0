"""A direct route is called with exactly what its signature names, or is not made."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.testclient import TestClient

from dmp_assets.platform.api.direct_route import direct


async def who(request: Request, response: Response) -> str:
    response.headers["X-Seen"] = "yes"
    return request.headers["x-who"]


async def whoever(request: Request, response: Response) -> str:
    return "whoever"


async def number(request: Request, response: Response) -> int:
    return int(request.query_params["number"])


async def endpoint(
    request: Request, response: Response, name: Annotated[str, Depends(who)], number: int
) -> Response:
    return Response(f"{name} {number + 1}", headers={"X-Seen": response.headers["X-Seen"]})


def plain(request: Request, response: Response) -> Response:
    return Response()


def test_the_endpoint_gets_what_was_found_in_the_order_of_its_signature() -> None:
    app, router = FastAPI(), APIRouter()
    override = direct(number=number, name=who)
    router.add_api_route("/it", endpoint, route_class_override=override)
    app.include_router(router)
    client = TestClient(app)
    answer = client.get("/it?number=6", headers={"X-Who": "ann"})
    assert (answer.text, answer.headers["X-Seen"]) == ("ann 7", "yes")
    documented = client.get("/openapi.json").json()["paths"]["/it"]["get"]
    assert [parameter["name"] for parameter in documented["parameters"]] == ["number"]


@pytest.mark.parametrize(
    ("called", "finders", "said"),
    [
        (endpoint, {"name": who}, "differ in: number"),
        (endpoint, {"name": who, "number": number, "more": number}, "differ in: more"),
        (endpoint, {"name": whoever, "number": number}, "gets name by another dependency"),
        (plain, {}, "must be a coroutine function"),
    ],
)
def test_what_the_signature_does_not_name_makes_no_route(
    called: Any, finders: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        APIRouter().add_api_route("/it", called, route_class_override=direct(**finders))
