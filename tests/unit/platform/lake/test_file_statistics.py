"""What a table's log says of the values of its columns: nothing of those that are of people."""

from pathlib import Path

import pyarrow as pa
import pytest

from dmp_assets.home import Home
from dmp_assets.platform.lake import plain_files
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.file_statistics import FIRST, NAMED, harmless
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.spark import SMALL
from tests.support.delta_log import actions, bounded, commits, statistics

KEY = "cleaned/people"
COLUMNS = {
    "user_id": Column("string", "Who.", "identifier", "user_id"),
    "at": Column("timestamp", "When.", "behaviour"),
    "code": Column("string", "Which."),
    "n": Column("long", "How many."),
    "m": Column("long", "Of the name of a part of a place."),
    "price": Column("decimal(18,2)", "Of it."),
    "open": Column("boolean", "Whether."),
    "tags": Column("array<string>", "Words."),
    "place": Column("struct<city:string,m:long>", "Where.", "location"),
}
OF_NOBODY = {"code", "n", "price"}


@pytest.fixture
def lakehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    """An empty one that is not small."""
    home = Home(tmp_path / "home").prepare("sandbox")
    monkeypatch.setenv("DMP_HOME", str(home.root))
    made = Lakehouse()
    made.expect(SMALL + 1)
    return made


def rows(*names: str) -> pa.Table:
    given = [
        {"user_id": name, "at": 1, "code": f"c-{name}", "n": 1, "m": 1, "price": 1, "open": True,
         "tags": [name], "place": {"city": name, "m": 1}}
        for name in names
    ]  # fmt: skip
    return pa.Table.from_pylist(given, arrow_schema(COLUMNS))


def test_harmless_are_columns_of_nobody_that_have_an_order() -> None:
    assert set(harmless(COLUMNS)) == OF_NOBODY


def test_values_of_people_are_in_no_log_and_rows_are_counted(lakehouse: Lakehouse) -> None:
    lakehouse.overwrite(KEY, rows("zq1", "zq2"), bounded=harmless(COLUMNS))
    lakehouse.append(KEY, rows("zq3"), bounded=harmless(COLUMNS))
    path = lakehouse.tables.path(KEY)
    assert bounded(path) == OF_NOBODY
    assert [said["numRecords"] for said in statistics(path)] == [2, 1]
    assert lakehouse.written(KEY).rows == 3


@pytest.mark.parametrize("small", [True, False])
def test_without_a_word_no_value_is_noted(lakehouse: Lakehouse, small: bool) -> None:
    if small:
        lakehouse.expect(0)
    lakehouse.overwrite(KEY, rows("zq1"))
    assert bounded(lakehouse.tables.path(KEY)) == set()
    assert "zq1" not in "".join(commits(lakehouse.tables.path(KEY)))


def test_a_reader_of_batches_notes_no_more_than_a_table(lakehouse: Lakehouse) -> None:
    lakehouse.expect(0)
    lakehouse.append(KEY, rows("zq1").to_reader(), bounded=harmless(COLUMNS))
    assert bounded(lakehouse.tables.path(KEY)) == OF_NOBODY


def test_a_table_of_an_earlier_version_notes_none_from_its_next_write_on(
    lakehouse: Lakehouse,
) -> None:
    from deltalake import write_deltalake

    path = lakehouse.tables.path(KEY)
    write_deltalake(path, rows("zq1"), commit_properties=None)
    before = lakehouse.tables.delta(KEY).file_uris()
    assert "user_id" in bounded(path)
    lakehouse.append(KEY, rows("zq2"), stamp={"data_version": "d"}, bounded=harmless(COLUMNS))
    assert set(before) < set(lakehouse.tables.delta(KEY).file_uris()), "no row was written again"
    old, new = statistics(path)
    assert set(new["minValues"]) == OF_NOBODY < set(old["minValues"])
    version = lakehouse.tables.version(KEY)
    lakehouse.append(KEY, rows("zq3"), bounded=harmless(COLUMNS))
    assert lakehouse.tables.version(KEY) == version + 1, "said once"


def test_the_property_alone_is_new_to_nobody(lakehouse: Lakehouse) -> None:
    from dmp_assets.platform.lake.file_statistics import bring_up

    lakehouse.expect(0)
    lakehouse.overwrite(KEY, rows("zq1"), stamp={"fingerprint": "f", "data_version": "d"})
    assert bring_up(lakehouse.tables.delta(KEY), ["n"])
    stamp = lakehouse.tables.stamp(KEY)
    assert (stamp["fingerprint"], stamp["data_version"]) == ("f", "d")
    assert not bring_up(lakehouse.tables.delta(KEY), ["n"])
    assert bring_up(lakehouse.tables.delta(KEY), [])
    found = lakehouse.tables.delta(KEY).metadata().configuration
    assert (found[NAMED], found[FIRST]) == ("", "0")
    assert not bring_up(lakehouse.tables.delta(KEY), [])


def test_a_small_table_keeps_what_it_has_unless_that_is_too_much(lakehouse: Lakehouse) -> None:
    lakehouse.expect(0)
    lakehouse.overwrite(KEY, rows("zq1"), bounded=harmless(COLUMNS))
    path = lakehouse.tables.path(KEY)
    assert bounded(path) == set()
    lakehouse.append(KEY, rows("zq2"), bounded=harmless(COLUMNS))
    assert lakehouse.tables.version(KEY) == 1
    lakehouse.append(KEY, rows("zq3").to_reader(), bounded=harmless(COLUMNS))
    lakehouse.append(KEY, rows("zq4"), bounded=["n"])
    assert set(statistics(path)[-1]["minValues"]) <= {"n"}


def test_files_are_read_and_pruned_as_before(lakehouse: Lakehouse) -> None:
    for name, n in (("zq1", 1), ("zq2", 2)):
        given = rows(name).set_column(3, "n", pa.array([n]))
        lakehouse.append(KEY, given, bounded=harmless(COLUMNS))
    delta = lakehouse.tables.delta(KEY)
    assert len(plain_files.names_of(delta) or []) == 2
    assert lakehouse.tables.scalar("SELECT user_id FROM cleaned.people WHERE n = 2") == "zq2"
    assert lakehouse.tables.scalar("SELECT n FROM cleaned.people WHERE user_id = 'zq1'") == 1
    bounds = pa.table(delta.get_add_actions(flatten=True))
    assert sorted(bounds["min.n"].to_pylist()) == [1, 2]
    assert "min.user_id" not in bounds.column_names


def test_no_declared_table_notes_a_value_of_a_personal_column(lakehouse: Lakehouse) -> None:
    from dmp_assets.definitions import defs
    from dmp_assets.platform.automation.personal_data import personal_data
    from dmp_assets.platform.faces.lake import declared

    personal = {
        (one.table, one.column) for one in personal_data(defs.get_repository_def().asset_graph)
    }
    tables, noted = declared(), set()
    for key, columns in tables.items():
        schema = arrow_schema(columns)
        row = pa.table({field.name: pa.nulls(1, field.type) for field in schema}, schema=schema)
        lakehouse.overwrite(key, row, bounded=harmless(columns))
        noted |= {(key, name.partition(".")[0]) for name in bounded(lakehouse.tables.path(key))}
        assert next(actions(lakehouse.tables.path(key), "add"))
    assert len(tables) > 30
    assert noted & personal == set()
    assert ("modeled/promo_usage_daily", "date") in noted
