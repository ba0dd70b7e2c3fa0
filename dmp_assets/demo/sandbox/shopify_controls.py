"""What tests and people set of the sandbox's Shopify while it runs, by HTTP."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from dmp_assets.demo.sandbox.shopify_graphql import Buckets
from dmp_assets.demo.sandbox.shopify_manner import Clock, Manner
from dmp_assets.demo.sandbox.shopify_webhooks import Order, Webhooks
from dmp_assets.demo.sandbox.shopify_world import World

T = TypeVar("T")


class Change(BaseModel):
    """A change of an order: columns of the world's table `orders`, or that it is deleted."""

    model_config = ConfigDict(extra="forbid")

    order_id: int
    set: dict[str, Any] = {}
    delete: bool = False


class Uninstall(BaseModel):
    """A shop that uninstalls the app."""

    model_config = ConfigDict(extra="forbid")

    shop: str


class Drain(BaseModel):
    """So many points are left in each bucket."""

    model_config = ConfigDict(extra="forbid")

    left: float = 0


class Steered(Protocol):
    """The service that is steered."""

    world: World
    webhooks: Webhooks
    manner: Manner
    clock: Clock
    buckets: Buckets

    def uninstalled(self, shop: str, now: datetime) -> dict[str, Any]:
        """End all grants of a shop."""


class Controls:
    """Routes below `/_sandbox/`; a body that cannot be read is answered with 422 and why."""

    def __init__(self, service: Steered) -> None:
        self._service = service

    def routes(self) -> list[BaseRoute]:
        return [
            self._route("manner", TypeAdapter(Manner), self._behave),
            self._route("change", TypeAdapter(list[Change]), self._change),
            self._route("deliver", TypeAdapter(Order), self._deliver),
            self._route("uninstall", TypeAdapter(Uninstall), self._uninstall),
            self._route("drain", TypeAdapter(Drain), self._drain),
        ]

    def _route(self, name: str, kind: TypeAdapter[T], do: Callable[[T], Any]) -> Route:
        async def answer(request: Request) -> Response:
            try:
                given = kind.validate_json(await request.body())
            except ValidationError as error:
                return Response(error.json(), status_code=422, media_type="application/json")
            return JSONResponse(await run_in_threadpool(do, given))

        return Route(f"/_sandbox/{name}", answer, methods=["POST"])

    def _behave(self, manner: Manner) -> Any:
        service = self._service
        service.manner = manner
        service.clock.set(manner.clock)
        service.buckets.of.clear()
        return {"ok": True}

    def _change(self, changes: list[Change]) -> Any:
        service = self._service
        for one in changes:
            if one.delete:
                service.world.delete(one.order_id)
            else:
                service.world.change(one.order_id, service.clock(), **one.set)
        return {"ok": True}

    def _deliver(self, order: Order) -> Any:
        return {"answers": self._service.webhooks.deliver(order, self._service.clock())}

    def _uninstall(self, given: Uninstall) -> Any:
        return self._service.uninstalled(given.shop, self._service.clock())

    def _drain(self, given: Drain) -> Any:
        for bucket in self._service.buckets.of.values():
            bucket.drain(given.left)
        return {"ok": True}
