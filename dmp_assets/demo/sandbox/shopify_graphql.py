"""The sandbox's Admin GraphQL endpoint: documents really parsed, paid for and executed."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLResolveInfo,
    OperationDefinitionNode,
    execute_sync,
    parse,
    validate,
)

from dmp_assets.demo.sandbox.shopify_cost import RESTORED, SECONDS_HELD, Bucket, Costs
from dmp_assets.demo.sandbox.shopify_lists import Search, connection, part_of, refused
from dmp_assets.demo.sandbox.shopify_manner import Manner
from dmp_assets.demo.sandbox.shopify_nodes import Listed, Node, Nodes, gid, number_of
from dmp_assets.demo.sandbox.shopify_schema import PROTECTED, SCOPES, schema
from dmp_assets.demo.sandbox.shopify_world import Row, World

Roots = Mapping[str, Callable[..., Any]]
_CODES = {
    "Cannot query field": "undefinedField",
    "Unknown argument": "argumentNotAccepted",
    "Unknown type": "undefinedType",
    "Unknown fragment": "useAndDefineFragment",
}
_DOCUMENTS = 64


def denied(what: str, required: str) -> GraphQLError:
    """A refusal for want of an access scope."""
    return GraphQLError(
        f"Access denied for {what} field. Required access: {required}",
        extensions={
            "code": "ACCESS_DENIED",
            "documentation": "https://shopify.dev/api/usage/access-scopes",
            "requiredAccess": required,
        },
    )


@dataclass
class Asking:
    """Who asks: a shop, what was granted, and the moment. `roots`: what others answer."""

    shop: Row
    scopes: tuple[str, ...]
    now: str
    since: str | None
    manner: Manner
    world: World
    roots: Roots
    pages: int = 0

    @property
    def nodes(self) -> Nodes:
        return Nodes(self.world, self.shop, self.now, self.manner.ready)

    def search(self, table: str, text: str | None) -> Search:
        since = self.since if table == "orders" else None
        return Search.of(table, self.shop["shop"], text, since)

    def orders_of(self, ids: list[str]) -> dict[str, Node]:
        """Global id → order, of those that there are."""
        numbers = [n for one in ids if (n := number_of(one, "Order")) is not None]
        rows = self.world.of("orders", "order_id", numbers)
        own = [
            row
            for found in rows.values()
            for row in found
            if row["shop"] == self.shop["shop"] and row["created_at"] >= (self.since or "")
        ]
        return {node["id"]: node for node in self.nodes.orders(own)}


class GraphqlApi:
    """Answers documents. `edit`: called after each page of orders."""

    def __init__(self, edit: Callable[[], None]) -> None:
        self._schema = schema()
        self._edit = edit
        self._known: dict[str, DocumentNode] = {}

    def answer(self, asking: Asking, bucket: Bucket, given: Mapping[str, Any]) -> dict[str, Any]:
        """The body of the answer."""
        manner = asking.manner
        text, variables = given.get("query"), given.get("variables") or {}
        if not isinstance(text, str):
            return {"errors": {"query": "Required parameter missing or invalid"}}
        try:
            document = self._document(text)
        except GraphQLError as error:
            return {"errors": [error.formatted]}
        wrong = validate(self._schema, document)
        if wrong:
            return {"errors": [_invalid(error) for error in wrong]}
        operation = next(
            one for one in document.definitions if isinstance(one, OperationDefinitionNode)
        )
        fragments = {
            one.name.value: one
            for one in document.definitions
            if isinstance(one, FragmentDefinitionNode)
        }
        costs = Costs(self._schema, fragments, variables)
        requested = costs.requested(operation)
        if requested > manner.most:
            return {"errors": [_too_costly(requested, manner.most)]}
        if not bucket.take(requested):
            late = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
            return {"errors": [late]} | _cost(requested, None, bucket)
        if manner.internal_times > 0:
            manner.internal_times -= 1
            return {"errors": [_internal()]} | _cost(requested, requested, bucket)
        result = execute_sync(
            self._schema,
            document,
            root_value=_roots(asking, self._edit),
            context_value=asking,
            variable_values=dict(variables),
            field_resolver=_resolve,
            type_resolver=lambda value, info, kind: value.get("__typename"),
        )
        if result.errors and any(_code(error) == "BAD_REQUEST" for error in result.errors):
            bucket.give_back(requested)
            return {"errors": [error.formatted for error in result.errors]}
        actual = costs.actual(operation, result.data) if result.data else 0
        bucket.give_back(requested - actual)
        body: dict[str, Any] = {"data": result.data}
        if result.errors:
            body["errors"] = [error.formatted for error in result.errors]
        return body | _cost(requested, actual, bucket)

    def _document(self, text: str) -> DocumentNode:
        if text not in self._known:
            if len(self._known) > _DOCUMENTS:
                self._known.clear()
            self._known[text] = parse(text)
        return self._known[text]


def _code(error: GraphQLError) -> Any:
    return (error.extensions or {}).get("code")


def _invalid(error: GraphQLError) -> dict[str, Any]:
    found = next((code for text, code in _CODES.items() if error.message.startswith(text)), None)
    formatted: dict[str, Any] = dict(error.formatted)
    return formatted | {"extensions": {"code": found or "argumentLiteralsIncompatible"}}


def _too_costly(cost: int, most: int) -> dict[str, Any]:
    return {
        "message": f"Query cost is {cost}, which exceeds the single query max cost limit ({most}).",
        "extensions": {
            "code": "MAX_COST_EXCEEDED",
            "cost": cost,
            "maxCost": most,
            "documentation": "https://shopify.dev/api/usage/rate-limits",
        },
    }


def _internal() -> dict[str, Any]:
    request = secrets.token_hex(8)
    return {
        "message": "Internal error. Looks like something went wrong on our end.\n"
        f"Request ID: {request} (include this in support requests).",
        "extensions": {"code": "INTERNAL_SERVER_ERROR", "requestId": request},
    }


def _cost(requested: int, actual: int | None, bucket: Bucket) -> dict[str, Any]:
    cost = {
        "requestedQueryCost": requested,
        "actualQueryCost": actual,
        "throttleStatus": bucket.status(),
    }
    return {"extensions": {"cost": cost}}


def _resolve(source: Any, info: GraphQLResolveInfo, **asked: Any) -> Any:
    asking: Asking = info.context
    place = info.parent_type.name, info.field_name
    scope = SCOPES.get(place)
    if scope is not None and scope not in asking.scopes:
        raise denied(info.field_name, f"`{scope}` access scope.")
    if place in PROTECTED and asking.manner.protected != "given":
        if asking.manner.protected == "null":
            return None
        raise denied(info.field_name, "approval for protected customer data.")
    value = source[info.field_name]
    if callable(value):
        value = value(**asked)
    if isinstance(value, Listed):
        return part_of(value, asked)
    if isinstance(value, list) and asked.get("first"):
        return value[: asked["first"]]
    return value


def _roots(asking: Asking, edit: Callable[[], None]) -> dict[str, Any]:
    def orders(**asked: Any) -> Node:
        search = asking.search("orders", asked.get("query"))
        rows, more, cursors = search.page(asking.world, asked)
        nodes = asking.nodes.orders(rows)
        edit()
        return connection(nodes, cursors, more, bool(asked.get("after")))

    def variants(**asked: Any) -> Node:
        search = asking.search("variant", asked.get("query"))
        rows, more, cursors = search.page(asking.world, asked)
        return connection(asking.nodes.variants(rows), cursors, more, bool(asked.get("after")))

    def count(query: str | None = None, limit: int | None = None) -> Node:
        found = asking.search("orders", query).count(asking.world)
        if limit is None or found <= limit:
            return {"count": found, "precision": "EXACT"}
        return {"count": limit, "precision": "AT_LEAST"}

    def refund(id: str) -> Node | None:
        if "read_orders" not in asking.scopes:
            raise denied("refund", "`read_orders` access scope.")
        number = number_of(id, "Refund")
        rows = asking.world.of("refund", "refund_id", [number] if number is not None else [])
        orders = [gid("Order", row["order_id"]) for found in rows.values() for row in found]
        own = [one for order in asking.orders_of(orders).values() for one in order["refunds"]]
        return next((one for one in own if one["id"] == id), None)

    def nodes(ids: list[str]) -> list[Node | None]:
        if len(ids) > 250:
            raise refused("The input array size of ids is greater than the maximum allowed of 250.")
        if "read_orders" not in asking.scopes:
            raise denied("nodes", "`read_orders` access scope.")
        found = asking.orders_of(ids)
        return [found.get(one) for one in ids]

    def node(id: str) -> Node | None:
        return nodes([id])[0]

    return {
        "shop": asking.nodes.shop_node,
        "currentAppInstallation": lambda: {
            "accessScopes": [{"handle": scope} for scope in asking.scopes]
        },
        "orders": orders,
        "ordersCount": count,
        "productVariants": variants,
        "nodes": nodes,
        "node": node,
        "order": node,
        "refund": refund,
        **asking.roots,
    }


@dataclass
class Buckets:
    """The buckets of all shops."""

    of: dict[str, Bucket] = field(default_factory=dict)

    def at(self, shop: Row, manner: Manner) -> Bucket:
        """The bucket of a shop: by its plan, unless the manner says otherwise."""
        restore = manner.restore or RESTORED.get(shop["plan"], RESTORED["Basic"])
        size = manner.bucket or SECONDS_HELD * restore
        known = self.of.get(shop["shop"])
        if known is None or (known.size, known.restore) != (size, restore):
            known = self.of[shop["shop"]] = Bucket(size, restore)
        return known
