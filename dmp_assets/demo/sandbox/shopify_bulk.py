"""Bulk operations of the sandbox's Shopify: a query over everything, answered by a file."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from graphql import (
    FieldNode,
    GraphQLError,
    OperationDefinitionNode,
    StringValueNode,
    get_named_type,
    parse,
    validate,
)

from dmp_assets.demo.sandbox.shopify_cost import Costs
from dmp_assets.demo.sandbox.shopify_graphql import Asking
from dmp_assets.demo.sandbox.shopify_manner import Manner
from dmp_assets.demo.sandbox.shopify_nodes import Listed, Node, gid
from dmp_assets.demo.sandbox.shopify_schema import PROTECTED, SCOPES, schema
from dmp_assets.demo.sandbox.shopify_world import text_of

MOST_AT_A_TIME = 5
MOST_CONNECTIONS = 5
DEEPEST = 2
_FIRST = 720_918
_TABLES = {"orders": "orders", "productVariants": "variant"}


@dataclass
class Operation:
    """One operation. `ends`: when it is finished, by the service's clock; `outcome`: how."""

    number: int
    shop: str
    created: datetime
    ends: datetime
    outcome: str
    error: str | None
    partial: bool
    file: Path
    objects: int
    cancelled: bool = False

    def status(self, now: datetime) -> str:
        if self.cancelled:
            return "CANCELED"
        if self.ends <= self.created or now >= self.ends:
            return self.outcome
        return "CREATED" if now - self.created < (self.ends - self.created) / 4 else "RUNNING"

    def is_running(self, now: datetime) -> bool:
        return self.status(now) in ("CREATED", "RUNNING")


class BulkOperations:
    """The operations of all shops; in memory, their files in a folder. `address`: of a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.operations: dict[int, Operation] = {}
        self._schema = schema()

    def roots(self, asking: Asking, now: datetime, address: Callable[[int], str]) -> dict[str, Any]:
        """What GraphQL asks of them."""

        def run(query: str, groupObjects: bool = False) -> Node:
            return self._run(asking, now, query, address)

        def cancel(id: str) -> Node:
            found = self._found(asking, id)
            if found is None or not found.is_running(now):
                told = [{"field": ["id"], "message": "Bulk operation does not exist or has ended"}]
                return {"bulkOperation": None, "userErrors": told}
            found.cancelled = True
            return {"bulkOperation": self.node(found, now, address), "userErrors": []}

        def operation(id: str) -> Node | None:
            found = self._found(asking, id)
            return None if found is None else self.node(found, now, address)

        return {
            "bulkOperationRunQuery": run,
            "bulkOperationCancel": cancel,
            "bulkOperation": operation,
        }

    def _found(self, asking: Asking, global_id: str) -> Operation | None:
        number = global_id.rpartition("/")[2]
        found = self.operations.get(int(number)) if number.isdecimal() else None
        return found if found and found.shop == asking.shop["shop"] else None

    def node(self, one: Operation, now: datetime, address: Callable[[int], str]) -> Node:
        """An operation as GraphQL tells of it; its counts are text."""
        status = one.status(now)
        has_ended = not one.is_running(now)
        is_there = has_ended and one.objects > 0
        link = address(one.number) if is_there else None
        return {
            "__typename": "BulkOperation",
            "id": gid("BulkOperation", one.number),
            "status": status,
            "errorCode": one.error if has_ended and status == "FAILED" else None,
            "createdAt": text_of(one.created),
            "completedAt": text_of(one.ends) if has_ended else None,
            "objectCount": str(one.objects if has_ended else 0),
            "fileSize": str(one.file.stat().st_size) if is_there else None,
            "url": link if status == "COMPLETED" else None,
            "partialDataUrl": link if one.partial and status != "COMPLETED" else None,
        }

    def _run(
        self, asking: Asking, now: datetime, query: str, address: Callable[[int], str]
    ) -> Node:
        manner, shop = asking.manner, asking.shop["shop"]
        try:
            field, costs = self._checked(query)
        except GraphQLError as error:
            return _refused(["query"], error.message, "INVALID")
        running = [n for n, o in self.operations.items() if o.shop == shop and o.is_running(now)]
        if len(running) + manner.bulk_running >= MOST_AT_A_TIME:
            first = gid("BulkOperation", running[0] if running else 701)
            return _refused(
                None,
                f"A bulk query operation for this app and shop is already in progress: {first}.",
                "OPERATION_IN_PROGRESS",
            )
        number = _FIRST + len(self.operations)
        outcome, error_code, partial = "COMPLETED", None, False
        lines: list[str] = []
        try:
            lines = list(Lines(asking, costs, manner).of(field))
        except GraphQLError as error:
            outcome, error_code = "FAILED", str((error.extensions or {}).get("code"))
        if manner.bulk_status != "COMPLETED" and manner.bulk_times > 0:
            manner.bulk_times -= 1
            outcome, error_code = manner.bulk_status, manner.bulk_error
            partial = manner.bulk_partial
            lines = lines[: len(lines) // 2] if partial else []
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{number}.jsonl"
        file.write_text("".join(lines))
        one = Operation(
            number=number,
            shop=shop,
            created=now,
            ends=now + timedelta(seconds=manner.bulk_seconds),
            outcome=outcome,
            error=error_code,
            partial=partial,
            file=file,
            objects=len(lines),
        )
        self.operations[number] = one
        made = self.node(one, now, address) | {"status": "CREATED"}
        return {"bulkOperation": made, "userErrors": []}

    def _checked(self, query: str) -> tuple[FieldNode, Costs]:
        """The one field that is asked for. Raises GraphQLError by the rules of bulk queries."""
        document = parse(query)
        if wrong := validate(self._schema, document):
            raise wrong[0]
        (operation,) = (d for d in document.definitions if isinstance(d, OperationDefinitionNode))
        costs = Costs(self._schema, {}, {})
        fields = costs.fields(operation.selection_set, self._schema.query_type)
        if len(fields) != 1 or fields[0][1].name.value not in _TABLES:
            raise GraphQLError("Bulk queries must contain exactly one top-level connection field.")
        found: list[int] = []
        self._walk(costs, "QueryRoot", fields[0][1], 0, False, found)
        if len(found) > MOST_CONNECTIONS:
            raise GraphQLError("Bulk queries cannot contain more than 5 connection fields.")
        return fields[0][1], costs

    def _walk(
        self, costs: Costs, owner: str, field: FieldNode, depth: int, listed: bool, found: list[int]
    ) -> None:
        place: Any = self._schema.type_map[owner]
        given = place.fields[field.name.value].type
        kind = get_named_type(given)
        inner = costs.fields(field.selection_set, kind)
        is_connection = kind.name.endswith("Connection")
        if is_connection:
            if listed:
                raise GraphQLError(
                    "Queries that contain a connection field within a list field are not currently "
                    "supported."
                )
            if depth > DEEPEST:
                raise GraphQLError("Bulk queries cannot contain connections nested so deep.")
            found.append(depth)
            _, selected = unwrapped(costs, field, kind)
            if depth and "id" not in {one.name.value for _, one in selected}:
                raise GraphQLError("The parent 'node' field for a nested connection must select id")
            inner = selected
        is_list = "[" in str(given) and not is_connection
        for where, one in inner:
            self._walk(costs, where, one, depth + is_connection, (listed or is_list), found)


def _refused(field: list[str] | None, message: str, code: str) -> Node:
    told = {"field": field, "message": message, "code": code}
    return {"bulkOperation": None, "userErrors": [told]}


def unwrapped(costs: Costs, field: FieldNode, kind: Any) -> tuple[Any, list[tuple[str, FieldNode]]]:
    """(type of a connection's nodes, what is selected of each)."""
    ((_, edges),) = [
        (o, f) for o, f in costs.fields(field.selection_set, kind)
        if f.name.value in ("edges", "nodes")
    ]  # fmt: skip
    item = get_named_type(kind.fields[edges.name.value].type)
    if edges.name.value == "nodes":
        return item, costs.fields(edges.selection_set, item)
    ((_, node),) = [
        (o, f) for o, f in costs.fields(edges.selection_set, item) if f.name.value == "node"
    ]
    kind_of_node: Any = get_named_type(getattr(item, "fields")["node"].type)  # noqa: B009
    return kind_of_node, costs.fields(node.selection_set, kind_of_node)


@dataclass(frozen=True)
class _Part:
    """A field that is selected, and what of it. `is_withheld`: it is read as null."""

    name: str
    is_withheld: bool
    parts: "tuple[_Part, ...]"


@dataclass
class Lines:
    """Writes what a bulk query finds, an object a line, children flat."""

    asking: Asking
    costs: Costs
    manner: Manner

    def of(self, field: FieldNode) -> Iterator[str]:
        """The lines. Raises GraphQLError where a scope is missing."""
        asking = self.asking
        name = field.name.value
        query = next(
            (
                one.value.value
                for one in field.arguments
                if one.name.value == "query" and isinstance(one.value, StringValueNode)
            ),
            None,
        )
        search = asking.search(_TABLES[name], query)
        make = asking.nodes.orders if name == "orders" else asking.nodes.variants
        parts = self._part("QueryRoot", field).parts
        for rows in search.all(asking.world):
            for node in make(rows):
                children: list[str] = []
                own = _line(_object(node, parts, node["id"], children))
                yield from (*children, own) if self.manner.children_first else (own, *children)

    def _part(self, owner: str, field: FieldNode) -> _Part:
        """What is to be written of a field. Raises GraphQLError where it is denied."""
        name = field.name.value
        place: Any = self.costs.schema.type_map[owner]
        kind: Any = get_named_type(place.fields[name].type)
        scope = SCOPES.get((owner, name))
        protected = self.manner.protected if (owner, name) in PROTECTED else "given"
        if protected == "denied" or (scope is not None and scope not in self.asking.scopes):
            raise GraphQLError("denied", extensions={"code": "ACCESS_DENIED"})
        if kind.name.endswith("Connection"):
            _, selected = unwrapped(self.costs, field, kind)
        else:
            selected = self.costs.fields(field.selection_set, kind)
        parts = tuple(self._part(where, one) for where, one in selected)
        return _Part(name, protected == "null", parts)


def _object(node: Node, parts: tuple[_Part, ...], parent: str, children: list[str]) -> Node:
    """What is selected of an object; what its connections list is added to the children."""
    made: Node = {}
    for part in parts:
        value = None if part.is_withheld else node[part.name]
        if isinstance(value, Listed):
            for child in value:
                own = _object(child, part.parts, child["id"], children)
                children.append(_line(own | {"__parentId": parent}))
        elif isinstance(value, dict):
            made[part.name] = _object(value, part.parts, parent, children)
        elif isinstance(value, list) and part.parts:
            made[part.name] = [_object(one, part.parts, parent, children) for one in value]
        else:
            made[part.name] = value
    return made


def _line(value: Node) -> str:
    return json.dumps(value, ensure_ascii=False).replace("/", "\\/") + "\n"
