"""The page of connections: how they go, how fresh the rows are, connecting and disconnecting.

A person is sent to the service from our page and not by a redirect, which browsers refuse after a
form (CSP form-action). On the way back the browser gives no strict cookie: the answer is put aside,
sealed, and our own page leads on to where the session is known.
"""

import uuid
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from dmp_assets.ads.service import consenting
from dmp_assets.ads.service.consenting import Begun
from dmp_assets.ads.service.store import connected
from dmp_assets.ads.service.store.schema import ad_accounts
from dmp_assets.ads.service.viewing import Viewer, Views, plain_page, shops_of
from dmp_assets.ads.settings import AdsSettings
from dmp_assets.platform.api.access import LOGIN_RATE, limit, needs, note_done
from dmp_assets.platform.api.advertisers import Seat, seat, seen_by
from dmp_assets.platform.api.hosts import address_of
from dmp_assets.platform.api.output import opened, sealed
from dmp_assets.platform.api.problems import NO_NUL, FieldError, Problem
from dmp_assets.platform.api.rates import caller_address
from dmp_assets.platform.api.routes.pages import PageRoute, page, wants_page
from dmp_assets.platform.api.state import Service, service_of
from dmp_assets.platform.base.addresses import service_address
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.connect.oauth import CONSENT_SECONDS
from dmp_assets.platform.store import advertisers
from dmp_assets.platform.store.access import Principal
from dmp_assets.sources.meta.config import meta_lacks
from dmp_assets.sources.meta.connection import SERVICE as META
from dmp_assets.sources.shopify.access import SERVICE as SHOPIFY
from dmp_assets.sources.shopify.resource import shopify_lacks

router = APIRouter(prefix="/ads", include_in_schema=False, route_class=PageRoute)
PATH = "/ads/connections"
RETURN = f"{PATH}/return"
FINISH = f"{PATH}/finish"
BEGUN_COOKIE, ANSWER_COOKIE = "dmp_consent", "dmp_consent_answer"
LONGEST_ANSWER = 2800
"""Characters of a service's answer, so that it fits into a cookie."""
Acts = Annotated[Seat, Depends(seat("ads:write", acts=True))]
Told = Literal["connected", "no-accounts", "disconnected", "kept-there"]


@router.get("/connections")
def connections(
    request: Request, viewer: Views, told: Annotated[Told | None, Query()] = None
) -> HTMLResponse:
    """How the advertiser's connections go, and how far its rows."""
    return _page(request, viewer, told=told)


def _page(
    request: Request,
    viewer: Viewer,
    *,
    status: int = 200,
    told: Told | None = None,
    problem: str | None = None,
) -> HTMLResponse:
    service = service_of(request)
    settings = service.settings.of(AdsSettings)

    def read(store: sa.Connection, advertiser_id: str) -> dict[str, Any]:
        shops = shops_of(service, advertiser_id)
        of_accounts, of_shops = connected.last_days(store, advertiser_id)
        accounts = sa.select(ad_accounts).where(ad_accounts.c.advertiser_id == advertiser_id)
        return {
            "shops": shops,
            "account_days": of_accounts,
            "file_shops": {shop: day for shop, day in of_shops.items() if shop not in shops},
            "connected": connected.of(store, advertiser_id, shops),
            "fresh": connected.freshness(store, advertiser_id),
            "accounts": store.execute(accounts.order_by(ad_accounts.c.account_id)).all(),
            "left_out": consenting.left_out_of(service, store, advertiser_id),
        }

    return plain_page(
        request, viewer, "connections", "ads_connections.html", read, status, told=told,
        problem=problem,
        meta_lacks=meta_lacks(settings), shopify_lacks=shopify_lacks(settings),
        by_consent=settings.shopify_access == "consent", now=service.home.now(),
    )  # fmt: skip


# connecting --------------------------------------------------------------------------------------
@router.post("/connections/meta")
def connect_meta(
    request: Request, at: Acts, access: Annotated[Literal["reading", "writing"], Form()]
) -> Response:
    """Send the browser to Meta, where the ad accounts are ticked."""
    service, redirect = service_of(request), _redirect(request)
    try:
        begun = consenting.begin_meta(
            service, at.advertiser_id, redirect, is_writing=access == "writing"
        )
    except UserError as error:
        return _refused(request, at, "body.access", error)
    return _leave(service, at, META, begun.url, begun.cookie, is_writing=access == "writing")


@router.post("/connections/shopify")
def connect_shopify(
    request: Request, at: Acts, shop: Annotated[str, Form(max_length=200, pattern=NO_NUL)]
) -> Response:
    """Send the browser to the shop; one of the app's own organisation is connected at once."""
    service, redirect = service_of(request), _redirect(request)
    if shop not in shops_of(service, at.advertiser_id):
        said = "is no shop of this advertiser: DMP_SHOPIFY_SHOPS says which are"
        raise Problem(422, "invalid", errors=[FieldError(field="body.shop", message=said)])
    try:
        begun = consenting.begin_shopify(service, shop, redirect)
    except UserError as error:
        return _refused(request, at, "body.shop", error)
    if begun is None:
        _note(request, at.principal, "connect", at.advertiser_id, SHOPIFY)
        return _back(at, "connected")
    return _leave(service, at, SHOPIFY, begun.url, begun.cookie)


def _redirect(request: Request) -> str:
    """Where services send the browser back to. Raises Problem 422."""
    service = service_of(request)
    if public := service_address(service.settings.public_url, RETURN):
        return public
    found = address_of(request, RETURN, service.settings, is_told=service.is_host_told)
    if found is None:
        raise Problem(422, "invalid", "set DMP_PUBLIC_URL: services send the browser back there")
    return found


def _leave(
    service: Service, at: Seat, to: str, url: str, cookie: str, *, is_writing: bool = False
) -> Response:
    begun = Begun(to, at.advertiser_id, at.principal.actor, is_writing, cookie)
    answer = page(service, "ads_leaving.html", who=at.principal, to=to, url=url)
    # Lax, not strict: the browser comes back from the service's site.
    answer.set_cookie(
        BEGUN_COOKIE, sealed(service.seal, consenting.PURPOSE, *begun.values()),
        max_age=CONSENT_SECONDS, httponly=True, secure=service.secure, samesite="lax", path=PATH,
    )  # fmt: skip
    return answer


@router.get("/connections/return")
async def returned(request: Request, response: Response) -> Response:
    """Where a service sends the browser back to: its answer is put aside, and taken by `finish`."""
    service = service_of(request)
    await limit(request, response, caller_address(request), LOGIN_RATE)
    if BEGUN_COOKIE not in request.cookies:
        raise Problem(422, "invalid", "this browser did not begin to connect anything, or too long "
                      "ago: begin again")  # fmt: skip
    if len(request.url.query) > LONGEST_ANSWER:
        raise Problem(422, "invalid", "this is no answer of a service: it is too long")
    pairs = [part for pair in request.query_params.items() for part in pair]
    answer = page(service, "ads_returned.html", who=None, to=FINISH)
    answer.set_cookie(
        ANSWER_COOKIE, sealed(service.seal, consenting.ANSWER, *pairs), max_age=60, httponly=True,
        secure=service.secure, samesite="strict", path=PATH,
    )  # fmt: skip
    return answer


@router.get("/connections/finish")
def finish(request: Request, who: Annotated[Principal, Depends(needs("ads:write"))]) -> Response:
    """Connect by the answer that was put aside, for the advertiser for whom it was begun."""
    service = service_of(request)
    cookies = [request.cookies.get(name, "") for name in (BEGUN_COOKIE, ANSWER_COOKIE)]
    if not all(cookies):
        return _forgotten(service, page(service, "ads_finished.html", who=who, problem=None))
    begun = Begun.of(opened(service.seal, cookies[0], consenting.PURPOSE, "cookie"))
    parts = opened(service.seal, cookies[1], consenting.ANSWER, "cookie")
    at = _seat(service, who, begun)
    try:
        answer = dict(zip(parts[::2], parts[1::2], strict=True))
        told: Told = "connected" if consenting.finish(service, begun, answer) else "no-accounts"
    except UserError as error:
        shown = page(service, "ads_finished.html", 422, who=who, problem=str(error))
        return _forgotten(service, shown)
    service.change(lambda store: advertisers.ensure(store, begun.advertiser_id, now=service.now()))
    _note(request, who, "connect", begun.advertiser_id, begun.service)
    return _forgotten(service, _back(at, told))


def _seat(service: Service, who: Principal, begun: Begun) -> Seat:
    """The seat of who began it. Raises Problem 403, 404."""
    if begun.actor != who.actor:
        raise Problem(403, "forbidden", "somebody else began to connect this: begin again")
    found = service.in_store(lambda store: seen_by(store, who))
    for one in found:
        if one.advertiser_id == begun.advertiser_id and one.role == "manager":
            return Seat(who, one, tuple(found))
    raise Problem(404, "not-found", "there is no such advertiser, or you do not manage it")


def _forgotten(service: Service, answer: Response) -> Response:
    for name, samesite in ((BEGUN_COOKIE, "lax"), (ANSWER_COOKIE, "strict")):
        answer.delete_cookie(
            name,
            path=PATH,
            secure=service.secure,
            httponly=True,
            samesite=samesite,  # type: ignore[arg-type]
        )
    return answer


# disconnecting -----------------------------------------------------------------------------------
@router.post("/connections/disconnect")
def disconnect(request: Request, at: Acts, connection: Annotated[uuid.UUID, Form()]) -> Response:
    """Give the grant back and delete its token; rows that were read stay."""
    service = service_of(request)
    shops = shops_of(service, at.advertiser_id)
    found = service.in_store(lambda store: connected.of(store, at.advertiser_id, shops))
    one = next((one for one in found if one.connection_id == connection), None)
    if one is None:
        raise Problem(404, "not-found", "there is no such connection, or it is gone")
    told: Told = "disconnected"
    try:
        consenting.give_back(service, one)
    except UserError as error:
        kept = service.in_store(lambda store: connected.of(store, at.advertiser_id, shops))
        if any(other.connection_id == connection for other in kept):
            return _refused(request, at, "body.connection", error)
        service.log.warning("a grant is gone here, and the service was not told")
        told = "kept-there"
    _note(request, at.principal, "disconnect", at.advertiser_id, one.service)
    return _back(at, told)


def _note(request: Request, who: Principal, action: str, advertiser_id: str, to: str) -> None:
    note_done(request, who, f"ads {action}", advertiser=advertiser_id, service=to)


def _back(at: Seat, told: Told) -> RedirectResponse:
    query = urlencode({"advertiser": at.advertiser_id, "told": told})
    return RedirectResponse(f"{PATH}?{query}", 303)


def _refused(request: Request, at: Seat, field: str, error: Exception) -> Response:
    """The page with what was wrong, a program gets it in detail. Raises Problem 422."""
    if not wants_page(request):
        wrong = FieldError(field=field, message=str(error))
        raise Problem(422, "invalid", errors=[wrong]) from error
    return _page(request, Viewer(at.principal, at), status=422, problem=str(error))
