"""The sandbox's Shopify: Admin API 2026-10 of every shop in its world, over HTTP.

`/shopify/<shop>/admin/oauth/authorize` gives consent at once, as the person would, and sends the
browser back with a signed query; `…/admin/oauth/access_token` takes a code, a refresh token or the
app's own credentials; `…/admin/api/<version>/graphql.json` answers documents. Files of bulk
operations are below `/shopify/_files/`, on an address that takes no token, as at Shopify.

To misbehave, POST a `Manner` to `/shopify/_sandbox/manner`; to change orders, `Change`s to
`…/change`; to have a webhook delivered, an `Order` to `…/deliver`; to uninstall, `{"shop": …}` to
`…/uninstall`; `{"left": …}` to `…/drain` empties the buckets. What was asked is at `…/calls`.
"""

import html
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from dmp_assets.demo.business.ads_world import ADVERTISERS
from dmp_assets.demo.sandbox.oauth import REDIRECTS
from dmp_assets.demo.sandbox.shopify_bulk import BulkOperations
from dmp_assets.demo.sandbox.shopify_controls import Controls
from dmp_assets.demo.sandbox.shopify_grants import (
    CLIENT_ID,
    CLIENT_SECRET,
    SCOPES,
    Granted,
    Grants,
    host_of,
    query_hmac,
)
from dmp_assets.demo.sandbox.shopify_graphql import Asking, Buckets, GraphqlApi
from dmp_assets.demo.sandbox.shopify_manner import Clock, Manner
from dmp_assets.demo.sandbox.shopify_webhooks import Order, Webhooks
from dmp_assets.demo.sandbox.shopify_world import Row, World, text_of
from dmp_assets.platform.base.addresses import is_loopback
from dmp_assets.platform.base.answers import json_object

SEEN_DAYS = 60
"""How far back `read_orders` alone sees."""
WORLD, GRANTS = "world.db", "grants.db"
_REFUSED = "[API] Invalid API key or access token (unrecognized login or wrong password)"
_LASTING = (
    "[API] Non-expiring access tokens are no longer accepted for the Admin API. Start using "
    "expiring offline tokens: https://shopify.dev/docs/apps/build/authentication-authorization"
)
_TOLD = {
    402: "Unavailable Shop",
    403: "[API] This app is not allowed to do this",
    404: "Not Found",
    423: "[API] This shop is locked",
    429: "Exceeded 2 calls per second for api client. Reduce request rates to resume uninterrupted "
    "service.",
    430: "Shopify Security Rejection",
}


class ShopifySandbox:
    """The service of one sandbox."""

    name = "shopify"
    prefix = "shopify"

    def __init__(self, root: Path) -> None:
        folder = root / "shopify"
        self.world = World(folder / WORLD)
        self.grants = Grants(folder / GRANTS)
        self.manner, self.clock = Manner(), Clock()
        self.webhooks = Webhooks(self.grants, self.world)
        self.bulk = BulkOperations(folder / "files")
        self.buckets = Buckets()
        self._api = GraphqlApi(self._edit)
        self._calls: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def settings(self, base_url: str) -> dict[str, Any]:
        """Those that lead here, and the shops whose advertisers the world knows by now."""
        rows = self.world.rows("SELECT shop, advertiser_id FROM shop ORDER BY shop")
        return {
            "shopify_url": f"{base_url}{{shop}}",
            "shopify_client_id": CLIENT_ID,
            "shopify_client_secret": CLIENT_SECRET,
            "shopify_shops": {r["shop"]: r["advertiser_id"] for r in rows if r["advertiser_id"]},
            "shopify_all_orders": True,
            "web_advertiser": ADVERTISERS[0].advertiser_id,
        }

    def routes(self) -> list[BaseRoute]:
        return [
            *Controls(self).routes(),
            Route("/_sandbox/calls", lambda _: JSONResponse(self._calls)),
            Route("/_sandbox/tokens", lambda _: JSONResponse(self.grants.requests())),
            Route("/_files/{number:int}", self._file),
            Route("/{shop}/admin/oauth/authorize", self._authorize),
            Route("/{shop}/admin/oauth/access_token", self._token, methods=["POST"]),
            Route("/{shop}/admin/api/{version}/graphql.json", self._graphql, methods=["POST"]),
        ]

    def messages(self) -> list[dict[str, Any]]:
        return []

    def page(self) -> str:
        rows = self.world.rows(
            "SELECT s.shop, s.currency, count(o.order_id) AS orders FROM shop s "
            "LEFT JOIN orders o USING (shop) GROUP BY s.shop, s.currency ORDER BY s.shop"
        )
        lines = "".join(
            f"<tr><td>{html.escape(r['shop'])}<td>{html.escape(r['currency'])}<td>{r['orders']:,}"
            for r in rows
        )
        return (
            f"<h1>Shopify</h1><p>{len(self._calls):,} documents answered.</p>"
            f"<table><tr><th>shop<th>currency<th>orders{lines}</table>"
        )

    def _shop(self, request: Request) -> Row | None:
        query = "SELECT * FROM shop WHERE shop = ?"
        found = self.world.rows(query, [request.path_params["shop"]])
        return found[0] if found else None

    # consent and tokens --------------------------------------------------------------------------
    async def _authorize(self, request: Request) -> Response:
        asked, shop = request.query_params, self._shop(request)
        target = asked.get("redirect_uri", "")
        if shop is None:
            return JSONResponse({"errors": "Not Found"}, status_code=404)
        if asked.get("client_id") != CLIENT_ID or not _may_return_to(target):
            return JSONResponse({"error": "invalid_request"}, status_code=400)
        state = asked.get("state", "")
        if self.manner.refuses:
            back = {"error": "access_denied", "state": state}
            return RedirectResponse(f"{target}?{urlencode(back)}", status_code=302)
        wanted = [one for one in asked.get("scope", "").split(",") if one in SCOPES]
        granted = tuple(one for one in wanted if one not in self.manner.withheld)
        return RedirectResponse(
            f"{target}?{urlencode(self._back(shop['shop'], granted, state))}", status_code=302
        )

    def _back(self, shop: str, granted: tuple[str, ...], state: str) -> dict[str, str]:
        """What the browser brings back, forged where that was asked for."""
        forged, now = self.manner.forged, self.clock()
        if forged == "timestamp":
            now -= timedelta(days=2)
        back = {
            "code": self.grants.code(shop, granted),
            "host": host_of(shop),
            "shop": "another-shop.myshopify.com" if forged == "shop" else shop,
            "state": "forged" if forged == "state" else state,
            "timestamp": str(int(now.timestamp())),
        }
        back["hmac"] = query_hmac(back, "wrong" if forged == "hmac" else CLIENT_SECRET)
        return back

    async def _token(self, request: Request) -> Response:
        shop = self._shop(request)
        if shop is None:
            return JSONResponse({"errors": "Not Found"}, status_code=404)
        body = await request.body()
        if request.headers.get("content-type", "").startswith("application/json"):
            form = {name: str(value) for name, value in (json_object(body) or {}).items()}
        else:
            form = dict(parse_qsl(body.decode()))
        status, answer = await run_in_threadpool(
            self.grants.answer, shop["shop"], form, self.manner, self.clock()
        )
        return JSONResponse(answer, status_code=status)

    # GraphQL -------------------------------------------------------------------------------------
    async def _graphql(self, request: Request) -> Response:
        given = json_object(await request.body())
        return await run_in_threadpool(self._answer, request, given)

    def _answer(self, request: Request, given: Mapping[str, Any] | None) -> Response:
        shop, now, manner = self._shop(request), self.clock(), self.manner
        headers = {"X-Shopify-API-Version": manner.version}
        if shop is None:
            return JSONResponse({"errors": "Not Found"}, status_code=404)
        told = self._told()
        if told is not None:
            status, text = told
            if manner.retry_after is not None:
                headers["Retry-After"] = str(manner.retry_after)
            return JSONResponse({"errors": text}, status_code=status, headers=headers)
        granted = None
        if request.scope.get("sandbox_fault") != "token_expired":
            token = request.headers.get("x-shopify-access-token", "")
            granted = self.grants.opens(shop["shop"], token, now)
        if granted is None:
            return JSONResponse({"errors": _REFUSED}, status_code=401)
        if granted.is_lasting and manner.refuses_lasting:
            return JSONResponse({"errors": _LASTING}, status_code=403)
        if given is None:
            told_wrong = {"errors": {"query": "Required parameter missing or invalid"}}
            return JSONResponse(told_wrong, status_code=400)
        asking = self._asking(request, shop, granted, now)
        answer = self._api.answer(asking, self.buckets.at(shop, manner), given)
        self._calls.append(
            {
                "shop": shop["shop"],
                "document": given.get("query"),
                "variables": given.get("variables"),
                "cost": answer.get("extensions", {}).get("cost"),
            }
        )
        return JSONResponse(answer, headers=headers)

    def _told(self) -> tuple[int, str] | None:
        """What every document is answered with now, if anything."""
        manner = self.manner
        with self._lock:
            if manner.status is None or manner.status_times <= 0:
                return None
            if manner.status_after > 0:
                manner.status_after -= 1
                return None
            manner.status_times -= 1
        text = _REFUSED if manner.status == 401 else _TOLD.get(manner.status, "Internal error")
        return manner.status, text

    def _asking(self, request: Request, shop: Row, granted: Granted, now: datetime) -> Asking:
        files = f"{request.url.scheme}://{request.url.netloc}/{self.prefix}/_files"
        there = now if self.manner.clock else self.world.now() or now
        asking = Asking(
            shop=shop,
            scopes=granted.scopes,
            now=text_of(there),
            since=None
            if "read_all_orders" in granted.scopes
            else text_of(there - timedelta(days=SEEN_DAYS)),
            manner=self.manner,
            world=self.world,
            roots={},
        )
        asking.roots = {
            **self.bulk.roots(asking, now, lambda number: f"{files}/{number}"),
            **self.webhooks.roots(asking),
            "appUninstall": lambda: self.uninstalled(shop["shop"], now),
        }
        return asking

    def _edit(self) -> None:
        """Update, and delete, the next of the orders that change while somebody pages."""
        manner = self.manner
        with self._lock:
            edited, manner.edited = manner.edited[:1], manner.edited[1:]
            vanishing, manner.vanishing = manner.vanishing[:1], manner.vanishing[1:]
        for order in edited:
            self.world.change(order, self.clock())
        for order in vanishing:
            self.world.delete(order)

    def _file(self, request: Request) -> Response:
        found = self.bulk.operations.get(request.path_params["number"])
        if found is None:
            return Response("gone", status_code=404)
        content = found.file.read_bytes()
        manner = self.manner
        with self._lock:
            cut, broken = manner.cut_times > 0, manner.broken_times > 0
            manner.cut_times -= cut
            manner.broken_times -= broken
        if cut:
            content = content[: len(content) - 20]
        if broken:  # more is promised than sent: the server closes the connection
            return StreamingResponse(
                iter([content[: len(content) // 2]]),
                headers={"Content-Length": str(len(content))},
                media_type="application/jsonl",
            )
        return Response(content, media_type="application/jsonl")

    def uninstalled(self, shop: str, now: datetime) -> dict[str, Any]:
        """End all grants of a shop and tell those who subscribed."""
        self.grants.end(shop)
        answers = self.webhooks.deliver(Order(shop=shop, topic="app/uninstalled"), now)
        self.webhooks.forget(shop)
        app = {"id": "gid://shopify/App/1"}
        return {"app": app, "userErrors": [], "answers": answers}


def _may_return_to(address: str) -> bool:
    """Whether the app may be returned to there: it is registered, or on this machine."""
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return False
    return address in REDIRECTS or is_loopback(host)
