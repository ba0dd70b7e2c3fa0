"""Whose rows a request is about: the dependency of every route whose rows are an advertiser's.

A request is about one advertiser. Who sees just one need not name it. One that the caller does not
see answers as one that is not there.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Query, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from dmp_assets.platform.api.access import DEFAULT_RATE, needs, principal_of
from dmp_assets.platform.api.problems import LONGEST_NAME, NO_CONTROL, FieldError, Problem
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.faces.service import RateLimit, ServiceFace, services
from dmp_assets.platform.store import advertisers
from dmp_assets.platform.store.access import Principal
from dmp_assets.platform.store.advertisers import Visible
from dmp_assets.settings import Settings

Named = Annotated[
    str | None,
    Query(
        max_length=LONGEST_NAME,
        pattern=NO_CONTROL,
        description="Whose rows; may be left out by who sees just one advertiser.",
        examples=["acme"],
    ),
]


@dataclass(frozen=True)
class Seat:
    """Who calls, and the one advertiser that the request is about."""

    principal: Principal
    advertiser: Visible
    all: tuple[Visible, ...]
    """All advertisers that the caller sees."""

    @property
    def advertiser_id(self) -> str:
        return self.advertiser.advertiser_id

    @property
    def may_act(self) -> bool:
        """Whether the caller is more than a reader here; their scopes are another thing."""
        return self.advertiser.role == "manager"


def seat(
    scope: str, *, acts: bool = False, rate: RateLimit = DEFAULT_RATE
) -> Callable[..., Awaitable[Seat]]:
    """The dependency of a route about an advertiser's rows. `acts`: it changes something there.

    Raises Problem 404 for an advertiser that the caller does not see or that is not there, 422
    where several could be meant, 403 for a reader who wants to act.
    """
    let_in = needs(scope, rate=rate)

    async def seated(
        request: Request, principal: Annotated[Principal, Depends(let_in)], advertiser: Named = None
    ) -> Seat:
        found = await run_in_threadpool(
            service_of(request).in_store, lambda store: seen_by(store, principal)
        )
        at = chosen(found, advertiser)
        if acts and at.role != "manager":
            raise Problem(403, "forbidden", f"only a manager of {at.advertiser_id} may do this")
        return Seat(principal, at, tuple(found))

    seated.scope = scope  # type: ignore[attr-defined]
    seated.is_seat = True  # type: ignore[attr-defined]
    return seated


def is_seated(route: APIRoute) -> bool:
    """Whether a route is about one advertiser's rows."""
    return any(getattr(one.call, "is_seat", False) for one in route.dependant.dependencies)


def see_report(request: Request, principal: Principal, report: str) -> None:
    """Raise Problem 403 for a report of advertisers that somebody does not see."""
    for face in services().values():
        if report in face.reports_of_shop:
            _see_shop(request, principal, face)
    if not any(report in face.reports_of_all for face in services().values()):
        return

    def sees(store: sa.Connection) -> bool:
        return advertisers.sees_all(store, principal, used(store))

    if not service_of(request).in_store(sees):
        raise Problem(
            403, "forbidden", "this report shows all advertisers, and you do not see all of them"
        )


def sees_shop(
    store: sa.Connection, principal: Principal, face: ServiceFace, settings: Settings
) -> bool:
    """Whether somebody sees the advertiser that all of a domain is about, if it is about one."""
    if face.shop_of is None:
        return True
    if shop := face.shop_of(settings):
        return any(one.advertiser_id == shop for one in seen_by(store, principal)) or (
            principal.role == "admin" or not advertisers.is_closed(store)
        )
    return advertisers.sees_all(store, principal, used(store))


def of_shop(face: ServiceFace) -> Callable[..., Awaitable[None]]:
    """The dependency of all routes of a domain that is about one advertiser.

    Raises Problem 403 for who is no member; who calls at all, the route asks.
    """

    async def seen(request: Request) -> None:
        principal = await principal_of(request, form_token=False)
        if principal is not None:
            await run_in_threadpool(_see_shop, request, principal, face)

    return seen


def _see_shop(request: Request, principal: Principal, face: ServiceFace) -> None:
    service = service_of(request)
    if not service.in_store(lambda store: sees_shop(store, principal, face, service.settings)):
        raise Problem(403, "forbidden", "this is about a shop that you are no member of")


def seen_by(store: sa.Connection, principal: Principal) -> list[Visible]:
    """The advertisers that somebody sees."""
    return advertisers.visible(store, principal, used(store))


def used(store: sa.Connection) -> Collection[str]:
    """Advertisers of which some domain serves rows."""
    asked = (face.advertisers for face in services().values())
    return {one for ask in asked if ask is not None for one in ask(store)}


def chosen(found: Sequence[Visible], named: str | None) -> Visible:
    """The advertiser that a request is about, of those that the caller sees.

    Raises Problem 404 or 422.
    """
    if named is not None:
        for one in found:
            if one.advertiser_id == named:
                return one
        raise Problem(404, "not-found", "there is no such advertiser, or you are no member of it")
    if len(found) == 1:
        return found[0]
    if not found:
        raise Problem(
            404, "not-found", "there is no advertiser that you see: an admin lets you in by "
            "`dmp advertiser let-in`, and `dmp connect` makes one known",
        )  # fmt: skip
    ids = ", ".join(one.advertiser_id for one in found[:20])
    raise Problem(
        422, "invalid",
        errors=[FieldError(field="query.advertiser", message=f"say whose rows, one of {ids}")],
    )  # fmt: skip
