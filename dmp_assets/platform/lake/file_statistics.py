"""Of which columns a table's log notes the least and greatest value of each file.

These let Spark leave out files that cannot hold what is asked for. They stand in the log as they
are, so they outlive the rows: of a column that leads to a person or tells of one there are none.
How many rows a file has is always noted.
"""

import re
from collections.abc import Collection

from deltalake import DeltaTable

from dmp_assets.platform.lake.columns import Columns
from dmp_assets.platform.lake.fences import OWN, Mark

NAMED, FIRST = "delta.dataSkippingStatsColumns", "delta.dataSkippingNumIndexedCols"
"""Properties of a Delta table: the columns by name, which goes before how many of the first."""

NONE = {FIRST: "0"}
"""Properties of a table without such values."""

_ORDERED = re.compile(r"string|byte|short|integer|long|float|double|date|timestamp|decimal\(.*\)")
_PART = re.compile(r"[<,]\s*([^<>,:]+):")


def harmless(columns: Columns) -> tuple[str, ...]:
    """Names of the declared columns that hold nothing personal and have an order; in their order.

    Arrays, maps and structures are never among them, nor is a column that has the name of a part of
    one that is personal: delta-rs takes the one for the other.
    """
    inside = {
        name
        for column in columns.values()
        if column.personal is not None
        for name in (*_PART.findall(column.type), *_parts_without_name(column.type))
    }
    return tuple(
        name
        for name, column in columns.items()
        if column.personal is None
        and _ORDERED.fullmatch(column.type)
        and name not in inside
        and "`" not in name
    )


def _parts_without_name(kind: str) -> list[str]:
    """What Parquet calls the parts of arrays and maps."""
    names = {"array<": ("element", "item", "list"), "map<": ("key", "value", "key_value")}
    return [name for outer, parts in names.items() if outer in kind for name in parts]


def properties(names: Collection[str]) -> dict[str, str]:
    """Properties of a table that has them of these columns alone."""
    return {NAMED: ",".join(f"`{name}`" for name in names)} if names else dict(NONE)


def bring_up(
    delta: DeltaTable, names: Collection[str], *, at_most: bool = False, mark: Mark = OWN
) -> bool:
    """Make an existing table one that `properties` describes, from its next file on.

    Its rows, their files and what its last write noted stay as they are. A table that is so already
    is left alone, and with `at_most` one that has fewer of these columns. Returns whether it was
    changed.
    """
    found = delta.metadata().configuration
    there = {name.strip(" `") for name in found.get(NAMED, "").split(",")} - {""}
    has_none = not there and found.get(FIRST) == "0"
    if (has_none and (at_most or not names)) or there == set(names) != set():
        return False
    if at_most and there and there <= set(names):
        return False
    wanted = properties(names)
    if not names and NAMED in found:
        wanted[NAMED] = ""  # a property cannot be taken away
    mark.checked(delta).alter.set_table_properties(wanted, commit_properties=mark.properties())
    return True
