"""Connecting by a browser: begin a consent, take its answer, give a connection back.

What the browser keeps between the two is sealed: which service and advertiser it was begun for, by
whom, and the service's own state. No token is on a page, in an address or in a log.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from dmp_assets.ads import grants
from dmp_assets.ads.service.store.connected import Connected
from dmp_assets.ads.settings import AdsSettings
from dmp_assets.platform.api.state import Service
from dmp_assets.platform.base.addresses import service_address
from dmp_assets.platform.connect.copies import Place
from dmp_assets.platform.connect.errors import ConnectError
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import BegunConsent, Connections
from dmp_assets.sources.meta.connection import SERVICE as META
from dmp_assets.sources.shopify.access import Installing, client_of
from dmp_assets.sources.shopify.webhooks import WEBHOOKS, subscribe

PURPOSE = "ads connection"
ANSWER = "ads connection answer"


@dataclass(frozen=True)
class Begun:
    """A consent that somebody was sent to give: for what, by whom, and the service's cookie."""

    service: str
    advertiser_id: str
    actor: str
    is_writing: bool
    cookie: str

    def values(self) -> tuple[str, str, str, str, str]:
        """What is sealed for the browser."""
        writing = "writing" if self.is_writing else "reading"
        return self.service, self.advertiser_id, self.actor, writing, self.cookie

    @classmethod
    def of(cls, values: list[str]) -> "Begun":
        """The same, opened again."""
        service, advertiser_id, actor, writing, cookie = values
        return cls(service, advertiser_id, actor, writing == "writing", cookie)


def connections_of(service: Service) -> Connections:
    """The connections in the service's store."""
    home = service.home
    return Connections(service.store, KeyRing.of(home), clock=home.now, place=Place(home))


def _installing(service: Service) -> Installing:
    settings = service.settings.of(AdsSettings)
    return Installing(settings, connections_of(service), service.home.profile == "sandbox")


def begin_meta(service: Service, advertiser_id: str, redirect: str, *, is_writing: bool
               ) -> BegunConsent:  # fmt: skip
    """Where somebody who runs the ad accounts ticks them. Raises ConnectError."""
    client = grants.meta_client(service.home, is_writing=is_writing)
    return connections_of(service).begin(client, advertiser_id, redirect)


def begin_shopify(service: Service, shop: str, redirect: str) -> BegunConsent | None:
    """Where somebody of the shop consents; None where our own credentials were enough, and the
    shop is connected. Raises ConnectError, ShopDomainError."""
    settings = service.settings.of(AdsSettings)
    if settings.shopify_access == "consent":
        return _installing(service).begin(shop, redirect)
    loopback_only = service.home.profile == "sandbox"
    connections_of(service).connect(client_of(settings, shop, loopback_only=loopback_only), shop)
    return None


def finish(service: Service, begun: Begun, query: Mapping[str, str]) -> bool:
    """Connect by what the browser brought back; whether there is anything to read by it.

    Raises ConnectError.
    """
    if begun.service == META:
        client = grants.meta_client(service.home, is_writing=begun.is_writing)
        connections = connections_of(service)
        connection_id = connections.finish(client, begun.cookie, query)
        left_out = service.in_store(lambda store: left_out_of(service, store, begun.advertiser_id))
        if left_out:
            service.log.warning(
                "ad accounts of another advertiser are left out", advertiser=begun.advertiser_id,
                accounts=left_out,
            )  # fmt: skip
        told = grants.granted_at_meta(service.home, connections, client, connection_id)
        return told.accounts != []
    installing = _installing(service)
    installing.finish(begun.cookie, query, service.now())
    if to := service_address(service.settings.public_url, WEBHOOKS):
        _hear_of_changes(service, installing, query["shop"], to)
    return True


def left_out_of(service: Service, store: sa.Connection, advertiser_id: str) -> list[str]:
    """Ad accounts that were ticked for an advertiser and that another one has."""
    return grants.left_out_of(service.home, store, advertiser_id)


def _hear_of_changes(service: Service, installing: Installing, shop: str, to: str) -> None:
    """Have the shop tell what changes; where it does not, each run asks for that."""
    try:
        with installing.opened(shop) as api:
            subscribe(api, to)
    except ConnectError as error:
        service.log.warning("a shop does not tell what changes", why=error.kind)


def give_back(service: Service, one: Connected) -> None:
    """Revoke the grant and delete its token; raises what the service said after it is gone here.

    Raises ConnectError.
    """
    connections = connections_of(service)
    grants.give_back(service.home, connections, one.service, one.account, one.connection_id)
