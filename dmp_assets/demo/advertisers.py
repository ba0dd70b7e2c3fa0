"""The simulated business's advertisers in a sandbox home: what the stand-ins serve of them, and the
consent of their people.

Consent is given as a person gives it, on the stand-ins' own pages over HTTP; what the browser
brings back goes the way that it goes after `dmp connect`.
"""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx

from dmp_assets.demo.business.ads_world import ADVERTISERS
from dmp_assets.demo.sandbox import meta_world, shopify_world
from dmp_assets.home import SIMULATED, Home
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.connect.errors import ConnectError, RefusedConsentError
from dmp_assets.platform.connect.own import connections_of
from dmp_assets.platform.store import advertisers, database, where
from dmp_assets.sources.meta import connection as meta
from dmp_assets.sources.meta.config import meta_config
from dmp_assets.sources.shopify import access as shopify
from dmp_assets.sources.shopify.resource import shopify_settings

HISTORY_DAYS = 100
"""Days of insights that the demo asks for: the business is simulated for fewer."""
REDIRECT = "http://127.0.0.1/connect/callback"
"""Where the browser is sent back to; nobody answers there, its address is all that is wanted."""


def serve(home: Home, simulated: Path) -> None:
    """Have the stand-ins serve what `generate_ads` wrote there, whoever runs them; only once.

    What was changed since at Meta or Shopify stays, as it does there.
    """
    settled = home.sandbox / SIMULATED
    if settled.exists():
        return
    at_meta = meta_world.World(home.sandbox / "meta" / "world.db")
    at_meta.take(simulated / "meta.sqlite")
    at_meta.set_clock(home.now().timestamp(), runs=True)
    at_meta.close()
    shopify_world.World(home.sandbox / "shopify" / "world.db").take(simulated / "shopify.sqlite")
    with whole_file.replacing(home.sandbox / "exchange_rates.csv") as copied:
        shutil.copyfile(simulated / "exchange_rates.csv", copied)
    settings = {
        "shopify_access": "consent",
        "shopify_shops": {one.shop: one.advertiser_id for one in ADVERTISERS},
        "meta_history_days": HISTORY_DAYS,
    }
    whole_file.write(settled, json.dumps(settings, indent=2) + "\n")


def connect(home: Home) -> list[str]:
    """Connect every advertiser's account and shop that is not connected; says which those were.

    The stand-ins run and the store is migrated. Raises ConnectError, StoreError.
    """
    config, settings = meta_config(home), shopify_settings(home)
    if config is None:
        raise ConnectError("Meta: the sandbox's stand-in does not run", "not configured")
    client, said = meta.oauth_client(config, meta.WRITING), []
    with connections_of(home, "the demo") as connections:
        health = connections.health()
        known = {(one.service, one.account) for one in health if one.state == "active"}
        installing = shopify.Installing(settings, connections, loopback_only=True)
        _make_known(home)
        for one in ADVERTISERS:
            if (meta.SERVICE, one.advertiser_id) not in known:
                begun = connections.begin(client, one.advertiser_id, REDIRECT)
                back = _ticked(begun.url, one.account_id)
                connections.finish(client, begun.cookie, back)
                said.append(f"Meta account {one.account_id} of {one.advertiser_id}")
            if (shopify.SERVICE, one.shop) not in known:
                begun = installing.begin(one.shop, REDIRECT)
                with httpx.Client(trust_env=False) as browser:
                    back = _returned(browser.get(begun.url))
                installing.finish(begun.cookie, back, datetime.now(UTC))
                said.append(f"{one.shop} of {one.advertiser_id}")
    return said


def _make_known(home: Home) -> None:
    """Have the service know the advertisers by their names, before they have rows."""
    with database.opened(where.store_url(home)) as store, store.begin() as connection:
        for one in ADVERTISERS:
            advertisers.ensure(connection, one.advertiser_id, now=datetime.now(UTC), name=one.name)


class _Form(HTMLParser):
    """The inputs of a page's form: (type, name, value)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inputs: list[tuple[str, str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "input":
            given = {name: value or "" for name, value in attrs}
            self.inputs.append((given["type"], given["name"], given["value"]))


def _ticked(url: str, account_id: str) -> Mapping[str, str]:
    """What the browser brings back after a person left all scopes and this account ticked."""
    with httpx.Client(trust_env=False) as browser:
        form = _Form(browser.get(url).raise_for_status().text)
        if ("checkbox", "account", account_id) not in form.inputs:
            raise RefusedConsentError(f"Meta: its page does not offer the account {account_id}")
        sent: dict[str, list[str]] = {"answer": ["yes"]}
        for _, name, value in form.inputs:
            if name != "account" or value == account_id:
                sent.setdefault(name, []).append(value)
        return _returned(browser.post(url, data=sent))


def _returned(answer: httpx.Response) -> Mapping[str, str]:
    """The query with which a page sends the browser back."""
    where = answer.headers.get("location", "")
    if not where.startswith(f"{REDIRECT}?"):
        raise RefusedConsentError(f"a stand-in's page answered {answer.status_code}")
    return dict(parse_qsl(urlsplit(where).query))
