"""Routes that are called with what their signature names, without FastAPI's search for it.

FastAPI goes by the signature through a tree of dependencies; in the way of a request that takes a
millisecond that was most of the time. A direct route documents itself by its signature like any
other, so OpenAPI, access matrix and fuzzing know it; what the signature names is found by
functions that the route is given, one for each name.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, get_args

from fastapi import Request, Response
from fastapi.params import Depends
from fastapi.routing import APIRoute

Finder = Callable[[Request, Response], Awaitable[Any]]
"""Finds an argument of a request; what it says of limits goes into the headers of the answer."""
_GIVEN = ("request", "response")


def direct(**finders: Finder) -> type[APIRoute]:
    """A class of routes whose endpoint gets what these find, by name and in the signature's order.

    A route of it is made only of an endpoint that names exactly these, beside `request` and
    `response`, which it gets as they are, and answers with a response of its own; what it declares
    as a dependency is found by that dependency. Otherwise making it raises TypeError, which is when
    the module of the route is imported.
    """

    class DirectRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            endpoint = self.endpoint
            in_order = _in_order(endpoint, finders)

            async def handle(request: Request) -> Response:
                response = Response()
                found: dict[str, Any] = {"request": request, "response": response}
                for name, find in in_order:
                    found[name] = await find(request, response)
                return await endpoint(**found)

            return handle

    return DirectRoute


def _in_order(
    endpoint: Callable[..., Any], finders: dict[str, Finder]
) -> tuple[tuple[str, Finder], ...]:
    """The finders as the signature names them. Raises TypeError where the two do not agree."""
    if not inspect.iscoroutinefunction(endpoint):
        raise TypeError(f"{endpoint.__name__} is called directly and must be a coroutine function")
    named = inspect.signature(endpoint).parameters
    if set(named) != {*_GIVEN, *finders}:
        differ = ", ".join(sorted(set(named) ^ {*_GIVEN, *finders}))
        raise TypeError(f"{endpoint.__name__} and what is found for it differ in: {differ}")
    for name, finder in finders.items():
        for said in get_args(named[name].annotation):
            if isinstance(said, Depends) and said.dependency is not finder:
                raise TypeError(f"{endpoint.__name__} gets {name} by another dependency")
    return tuple((name, finders[name]) for name in named if name in finders)
