"""Grants of advertisers, asked for and given back, by the page as by `dmp connect`."""

import uuid
from datetime import datetime

import sqlalchemy as sa

from dmp_assets.ads.service.store import owning
from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import ConnectError
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.oauth import OAuthClient
from dmp_assets.platform.connect.tokens import ConnectionCredentials, Connections, targets
from dmp_assets.sources.meta.config import MetaConfig, meta_config, meta_lacks
from dmp_assets.sources.meta.connection import READING, WRITING, oauth_client
from dmp_assets.sources.meta.connection import SERVICE as META
from dmp_assets.sources.meta.granted import Granted, granted
from dmp_assets.sources.meta.settings import MetaSettings
from dmp_assets.sources.shopify.access import SERVICE as SHOPIFY
from dmp_assets.sources.shopify.access import client_of, disconnect
from dmp_assets.sources.shopify.resource import shopify_settings

KEPT = "What was read stays, in the tables and on the pages."
"""What becomes of rows when a grant is given back."""


def app_at_meta(home: Home) -> MetaConfig:
    """Our app. Raises ConnectError naming the settings that are missing."""
    config = meta_config(home)
    if config is None:
        lacks = " and ".join(meta_lacks(home.settings().of(MetaSettings)))
        raise ConnectError(f"Meta: set {lacks} first", "no app")
    return config


def meta_client(home: Home, *, is_writing: bool) -> OAuthClient:
    """We at Meta. Raises ConnectError where no app is configured."""
    return oauth_client(app_at_meta(home), WRITING if is_writing else READING)


def granted_at_meta(
    home: Home, connections: Connections, client: OAuthClient, connection_id: uuid.UUID
) -> Granted:
    """What a person ticked at Meta, who may have ticked nothing. Raises ConnectError."""
    return granted(app_at_meta(home), connections, client, connection_id)


def left_out_of(home: Home, store: sa.Connection, advertiser_id: str) -> list[str]:
    """Ad accounts that were ticked for an advertiser and that another one has."""
    settings = home.settings().of(MetaSettings)
    by_settings = settings.meta_advertiser_id if settings.meta_system_user_token else None
    ticked = targets(store, KeyRing.of(home), META)
    return owning.held_by_others(store, advertiser_id, ticked, by_settings)


def give_back(
    home: Home, connections: Connections, service: str, account: str, connection_id: uuid.UUID
) -> None:
    """Revoke a grant and delete its token; raises what the service said after it is gone here.

    Raises ConnectError.
    """
    if service == META:
        connections.forget(meta_client(home, is_writing=False), connection_id)
        return
    assert service == SHOPIFY
    settings = shopify_settings(home)
    client = client_of(settings, account, loopback_only=home.profile == "sandbox")
    disconnect(settings, account, ConnectionCredentials(connections, client, connection_id))


def ends_at(
    service: str, expires_at: datetime | None, consent_ends_at: datetime | None
) -> datetime | None:
    """When a person has to consent again at the latest (UTC); None when nothing says it.

    Of Meta the earlier of both clocks; a shop's access token is renewed by itself.
    """
    clocks = [consent_ends_at] + ([expires_at] if service == META else [])
    return min((one for one in clocks if one is not None), default=None)
