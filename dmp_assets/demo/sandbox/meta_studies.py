"""Split tests of the sandbox's Meta: studies, their cells and what is in them."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from dmp_assets.demo.sandbox.meta_login import Access
from dmp_assets.demo.sandbox.meta_manner import GraphError, bad, gone
from dmp_assets.demo.sandbox.meta_world import World

KINDS = ("adsets", "campaigns", "adaccounts", "ads")
_TYPES = ("SPLIT_TEST", "SPLIT_TEST_V2", "LIFT")
_MOST_RUNNING, _MOST_CELLS, _MOST_ENTITIES = 100, 150, 100

Row = dict[str, Any]


class Studies:
    """Studies of businesses. There is no status: it follows from the times. Raises GraphError."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, access: Access, business_id: str, given: Mapping[str, str]) -> Row:
        """`POST {business}/ad_studies`."""
        _may(access, "ads_management", "business_management")
        if not self._world.rows("SELECT 1 FROM business WHERE business_id = ?", business_id):
            raise gone(business_id)
        start, end = _unix(given, "start_time"), _unix(given, "end_time")
        if given.get("type") not in _TYPES:
            raise bad(f"param type must be one of {', '.join(_TYPES)}", "type")
        if start >= end or end <= self._world.now():
            raise bad("The study must end after it starts, and in the future", "end_time")
        cells = _cells(given)
        running = self._world.rows(
            "SELECT count(*) AS n FROM study WHERE business_id = ? AND end_time > ? "
            "AND canceled_time IS NULL", business_id, self._world.now(),
        )[0]["n"]  # fmt: skip
        if running >= _MOST_RUNNING:
            raise bad(f"At most {_MOST_RUNNING} studies may run at a time")
        study = _id()
        self._world.add("study", [{
            "study_id": study, "business_id": business_id, "name": given.get("name", ""),
            "description": given.get("description"), "type": given["type"], "start_time": start,
            "end_time": end, "cooldown_start_time": given.get("cooldown_start_time"),
            "observation_end_time": given.get("observation_end_time"), "canceled_time": None,
            "created_time": int(self._world.now()),
        }])  # fmt: skip
        for cell in cells:
            own = _id()
            self._world.add("cell", [{
                "cell_id": own, "study_id": study, "name": str(cell.get("name", "")),
                "treatment_percentage": cell["treatment_percentage"],
            }])  # fmt: skip
            self._world.add("cell_entity", [
                {"cell_id": own, "kind": kind, "entity_id": str(one)}
                for kind in KINDS for one in cell.get(kind, [])
            ])  # fmt: skip
        return {"id": study}

    def shown(self, table: str, row: Row, fields: str) -> Row:
        """A study or a cell, with these fields."""
        if table == "cell":
            count = "SELECT count(*) AS n FROM cell_entity WHERE cell_id = ?"
            told = row | {
                "id": row["cell_id"],
                "control_percentage": 0,
                "ad_entities_count": self._world.rows(count, row["cell_id"])[0]["n"],
            }
        else:
            told = row | {"id": row["study_id"]}
        wanted = ["id", *(name for name in fields.split(",") if name)]
        return {name: told[name] for name in wanted if told.get(name) is not None}

    def edge(self, table: str, row: Row, edge: str, fields: str) -> list[Row]:
        """`cells` of a study; what is in a cell."""
        if table == "study" and edge == "cells":
            own = self._world.rows("SELECT * FROM cell WHERE study_id = ? ORDER BY rowid",
                                   row["study_id"])  # fmt: skip
            return [self.shown("cell", cell, fields) for cell in own]
        if table == "study" and edge == "objectives":
            return []
        if table == "cell" and edge in KINDS:
            sql = "SELECT entity_id FROM cell_entity WHERE cell_id = ? AND kind = ? ORDER BY 1"
            found = self._world.rows(sql, row["cell_id"], edge)
            return [{"id": one["entity_id"]} for one in found]
        raise bad(f"Tried accessing nonexisting field ({edge})")

    def of(self, kind: str, object_id: str, fields: str) -> list[Row]:
        """The studies that an account, campaign or ad set is in."""
        sql = (
            "SELECT DISTINCT study.* FROM study JOIN cell USING (study_id) "
            "JOIN cell_entity USING (cell_id) WHERE kind = ? AND entity_id = ? ORDER BY study_id"
        )
        return [self.shown("study", row, fields) for row in self._world.rows(sql, kind, object_id)]

    def change(self, access: Access, row: Row, given: Mapping[str, str]) -> Row:
        """A new end, or name."""
        _may(access, "ads_management", "business_management")
        new: Row = {"name": given["name"]} if "name" in given else {}
        if "end_time" in given:
            new["end_time"] = _unix(given, "end_time")
        if not new:
            raise bad("Nothing was given to change")
        changes = ", ".join(f"{name} = ?" for name in new)
        with self._world.begin() as db:
            db.execute(
                f"UPDATE study SET {changes} WHERE study_id = ?",
                (*new.values(), row["study_id"]),
            )
        return {"success": True}

    def cancel(self, access: Access, row: Row) -> Row:
        """`DELETE`."""
        _may(access, "ads_management", "business_management")
        with self._world.begin() as db:
            db.execute("UPDATE study SET canceled_time = ? WHERE study_id = ?",
                       (int(self._world.now()), row["study_id"]))  # fmt: skip
        return {"success": True}


def _cells(given: Mapping[str, str]) -> list[Row]:
    try:
        cells = json.loads(given.get("cells", "[]"))
        shares = [int(cell["treatment_percentage"]) for cell in cells]
        sizes = [sum(len(cell.get(kind, [])) for kind in KINDS) for cell in cells]
        held = [one for cell in cells for kind in KINDS for one in cell.get(kind, [])]
    except (ValueError, KeyError, TypeError):
        raise bad("param cells must be an array of cells", "cells") from None
    if not 2 <= len(cells) <= _MOST_CELLS or sum(shares) > 100 or min(shares) < 1:
        raise bad("A study has 2 to 150 cells, whose percentages sum to at most 100", "cells")
    if max(sizes) > _MOST_ENTITIES or min(sizes) < 1 or len(set(held)) < len(held):
        raise bad("Each cell has 1 to 100 ad entities, and none is in two", "cells")
    return list(cells)


def _unix(given: Mapping[str, str], name: str) -> int:
    text = given.get(name, "")
    if not text.isdecimal():
        raise bad(f"param {name} must be a time in unix seconds", name)
    return int(text)


def _may(access: Access, *needed: str) -> None:
    missing = [scope for scope in needed if scope not in access.scopes]
    if missing:
        raise GraphError(200, f"(#200) Requires {missing[0]} permission", status=403)


def _id() -> str:
    return str(uuid.uuid4().int % 10**17 + 10**17)
