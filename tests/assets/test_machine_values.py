"""What an API writes is read exactly, and what cannot be read is put aside with its text."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dmp_assets.cleaned.meta import meta_exports
from dmp_assets.cleaned.meta import meta_insights as cleaned_insights
from dmp_assets.cleaned.shopify import shopify_orders as cleaned
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import Columns, arrow_schema
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.raw import exports, meta_readings, shopify
from tests.support.lakehouse import write
from tests.support.materialized import materialized

EARLY = datetime(2024, 3, 1, tzinfo=UTC)


def raw(home: Home, table: str, columns: Columns, *rows: dict[str, Any]) -> None:
    """Write a raw table of these rows, every other column null."""
    given = [{name: row.get(name) for name in columns} for row in rows]
    write(home, f"raw/{table}", pa.Table.from_pylist(given, schema=arrow_schema(columns)))


def rows(home: Home, query: str) -> list[dict[str, Any]]:
    return list(Tables.of(home).sql(query).to_pylist())


def variant(number: int, **values: str) -> dict[str, Any]:
    own = {"advertiser_id": "acme", "shop": "s.myshopify.com", "variant_id": str(number)}
    return {**own, "_row_id": number, **values}


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("price", "12.50", Decimal("12.5")), ("price", " 7 ", Decimal(7)),
        ("price", "1e3", Decimal(1000)), ("price", "-0", Decimal(0)), ("price", "", None),
        ("created_at", "2024-03-10T02:30:00-0500", datetime(2024, 3, 10, 7, 30, tzinfo=UTC)),
        ("title", "ブーツ «Größe 42»", "ブーツ «Größe 42»"), ("title", "n/a", "n/a"),
    ],
)  # fmt: skip
def test_what_a_machine_writes_is_read(home: Home, name: str, text: str, read: Any) -> None:
    raw(home, "shopify_variants", shopify._columns("shopify_variants"), variant(1, **{name: text}))
    materialized(cleaned.shopify_variants)
    assert rows(home, f"SELECT {name} FROM cleaned.shopify_variants") == [{name: read}]
    assert rows(home, "SELECT * FROM quarantine.shopify_variants") == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("price", "12,50"), ("price", "NaN"), ("price", "１２"), ("price", "99999999999999999"),
        ("created_at", "2024-02-30T00:00:00Z"), ("created_at", "infinity"), ("created_at", "now"),
        ("updated_at", "1732784400"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_put_aside_and_the_others_are_kept(
    home: Home, name: str, text: str
) -> None:
    columns = shopify._columns("shopify_variants")
    raw(home, "shopify_variants", columns, variant(1, **{name: text}), variant(2, price="1"))
    materialized(cleaned.shopify_variants)
    assert rows(home, "SELECT variant_id FROM cleaned.shopify_variants") == [{"variant_id": "2"}]
    (aside,) = rows(home, "SELECT * FROM quarantine.shopify_variants")
    assert aside[name] == text
    assert aside["failed_rules"] == [f"{name}_unread"]


def insight(**values: Any) -> dict[str, Any]:
    own = {"advertiser_id": "acme", "account_id": "1", "ad_id": "2", "date": date(2024, 2, 1)}
    return {**own, "breakdown": "", "cell": "", "spend": "1.5", "impressions": "10",
            "purchase_type": "purchase", "read_at": EARLY, **values}  # fmt: skip


def made_of(home: Home, **values: Any) -> list[str] | None:
    """Why a row of insights is put aside; None where it is kept."""
    raw(home, "meta_insights", meta_readings.INSIGHT_COLUMNS, insight(**values))
    raw(home, "meta_insight_readings", meta_readings.READING_COLUMNS)
    raw(home, "meta_exports", exports.COLUMNS["meta"])
    materialized(meta_exports.meta_exports, cleaned_insights.meta_insights)
    kept = rows(home, "SELECT * FROM cleaned.meta_insights")
    aside = rows(home, "SELECT failed_rules FROM quarantine.meta_insights")
    assert len(kept) + len(aside) == 1
    return list(aside[0]["failed_rules"]) if aside else None


def actions(**windows: str) -> str:
    told = ", ".join(f'"{name}": "{text}"' for name, text in windows.items())
    return f'[{{"action_type": "link_click", "value": "x"}}, {{"action_type": "purchase", {told}}}]'


def test_purchases_are_read_of_the_chosen_type_alone(home: Home) -> None:
    assert made_of(home, actions=actions(value="3"), action_values=actions(value="9.99")) is None
    (row,) = rows(home, "SELECT purchases, purchase_value FROM cleaned.meta_insights")
    assert row == {"purchases": 3, "purchase_value": Decimal("9.99")}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"impressions": "1.5"}, "impressions_unread"),
        ({"actions": "not JSON"}, "actions_unread"),
        ({"actions": actions(value="1.5")}, "actions_unread"),
        ({"actions": actions(value="many")}, "actions_unread"),
        ({"action_values": actions(value="9,99")}, "action_values_unread"),
        ({"spend": "∞"}, "spend_unread"),
    ],
)
def test_an_insight_of_which_something_cannot_be_read_is_no_zero(
    home: Home, values: dict[str, str], why: str
) -> None:
    assert made_of(home, **values) == [why]
