"""What Shopify answers as rows: ids, money, states."""

from typing import Any

import pytest

from dmp_assets.platform.connect.errors import UnreadableAnswerError
from dmp_assets.sources.shopify.rows import Rows, number_of, state_of
from dmp_assets.sources.shopify.tables import TABLES
from tests.support.shopify import SHOP

ROWS = Rows("acme", SHOP)
ORDER: dict[str, Any] = {
    "id": "gid://shopify/Order/1",
    "updatedAt": "2026-11-28T09:00:00Z",
    "lineItems": [],
}


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("gid://shopify/Order/450789469", "450789469"),
        ("gid://shopify/Order/9007199254740993", "9007199254740993"),
        ("gid://shopify/LineItem/1?x=2", "1"),
        (None, None),
    ],
)
def test_an_id_is_its_number_as_text(given: str | None, number: str | None) -> None:
    assert number_of(given) == number


@pytest.mark.parametrize("given", ["", "gid://shopify/Order/", "gid://shopify/Order/x", 1.5])
def test_an_id_that_is_none_is_an_error(given: Any) -> None:
    with pytest.raises(UnreadableAnswerError, match="an id of Shopify's"):
        number_of(given)


def test_an_order_that_tells_little_has_every_column(  # an app that sees no more than this
) -> None:
    ((table, row),) = ROWS.of_order(ORDER)
    assert table == "shopify_orders" and list(row) == list(TABLES[table])
    assert {name for name, value in row.items() if value is not None} == {
        "advertiser_id", "shop", "order_id", "order_updated_at", "discount_codes", "tags"
    }  # fmt: skip


@pytest.mark.parametrize("lacks", ["id", "updatedAt"])
def test_an_order_without_id_or_time_is_an_error(lacks: str) -> None:
    order = {name: value for name, value in ORDER.items() if name != lacks}
    with pytest.raises(UnreadableAnswerError, match="lacks its id or its time"):
        list(ROWS.of_order(order))


def test_money_is_kept_as_it_was_written() -> None:
    bag = {"shopMoney": {"amount": "0.10", "currencyCode": "EUR"}}
    ((_, row),) = ROWS.of_order(ORDER | {"totalPriceSet": bag})
    assert (row["total"], row["presentment_total"]) == ("0.10", None)


def test_a_state_is_another_when_any_value_is() -> None:
    assert state_of({"a": "1", "b": None}) == state_of({"a": "1", "b": None})
    others = [{"a": "1", "b": ""}, {"a": "1", "b": "None"}, {"a": "2", "b": None}, {"a": "1"}]
    assert len({state_of(one) for one in others} | {state_of({"a": "1", "b": None})}) == 5
