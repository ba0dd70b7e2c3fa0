"""A shop's Admin API: every answer that Shopify documents, over real HTTP to the stand-in."""

import logging
import time

import httpx
import pytest

from dmp_assets.platform.connect.errors import (
    ConnectError,
    NeedsConsentError,
    NoAnswerError,
    StatusError,
    ThrottledError,
    TryAgainError,
    UnreadableAnswerError,
)
from dmp_assets.platform.connect.http import Patience
from dmp_assets.sources.shopify import documents
from dmp_assets.sources.shopify.errors import (
    AccessDeniedError,
    BusinessError,
    QueryRefusedError,
    QueryTooCostlyError,
    ShopClosedError,
)
from dmp_assets.sources.shopify.graphql import Bucket, ShopApi
from dmp_assets.sources.shopify.orders import shop_of, variants
from tests.support.shopify import OTHER, REDIRECT, SHOP, Service, api_of, browse, own_token

WITH_QUERY = {"query": "updated_at:>='2026-01-01T00:00:00Z'"}


def ids(api: ShopApi, first: int = 100) -> list[str]:
    pages = api.pages(documents.ORDERS, "orders", WITH_QUERY, first=first)
    return [order["id"] for page in pages for order in page]


# answers -----------------------------------------------------------------------------------------
def test_a_shop_says_in_which_zone_and_currency_it_is(api: ShopApi) -> None:
    found = shop_of(api)
    assert (found["ianaTimezone"], found["currencyCode"]) == ("Europe/Berlin", "EUR")
    assert (found["myshopifyDomain"], found["plan"]) == (SHOP, {"publicDisplayName": "Basic"})


def test_variants_come_with_what_they_cost_where_the_shop_says_so(api: ShopApi) -> None:
    costs = {one["id"]: one["inventoryItem"]["unitCost"] for one in variants(api)}
    assert costs == {
        "gid://shopify/ProductVariant/11": {"amount": "9.40", "currencyCode": "EUR"},
        "gid://shopify/ProductVariant/12": {"amount": "9.40", "currencyCode": "EUR"},
        "gid://shopify/ProductVariant/21": None,
    }


def test_a_throttled_document_is_asked_again_when_it_is_paid_for(
    service: Service, api: ShopApi
) -> None:
    service.behave(bucket=60, restore=300)
    api.query(documents.SHOP)
    service.drain(-30)
    begin = time.monotonic()
    assert shop_of(api)["name"] == "Small"
    assert time.monotonic() - begin > 0.08
    costs = [call["cost"] for call in service.calls()]
    assert [cost["actualQueryCost"] for cost in costs[-2:]] == [None, 2]


def test_who_would_have_to_wait_too_long_is_told_so(service: Service) -> None:
    service.behave(bucket=60, restore=0.1)
    impatient = Patience(attempts=3, pause=0.001, longest_pause=0.01, total=1)
    with api_of(service, own_token(service), patience=impatient) as api:
        api.query(documents.SHOP)
        service.drain(-30)
        with pytest.raises(ThrottledError) as refused:
            shop_of(api)
        assert refused.value.kind == "throttled" and refused.value.seconds > 100


def test_the_bucket_is_never_overdrawn_by_a_document_whose_cost_is_known(
    service: Service, api: ShopApi
) -> None:
    service.behave(bucket=120, restore=600, most=120)
    for _ in range(6):
        ids(api)
    answered = [call for call in service.calls() if "Orders(" in call["document"]]
    refused = [
        call for call in answered if call["cost"] and call["cost"]["actualQueryCost"] is None
    ]
    assert len(answered) > 30 and len(refused) == 0


def test_the_wait_is_for_what_lacks_and_no_longer() -> None:
    slept: list[float] = []
    bucket = Bucket(slept.append)
    status = {"currentlyAvailable": 100, "restoreRate": 50.0}
    bucket.note("a", {"requestedQueryCost": 302, "throttleStatus": status})
    assert bucket.seconds("b") == 0
    assert bucket.seconds("a") == pytest.approx(202 / 50, abs=0.05)
    bucket.wait("a", longest=10)
    assert slept == [pytest.approx(202 / 50, abs=0.05)]
    with pytest.raises(ThrottledError):
        bucket.wait("a", longest=1)


def test_pages_shrink_until_they_cost_what_they_may(service: Service, api: ShopApi) -> None:
    service.behave(most=200)
    before = len(service.calls())
    assert len(ids(api)) == 12
    sizes = [call["variables"]["first"] for call in service.calls()[before:]]
    assert sizes[0] == 100 and 1 <= sizes[-1] <= 5 and len(set(sizes)) <= 3
    ids(api)
    assert service.calls()[-1]["variables"]["first"] == sizes[-1]


def test_a_document_that_never_fits_is_not_asked_for_ever(service: Service, api: ShopApi) -> None:
    service.behave(most=20)
    with pytest.raises(QueryTooCostlyError) as refused:
        ids(api)
    assert refused.value.most == 20 and refused.value.cost > 20


@pytest.mark.parametrize(
    ("scope", "document", "field"),
    [
        ("read_orders", documents.ORDERS_COUNT, "ordersCount"),
        ("read_products", documents.VARIANTS, "productVariants"),
        ("read_inventory", documents.VARIANTS, "unitCost"),
    ],
)
def test_a_scope_that_is_missing_is_named(
    service: Service, scope: str, document: str, field: str
) -> None:
    service.behave(withheld=[scope])
    with api_of(service, own_token(service)) as api:
        with pytest.raises(AccessDeniedError, match=f"{field} takes: `{scope}` access scope"):
            api.query(document, {"query": "", "first": 5, "after": None})
        assert shop_of(api)


@pytest.mark.parametrize("protected", ["null", "denied"])
def test_orders_are_read_without_protected_customer_data_where_that_is_not_given(
    service: Service, api: ShopApi, protected: str
) -> None:
    service.behave(protected=protected)
    pages = api.pages(documents.ORDERS, "orders", WITH_QUERY, first=5)
    orders = [order for page in pages for order in page]
    assert len(orders) == 12
    assert all(order["customer"] is None for order in orders)
    assert all(order["customerJourneySummary"] is None for order in orders)
    withheld = {"customer", "customerJourneySummary"} if protected == "denied" else set()
    assert api.withheld == withheld


def test_a_failure_of_shopifys_is_tried_again_and_named_by_its_request(
    service: Service, api: ShopApi
) -> None:
    service.behave(internal_times=2)
    assert shop_of(api)["name"] == "Small"
    service.behave(internal_times=100)
    with pytest.raises(TryAgainError, match=r"request [0-9a-f]{16}") as failed:
        shop_of(api)
    assert failed.value.kind == "internal error"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (402, "frozen"),
        (403, "forbidden"),
        (404, "no such shop"),
        (423, "locked"),
        (430, "security"),
    ],
)
def test_a_shop_that_lets_nobody_in_says_why(
    service: Service, api: ShopApi, status: int, kind: str
) -> None:
    service.behave(status=status)
    with pytest.raises(ShopClosedError) as closed:
        shop_of(api)
    assert (closed.value.kind, closed.value.status) == (kind, status)
    assert str(closed.value).startswith(f"{SHOP}: ")


def test_a_shop_that_is_not_there_is_not_there(service: Service) -> None:
    with (
        api_of(service, "shpat_x", "no-such-shop.myshopify.com") as api,
        pytest.raises(ShopClosedError) as closed,
    ):
        shop_of(api)
    assert closed.value.kind == "no such shop"


def test_a_token_that_is_refused_needs_a_person(service: Service) -> None:
    with (
        api_of(service, "shpat_wrong") as api,
        pytest.raises(NeedsConsentError, match=f"{SHOP} does not take our token") as refused,
    ):
        shop_of(api)
    assert "shpat_wrong" not in str(refused.value)


def test_the_token_of_one_shop_opens_no_other(service: Service) -> None:
    with api_of(service, own_token(service), OTHER) as api, pytest.raises(NeedsConsentError):
        shop_of(api)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_throttle_or_failure_of_http_passes(service: Service, api: ShopApi, status: int) -> None:
    service.behave(status=status, status_times=2, retry_after=0.05)
    begin = time.monotonic()
    assert shop_of(api)["name"] == "Small"
    assert time.monotonic() - begin >= 0.1
    service.behave(status=status)
    with pytest.raises(StatusError, match=str(status)):
        shop_of(api)


@pytest.mark.parametrize(
    ("kind", "error"),
    [("truncated", UnreadableAnswerError), ("drop", NoAnswerError), ("500", StatusError)],
)
def test_an_answer_that_breaks_off_is_none(
    service: Service, api: ShopApi, kind: str, error: type[ConnectError]
) -> None:
    service.faults({"method": "graphql.json", "kind": kind, "times": 100})
    with pytest.raises(error):
        shop_of(api)
    service.faults({"method": "graphql.json", "kind": kind, "times": 1})
    if kind != "truncated":
        assert shop_of(api)["name"] == "Small"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{ shop { noSuchField } }", "Cannot query field 'noSuchField'"),
        ("{ shop { name }", "Syntax Error"),
        ("{ orders { nodes { id } } }", "you must provide one of first or last"),
        ("{ orders(first: 260) { nodes { id } } }", "between 1 and 250"),
        ('{ orders(first: 1, query: "who:me") { nodes { id } } }', "Invalid search query"),
    ],
)
def test_a_document_that_shopify_does_not_understand_is_our_fault(
    api: ShopApi, document: str, said: str
) -> None:
    with pytest.raises(QueryRefusedError, match=said):
        api.query(document)


def test_a_change_that_is_refused_says_why(api: ShopApi) -> None:
    variables = {"topic": "ORDERS_UPDATED", "what": {"uri": "http://shop.example/hooks"}}
    with pytest.raises(BusinessError, match="http:// is not supported"):
        api.change(documents.SUBSCRIBE, variables, "webhookSubscriptionCreate")


def test_a_change_whose_answer_is_lost_is_not_repeated(service: Service, api: ShopApi) -> None:
    service.faults({"method": "graphql.json", "kind": "drop", "times": 1})
    before = len(service.calls())
    with pytest.raises(NoAnswerError) as lost:
        api.change(documents.BULK_RUN, {"query": "{ shop { id } }"}, "bulkOperationRunQuery")
    assert lost.value.is_unknown and len(service.calls()) == before + 1


def test_a_retired_version_is_told_once(
    service: Service, api: ShopApi, caplog: pytest.LogCaptureFixture
) -> None:
    service.behave(version="2027-01")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            shop_of(api)
    assert [r.getMessage() for r in caplog.records if "version" in r.getMessage()] == [
        f"{SHOP} answers by version 2027-01 of Shopify's API, not by 2026-10: that one may be "
        "retired"
    ]


def test_a_token_that_does_not_expire_is_told_apart(service: Service) -> None:
    token = lasting_token(service)
    service.behave(refuses_lasting=True)
    with (
        api_of(service, token) as api,
        pytest.raises(NeedsConsentError, match="does not expire") as refused,
    ):
        shop_of(api)
    assert refused.value.kind == "token does not expire"


def lasting_token(service: Service) -> str:
    """A token as apps get them without `expiring=1`."""
    query = {
        "client_id": service.settings.shopify_client_id,
        "redirect_uri": REDIRECT,
        "state": "s",
    }
    url = httpx.URL(f"{service.base()}/admin/oauth/authorize", params=query)
    secret = service.settings.shopify_client_secret
    assert secret is not None
    form = {
        "client_id": service.settings.shopify_client_id,
        "client_secret": secret.get_secret_value(),
        "code": browse(str(url))["code"],
    }
    answer = httpx.post(f"{service.base()}/admin/oauth/access_token", data=form, trust_env=False)
    body = answer.raise_for_status().json()
    assert set(body) == {"access_token", "scope"}
    return str(body["access_token"])


def test_nothing_of_a_request_is_in_an_error(service: Service) -> None:
    service.behave(status=500)
    with api_of(service, "shpat_secret") as api, pytest.raises(StatusError) as failed:
        ids(api)
    assert "shpat" not in f"{failed.value!r} {failed.value}"
