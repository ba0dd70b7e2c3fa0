"""Lists of the sandbox's Shopify: its search syntax, its cursors, its pages."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError

from dmp_assets.demo.sandbox.shopify_nodes import Listed, Node
from dmp_assets.demo.sandbox.shopify_schema import MOST_OF_A_PAGE
from dmp_assets.demo.sandbox.shopify_world import Row, World

_TERM = re.compile(r"""(\w+):(>=|<=|>|<)?('[^']*'|"[^"]*"|[^\s'"]+)""")
_COLUMNS = {
    "orders": {
        "created_at": "created_at", "updated_at": "updated_at", "processed_at": "processed_at",
        "id": "order_id", "financial_status": "lower(financial_status)",
    },
    "variant": {"updated_at": "updated_at", "id": "variant_id", "sku": "sku"},
}  # fmt: skip
_KEYS = {"orders": "order_id", "variant": "variant_id"}
_SORTED = {"CREATED_AT": "created_at", "UPDATED_AT": "updated_at", "PROCESSED_AT": "processed_at"}
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_BULK = 500


def refused(message: str, code: str = "BAD_REQUEST") -> GraphQLError:
    """A refusal as Shopify words it."""
    return GraphQLError(message, extensions={"code": code})


@dataclass(frozen=True)
class Search:
    """A search in one of the file's tables, as SQL."""

    table: str
    where: str
    values: tuple[Any, ...]

    @staticmethod
    def of(table: str, shop: str, text: str | None, since: str | None = None) -> "Search":
        """A search by Shopify's syntax; `since`: older orders are not seen. Raises GraphQLError."""
        where, values = ["shop = ?"], [shop]
        if since is not None:
            where.append("created_at >= ?")
            values.append(since)
        left = (text or "").strip()
        while left:
            term = _TERM.match(left)
            column = term and _COLUMNS[table].get(term[1])
            if term is None or column is None:
                raise refused("Invalid search query")
            value = term[3].strip("'\"")
            if term[1].endswith("_at") and _DAY.fullmatch(value):
                value += "T00:00:00Z"
            where.append(f"{column} {term[2] or '='} ?")
            values.append(value)
            left = re.sub(r"^\s*(AND\b)?\s*", "", left[term.end() :])
        return Search(table, " AND ".join(where), tuple(values))

    def count(self, world: World) -> int:
        query = f"SELECT count(*) AS n FROM {self.table} WHERE {self.where}"
        return int(world.rows(query, self.values)[0]["n"])

    def page(self, world: World, asked: Mapping[str, Any]) -> tuple[list[Row], bool, list[str]]:
        """(rows of a page, whether there are more, a cursor for each). Raises GraphQLError."""
        first = asked_first(asked)
        key = _KEYS[self.table]
        column = _SORTED.get(asked.get("sortKey", ""), key)
        down = asked.get("reverse", False)
        where, values = self.where, list(self.values)
        if asked.get("after"):
            where += f" AND ({column}, {key}) {'<' if down else '>'} (?, ?)"
            values += _opened(asked["after"])
        way = "DESC" if down else "ASC"
        rows = world.rows(
            f"SELECT * FROM {self.table} WHERE {where} ORDER BY {column} {way}, {key} {way} "
            f"LIMIT {first + 1}",
            values,
        )
        page = rows[:first]
        return page, len(rows) > first, [_sealed(row[column], row[key]) for row in page]

    def all(self, world: World) -> Iterator[list[Row]]:
        """All rows, in pieces."""
        after: list[Any] = [-1]
        key = _KEYS[self.table]
        query = (
            f"SELECT * FROM {self.table} WHERE {self.where} AND {key} > ? ORDER BY {key} "
            f"LIMIT {_BULK}"
        )
        while rows := world.rows(query, [*self.values, *after]):
            yield rows
            after = [rows[-1][key]]


def asked_first(asked: Mapping[str, Any]) -> int:
    """How many a page shall hold. Raises GraphQLError."""
    first = asked.get("first")
    if first is None:
        raise refused("you must provide one of first or last")
    if not 0 < first <= MOST_OF_A_PAGE:
        raise refused(f"first must be between 1 and {MOST_OF_A_PAGE}")
    return int(first)


def connection(nodes: list[Node], cursors: list[str], more: bool, after: bool) -> Node:
    """A page as GraphQL has it."""
    return {
        "edges": [{"cursor": c, "node": n} for c, n in zip(cursors, nodes, strict=True)],
        "nodes": nodes,
        "pageInfo": {
            "hasNextPage": more,
            "hasPreviousPage": after,
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
        },
    }


def part_of(listed: Listed, asked: Mapping[str, Any]) -> Node:
    """A page of a list that hangs on an object. Raises GraphQLError."""
    first = asked_first(asked)
    begin = int(_opened(asked["after"])[0]) if asked.get("after") else 0
    nodes = listed[begin : begin + first]
    cursors = [_sealed(begin + place + 1, 0) for place in range(len(nodes))]
    return connection(nodes, cursors, len(listed) > begin + first, begin > 0)


def _sealed(value: Any, key: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([value, key]).encode()).decode()


def _opened(cursor: str) -> list[Any]:
    try:
        value, key = json.loads(base64.urlsafe_b64decode(cursor))
    except (ValueError, TypeError):
        raise refused("Invalid cursor for current pagination sort.") from None
    return [value, key]
