"""How shops let us in: consent and credentials, forged returns, tokens that rotate, a kill."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import (
    AddressError,
    ConnectError,
    MissingScopeError,
    NeedsConsentError,
    RefusedConsentError,
)
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.oauth import OAuthClient
from dmp_assets.platform.connect.tokens import ConnectionCredentials, Connections
from dmp_assets.platform.store import database
from dmp_assets.platform.store.schema import service_connection
from dmp_assets.sources.shopify.access import (
    Installing,
    checked_query,
    client_of,
    disconnect,
    missing_scopes,
    shop_at_work,
)
from dmp_assets.sources.shopify.orders import shop_of
from dmp_assets.sources.shopify.settings import ShopifySettings
from dmp_assets.sources.shopify.shops import ShopDomainError, shop_domain, shop_url, shops_of
from dmp_assets.sources.shopify.signatures import Secrets, body_hmac, query_hmac
from tests.support.shopify import (
    NOW,
    OTHER,
    REDIRECT,
    SHOP,
    Service,
    api_of,
    browse,
    connected_api,
    own_token,
)

HUSH = SecretStr("hush")
ROOT = Path(__file__).resolve().parents[4]


class Clock:
    """The time of the sandbox, which a test moves."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self._begin = datetime.now(UTC)

    def __call__(self) -> datetime:
        return NOW + (datetime.now(UTC) - self._begin) + self.ahead

    def pass_(self, **time: float) -> None:
        self.ahead += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(store_url: SecretStr) -> Iterator[sa.Engine]:
    engine = database.engine(store_url)
    yield engine
    engine.dispose()


@pytest.fixture
def connections(store: sa.Engine, home: Home, clock: Clock) -> Connections:
    return Connections(store, KeyRing.of(home), clock=clock)


@pytest.fixture
def installing(service: Service, connections: Connections) -> Installing:
    settings = service.with_settings(shopify_access="consent")
    return Installing(settings, connections, loopback_only=True)


def client(installing: Installing, shop: str = SHOP) -> OAuthClient:
    return client_of(installing.settings, shop, loopback_only=True)


def installed(installing: Installing, shop: str = SHOP) -> uuid.UUID:
    begun = installing.begin(shop, REDIRECT)
    return installing.finish(begun.cookie, browse(begun.url), NOW)


def credentials(installing: Installing, connection: uuid.UUID) -> ConnectionCredentials:
    return ConnectionCredentials(installing.connections, client(installing), connection)


# domains and signatures --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "given",
    [
        "",
        "shop.example.com",
        "-a.myshopify.com",
        "a.myshopify.com.evil.example",
        "a.b.myshopify.com",
        "evil.example/a.myshopify.com",
        "a.myshopify.com\n.evil.example",
        "a.myshopify.com:8080",
        "a b.myshopify.com",
        "ä.myshopify.com",
        "user@some-shop.myshopify.com",
    ],
)
def test_what_is_no_domain_of_a_shop_is_refused(given: str) -> None:
    with pytest.raises(ShopDomainError, match="no domain of a shop"):
        shop_domain(given)


def test_a_shop_is_known_by_its_domain_in_lower_case() -> None:
    assert shop_domain(" Some-Shop.MyShopify.com ") == "some-shop.myshopify.com"
    assert shops_of({"A1.myshopify.com": " acme "}) == {"a1.myshopify.com": "acme"}
    with pytest.raises(ValueError, match="belongs to an advertiser"):
        shops_of({"a1.myshopify.com": " "})
    with pytest.raises(ValueError, match="named once"):
        shops_of({"a1.myshopify.com": "acme", "A1.myshopify.com": "bolt"})
    assert shop_url("https://{shop}/") == "https://{shop}"
    for wrong in ("https://shop.example", "ftp://{shop}", "https://{shop}/{shop}"):
        with pytest.raises(ValueError, match="such as https"):
            shop_url(wrong)


@pytest.mark.parametrize(
    ("query", "hmac"),
    [
        (
            {
                "shop": "some-shop.myshopify.com",
                "code": "a94a110d86d2452eb3e2af4cfb8a3828",
                "timestamp": "1337178173",
                "hmac": "2cb1a277650a659f1b11e92a4a64275b128e037f2c3390e3c8fd2d8721dac9e2",
            },
            "2cb1a277650a659f1b11e92a4a64275b128e037f2c3390e3c8fd2d8721dac9e2",
        ),
        (
            {"shop": "some-shop.myshopify.com", "ids": ["2", "1"]},
            "b93b9f82996f6f8bf9f1b7bbddec284c8fabacdc4e12dc80550b4705f3003b1e",
        ),
    ],
)
def test_a_query_is_signed_as_shopify_signs_it(query: Mapping[str, Any], hmac: str) -> None:
    assert query_hmac(query, HUSH) == hmac
    assert Secrets((SecretStr("other"), HUSH)).signed_query(query, hmac)
    assert not Secrets((SecretStr("other"),)).signed_query(query, hmac)


def test_characters_that_part_a_query_cannot_be_moved_between_names_and_values() -> None:
    one = {"a": "1&b=2"}
    assert query_hmac(one, HUSH) != query_hmac({"a": "1", "b": "2"}, HUSH)
    assert query_hmac({"a=b": "c"}, HUSH) != query_hmac({"a": "b=c"}, HUSH)
    assert query_hmac({"a": "%26"}, HUSH) != query_hmac({"a": "&"}, HUSH)


def test_the_old_secret_signs_for_an_hour_after_its_rotation() -> None:
    settings = ShopifySettings.model_validate(
        {
            "shopify_client_secret": "new",
            "shopify_old_client_secret": "old",
            "shopify_secret_rotated_at": "2026-11-28T09:30:00",
        }
    )
    signed = body_hmac(b"body", SecretStr("old"))
    assert Secrets.of(settings, NOW).signed_body(b"body", signed)
    assert not Secrets.of(settings, NOW + timedelta(minutes=31)).signed_body(b"body", signed)
    never = settings.model_copy(update={"shopify_secret_rotated_at": None})
    assert not Secrets.of(never, NOW).signed_body(b"body", signed)


def test_without_a_secret_nothing_is_signed() -> None:
    secrets = Secrets.of(ShopifySettings.model_validate({}), NOW)
    assert not secrets.signed_body(b"", "") and not secrets.signed_query({}, "")


# consent -----------------------------------------------------------------------------------------
def test_a_consent_connects_a_shop_with_tokens_that_expire(
    service: Service, installing: Installing, clock: Clock
) -> None:
    connection = installed(installing)
    (health,) = installing.connections.health()
    assert (health.service, health.account, health.state) == ("Shopify", SHOP, "active")
    assert health.expires_at and clock() < health.expires_at <= clock() + timedelta(hours=1)
    assert health.consent_ends_at and health.consent_ends_at > clock() + timedelta(days=89)
    with connected_api(service, credentials(installing, connection)) as api:
        assert shop_of(api)["name"] == "Small"


def test_the_consent_page_is_asked_for_the_least(installing: Installing) -> None:
    assert (
        "scope=read_orders%2Cread_products%2Cread_inventory%2Cread_customers&"
        in installing.begin(SHOP, REDIRECT).url + "&"
    )
    wide = Installing(
        installing.settings.model_copy(update={"shopify_all_orders": True}),
        installing.connections,
        loopback_only=True,
    )
    assert "read_all_orders" in wide.begin(SHOP, REDIRECT).url


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ("hmac", "not signed"),
        ("state", "not to our question"),
        ("shop", "not find|another account|no such shop|404"),
        ("timestamp", "older than a day"),
    ],
)
def test_what_the_browser_brings_back_is_not_believed(
    service: Service, installing: Installing, forged: str, said: str
) -> None:
    service.behave(forged=forged)
    with pytest.raises(RefusedConsentError, match=said):
        installed(installing)
    assert installing.connections.health() == []


@pytest.mark.parametrize("shop", ["evil.example", "Small-Shop.myshopify.com", ""])
def test_a_signed_query_of_no_shop_is_refused(shop: str) -> None:
    query = {"shop": shop, "code": "x", "timestamp": str(int(NOW.timestamp()))}
    query["hmac"] = query_hmac(query, HUSH)
    with pytest.raises(RefusedConsentError, match="names no shop"):
        checked_query(query, Secrets((HUSH,)), NOW)


def test_a_consent_is_good_once_and_from_its_browser(
    service: Service, installing: Installing
) -> None:
    begun, other = (installing.begin(SHOP, REDIRECT) for _ in range(2))
    back = browse(begun.url)
    with pytest.raises(RefusedConsentError):
        installing.finish(other.cookie, back, NOW)
    installing.finish(begun.cookie, back, NOW)
    with pytest.raises(RefusedConsentError, match="was used, or is too old"):
        installing.finish(begun.cookie, back, NOW)


def test_who_does_not_consent_is_not_connected(service: Service, installing: Installing) -> None:
    service.behave(refuses=True)
    with pytest.raises(RefusedConsentError, match="consent was not given"):
        installed(installing)


def test_a_scope_that_was_ticked_off_is_named(service: Service, installing: Installing) -> None:
    service.behave(withheld=["read_inventory"])
    with pytest.raises(MissingScopeError, match="without read_inventory") as error:
        installed(installing)
    assert error.value.missing == ("read_inventory",)


def test_a_scope_that_is_taken_away_later_is_found_by_asking(service: Service, live: Home) -> None:
    with shop_at_work(live, service.settings, SHOP, "acme") as shop:
        assert missing_scopes(service.settings, shop.api) == ()
        wider = service.with_settings(shopify_all_orders=True)
        assert missing_scopes(wider, shop.api) == ()
    service.behave(withheld=["read_all_orders", "read_products"])
    with api_of(service, own_token(service)) as api:
        assert missing_scopes(wider, api) == ("read_products", "read_all_orders")


def test_no_other_host_is_asked(installing: Installing) -> None:
    with pytest.raises(ShopDomainError):
        installing.begin("evil.example", REDIRECT)
    real = Installing(
        installing.settings.model_copy(update={"shopify_url": "https://{shop}"}),
        installing.connections,
        loopback_only=True,
    )
    with pytest.raises(AddressError, match="a sandbox home does not reach"):
        real.begin(SHOP, REDIRECT)


# refreshing --------------------------------------------------------------------------------------
def refreshes(service: Service) -> int:
    found = service.token_requests()
    return sum(one["grant_type"] == "refresh_token" for one in found)


def test_both_tokens_are_new_after_a_refresh_and_a_few_minutes_early(
    installing: Installing, clock: Clock
) -> None:
    connection = installed(installing)
    first = installing.connections.tokens(client(installing), connection)
    clock.pass_(minutes=54)
    assert installing.connections.tokens(client(installing), connection) == first
    clock.pass_(minutes=1.1)
    second = installing.connections.tokens(client(installing), connection)
    assert second.access != first.access and second.refresh != first.refresh


def test_the_old_refresh_token_opens_once_more_when_the_answer_was_lost(
    service: Service, installing: Installing, clock: Clock
) -> None:
    connection = installed(installing)
    clock.pass_(hours=2)
    service.faults({"method": "access_token", "kind": "drop"})
    with pytest.raises(ConnectError) as lost:
        installing.connections.tokens(client(installing), connection)
    assert not isinstance(lost.value, NeedsConsentError)
    assert installing.connections.tokens(client(installing), connection).refresh
    with connected_api(service, credentials(installing, connection)) as api:
        assert shop_of(api)


def test_a_refresh_token_that_was_used_twice_needs_a_new_consent(
    service: Service, installing: Installing, clock: Clock
) -> None:
    connection = installed(installing)
    clock.pass_(hours=2)
    service.faults({"method": "access_token", "kind": "drop", "times": 2})
    for _ in range(2):
        with pytest.raises(ConnectError):
            installing.connections.tokens(client(installing), connection)
    with pytest.raises(NeedsConsentError, match="no longer takes our grant"):
        installing.connections.tokens(client(installing), connection)
    (health,) = installing.connections.health()
    assert (health.state, health.last_failure_kind) == ("needs_consent", "invalid_grant")


def test_a_refresh_token_that_has_ended_needs_a_new_consent(
    service: Service, installing: Installing, clock: Clock
) -> None:
    service.behave(refresh_lifetime=60)
    connection = installed(installing)
    service.behave(clock=(NOW + timedelta(hours=2)).isoformat())
    clock.pass_(hours=2)
    with pytest.raises(NeedsConsentError):
        installing.connections.tokens(client(installing), connection)


def test_a_wrong_secret_of_ours_ends_no_consent(installing: Installing, clock: Clock) -> None:
    connection = installed(installing)
    clock.pass_(hours=2)
    wrong = installing.settings.model_copy(update={"shopify_client_secret": SecretStr("no")})
    theirs = client_of(wrong, SHOP, loopback_only=True)
    with pytest.raises(ConnectError) as error:
        installing.connections.tokens(theirs, connection)
    assert error.value.kind == "invalid_client"
    assert installing.connections.health()[0].state == "active"
    assert installing.connections.tokens(client(installing), connection)


def test_an_answer_without_a_lifetime_is_not_taken_for_ever(
    service: Service, installing: Installing, clock: Clock
) -> None:
    service.behave(silent_lifetime=True)
    connection = installed(installing)
    first = installing.connections.tokens(client(installing), connection)
    clock.pass_(minutes=61)
    assert installing.connections.tokens(client(installing), connection) != first


def test_a_token_that_is_refused_in_mid_sync_is_renewed_once(
    service: Service, installing: Installing
) -> None:
    connection = installed(installing)
    before = refreshes(service)
    with connected_api(service, credentials(installing, connection)) as api:
        shop_of(api)
        service.faults({"method": "graphql.json", "kind": "token_expired"})
        assert shop_of(api)["name"] == "Small"
        assert refreshes(service) == before + 1
        service.faults({"method": "graphql.json", "kind": "token_expired", "times": 9})
        with pytest.raises(NeedsConsentError, match="nor a new one"):
            shop_of(api)
        assert refreshes(service) == before + 2


_RENEWS = """
import json, os, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from pydantic import SecretStr
from dmp_assets.home import Home
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.store import database
from dmp_assets.sources.shopify.access import client_of
from dmp_assets.sources.shopify.settings import ShopifySettings

given = json.load(sys.stdin)
later = datetime.fromisoformat(given["now"]) + timedelta(hours=2)
settings = ShopifySettings.model_validate(given["settings"])
connections = Connections(
    database.engine(SecretStr(given["store"])),
    KeyRing.of(Home(Path(given["home"]))),
    clock=lambda: later,
)
client = client_of(settings, given["shop"], loopback_only=True)
print("ready", flush=True)
connections.tokens(client, UUID(given["connection"]))
print("renewed", flush=True)
sys.stdin.read()
while True:
    pass
"""


@pytest.mark.parametrize("moment", ["before the answer", "after the commit"])
def test_a_kill_during_the_rotation_of_tokens_loses_no_grant(
    service: Service,
    installing: Installing,
    clock: Clock,
    home: Home,
    store_url: SecretStr,
    moment: str,
) -> None:
    connection = installed(installing)
    before = installing.connections.tokens(client(installing), connection)
    settings = installing.settings.model_dump(mode="json", exclude_none=True)
    secret = installing.settings.shopify_client_secret
    assert secret is not None
    given = {
        "now": clock().isoformat(),
        "settings": settings | {"shopify_client_secret": secret.get_secret_value()},
        "store": store_url.get_secret_value(),
        "home": str(home.root),
        "shop": SHOP,
        "connection": str(connection),
    }
    if moment == "before the answer":
        service.faults({"method": "access_token", "kind": "slow", "seconds": 8, "after": True})
    asked = refreshes(service)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", _RENEWS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(given))
        process.stdin.close()
        assert process.stdout.readline() == "ready\n"
        if moment == "after the commit":
            assert process.stdout.readline() == "renewed\n"
        deadline = time.monotonic() + 10
        while refreshes(service) == asked and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    assert refreshes(service) == asked + 1
    service.faults()
    clock.pass_(hours=2)
    now = installing.connections.tokens(client(installing), connection)
    assert now.access != before.access and now.refresh != before.refresh
    assert refreshes(service) == asked + (2 if moment == "before the answer" else 1)
    with connected_api(service, credentials(installing, connection)) as api:
        assert shop_of(api)["name"] == "Small"
    clock.pass_(hours=2)
    assert installing.connections.tokens(client(installing), connection).refresh != now.refresh


# credentials -------------------------------------------------------------------------------------
@pytest.fixture
def live(tmp_path: Path, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_STORE_URL", store_url.get_secret_value())
    return Home(tmp_path / "live").prepare("live")


def test_a_shop_of_our_own_is_connected_without_a_person(service: Service, live: Home) -> None:
    before = len(service.token_requests())
    for _ in range(2):
        with shop_at_work(live, service.settings, SHOP, "acme") as shop:
            assert (shop.advertiser_id, shop.shop) == ("acme", SHOP)
            assert shop_of(shop.api)["name"] == "Small"
    new = service.token_requests()[before:]
    assert [one["grant_type"] for one in new] == ["client_credentials"]


def test_a_shop_that_has_not_consented_is_not_reached_by_credentials(
    service: Service, live: Home
) -> None:
    settings = service.with_settings(shopify_access="consent")
    before = len(service.token_requests())
    with (
        pytest.raises(NeedsConsentError, match=f"not let us in at {SHOP}"),
        shop_at_work(live, settings, SHOP, "acme"),
    ):
        pass
    assert len(service.token_requests()) == before


def test_without_a_client_id_it_says_what_to_set() -> None:
    with pytest.raises(ConnectError, match="DMP_SHOPIFY_CLIENT_ID"):
        client_of(ShopifySettings.model_validate({}), SHOP, loopback_only=True)


def test_two_shops_have_tokens_of_their_own(service: Service, live: Home) -> None:
    names = []
    for shop in (SHOP, OTHER):
        with shop_at_work(live, service.settings, shop, "acme") as work:
            names.append(shop_of(work.api)["name"])
    assert names == ["Small", "Other"]


# leaving -----------------------------------------------------------------------------------------
def test_disconnecting_uninstalls_the_app_and_forgets_the_tokens(
    service: Service, installing: Installing, store: sa.Engine
) -> None:
    connection = installed(installing)
    ours = credentials(installing, connection)
    token = ours.headers()
    disconnect(installing.settings, SHOP, ours)
    with store.connect() as rows:
        assert rows.scalar(sa.select(sa.func.count()).select_from(service_connection)) == 0
    assert service.token_requests() and opens(service, token) == 401


def test_a_connection_is_forgotten_also_when_the_shop_does_not_answer(
    service: Service, installing: Installing
) -> None:
    connection = installed(installing)
    service.behave(status=402)
    with pytest.raises(ConnectError, match="frozen"):
        disconnect(installing.settings, SHOP, credentials(installing, connection))
    assert installing.connections.health() == []


def opens(service: Service, headers: Mapping[str, str]) -> int:
    """The status of an answer to these headers."""
    import httpx

    url = f"{service.base()}/admin/api/2026-10/graphql.json"
    answer = httpx.post(url, json={"query": "{ shop { id } }"}, headers=headers, trust_env=False)
    return answer.status_code
