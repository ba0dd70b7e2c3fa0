"""The web database: shapes are checked, CSV loaded, rows streamed and results written back."""

import json
import multiprocessing
import os
import sqlite3
import tempfile
import tracemalloc
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from dmp_assets.sources.web.database import ReadOnlyWebDatabase, WebError, WebSource
from dmp_assets.sources.web.shape import kind_of
from dmp_assets.sources.web.tables import TABLES

FILES = {
    "session_sources.csv": (
        "session_id,user_id,event_date,event_time,channel_name,holder_engagement,"
        "closer_engagement,impression_interaction\n"
        's1,u1,2024-01-01,10:00:00,"e-mail, news",1,0,0\n'
        "s2,,2024-01-02,11:00:00,Málaga,1,1,0\n"
    ),
    "conversions.csv": (
        "conv_id,user_id,conv_date,conv_time,revenue\nc1,u1,2024-01-02,12:00:00,9.50\n"
    ),
    "session_costs.csv": 'session_id,cost\ns1,0.10\ns2,"12,50"\n',
}
CREDITS = pa.table({"conv_id": ["c1", "c1"], "session_id": ["s1", "s2"], "ihc": [0.25, 0.75]})
REPORT = pa.table(
    {
        "channel_name": ["e-mail", "e-mail"],
        "date": ["2024-01-01", "2024-01-02"],
        "cost": [0.1, None],
        "ihc": [0.25, 0.75],
        "ihc_revenue": [2.0, 7.5],
    }
)


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    folder = tmp_path / "exports"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(params=["sqlite", "postgresql"])
def web(request: pytest.FixtureRequest, tmp_path: Path) -> WebSource:
    """An empty web database with its tables, in SQLite and in PostgreSQL."""
    place = (
        tmp_path / "web.sqlite"
        if request.param == "sqlite"
        else request.getfixturevalue("shop_url")
    )
    source = WebSource(place, busy_seconds=0.2)
    assert source.init() == tuple(TABLES)
    return source


@pytest.fixture
def filled(web: WebSource, exports: Path) -> WebSource:
    web.load(exports)
    return web


def address(web: WebSource) -> str:
    if isinstance(web.address, SecretStr):
        return web.address.get_secret_value()
    return str(web.address)


@contextmanager
def opened(web: WebSource) -> Iterator[sqlite3.Connection | psycopg.Connection]:
    """A connection of another program."""
    if isinstance(web.address, Path):
        with closing(sqlite3.connect(web.address, isolation_level=None)) as connection:
            yield connection
    else:
        with psycopg.connect(address(web), autocommit=True) as connection:
            yield connection


def run(web: WebSource, *statements: str) -> list[tuple]:
    """The rows of the last statement."""
    with opened(web) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def rows(web: WebSource, table: str) -> list[dict]:
    schema, batches = web.read_batches(table)
    return pa.Table.from_batches(batches, schema).to_pylist()


def results(web: WebSource) -> tuple[list[tuple], list[tuple]]:
    return (
        run(web, "SELECT * FROM attribution_customer_journey ORDER BY conv_id, session_id"),
        run(web, "SELECT channel_name, date, cost, ihc FROM channel_reporting ORDER BY date"),
    )


# checking -------------------------------------------------------------------------------------


def test_a_database_just_made_has_nothing_wrong_and_is_not_made_twice(web: WebSource) -> None:
    assert web.check() == []
    assert web.init() == ()


def test_each_missing_table_column_and_wrong_type_is_named(web: WebSource) -> None:
    kind = "BLOB" if isinstance(web.address, Path) else "bytea"
    run(
        web,
        "DROP TABLE conversions",
        "DROP TABLE session_costs",
        "DROP TABLE session_sources",
        f"CREATE TABLE session_sources (session_id {kind}, user_id text, event_date date,"
        " event_time time, channel_name varchar(20), closer_engagement boolean,"
        " impression_interaction integer, extra real)",
        "CREATE TABLE session_costs (session_id text, cost date)",
    )
    problems = "\n".join(web.check())
    assert len(web.check()) == 4
    assert "no table conversions" in problems
    assert "session_sources lacks the column holder_engagement" in problems
    assert f"session_sources.session_id is declared {kind}" in problems
    assert "session_costs.cost is declared date; expected text or integer or number" in problems
    assert web.name in problems


def test_init_refuses_tables_of_another_shape_and_changes_nothing(web: WebSource) -> None:
    run(web, "DROP TABLE conversions", "DROP TABLE session_costs")
    run(web, "CREATE TABLE session_costs (session_id text, price text)")
    with pytest.raises(WebError, match="session_costs lacks the column cost"):
        web.init()
    assert "no table conversions" in "\n".join(web.check())


def test_a_missing_file_a_folder_and_a_text_file_are_told_apart(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no database at all, but long enough to hold a header" * 20)
    for path, said in (
        (tmp_path / "absent.sqlite", "does not exist"),
        (tmp_path, "is not a file"),
        (text, "is not an SQLite database"),
    ):
        [problem] = WebSource(path).check()
        assert said in problem and str(path) in problem
    assert not (tmp_path / "absent.sqlite").exists()
    with pytest.raises(WebError, match="folder"):
        WebSource(tmp_path / "no" / "where.sqlite").init()


@pytest.mark.parametrize("text", ["mysql://root@db/web", "", "  "])
def test_an_address_of_another_kind_is_refused(text: str) -> None:
    [problem] = WebSource(text).check()
    assert "DMP_WEB_DATABASE" in problem


def test_a_path_may_be_written_as_a_url_or_as_text(tmp_path: Path) -> None:
    WebSource(tmp_path / "web.sqlite").init()
    assert WebSource(f"sqlite:///{tmp_path}/web.sqlite").check() == []
    assert WebSource(str(tmp_path / "web.sqlite")).check() == []


def test_a_wrong_password_is_said_without_showing_it(shop_url: SecretStr) -> None:
    known = psycopg.conninfo.conninfo_to_dict(shop_url.get_secret_value())
    url = f"postgresql://{known['user']}:s3same@{known['host']}:{known['port']}/{known['dbname']}"
    [problem] = WebSource(url).check()
    assert "refuses the user or password" in problem
    assert "s3same" not in problem + repr(WebSource(url)) + WebSource(url).name
    [problem] = WebSource("postgresql://me:s3s@me@localhost/web").check()
    assert "@ as %40" in problem and "s3s" not in problem
    [problem] = WebSource("postgresql://me:s3same@localhost:1/web").check()
    assert "no PostgreSQL answers" in problem and "s3same" not in problem


def test_a_database_locked_by_another_program_is_said_to_be(tmp_path: Path) -> None:
    web = WebSource(tmp_path / "web.sqlite", busy_seconds=0.05)
    web.init()
    with opened(web) as other:
        other.execute("BEGIN EXCLUSIVE")
        [problem] = web.check()
    assert "locked by another program" in problem
    assert web.check() == []


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("", "text"), ("VARCHAR(30)", "text"), ("character varying", "text"), ("uuid", "text"),
        ("BIGINT", "integer"), ("int8", "integer"), ("DOUBLE PRECISION", "number"),
        ("DECIMAL(10,2)", "number"), ("interval", "other"), ("json", "other"), ("BLOB", "bytes"),
        ("DATETIME", "timestamp"), ("time with time zone", "zoned time"),
        ("time without time zone", "time"), ("boolean", "flag"),
    ],
)  # fmt: skip
def test_declared_types_are_understood(declared: str, kind: str) -> None:
    assert kind_of(declared) == kind


def test_reading_goes_on_while_another_program_writes(filled: WebSource) -> None:
    before = filled.probe()
    with opened(filled) as other:
        other.execute("BEGIN")
        other.execute("DELETE FROM session_costs")
        assert filled.check() == []
        assert filled.probe() == before
        assert len(rows(filled, "session_costs")) == 2
        other.execute("ROLLBACK")


# loading --------------------------------------------------------------------------------------


def test_exports_load_as_text_and_the_second_time_change_nothing(
    web: WebSource, exports: Path
) -> None:
    first = web.load(exports)
    assert first.changed
    assert {file.name: file.rows for file in first.files} == {
        "session_sources.csv": 2, "conversions.csv": 1, "session_costs.csv": 2,
    }  # fmt: skip
    state = web.probe()
    for options in ({}, {"append": True}, {"replace": True}):
        again = web.load(exports, **options)
        assert not again.changed
        assert "nothing was changed" in again.message
    assert web.probe() == state
    assert rows(web, "session_costs") == [
        {"session_id": "s1", "cost": "0.10", "_row_number": 1},
        {"session_id": "s2", "cost": "12,50", "_row_number": 2},
    ]
    sessions = rows(web, "session_sources")
    assert [row["channel_name"] for row in sessions] == ["e-mail, news", "Málaga"]
    assert sessions[1]["user_id"] is None and sessions[0]["campaign_name"] is None


def test_other_files_are_refused_appended_or_put_in_place(filled: WebSource, exports: Path) -> None:
    (exports / "session_costs.csv").write_text("cost,session_id\n0.3,s3\n")
    with pytest.raises(WebError, match="already holds rows in session_sources"):
        filled.load(exports)
    summary = filled.load(exports, append=True)
    assert [file.loaded for file in summary.files] == [False, False, True]
    assert "there already" in summary.message
    assert [row["cost"] for row in rows(filled, "session_costs")] == ["0.10", "12,50", "0.3"]
    filled.load(exports, replace=True)
    assert [row["cost"] for row in rows(filled, "session_costs")] == ["0.3"]
    assert len(rows(filled, "session_sources")) == 2


def test_an_append_may_bring_one_table_only(filled: WebSource, tmp_path: Path) -> None:
    (tmp_path / "session_costs.csv").write_text("session_id,cost\ns9,1\n")
    filled.load(tmp_path, append=True)
    assert len(rows(filled, "session_costs")) == 3
    with pytest.raises(WebError, match=r"lacks session_sources\.csv, conversions\.csv"):
        filled.load(tmp_path, replace=True)


def test_a_replacement_restores_a_table_that_somebody_emptied(
    filled: WebSource, exports: Path
) -> None:
    run(filled, "DELETE FROM session_costs")
    assert filled.load(exports, replace=True).changed
    assert len(rows(filled, "session_costs")) == 2


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("session_costs.csv", "session_id\ns1\n", "lacks the required column cost"),
        ("session_costs.csv", "", "empty"),
        ("conversions.csv", "conv_id,user_id,conv_date,conv_time,revenue\nc1,u1\n", "line 2"),
        ("conversions.csv", 'conv_id,user_id,conv_date,conv_time,revenue\n"c1,u1,,,\n', "line"),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_loaded(
    web: WebSource, exports: Path, file: str, text: str, said: str
) -> None:
    (exports / file).write_text(text)
    before = web.probe()
    with pytest.raises(WebError, match=said) as caught:
        web.load(exports)
    assert file in str(caught.value)
    assert web.probe() == before


def test_a_missing_file_is_named(web: WebSource, exports: Path) -> None:
    (exports / "conversions.csv").unlink()
    with pytest.raises(WebError, match=r"lacks conversions\.csv \(it has: session_costs\.csv"):
        web.load(exports)


def test_fields_with_line_breaks_quotes_and_bad_bytes_survive(
    web: WebSource, exports: Path
) -> None:
    head = b"\xef\xbb\xbfsession_id,cost\r\n"
    (exports / "session_costs.csv").write_bytes(head + b'"a\n""b""",1\r\nc,\xff2\r\n"",3\r\n\r\n')
    summary = web.load(exports)
    assert summary.files[2].replaced == 1
    assert [row["session_id"] for row in rows(web, "session_costs")] == ['a\n"b"', "c", None]
    assert rows(web, "session_costs")[1]["cost"] == "\ufffd2"


# reading --------------------------------------------------------------------------------------


def test_typed_columns_arrive_as_the_same_text_from_both_databases(web: WebSource) -> None:
    run(
        web,
        "DROP TABLE session_sources",
        "CREATE TABLE session_sources (session_id integer PRIMARY KEY, user_id varchar(9),"
        " event_date date, event_time time, channel_name text, holder_engagement boolean,"
        " closer_engagement integer, impression_interaction numeric, extra text)",
        "INSERT INTO session_sources VALUES (7, 'u', '2024-01-02', '10:00:00', 'x', true, 0, 1,"
        " NULL), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'more')",
    )
    schema, batches = web.read_batches("session_sources")
    assert schema.names[-2:] == ["campaign_name", "_row_number"]
    assert set(schema.types[:-1]) == {pa.string()}
    assert [list(row.values()) for row in pa.Table.from_batches(batches, schema).to_pylist()] == [
        ["3", *[None] * 7, "more", None, 1],
        ["7", "u", "2024-01-02", "10:00:00", "x", "1", "0", "1", None, None, 2],
    ]


def test_rows_keep_their_numbers_across_batches(web: WebSource) -> None:
    values = ", ".join(f"('s{i}', '{i}')" for i in range(1_000))
    run(web, f"INSERT INTO session_costs (session_id, cost) VALUES {values}")
    _, batches = web.read_batches("session_costs", batch_rows=300)
    sizes, table = [], []
    for batch in batches:
        sizes.append(batch.num_rows)
        table += batch.to_pylist()
    assert sizes == [300, 300, 300, 100]
    assert all(row["_row_number"] == int(row["cost"]) + 1 for row in table)
    assert table == rows(web, "session_costs")


def test_an_empty_table_has_its_schema_and_no_rows(web: WebSource) -> None:
    schema, batches = web.read_batches("conversions")
    assert schema.names == [*TABLES["conversions"], "_row_number"]
    assert list(batches) == []


def test_a_view_and_a_table_without_row_ids_are_read_in_order(tmp_path: Path) -> None:
    web = WebSource(tmp_path / "web.sqlite")
    web.init()
    run(
        web,
        "DROP TABLE session_costs",
        "CREATE TABLE costs (session_id text PRIMARY KEY, cost real) WITHOUT ROWID",
        "INSERT INTO costs VALUES ('b', 2), ('a', 1.5)",
        "CREATE VIEW session_costs AS SELECT * FROM costs",
    )
    expected = [("a", "1.5"), ("b", "2")]
    assert [(row["session_id"], row["cost"]) for row in rows(web, "session_costs")] == expected
    run(web, "DROP VIEW session_costs", "ALTER TABLE costs RENAME TO session_costs")
    assert [(row["session_id"], row["cost"]) for row in rows(web, "session_costs")] == expected


def test_bytes_that_are_no_text_do_not_stop_the_reading(tmp_path: Path) -> None:
    web = WebSource(tmp_path / "web.sqlite")
    web.init()
    run(web, "INSERT INTO session_costs VALUES (x'ff41', '1'), ('ok', '2')")
    assert [row["session_id"] for row in rows(web, "session_costs")] == ["\ufffdA", "ok"]


def test_reading_holds_a_few_batches_only(tmp_path: Path) -> None:
    web = WebSource(tmp_path / "web.sqlite")
    web.init()
    run(
        web,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) "
        "INSERT INTO session_costs SELECT 'session-' || i, i FROM n",
    )
    _, batches = web.read_batches("session_costs", batch_rows=5_000)
    tracemalloc.start()
    arrow = pa.total_allocated_bytes()
    count = sum(batch.num_rows for batch in batches)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 60_000
    assert peak < 4e6
    assert pa.total_allocated_bytes() - arrow < 4e6


def test_reading_that_stops_early_leaves_no_lock(filled: WebSource) -> None:
    _, batches = filled.read_batches("session_sources", batch_rows=1)
    assert isinstance(batches, Generator)
    next(batches)
    batches.close()
    filled.write_results(CREDITS, REPORT)


def test_a_missing_table_is_named_when_it_is_asked_for(web: WebSource) -> None:
    run(web, "DROP TABLE session_costs")
    with pytest.raises(WebError, match="no table session_costs"):
        web.read_batches("session_costs")
    with pytest.raises(WebError, match="no table session_costs"):
        web.probe()


# probing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE session_costs SET cost = '0.11' WHERE session_id = 's1'",
        "UPDATE session_sources SET user_id = '' WHERE session_id = 's2'",
        "DELETE FROM conversions",
        "INSERT INTO session_costs (session_id) VALUES ('s1')",
        "ALTER TABLE conversions ADD COLUMN currency text",
        "UPDATE session_sources SET event_time = event_date, event_date = event_time",
    ],
)
def test_any_edit_changes_the_probe(filled: WebSource, edit: str) -> None:
    before = filled.probe()
    assert filled.probe() == before
    assert json.loads(json.dumps(asdict(before)))["identity"] == filled.name
    run(filled, edit)
    after = filled.probe()
    changed = [table for table in TABLES if after.tables[table] != before.tables[table]]
    assert len(changed) == 1 and changed[0] in edit
    assert before.tables[changed[0]].content_hash != after.tables[changed[0]].content_hash


def test_writing_results_does_not_change_the_probe(filled: WebSource) -> None:
    before = filled.probe()
    assert before.tables["session_sources"].row_count == 2
    filled.write_results(CREDITS, REPORT)
    assert filled.probe() == before


# writing --------------------------------------------------------------------------------------


def test_results_come_back_as_written_and_a_second_time_are_the_same(filled: WebSource) -> None:
    for _ in range(2):
        written = filled.write_results(CREDITS, REPORT.to_batches())
        assert (written.journey_rows, written.reporting_rows) == (2, 2)
        assert results(filled) == (
            [("c1", "s1", 0.25), ("c1", "s2", 0.75)],
            [("e-mail", "2024-01-01", 0.1, 0.25), ("e-mail", "2024-01-02", None, 0.75)],
        )


def test_a_window_replaces_its_days_and_the_conversions_given(filled: WebSource) -> None:
    other = pa.table({"conv_id": ["c2"], "session_id": ["s9"], "ihc": [1.0]})
    filled.write_results(pa.concat_tables([CREDITS, other]), REPORT)
    one_day = (date(2024, 1, 2), date(2024, 1, 3))
    changed = pa.table({"conv_id": ["c1"], "session_id": ["s2"], "ihc": [1.0]})
    filled.write_results(changed, REPORT.slice(1).set_column(3, "ihc", [[1.0]]), one_day)
    assert results(filled) == (
        [("c1", "s2", 1.0), ("c2", "s9", 1.0)],
        [("e-mail", "2024-01-01", 0.1, 0.25), ("e-mail", "2024-01-02", None, 1.0)],
    )
    filled.write_results(changed, REPORT.slice(1))
    assert results(filled) == ([("c1", "s2", 1.0)], [("e-mail", "2024-01-02", None, 0.75)])


def test_days_outside_the_window_and_other_columns_are_refused(filled: WebSource) -> None:
    filled.write_results(CREDITS, REPORT)
    before = results(filled)
    with pytest.raises(ValueError, match="days outside 2024-01-02"):
        filled.write_results(CREDITS.slice(0, 0), REPORT, (date(2024, 1, 2), date(2024, 1, 3)))
    with pytest.raises(ValueError, match="needs the columns conv_id, session_id, ihc"):
        filled.write_results(CREDITS.drop_columns("ihc"), REPORT)
    assert results(filled) == before


def _die_between(place: str) -> None:
    def last_batches() -> Iterator[pa.RecordBatch]:
        yield from REPORT.slice(1).to_batches()
        os._exit(9)

    WebSource(place).write_results(CREDITS.slice(1), last_batches())


def test_a_process_killed_while_writing_leaves_the_old_results(filled: WebSource) -> None:
    filled.write_results(CREDITS, REPORT)
    before = results(filled)
    process = multiprocessing.get_context("fork").Process(
        target=_die_between, args=(address(filled),)
    )
    process.start()
    process.join()
    assert process.exitcode == 9
    assert filled.check() == []
    assert results(filled) == before


def test_an_error_between_the_two_tables_leaves_the_old_results(filled: WebSource) -> None:
    filled.write_results(CREDITS, REPORT)
    before = results(filled)

    def broken() -> Iterator[pa.RecordBatch]:
        yield from REPORT.slice(1).to_batches()
        raise RuntimeError("the computation failed")

    with pytest.raises(RuntimeError, match="computation"):
        filled.write_results(CREDITS.slice(1), broken())
    assert results(filled) == before


def test_a_lock_of_another_program_is_an_error_after_a_short_wait(filled: WebSource) -> None:
    filled.write_results(CREDITS, REPORT)
    before = results(filled)
    with opened(filled) as other:
        other.execute("BEGIN")
        other.execute("DELETE FROM channel_reporting")
        with pytest.raises(WebError, match="locked by another program"):
            filled.write_results(CREDITS.slice(1), REPORT.slice(1))
        other.execute("ROLLBACK")
    assert results(filled) == before


def test_result_tables_of_another_shape_are_refused(filled: WebSource) -> None:
    run(filled, "CREATE TABLE channel_reporting (channel_name text, day text)")
    with pytest.raises(WebError, match="channel_reporting lacks the column date"):
        filled.write_results(CREDITS, REPORT)


def test_a_postgresql_role_that_may_only_read_gets_a_read_only_error(
    shop_url: SecretStr, exports: Path
) -> None:
    web = WebSource(shop_url)
    web.load(exports)
    url = shop_url.get_secret_value()
    joint = "&" if "?" in url else "?"
    reader = WebSource(f"{url}{joint}options=-cdefault_transaction_read_only%3Don")
    assert reader.check() == [] and len(rows(reader, "session_costs")) == 2
    with pytest.raises(ReadOnlyWebDatabase, match="does not allow it"):
        reader.write_results(CREDITS, REPORT)


def test_a_file_that_may_only_be_read_gets_a_read_only_error(exports: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        web = WebSource(Path(folder) / "web.sqlite")
        web.init()
        web.load(exports)
        Path(folder, "web.sqlite").chmod(0o444)
        Path(folder).chmod(0o555)
        with _ordinary_user():
            assert web.check() == [] and len(rows(web, "session_costs")) == 2
            with pytest.raises(ReadOnlyWebDatabase, match="cannot be written"):
                web.write_results(CREDITS, REPORT)
        Path(folder).chmod(0o755)


@contextmanager
def _ordinary_user() -> Iterator[None]:
    """File modes mean nothing to root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
