"""Canaries: people with unmistakable values, followed through one whole run of the product."""

import pprint
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from dmp_assets.definitions import defs
from dmp_assets.platform.automation.personal_data import ANY_FURTHER, personal_data
from dmp_assets.platform.store import database, where
from dmp_assets.platform.store.schema import every
from tests.support.canaries import (
    MARKERS,
    PEOPLE,
    Person,
    found,
    log_scores,
    write_shop,
    write_web,
)
from tests.support.declared import types
from tests.support.delta_log import bounded, statistics
from tests.support.dmp import Dmp, Ran

PLACES_OF_PEOPLE: Mapping[str, str] = {
    "lakehouse": "the tables themselves; what each column holds is declared",
    "postgres": "the shop's landing tables and the operational store, behind a login",
    "warehouse.duckdb": "marts for people, the same rows as the tables",
    "serving": "known accounts, which the service compares new ones with",
    "models": "the latest accounts at training time, with which drift compares",
    "sandbox": "stand-ins of other systems",
    "web": "the source",
}
"""What of the home may hold any marker, and why."""
IDS_FOR_PEOPLE: Mapping[str, str] = {
    "promo_abuse.html": "the report names the accounts and clusters that a reviewer looks at first",
}
"""Which file may show ids of accounts and nothing else of a person, and to whom."""


@pytest.fixture(scope="module")
def canaries(folder: Path) -> tuple[Dmp, list[Ran]]:
    """A live home with the people in its sources, after one run of everything."""
    web = write_web(folder / "canary-web" / "web.sqlite")
    dmp = Dmp(folder / "canaries", folder / "project", {
        "DMP_WEB_DATABASE": str(web), "DMP_MAX_BAD_SHARE": "0.5",
    })  # fmt: skip
    ran = [dmp("load-shop", str(write_shop(folder / "canary-shop")))]
    dmp.postgres.start()
    ran.append(dmp("migrate"))
    engine = database.engine(where.store_url(dmp.home))
    log_scores(engine, datetime.now(UTC))
    engine.dispose()
    ran.append(dmp("run", "--json"))
    for each in ran:
        assert each.code == 0, each.text[-3000:]
    return dmp, ran


def test_every_column_in_which_a_canary_shows_is_declared_of_its_kind(
    canaries: tuple[Dmp, list[Ran]],
) -> None:
    tables, columns = canaries[0].tables, types()
    personal = personal_data(defs.get_repository_def().asset_graph)
    category = {(one.table, one.column): one.category for one in personal}
    wrong, seen = [], set()
    for key in tables.written():
        table = tables.dataset(key).to_table()
        for name in table.column_names:
            shown = found("\n".join(_texts(table[name].to_pylist())))
            seen |= shown
            said = category.get((key, name if name in columns[key] else ANY_FURTHER))
            if shown and said != "free text" and {MARKERS[marker] for marker in shown} != {said}:
                wrong.append((key, name, sorted(shown), said))
    assert wrong == []
    assert seen == set(MARKERS), "every marker went through"


def test_every_subject_is_a_column_by_which_a_persons_rows_are_found(
    canaries: tuple[Dmp, list[Ran]],
) -> None:
    tables = canaries[0].tables
    personal = personal_data(defs.get_repository_def().asset_graph)
    category = {(one.table, one.column): one.category for one in personal}
    subjects = {(one.table, one.column): one.subject for one in personal}
    for key in tables.written():
        table = tables.dataset(key).to_table()
        for name in table.column_names:
            text = "\n".join(_texts(table[name].to_pylist()))
            if found(text, ["zqid"]) and category[key, name] == "identifier":
                assert subjects.get((key, name)) == "user_id", (key, name)


def _texts(values: list[object]) -> Iterator[str]:
    """Values as text, the parts of arrays and maps, too; times with their microseconds."""
    for value in values:
        yield str(value) if isinstance(value, datetime | date) else repr(value)


def test_no_canary_shows_in_events_tags_logs_or_other_files_of_the_home(
    canaries: tuple[Dmp, list[Ran]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dmp, ran = canaries
    shown: dict[str, set[str]] = {}
    for file in sorted(dmp.home.root.rglob("*")):
        place = str(file.relative_to(dmp.home.root))
        if place.partition("/")[0] in PLACES_OF_PEOPLE or not file.is_file():
            continue
        allowed = {"zqid"} if file.name in IDS_FOR_PEOPLE else set()
        if markers := found("\n".join(_contents(file))) - allowed:
            shown[place] = markers
    for each, said in zip(("load-shop", "migrate", "run"), ran, strict=True):
        if markers := found(said.text):
            shown[each] = markers
    assert shown == {}, pprint.pformat(shown)


def _contents(file: Path) -> Iterator[str]:
    """What a file holds as text; of a database every value of every row."""
    raw = file.read_bytes()
    yield raw.decode(errors="replace")
    if raw.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (name,) in names.fetchall():
                for row in connection.execute(f'SELECT * FROM "{name}"'):
                    yield str(row)


def test_what_was_looked_through_holds_the_runs_events(canaries: tuple[Dmp, list[Ran]]) -> None:
    with dg.DagsterInstance.from_config(str(canaries[0].home.root / "dagster")) as instance:
        (run,) = instance.get_runs()
        events = [str(entry) for entry in instance.all_logs(run.run_id)]
        assert sum("ASSET_MATERIALIZATION" in event for event in events) > 40
        assert found("\n".join([*events, str(run.tags)])) == set()


def test_no_file_has_statistics_of_a_personal_column(canaries: tuple[Dmp, list[Ran]]) -> None:
    tables = canaries[0].tables
    personal = {
        (one.table, one.column) for one in personal_data(defs.get_repository_def().asset_graph)
    }
    noted = {
        (key, name.partition(".")[0])
        for key in tables.written()
        for name in bounded(tables.path(key))
    }
    assert noted & personal == set()
    declared = {(key, name) for key, columns in types().items() for name in columns}
    assert noted <= declared, "of what nobody described nothing is noted"
    assert all(
        said["numRecords"] is not None
        for key in tables.written()
        for said in statistics(tables.path(key))
    )


FORGOTTEN = (1, 3, 7)
MAY_REMAIN: Mapping[str, str] = {
    "postgres/": "the shop, and pages of the store that are free to be written over",
    "lakehouse/raw/web_": "another family of tables",
    "lakehouse/cleaned/web_": "another family of tables",
    "lakehouse/quarantine/web_": "another family of tables",
    "lakehouse/modeled/customer_journeys/": "another family of tables",
    "models/": "the accounts of the last training",
    "outbox/": "what was to be sent before",
}
"""Begin of a path in the home → why values of forgotten people may stand there."""


def test_after_forget_nothing_else_of_the_home_holds_them(
    canaries: tuple[Dmp, list[Ran]], tmp_path: Path
) -> None:
    dmp, _ = canaries
    file = tmp_path / "ids"
    file.write_text("\n".join(f" {Person(n).user_id} " for n in FORGOTTEN) + "\nzqid-nobody\n")
    ran = dmp("forget", "--file", str(file), "--yes", "--now")
    assert ran.code == 0, ran.text[-3000:]
    assert found(ran.text) == set(), "ids are not shown"
    for table in ("raw/users 3 rows", "raw/promo_usages", "raw/abuse_predictions 2 rows",
                  "raw/abuse_decisions 1 rows", "abuse_prediction 2 rows"):  # fmt: skip
        assert table in ran.text
    values = {value for n in FORGOTTEN for value in _values_of(Person(n))}
    shown: dict[str, list[str]] = {}
    for path in sorted(dmp.home.root.rglob("*")):
        place = str(path.relative_to(dmp.home.root))
        if path.is_file() and not place.startswith(tuple(MAY_REMAIN)):
            text = "\n".join(_rows_and_text(path)).lower()
            if held := sorted(value for value in values if value in text):
                shown[place] = held
    assert shown == {}, pprint.pformat(shown)
    _the_store_holds_none(dmp, values)
    others = dmp.tables.sql("SELECT count(*) AS n FROM ml.abuse_scores")["n"][0].as_py()
    assert others == PEOPLE - len(FORGOTTEN)
    again = dmp(
        "run", "--json", "--select", 'key:"raw/users"', "--start", "2024-01-01", "--end",
        "2024-02-20",
    )  # fmt: skip
    assert again.summary["success"], "which reads these days again"
    ids = dmp.tables.sql("SELECT user_id FROM raw.users")["user_id"].to_pylist()
    assert {Person(n).user_id for n in FORGOTTEN}.isdisjoint(ids) and len(ids) > 8


def _values_of(person: Person) -> set[str]:
    """What in a text is of this person alone, in small letters."""
    own = {said.lower() for said in person.own().values()}
    return own | {f"zqmail{person.number:02}", f"zqhost{person.number:02}"}


def _rows_and_text(file: Path) -> Iterator[str]:
    yield from _contents(file)
    if file.suffix == ".parquet":
        yield repr(pq.read_table(file).to_pylist())
    if file.suffix == ".duckdb":
        with duckdb.connect(str(file), read_only=True) as connection:
            for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                yield repr(connection.execute(f'FROM "{name}"').fetchall())


def _the_store_holds_none(dmp: Dmp, values: Collection[str]) -> None:
    engine = database.engine(where.store_url(dmp.home))
    with engine.connect() as connection:
        for table in every().sorted_tables:
            text = repr(connection.execute(sa.select(table)).fetchall()).lower()
            assert [value for value in values if value in text] == [], table.name
    engine.dispose()
