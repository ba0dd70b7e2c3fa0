"""What a received column is, is declared once: everything else follows from that."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from dmp_assets.platform.cleaning.received import KINDS, Received, ReceivedColumns
from dmp_assets.platform.cleaning.received_columns import columns_of
from dmp_assets.platform.values import words
from dmp_assets.sources.shop import tables as shop
from dmp_assets.sources.web import tables as web
from dmp_assets.sources.web.shape import creation, shape_problems
from tests.support import marked_values
from tests.support.docs import ROOT, blocks

TABLES: dict[str, ReceivedColumns] = {
    **{spec.name: spec.columns for spec in shop.TABLES.values()},
    **web.TABLES,
}
PAGE = ROOT / "docs" / "extending.md"
DAY = '    "married_on": Received("day", "Day of the wedding.", personal="demographic"),'
FOLLOWS = """
import json, sys
from pathlib import Path
import dmp_assets
from dmp_assets.cleaned.shop import users as cleaned
from dmp_assets.platform.cleaning import written_columns
from dmp_assets.platform.lake.table_metadata import PERSONAL_TAG
from dmp_assets.raw import shop as raw
from dmp_assets.sources import contract
from dmp_assets.sources.csv.header import parse
from dmp_assets.sources.csv.reading import Reading
from dmp_assets.sources.shop.tables import TABLES
from tests.support import canaries

name = sys.argv[1]
known = TABLES["users"].columns
header = parse("users", iter(["user_id,created_at,nick\\n"]), known, known, Reading())
tables = {
    "/".join(key.path): {
        column.name: column.tags.get(PERSONAL_TAG)
        for column in asset.metadata_by_key[key]["dagster/column_schema"].columns
    }
    for asset in (raw.users, cleaned.users)
    for key in asset.keys
}
print(json.dumps({
    "package": dmp_assets.__path__[0],
    "inputs": [line for line in contract.markdown().splitlines() if f"`{name}`" in line],
    "notes": header.notes,
    "personal": {key: columns.get(name, "not there") for key, columns in tables.items()},
    "words": cleaned.KINDS[name],
    "written": written_columns.known()["users"].get(name),
    "readings": sorted(cleaned.readings_of("US", {})),
    "canaries": [mark for mark in canaries.MARKERS if name in mark],
    "row": canaries.Person(3).row()[name],
}))
"""
"""What a copy of the program makes of a column, as JSON."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program and its tests with two more columns of users: the page's, and one of days."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("dmp_assets", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    tables = folder / "dmp_assets" / "sources" / "shop" / "tables.py"
    text = tables.read_text()
    diffs = [b.text.splitlines() for b in blocks(PAGE) if b.language == "diff"]
    (diff,) = [lines for lines in diffs if "Received(" in "".join(lines)]
    old = "\n".join(line[1:] for line in diff if not line.startswith("+"))
    assert text.count(old) == 1
    new = "\n".join(line[1:] for line in diff)
    tables.write_text(text.replace(old, f"{DAY}\n{new}"))
    return folder


def follows(copy: Path, name: str) -> dict[str, Any]:
    """What the copy makes of a column."""
    done = subprocess.run(
        [sys.executable, "-c", FOLLOWS, name],
        env=os.environ | {"PYTHONPATH": str(copy)},
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = cast(dict[str, Any], json.loads(done.stdout))
    assert found["package"] == str(copy / "dmp_assets")
    return found


def test_a_column_of_users_is_one_line_in_the_room_of_its_source(copy: Path) -> None:
    found = follows(copy, "nickname")
    assert found["inputs"] == [
        "| `nickname` |  | any text | What friends call them. | `nick`, `spitzname` |"
    ]
    suggested = "the column nick is not used; did you mean nickname? (--map nickname=nick)"
    assert suggested in found["notes"]
    assert found["personal"] == {
        "raw/users": "name", "cleaned/users": "not there", "quarantine/users": "name",
    }  # fmt: skip
    assert (found["words"], found["written"]) == ("name", None)
    assert found["canaries"] and found["row"].lower().startswith(found["canaries"][0])


def test_a_column_of_days_can_be_written_in_several_ways_at_once(copy: Path) -> None:
    found = follows(copy, "married_on")
    assert found["inputs"] == ["| `married_on` |  | day | Day of the wedding. |  |"]
    assert (found["words"], found["written"]) == ("time", "time")
    assert found["personal"]["quarantine/users"] == "demographic"
    assert "married_on" not in found["readings"], "what reads it further is said in cleaned/users"


def test_whose_a_column_is_must_be_said_also_where_it_is_nobodys() -> None:
    with pytest.raises(TypeError, match="personal"):
        Received("text", "Something.")  # type: ignore[call-arg]
    assert Received("text", "Something.", personal=None).personal is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "words"}, "'words' is not one of id, visitor"),
        ({"subject": "user_id"}, "a user_id leads to a person"),
        ({"days": "day"}, "days are of a time of day"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Received(**{"kind": "text", "about": "Something.", "personal": None, **given})


def test_an_unknown_category_of_personal_data_is_refused() -> None:
    wrong = Received("text", "Something.", personal=cast(Any, "secret"))
    with pytest.raises(ValueError, match="'secret' is not one of identifier"):
        columns_of({"x": wrong})


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_of_a_table_fit_each_other(table: str) -> None:
    columns = TABLES[table]
    held = columns_of(columns)
    assert {name: column.personal for name, column in held.items()} == {
        name: column.personal for name, column in columns.items()
    }
    for column in columns.values():
        assert column.kind != "clock" or columns[str(column.days)].kind == "day"
        assert column.about.endswith(".")


def test_every_kind_of_value_has_its_words_and_every_list_of_words_is_some_kinds() -> None:
    asked = {traits.words for traits in KINDS.values()}
    assert asked == set(words.KINDS) - {"as received"}


@pytest.mark.parametrize("table", web.RESULTS)
def test_a_table_of_results_that_is_made_has_the_shape_that_is_asked_for(table: str) -> None:
    wanted = web.RESULTS[table]
    made = creation(table, wanted, typed=True).partition("(")[2].rstrip(")")
    types = dict(cast(tuple[str, str], column.split(" ", 1)) for column in made.split(", "))
    assert "double precision" in types.values()
    assert shape_problems({table: types}, {table: wanted}) == []


def test_a_marked_value_has_the_marker_of_its_column_and_of_no_other() -> None:
    all_markers = {key: marked_values.marker(*key) for key in marked_values.PLACES}
    for (table, name), mark in all_markers.items():
        said = marked_values.value(table, name, 7).lower()
        shown = {key for key, other in all_markers.items() if other and other in said}
        assert shown == ({(table, name)} if mark else set())
