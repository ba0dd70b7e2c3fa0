"""How a shop lets us in, and how we leave it.

By consent: somebody of the shop is sent to its consent page and comes back with a signed query; the
tokens expire, and each refresh gives both anew. By credentials: the app is of the shop's own
organisation, and its id and secret are enough. Which of them is `DMP_SHOPIFY_ACCESS`.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest

from dmp_assets.home import Home
from dmp_assets.platform.base.answers import json_object
from dmp_assets.platform.connect.answer import HttpAnswer
from dmp_assets.platform.connect.errors import ConnectError, NeedsConsentError, RefusedConsentError
from dmp_assets.platform.connect.oauth import (
    CLIENT_CREDENTIALS,
    REFRESH_TOKEN,
    OAuthClient,
    OAuthService,
)
from dmp_assets.platform.connect.own import connected
from dmp_assets.platform.connect.tokens import BegunConsent, ConnectionCredentials, Connections
from dmp_assets.sources.shopify import documents
from dmp_assets.sources.shopify.errors import BusinessError
from dmp_assets.sources.shopify.graphql import ShopApi
from dmp_assets.sources.shopify.resource import shopify_lacks
from dmp_assets.sources.shopify.settings import ShopifySettings
from dmp_assets.sources.shopify.shops import ShopDomainError, address_of, shop_domain
from dmp_assets.sources.shopify.signatures import Secrets

SERVICE = "Shopify"
TOKEN_HEADER = "X-Shopify-Access-Token"  # noqa: S105 # nosec B105
SCOPES = ("read_orders", "read_products", "read_inventory", "read_customers")
"""The least that is needed: orders, what they hold, what that cost, and who ordered before."""
ALL_ORDERS = "read_all_orders"
_EARLY = 300.0
_FRESH = timedelta(days=1)
_OURS = frozenset({"application_cannot_be_found", "invalid_client", "unsupported_grant_type"})
"""Refusals for which the app's own settings are to blame: no consent mends them."""


def oauth_of(settings: ShopifySettings, shop: str) -> OAuthService:
    """A shop's OAuth 2.0. Raises ShopDomainError."""
    base = address_of(settings.shopify_url, shop)
    by_consent = settings.shopify_access == "consent"
    return OAuthService(
        name=SERVICE,
        authorization_endpoint=f"{base}/admin/oauth/authorize" if by_consent else None,
        token_endpoint=f"{base}/admin/oauth/access_token",
        scopes=(*SCOPES, ALL_ORDERS) if settings.shopify_all_orders else SCOPES,
        scope_separator=",",
        client_auth="body",
        code_parameters={"expiring": "1"},
        pkce=False,
        renewal=REFRESH_TOKEN if by_consent else CLIENT_CREDENTIALS,
        rotates=True,
        is_dead=_is_dead,
        margin=_EARLY,
        header=TOKEN_HEADER,
        prefix="",
    )


def client_of(settings: ShopifySettings, shop: str, *, loopback_only: bool) -> OAuthClient:
    """Us at a shop. Raises ConnectError without id and secret; ShopDomainError."""
    if settings.shopify_client_secret is None or not settings.shopify_client_id:
        lacks = " and ".join(shopify_lacks(settings))
        raise ConnectError(f"Shopify: set {lacks} first, to reach a shop", "not configured")
    return OAuthClient(
        oauth_of(settings, shop),
        settings.shopify_client_id,
        settings.shopify_client_secret,
        loopback_only=loopback_only,
    )


def _is_dead(answer: HttpAnswer) -> bool:
    said = (json_object(answer.body) or {}).get("error")
    return answer.status in (400, 401) and said not in _OURS


@dataclass(frozen=True)
class Installing:
    """Connecting shops by consent. `loopback_only`: of a sandbox home."""

    settings: ShopifySettings
    connections: Connections
    loopback_only: bool = False

    def begin(self, shop: str, redirect_uri: str) -> BegunConsent:
        """Where to send the browser. Raises ShopDomainError, ConnectError."""
        return self.connections.begin(self._client(shop), shop_domain(shop), redirect_uri)

    def finish(self, cookie: str, returned: Mapping[str, str], now: datetime) -> uuid.UUID:
        """Connect the shop for which the browser came back, by its cookie and query.

        Raises RefusedConsentError for a query that Shopify did not sign, that is older than a day
        or names no shop, or another one than it was begun for; and as `Connections.finish`.
        """
        shop = checked_query(returned, Secrets.of(self.settings, now), now)
        return self.connections.finish(self._client(shop), cookie, returned, account=shop)

    @contextmanager
    def opened(self, shop: str) -> Iterator[ShopApi]:
        """The Admin API of a shop that is connected. Raises NeedsConsentError, ConnectError."""
        wanted = (SERVICE, shop_domain(shop), "active")
        for one in self.connections.health():
            if (one.service, one.account, one.state) == wanted:
                own = ConnectionCredentials(self.connections, self._client(shop), one.connection_id)
                with opened(self.settings, one.account, own) as api:
                    yield api
                return
        raise NeedsConsentError(f"{SERVICE} has not let us in at {shop}", "not connected")

    def _client(self, shop: str) -> OAuthClient:
        return client_of(self.settings, shop, loopback_only=self.loopback_only)


def checked_query(returned: Mapping[str, str], secrets: Secrets, now: datetime) -> str:
    """The shop that a signed query is about. Raises RefusedConsentError."""
    if "error" in returned and "hmac" not in returned:
        raise RefusedConsentError("Shopify: consent was not given")
    if not secrets.signed_query(returned, returned.get("hmac", "")):
        raise RefusedConsentError("Shopify: what the browser brought back is not signed by it")
    try:
        shop = shop_domain(returned.get("shop", ""))
    except ShopDomainError:
        raise RefusedConsentError("Shopify: what the browser brought back names no shop") from None
    if not compare_digest(shop.encode(), returned["shop"].encode()):
        raise RefusedConsentError("Shopify: what the browser brought back names no shop")
    moment = returned.get("timestamp", "")
    at = int(moment) if moment.isdecimal() and len(moment) < 12 else 0
    if abs(now.timestamp() - at) > _FRESH.total_seconds():
        raise RefusedConsentError("Shopify: what the browser brought back is older than a day")
    return shop


@dataclass(frozen=True)
class ConnectedShop:
    """A shop that lets us in, for one piece of work; `advertiser_id`: whose it is."""

    advertiser_id: str
    shop: str
    api: ShopApi


@contextmanager
def shop_at_work(
    home: Home, settings: ShopifySettings, shop: str, advertiser_id: str
) -> Iterator[ConnectedShop]:
    """A shop for one piece of work, connected by credentials where it is not yet; how the work went
    is noted. Raises ConnectError: NeedsConsentError where a person has to consent first."""
    is_sandbox = home.profile == "sandbox"
    client = client_of(settings, shop, loopback_only=is_sandbox)
    account = shop_domain(shop)
    with (
        connected(home, client, account) as credentials,
        opened(settings, account, credentials) as api,
    ):
        yield ConnectedShop(advertiser_id, account, api)


def missing_scopes(settings: ShopifySettings, api: ShopApi) -> tuple[str, ...]:
    """Scopes that are needed and that the shop does not grant now. Raises ConnectError."""
    about = api.query(documents.ACCESS_SCOPES).get("currentAppInstallation") or {}
    granted = {one.get("handle") for one in about.get("accessScopes") or ()}
    needed = oauth_of(settings, api.shop).scopes
    return tuple(scope for scope in needed if scope not in granted)


@contextmanager
def opened(
    settings: ShopifySettings, shop: str, credentials: ConnectionCredentials
) -> Iterator[ShopApi]:
    """A shop's Admin API."""
    base = address_of(settings.shopify_url, shop)
    loopback_only = credentials.client.loopback_only
    with ShopApi.of(shop, base, credentials, loopback_only=loopback_only) as api:
        yield api


def disconnect(settings: ShopifySettings, shop: str, credentials: ConnectionCredentials) -> None:
    """Uninstall our app from the shop, by which all its tokens end, and forget the connection.

    Raises what the uninstalling raised, after the connection is gone here: the tokens may be good
    at Shopify then, until the shop uninstalls the app itself.
    """
    failed: ConnectError | None = None
    try:
        with opened(settings, shop, credentials) as api:
            api.change(documents.UNINSTALL, {}, "appUninstall")
    except (ConnectError, BusinessError) as error:
        failed = error
    credentials.connections.forget(credentials.client, credentials.connection_id)
    if failed is not None:
        raise failed
