"""What a Delta table's log says, as it stands in the files: every action of every commit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def commits(table: str | Path) -> list[str]:
    """The text of each commit, the oldest first."""
    return [file.read_text() for file in sorted(Path(table, "_delta_log").glob("*.json"))
            if file.stem.isdigit()]  # fmt: skip


def actions(table: str | Path, kind: str) -> Iterator[dict[str, Any]]:
    """All actions of a kind (`add`, `remove`, `commitInfo`, `metaData`), the oldest first."""
    for commit in commits(table):
        for line in commit.splitlines():
            if kind in (action := json.loads(line)):
                yield action[kind]


def statistics(table: str | Path) -> list[dict[str, Any]]:
    """What each new file's action says of its rows."""
    return [json.loads(add["stats"]) for add in actions(table, "add")]


def bounded(table: str | Path) -> set[str]:
    """Columns, by their dotted names, of which anything is said beside the number of rows."""
    return {
        name
        for said in statistics(table)
        for values in said.values()
        if isinstance(values, dict)
        for name in _leaves(values)
    }  # fmt: skip


def _leaves(values: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"
