"""Orders as they change, by bulk operations, refunds, journeys, and what was deleted."""

import json
import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmp_assets.demo.sandbox.shopify_world import text_of
from dmp_assets.platform.connect.errors import NoAnswerError, UnreadableAnswerError
from dmp_assets.sources.shopify import documents, orders
from dmp_assets.sources.shopify.bulk import BulkPatience, BulkReader, Whole, read_orders
from dmp_assets.sources.shopify.errors import (
    BulkBusyError,
    BulkFailedError,
    BusinessError,
    ListChangedError,
)
from dmp_assets.sources.shopify.graphql import Node, ShopApi
from dmp_assets.sources.shopify.orders import Reading
from tests.support.shopify import BEGIN, NOW, ORDERS, QUICK, Service, api_of, own_token

FIRST, END = date(2026, 10, 1), date(2026, 11, 30)
HASTY = BulkPatience(pause=0.01, longest_pause=0.02, busy=0.1, total=5)


def gid(number: int, kind: str = "Order") -> str:
    return f"gid://shopify/{kind}/{number}"


def numbers(found: Iterable[Node]) -> list[int]:
    return [int(one["id"].rpartition("/")[2]) for one in found]


def changed(api: ShopApi, since: datetime) -> list[Node]:
    return list(orders.changed_orders(api, Reading(since, NOW)))


def bulk(api: ShopApi, **more: Any) -> BulkReader:
    named = {"waiting": HASTY, "patience": QUICK, "loopback_only": True} | more
    return BulkReader(api, **named)


# as they change ----------------------------------------------------------------------------------
def test_orders_that_changed_come_with_all_their_lines(api: ShopApi) -> None:
    found = changed(api, BEGIN)
    assert numbers(found) == [1000 + n for n in range(1, ORDERS + 1)]
    lines = {numbers([one])[0]: len(one["lineItems"]) for one in found}
    assert lines == dict.fromkeys(lines, 2) | {1009: 12}
    assert numbers(changed(api, BEGIN + timedelta(days=10))) == [1010, 1011, 1012]


def test_what_is_special_of_an_order_is_told(api: ShopApi) -> None:
    found = {numbers([one])[0]: one for one in changed(api, BEGIN)}
    assert [n for n, one in found.items() if one["test"]] == [1003]
    assert found[1004]["cancelReason"] == "CUSTOMER" and found[1004]["cancelledAt"]
    assert found[1004]["totalRefundedSet"]["shopMoney"]["amount"] == "55.00"
    assert found[1004]["netPaymentSet"]["shopMoney"]["amount"] == "0.00"
    assert found[1007]["totalPriceSet"] == {
        "shopMoney": {"amount": "55.00", "currencyCode": "EUR"},
        "presentmentMoney": {"amount": "60.50", "currencyCode": "USD"},
    }
    assert found[1008]["customer"] is None and found[1008]["customerJourneySummary"] is None
    assert found[1010]["totalPriceSet"]["shopMoney"]["amount"] == "55.00"
    assert found[1010]["currentTotalPriceSet"]["shopMoney"]["amount"] == "30.00"
    assert [one["currentQuantity"] for one in found[1010]["lineItems"]] == [1, 0]
    assert [one["isGiftCard"] for one in found[1012]["lineItems"]] == [True, False]
    assert found[1001]["transactions"][0]["fees"] == [
        {"amount": {"amount": "1.85", "currencyCode": "EUR"}}
    ]
    journey = found[1001]["customerJourneySummary"]
    assert journey["ready"] and journey["lastVisit"]["utmParameters"]["campaign"] == "c1"
    assert found[1011]["customerJourneySummary"]["ready"] is False


def test_an_order_that_is_edited_while_it_is_paged_is_not_missed(
    service: Service, api: ShopApi
) -> None:
    service.behave(edited=[1002, 1001, 1012], most=400)
    found = numbers(changed(api, BEGIN))
    assert set(found) == {1000 + n for n in range(1, ORDERS + 1)}
    assert found[-1] in (1001, 1002, 1012) and len(found) > ORDERS


def test_an_order_that_is_deleted_while_it_is_paged_holds_nothing_up(
    service: Service, api: ShopApi
) -> None:
    service.behave(vanishing=[1009, 1005])
    assert 1009 not in numbers(changed(api, BEGIN))
    service.behave()
    ids = [gid(n) for n in range(1001, 1013)]
    there = [one for one, order in orders.orders_by_id(api, ids) if order]
    assert gid(1009) not in there and len(there) >= ORDERS - 2


def test_the_bookmark_is_of_before_the_run_and_overlaps() -> None:
    reading = Reading(BEGIN, NOW)
    assert reading.bookmark == NOW - timedelta(minutes=10)
    assert Reading(NOW, NOW).bookmark == NOW


def test_a_change_at_the_moment_of_reading_is_found_the_next_time(
    service: Service, api: ShopApi
) -> None:
    reading = Reading(NOW - timedelta(days=1), NOW)
    assert list(orders.changed_orders(api, reading)) == []
    service.world.change(1005, NOW - timedelta(minutes=3), tags='["late"]')
    assert numbers(changed(api, reading.bookmark)) == [1005]


def test_a_list_deeper_than_shopify_goes_is_begun_anew(
    api: ShopApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "_DEEP", 5)
    monkeypatch.setattr(orders, "_AT_ONCE", 3)
    found = numbers(changed(api, BEGIN))
    assert set(found) == {1000 + n for n in range(1, ORDERS + 1)}
    assert len(found) > ORDERS


def test_orders_are_asked_for_by_id_and_one_that_is_gone_is_none(
    service: Service, api: ShopApi
) -> None:
    service.change({"order_id": 1002, "delete": True})
    asked = [gid(n) for n in (1009, 1002, 4711)]
    found = dict(orders.orders_by_id(api, asked))
    assert list(found) == asked
    assert len(found[gid(1009)]["lineItems"]) == 12  # type: ignore[index]
    assert found[gid(1002)] is found[gid(4711)] is None


# refunds -----------------------------------------------------------------------------------------
def test_refunds_come_with_their_lines_on_their_own_day(api: ShopApi) -> None:
    found = {one["id"]: one for one in orders.refunds_of(api, [gid(1005), gid(1001)])}
    assert list(found) == [gid(9005, "Refund")]
    refund = found[gid(9005, "Refund")]
    assert refund["order"] == gid(1005)
    (order,) = (one for one in changed(api, BEGIN) if one["id"] == gid(1005))
    (header,) = order["refunds"]
    assert header["id"] == refund["id"] and header["createdAt"].startswith("2026-11-06")
    lines = [(x["lineItem"]["id"], x["subtotalSet"]["shopMoney"]["amount"])
             for x in refund["refundLineItems"]]  # fmt: skip
    assert lines == [(gid(100_501, "LineItem"), "15.00"), (gid(100_502, "LineItem"), "15.00")]


def test_a_refund_without_lines_says_what_for(api: ShopApi) -> None:
    (refund,) = orders.refunds_of(api, [gid(1006)])
    assert refund["refundLineItems"] == []
    assert [one["reason"] for one in refund["orderAdjustments"]] == ["CUSTOMER"]


def test_a_refund_of_many_lines_is_read_whole(service: Service, api: ShopApi) -> None:
    lines = [
        {"refund_line_id": 50 + n, "refund_id": 9005, "line_id": 100_501, "quantity": 1,
         "subtotal": "1.00"}
        for n in range(20)
    ]  # fmt: skip
    service.world.fill("refund_line", lines)
    (refund,) = orders.refunds_of(api, [gid(1005)])
    assert len(refund["refundLineItems"]) == 22


def test_an_order_refunded_twice_has_two_refunds(service: Service, api: ShopApi) -> None:
    again = {"refund_id": 9007, "order_id": 1005, "created_at": text_of(NOW), "total": "3.00"}
    service.world.fill("refund", [again])
    found = list(orders.refunds_of(api, [gid(1005)]))
    assert [one["id"] for one in found] == [gid(9005, "Refund"), gid(9007, "Refund")]


# journeys ----------------------------------------------------------------------------------------
def test_a_journey_that_was_not_ready_is_asked_for_again(service: Service, api: ShopApi) -> None:
    (before,) = orders.journeys_of(api, [gid(1011)])
    assert before["customerJourneySummary"]["ready"] is False
    service.behave(clock="2027-01-02T00:00:00Z")
    with api_of(service, own_token(service)) as later:
        (after,) = orders.journeys_of(later, [gid(1011)])
    summary = after["customerJourneySummary"]
    assert summary["ready"] and summary["firstVisit"]["utmParameters"] is None


# deleted orders ----------------------------------------------------------------------------------
def known() -> dict[str, datetime]:
    return {gid(1000 + n): BEGIN + timedelta(days=n) for n in range(1, ORDERS + 1)}


def test_a_sweep_finds_deleted_orders_and_no_others(service: Service, api: ShopApi) -> None:
    assert orders.deleted_orders(api, known(), NOW) == []
    service.change({"order_id": 1002, "delete": True}, {"order_id": 1011, "delete": True})
    assert orders.deleted_orders(api, known(), NOW) == [gid(1002), gid(1011)]


def test_an_order_older_than_what_can_be_seen_is_not_taken_for_deleted(
    service: Service,
) -> None:
    service.behave(clock="2026-12-15T00:00:00Z", withheld=["read_all_orders"])
    now = datetime(2026, 12, 15, tzinfo=UTC)
    with api_of(service, own_token(service)) as api:
        assert orders.deleted_orders(api, known(), now) == []
        assert set(dict(orders.orders_by_id(api, [gid(1001)])).values()) == {None}


def test_nothing_is_taken_for_deleted_when_the_list_is_not_whole(
    service: Service, api: ShopApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = orders._listed_ids

    def one_page(self: ShopApi, *args: Any, **named: Any) -> Any:
        yield next(iter(pages(self, *args, **named)))[:3]

    pages = ShopApi.pages
    monkeypatch.setattr(ShopApi, "pages", one_page)
    with pytest.raises(ListChangedError):
        orders.deleted_orders(api, known(), NOW)
    monkeypatch.undo()
    assert len(begun(api, "created_at:>='2026-10-01T00:00:00Z'")) == ORDERS


# bulk --------------------------------------------------------------------------------------------
def test_a_bulk_operation_gives_what_the_list_gives(api: ShopApi) -> None:
    by_list = {one["id"]: one for one in changed(api, BEGIN)}
    by_bulk = {one["id"]: one for one in bulk(api).orders(FIRST, END)}
    assert by_bulk == by_list


def test_lines_may_come_before_the_orders_that_they_belong_to(
    service: Service, api: ShopApi
) -> None:
    usual = list(bulk(api).orders(FIRST, END))
    service.behave(children_first=True)
    assert list(bulk(api).orders(FIRST, END)) == usual
    assert sum(len(one["lineItems"]) for one in usual) == 2 * ORDERS + 10


def test_a_slow_operation_is_waited_for(service: Service, api: ShopApi) -> None:
    service.behave(bulk_seconds=0.3)
    assert len(list(bulk(api).orders(FIRST, END))) == ORDERS
    looks = [c for c in service.calls() if c["document"] == documents.BULK_OPERATION]
    assert len(looks) > 3


def test_an_operation_that_takes_too_long_is_cancelled(service: Service, api: ShopApi) -> None:
    service.behave(bulk_seconds=3600)
    reader = bulk(api, waiting=BulkPatience(pause=0.01, longest_pause=0.01, busy=1, total=0.1))
    with pytest.raises(BulkFailedError, match="took longer than we wait") as failed:
        list(reader.orders(date(2026, 10, 13), date(2026, 10, 14)))
    assert failed.value.code == "TIMEOUT"
    operation = service.calls()[-1]
    assert operation["document"] == documents.BULK_CANCEL


def test_no_orders_have_no_file(service: Service, api: ShopApi) -> None:
    assert list(bulk(api).orders(date(2025, 1, 1), date(2025, 2, 1))) == []


def test_a_range_that_fails_is_halved_and_what_came_is_kept(service: Service, api: ShopApi) -> None:
    service.behave(bulk_status="FAILED", bulk_error="TIMEOUT", bulk_times=2, bulk_partial=True)
    found = numbers(bulk(api).orders(FIRST, END))
    assert set(found) == {1000 + n for n in range(1, ORDERS + 1)}
    runs = [c for c in service.calls() if c["document"] == documents.BULK_RUN]
    assert len(runs) >= 5 and len(found) > ORDERS


@pytest.mark.parametrize("status", ["FAILED", "CANCELED", "EXPIRED"])
def test_a_day_that_cannot_be_had_is_an_error(service: Service, api: ShopApi, status: str) -> None:
    service.behave(bulk_status=status, bulk_error="INTERNAL_SERVER_ERROR")
    with pytest.raises(BulkFailedError, match=f"ended as {status}") as failed:
        list(bulk(api).orders(date(2026, 10, 13), date(2026, 10, 15)))
    assert failed.value.status == status


def test_a_bulk_operation_without_its_scope_is_not_halved(service: Service) -> None:
    service.behave(withheld=["read_orders"])
    with api_of(service, own_token(service)) as api:
        before = len(service.calls())
        with pytest.raises(BulkFailedError, match="ACCESS_DENIED"):
            list(bulk(api).orders(FIRST, END))
        runs = [c for c in service.calls()[before:] if c["document"] == documents.BULK_RUN]
        assert len(runs) == 2  # with protected data, and without


@pytest.mark.parametrize("lacks", [{"protected": "denied"}, {"withheld": ["read_customers"]}])
def test_a_bulk_operation_does_without_protected_data_that_is_denied(
    service: Service, lacks: dict[str, Any]
) -> None:
    service.behave(**lacks)
    with api_of(service, own_token(service)) as api:
        found = list(bulk(api).orders(FIRST, END))
        assert len(found) == ORDERS and not any("customer" in order for order in found)
        assert api.withheld == {"customer", "customerJourneySummary"}


def test_who_finds_no_room_waits_and_is_told(service: Service, api: ShopApi) -> None:
    service.behave(bulk_running=5)
    with pytest.raises(BulkBusyError, match="run already"):
        list(bulk(api).orders(FIRST, END))
    service.behave(bulk_running=3)
    assert len(list(bulk(api).orders(FIRST, END))) == ORDERS


def test_a_file_that_is_cut_off_is_fetched_again(service: Service, api: ShopApi) -> None:
    service.behave(cut_times=2)
    assert len(list(bulk(api).orders(FIRST, END))) == ORDERS
    service.behave(cut_times=3)
    with pytest.raises(UnreadableAnswerError, match="holds less than it should"):
        list(bulk(api).orders(FIRST, END))


def test_a_download_that_breaks_begins_again_from_the_top(service: Service, api: ShopApi) -> None:
    service.behave(broken_times=3)
    assert len(list(bulk(api).orders(FIRST, END))) == ORDERS
    service.behave(broken_times=4)
    with pytest.raises(NoAnswerError):
        list(bulk(api).orders(FIRST, END))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("{ shop { id } }", "exactly one top-level connection"),
        (
            "{ orders { edges { node { id refunds { id refundLineItems { edges { node { id } } } } "
            "} } } }",
            "connection field within a list field",
        ),
        (
            "{ orders { edges { node { id lineItems { edges { node { sku } } } } } } }",
            "must select id",
        ),
        ("{ orders { edges { node { nothing } } } }", "Cannot query field"),
    ],
)
def test_what_no_bulk_operation_can_have_is_refused(api: ShopApi, query: str, said: str) -> None:
    with pytest.raises(BusinessError, match=said):
        api.change(documents.BULK_RUN, {"query": query}, "bulkOperationRunQuery")


def lines(file: Path, *rows: Any, end: str = "\n") -> Path:
    file.write_text("\n".join(json.dumps(row) for row in rows) + end)
    return file


@given(st.permutations([(n, m) for n in (1, 2, 3) for m in range(4)]))
def test_the_lines_of_a_file_may_come_in_any_order(order: list[tuple[int, int]]) -> None:
    rows = [
        {"id": gid(n)} if m == 0 else {"id": gid(m, "LineItem"), "__parentId": gid(n)}
        for n, m in order
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = list(read_orders(lines(Path(folder) / "a.jsonl", *rows)))
    assert numbers(found) == [n for n, m in order if m == 0]
    for one in found:
        own = [m for n, m in order if m and gid(n) == one["id"]]
        assert numbers(one["lineItems"]) == own


@pytest.mark.parametrize(
    ("whole", "is_met"),
    [
        (Whole(9, None), True),
        (Whole(9, 7), True),
        (Whole(8, 2), False),
        (Whole(None, 2), True),
        (Whole(None, 3), False),
        (Whole(None, None), True),
    ],
)
def test_a_file_is_whole_by_its_bytes_or_else_by_its_lines(
    tmp_path: Path, whole: Whole, is_met: bool
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{}\n\n"ab"\n')
    assert whole.is_met(file, file.stat().st_size) is is_met


def test_lines_of_no_order_are_an_error_and_in_a_part_of_a_file_left_out(tmp_path: Path) -> None:
    order = {"id": gid(1)}
    child = {"id": gid(9, "LineItem"), "__parentId": gid(2)}
    file = lines(tmp_path / "a.jsonl", child, order)
    with pytest.raises(UnreadableAnswerError, match="lines of no order"):
        list(read_orders(file))
    (tmp_path / "a.children").unlink()
    assert list(read_orders(file, is_whole=False)) == [order | {"lineItems": []}]


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_line_that_is_cut_off_is_only_taken_at_the_end_of_a_part(
    tmp_path: Path, is_whole: bool
) -> None:
    file = lines(tmp_path / "a.jsonl", {"id": gid(1)})
    file.write_text(file.read_text() + '{"id": "gid://sho')
    if is_whole:
        with pytest.raises(UnreadableAnswerError, match="ends in mid-line"):
            list(read_orders(file))
        return
    assert numbers(read_orders(file, is_whole=False)) == [1]


def test_what_is_no_object_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAnswerError, match="no object"):
        list(read_orders(lines(tmp_path / "a.jsonl", [1])))
