"""What a GraphQL document costs at Shopify, and the bucket that it is paid from.

By Shopify's rules: a scalar 0, an object 1, a connection 2 and what it lists, a mutation 10. The
requested cost takes page sizes as asked for, the actual one what was found; the difference is given
back.
"""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_leaf_type,
)

MUTATION = 10
RESTORED = {"Basic": 100.0, "Advanced": 200.0, "Plus": 1000.0, "Enterprise": 2000.0}
"""Plan of a shop → points that come back a second."""
SECONDS_HELD = 20
"""A bucket holds what comes back in so many seconds."""
_FREE = frozenset({"edges", "node", "nodes", "pageInfo"})
Fields = list[tuple[str, FieldNode]]


@dataclass(frozen=True)
class Costs:
    """The costs of one document, of its variables."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, Any]

    def requested(self, operation: OperationDefinitionNode) -> int:
        """What must be in the bucket before it is executed."""
        return self._selected(operation.selection_set, self._root(operation), None, False)

    def actual(self, operation: OperationDefinitionNode, data: Any) -> int:
        """What its answer costs."""
        return self._selected(operation.selection_set, self._root(operation), data, True)

    def _root(self, operation: OperationDefinitionNode) -> Any:
        return self.schema.get_root_type(operation.operation)

    def fields(self, selected: SelectionSetNode | None, parent: Any) -> Fields:
        """(type, field) of a selection, those of fragments too."""
        found: Fields = []
        for one in selected.selections if selected else ():
            if isinstance(one, FieldNode):
                found.append((parent.name, one))
            elif isinstance(one, InlineFragmentNode):
                name = one.type_condition.name.value if one.type_condition else parent.name
                found += self.fields(one.selection_set, self.schema.type_map[name])
            elif isinstance(one, FragmentSpreadNode):
                known = self.fragments[one.name.value]
                name = known.type_condition.name.value
                found += self.fields(known.selection_set, self.schema.type_map[name])
        return found

    def argument(self, field: FieldNode, name: str) -> Any:
        """The value of an argument, a variable's too; None where it is not given."""
        for given in field.arguments:
            if given.name.value == name:
                if isinstance(given.value, VariableNode):
                    return self.variables.get(given.value.name.value)
                if isinstance(given.value, ListValueNode):
                    return list(given.value.values)
                return int(given.value.value) if isinstance(given.value, IntValueNode) else None
        return None

    def _selected(self, selected: Any, parent: Any, data: Any, found: bool) -> int:
        total = 0
        for owner, field in self.fields(selected, parent):
            kind = self.schema.type_map[owner]
            name = field.name.value
            if name.startswith("__") or not isinstance(kind, GraphQLObjectType):
                continue
            value = data.get((field.alias or field.name).value) if found and data else None
            if found and value is None:
                continue
            total += self._field(field, kind, value, found)
        return total

    def _field(self, field: FieldNode, owner: GraphQLObjectType, value: Any, found: bool) -> int:
        kind = get_named_type(owner.fields[field.name.value].type)
        if is_leaf_type(kind):
            return 0
        begin = MUTATION if owner.name == "Mutation" else 0
        if kind.name.endswith("Connection"):
            return begin + 2 + self._listed(field, kind, value, found)
        values = value if isinstance(value, list) else [value]
        if found:
            each = (self._selected(field.selection_set, kind, one, True) + 1 for one in values)
            return begin + sum(each)
        ids = self.argument(field, "ids")
        many = len(ids) if isinstance(ids, list) else self.argument(field, "first") or 1
        return begin + many * (1 + self._selected(field.selection_set, kind, None, False))

    def _listed(self, field: FieldNode, kind: Any, value: Any, found: bool) -> int:
        total = 0
        for owner, inner in self.fields(field.selection_set, kind):
            if inner.name.value not in ("edges", "nodes"):
                continue
            place = self.schema.type_map[owner]
            assert isinstance(place, GraphQLObjectType)
            item = get_named_type(place.fields[inner.name.value].type)
            selected = inner.selection_set
            if inner.name.value == "edges":
                nodes = [f for _, f in self.fields(selected, item) if f.name.value == "node"]
                assert isinstance(item, GraphQLObjectType)
                item = get_named_type(item.fields["node"].type)
                selected = nodes[0].selection_set if nodes else None
            if not found:
                many = self.argument(field, "first") or 0
                total += many * (1 + self._selected(selected, item, None, False))
                continue
            for one in value.get(inner.name.value) or ():
                node = one.get("node") if inner.name.value == "edges" else one
                total += 1 + self._selected(selected, item, node, True)
        return total


class Bucket:
    """The points of one app at one shop. `size`, and `restore` a second."""

    def __init__(self, size: float, restore: float) -> None:
        self.size, self.restore = size, restore
        self._left, self._at = size, time.monotonic()
        self._lock = threading.Lock()

    def _fill(self) -> None:
        now = time.monotonic()
        self._left = min(self.size, self._left + (now - self._at) * self.restore)
        self._at = now

    def take(self, points: float) -> bool:
        """Take what a document may cost; False when there is less."""
        with self._lock:
            self._fill()
            if points > self._left:
                return False
            self._left -= points
            return True

    def give_back(self, points: float) -> None:
        with self._lock:
            self._fill()
            self._left = min(self.size, self._left + points)

    def drain(self, left: float) -> None:
        """Leave so many points."""
        with self._lock:
            self._left, self._at = left, time.monotonic()

    def status(self) -> dict[str, float]:
        """As an answer tells of it."""
        with self._lock:
            self._fill()
            return {
                "maximumAvailable": float(self.size),
                "currentlyAvailable": math.floor(self._left),
                "restoreRate": float(self.restore),
            }
