"""The sandbox's Shopify over real HTTP, asked without our client: costs, refusals, tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.demo.sandbox.shopify import ShopifySandbox
from dmp_assets.home import Home
from tests.support.shopify import REDIRECT, SHOP, Service, own_token, post, refill, running


@pytest.fixture(scope="module")
def _shopify(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("shopify")) as service:
        yield service


@pytest.fixture
def service(_shopify: Service) -> Service:
    refill(_shopify)
    return _shopify


def ask(service: Service, document: Any, token: str | None = None, **more: Any) -> httpx.Response:
    """A document as anybody would send it."""
    url = f"{more.pop('base', service.base())}/admin/api/2026-10/graphql.json"
    headers = {"X-Shopify-Access-Token": token or own_token(service)}
    named = {"json": {"query": document, **more}} if isinstance(document, str) else {}
    return httpx.post(url, headers=headers, trust_env=False, **named)


@pytest.mark.parametrize(
    ("document", "requested", "actual"),
    [
        ("{ shop { name currencyCode } }", 1, 1),
        ("{ shop { name plan { publicDisplayName } } }", 2, 2),
        ("{ orders(first: 50) { nodes { id name } } }", 52, 14),
        ("{ orders(first: 50) { edges { node { id } } pageInfo { hasNextPage } } }", 52, 14),
        ("{ orders(first: 2) { nodes { totalPriceSet { shopMoney { amount } } } } }", 8, 8),
        ("{ orders(first: 5) { nodes { lineItems(first: 9) { nodes { id } } } } }", 62, 27),
        ('{ a: order(id: "gid://shopify/Order/1") { id } b: shop { id } }', 2, 1),
        ("query Q { ...F } fragment F on QueryRoot { shop { name } }", 1, 1),
    ],
)
def test_a_document_costs_what_its_objects_cost(
    service: Service, document: str, requested: int, actual: int
) -> None:
    cost = ask(service, document).json()["extensions"]["cost"]
    assert (cost["requestedQueryCost"], cost["actualQueryCost"]) == (requested, actual)


def test_the_bucket_is_paid_from_and_fills_again(service: Service) -> None:
    service.behave(bucket=100, restore=1)
    token = own_token(service)
    left = [
        ask(service, "{ orders(first: 50) { nodes { id } } }", token).json()["extensions"]["cost"]
        for _ in range(5)
    ]
    available = [cost["throttleStatus"]["currentlyAvailable"] for cost in left]
    assert available[:3] == [86, 72, 58] and left[0]["throttleStatus"]["restoreRate"] == 1
    assert [cost["actualQueryCost"] for cost in left] == [14, 14, 14, 14, None]


@pytest.mark.parametrize(
    ("plan", "restored"), [("Basic", 100), ("Advanced", 200), ("Plus", 1000), ("Enterprise", 2000)]
)
def test_a_shop_is_throttled_by_its_plan(service: Service, plan: str, restored: int) -> None:
    with service.world.opened() as db:
        db.execute("UPDATE shop SET plan = ?", (plan,))
    cost = ask(service, "{ shop { name } }").json()["extensions"]["cost"]
    status = cost["throttleStatus"]
    assert (status["restoreRate"], status["maximumAvailable"]) == (restored, 20 * restored)


@pytest.mark.parametrize(
    ("document", "status", "said"),
    [
        ({"no": "query"}, 400, "Required parameter missing"),
        ("{ shop { name }", 200, "Syntax Error"),
        ("{ shop { nothing } }", 200, "undefinedField"),
        ("{ orders(first: 250) { nodes { refunds { id } customer { id } "
         "totalTaxSet { shopMoney { amount } } } } }", 200, "MAX_COST_EXCEEDED"),
        ('{ orders(first: 1, after: "x") { nodes { id } } }', 200, "Invalid cursor"),
        ('{ orders(first: 1, query: "name:x") { nodes { id } } }', 200, "Invalid search query"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused(
    service: Service, document: Any, status: int, said: str
) -> None:
    answer = ask(service, document)
    assert answer.status_code == status and said in answer.text


def test_orders_are_searched_sorted_and_paged(service: Service) -> None:
    def numbers(arguments: str) -> list[str]:
        found = ask(service, f"{{ orders({arguments}) {{ nodes {{ name }} }} }}").json()
        return [node["name"] for node in found["data"]["orders"]["nodes"]]

    assert numbers("first: 2") == ["#1001", "#1002"]
    assert numbers("first: 2, sortKey: CREATED_AT, reverse: true") == ["#1012", "#1011"]
    query = "created_at:>='2026-10-15T00:00:00Z' AND created_at:<2026-10-17"
    assert numbers(f'first: 9, query: "{query}"') == ["#1003", "#1004"]
    assert numbers('first: 9, query: "id:1005"') == ["#1005"]
    assert numbers('first: 9, query: "financial_status:refunded"') == ["#1004"]
    page = ask(service, "{ orders(first: 11) { pageInfo { endCursor hasNextPage } } }").json()
    about = page["data"]["orders"]["pageInfo"]
    assert about["hasNextPage"] and numbers(f'first: 9, after: "{about["endCursor"]}"') == ["#1012"]


def test_orders_of_another_shop_are_not_there(service: Service) -> None:
    document = '{ order(id: "gid://shopify/Order/2001") { id } }'
    assert ask(service, document).json()["data"] == {"order": None}


def test_tokens_outlive_the_sandbox(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        token = own_token(service)
    with Sandbox(Home(tmp_path / "home"), (ShopifySandbox,)).running() as endpoint:
        base = endpoint.settings["shopify_url"].replace("{shop}", SHOP)
        assert ask(service, "{ shop { name } }", token, base=base).status_code == 200
        assert ask(service, "{ shop { name } }", f"{token}x", base=base).status_code == 401


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"client_id": "x"}, 400, "application_cannot_be_found"),
        ({"client_secret": "x"}, 400, "invalid_client"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x"}, 400, "invalid_request"),
    ],
)
def test_a_token_request_is_refused_as_shopify_does(
    service: Service, form: dict[str, str], status: int, error: str
) -> None:
    secret = service.settings.shopify_client_secret
    assert secret is not None
    known = {
        "grant_type": "client_credentials",
        "client_id": service.settings.shopify_client_id,
        "client_secret": secret.get_secret_value(),
    }
    url = f"{service.base()}/admin/oauth/access_token"
    answer = httpx.post(url, data=known | form, trust_env=False)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_a_token_may_be_asked_for_by_json(service: Service) -> None:
    secret = service.settings.shopify_client_secret
    assert secret is not None
    body = {
        "grant_type": "client_credentials",
        "client_id": service.settings.shopify_client_id,
        "client_secret": secret.get_secret_value(),
    }
    url = f"{service.base()}/admin/oauth/access_token"
    answer = httpx.post(url, json=body, trust_env=False).json()
    assert answer["expires_in"] == 86_399 and "refresh_token" not in answer


def test_the_consent_page_sends_nobody_elsewhere(service: Service) -> None:
    query = {"client_id": service.settings.shopify_client_id, "state": "s"}
    url = f"{service.base()}/admin/oauth/authorize"
    for wrong in ({"redirect_uri": "https://evil.example/"}, {"client_id": "x"}):
        asked = {**query, "redirect_uri": REDIRECT, **wrong}
        assert httpx.get(url, params=asked, trust_env=False).status_code == 400


def test_a_manner_that_there_is_not_is_refused(service: Service) -> None:
    url = f"{service.root}/shopify/_sandbox/"
    for name, body in (("manner", {"rude": True}), ("change", [{"id": 1}]), ("uninstall", {})):
        answer = httpx.post(url + name, json=body, trust_env=False)
        assert answer.status_code == 422


def test_people_see_what_there_is(service: Service) -> None:
    page = httpx.get(f"{service.root}/sandbox/shopify", trust_env=False).text
    assert f"<td>{SHOP}<td>EUR<td>12" in page
    assert post(f"{service.root}/_sandbox/faults", []) == {"ok": True, "faults": 0}
