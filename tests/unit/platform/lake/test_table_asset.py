"""The policy that all table assets share, on tiny tables written without a JVM."""

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from dmp_assets.home import Home
from dmp_assets.platform.lake import fingerprint, maintenance
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import (
    AGAIN_TAG,
    WHOLE_TAG,
    Check,
    TableRun,
    daily_partitions,
    table_asset,
)
from dmp_assets.platform.lake.table_metadata import preview
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.run.executor import run_job, threads_executor

Asset = dg.AssetsDefinition
Source = dict[str, Any]
IDS = {"id": Column("string", "Id.")}
PEOPLE = {**IDS, "email": Column("string", "Address.", "contact")}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    return Home(tmp_path / "home").prepare("sandbox")


@pytest.fixture
def calls() -> list[str]:
    """Keys of the tables whose function was called, in order."""
    return []


@pytest.fixture
def source() -> Source:
    """What the outside holds, and answers to a probe."""
    return {"rows": [{"id": "a", "email": "ann@mail.example"}]}


def rows(*given: dict[str, Any]) -> pa.Table:
    kinds = pa.schema([("id", pa.string()), ("email", pa.string())])
    return pa.Table.from_pylist(list(given), schema=kinds)


def run(
    *assets: Asset, start: str = "", end: str = "", tags: dict[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        list(assets),
        instance=dg.DagsterInstance.ephemeral(),
        resources={"lakehouse": Lakehouse(), "window": Window(start=start, end=end)},
        raise_on_error=False,
        tags=tags,
    )


def made(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Metadata of what a run materialized, by key."""
    return {
        "/".join(event.materialization.asset_key.path): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        for event in [event.step_materialization_data]
    }


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The innermost message of the run's only failure."""
    (event,) = result.get_step_failure_events()
    error = event.step_failure_data.error
    assert error is not None
    while error.cause is not None:
        error = error.cause
    return error.message


def raw_users(calls: list[str], source: Source, **options: Any) -> Asset:
    @table_asset("raw", columns=PEOPLE,
                 probe=lambda lakehouse, window: source,
                 **options)  # fmt: skip
    def users(run: TableRun) -> None:
        """Users as received."""
        calls.append(run.key)
        run.overwrite(rows(*source["rows"]))

    return users


def cleaned_users(calls: list[str], *, checks: tuple[Check, ...] = ()) -> Asset:
    @table_asset("cleaned", columns=PEOPLE, deps=["raw/users"],
                 settings=["phone_region"], checks=checks,
                 also={"quarantine/users": IDS})  # fmt: skip
    def users(run: TableRun) -> None:
        """Users that can be used."""
        calls.append(run.key)
        run.overwrite(run.sql("SELECT id FROM raw.users WHERE id IS NULL"), "quarantine/users")
        run.metadata["rows_quarantined"] = run.written["quarantine/users"].rows
        run.overwrite(run.sql("SELECT id, email FROM raw.users WHERE id IS NOT NULL"))

    return users


@pytest.fixture
def graph(home: Home, calls: list[str], source: Source) -> tuple[Asset, Asset]:
    """raw/users → cleaned/users, both written once."""
    assets = raw_users(calls, source), cleaned_users(calls)
    assert run(*assets).success
    assert calls == ["raw/users", "cleaned/users"]
    calls.clear()
    return assets


# nothing new -----------------------------------------------------------------------------------


def test_with_nothing_new_no_function_is_called_and_no_version_made(
    graph: tuple[Asset, Asset], calls: list[str]
) -> None:
    tables = Lakehouse().tables
    before = {key: tables.version(key) for key in ("raw/users", "cleaned/users")}
    result = run(*graph)
    assert calls == []
    assert {key: tables.version(key) for key in before} == before
    assert {key: found["unchanged"] for key, found in made(result).items()} == {
        "raw/users": True, "cleaned/users": True, "quarantine/users": True,
    }  # fmt: skip
    assert made(result)["cleaned/users"]["rows_quarantined"] == 0


def test_the_data_version_stays_while_nothing_changes_and_moves_when_it_does(
    graph: tuple[Asset, Asset], source: Source
) -> None:
    tables = Lakehouse().tables
    first = tables.stamp("cleaned/users")["data_version"]
    run(*graph)
    assert tables.stamp("cleaned/users")["data_version"] == first
    source["rows"].append({"id": "b"})
    run(*graph)
    assert tables.stamp("cleaned/users")["data_version"] != first


def test_a_source_that_was_asked_and_told_nothing_new_counts_as_unchanged(
    home: Home, calls: list[str], source: Source
) -> None:
    asked = iter(range(9))

    @table_asset("raw", columns=PEOPLE, probe=lambda lakehouse, window: next(asked))
    def users(run: TableRun) -> None:
        """Users of a source that does not say whether it has anything new."""
        calls.append(run.key)
        if not run.exists("raw/users") or run.sql("FROM raw.users").num_rows < len(source["rows"]):
            run.overwrite(rows(*source["rows"]))
        else:
            run.keep()

    graph, found = (users, cleaned_users(calls)), []
    both = ["raw/users", "cleaned/users"]
    for add in ([], [], [{"id": "b"}]):
        source["rows"] += add
        calls.clear()
        told = made(run(*graph))
        found.append(
            (list(calls), [told[key]["unchanged"] for key in ("raw/users", "cleaned/users")])
        )
    assert found == [(both, [False] * 2), (["raw/users"], [True] * 2), (both, [False] * 2)]


def test_maintenance_is_no_change(graph: tuple[Asset, Asset], calls: list[str]) -> None:
    lakehouse = Lakehouse()
    lakehouse.append(
        "cleaned/users", rows({"id": "z"}), stamp=lakehouse.tables.stamp("cleaned/users")
    )
    assert maintenance.optimize(lakehouse.tables, "cleaned/users")["numFilesRemoved"] == 2
    assert run(*graph).success
    assert calls == []


# something new ---------------------------------------------------------------------------------


def test_a_changed_source_rebuilds_it_and_what_depends_on_it(
    graph: tuple[Asset, Asset], calls: list[str], source: Source
) -> None:
    source["rows"].append({"id": "b"})
    result = run(*graph)
    assert calls == ["raw/users", "cleaned/users"]
    assert made(result)["cleaned/users"]["dagster/row_count"] == 2


def test_a_changed_setting_rebuilds_only_what_depends_on_it(
    graph: tuple[Asset, Asset], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_CURRENCY", "USD")
    run(*graph)
    assert calls == []
    monkeypatch.setenv("DMP_PHONE_REGION", "DE")
    run(*graph)
    assert calls == ["cleaned/users"]


def test_code_that_means_the_same_as_an_earlier_versions_writes_nothing_again(
    graph: tuple[Asset, Asset], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = fingerprint.code(__name__)
    monkeypatch.setattr(fingerprint, "code", lambda *modules: "now")
    monkeypatch.setattr(fingerprint, "_known", lambda: {"cleaned/users": {"now": [known]}})
    raw, _ = graph
    run(raw, cleaned_users(calls))
    assert calls == []
    monkeypatch.setattr(fingerprint, "code", lambda *modules: "later")
    run(raw, cleaned_users(calls))
    assert calls == ["cleaned/users"]


@pytest.mark.parametrize("wiped", ["cleaned/users", "quarantine/users", "raw/users"])
def test_a_wiped_table_is_rebuilt_as_it_was(
    graph: tuple[Asset, Asset], calls: list[str], wiped: str
) -> None:
    import shutil

    lakehouse = Lakehouse()
    before = lakehouse.tables.dataset(wiped).to_table()
    shutil.rmtree(lakehouse.tables.path(wiped))
    result = run(*graph)
    assert result.success
    assert calls == ["raw/users" if wiped == "raw/users" else "cleaned/users"]
    assert lakehouse.tables.dataset(wiped).to_table() == before


def test_a_failed_function_is_called_again_by_the_next_run(
    home: Home, calls: list[str], source: Source
) -> None:
    source["broken"] = True

    @table_asset("raw", columns=PEOPLE, also={"quarantine/users": PEOPLE})
    def users(run: TableRun) -> None:
        """Fails half-way at first."""
        calls.append(run.key)
        run.overwrite(rows({"id": "a"}), "quarantine/users")
        if source["broken"]:
            raise RuntimeError("the disk is full")
        run.overwrite(rows({"id": "b"}))

    assert "the disk is full" in failure(run(users))
    source["broken"] = False
    assert run(users).success
    assert calls == ["raw/users"] * 2


# declarations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda run: run.sql("SELECT * FROM cleaned.users JOIN raw.orders USING (id)"),
         "modeled/t reads raw/orders and does not declare it in deps"),
        (lambda run: run.read("raw/orders"),
         "modeled/t reads raw/orders and does not declare it in deps"),
        (lambda run: run.exists("raw/orders"), "does not declare it in deps"),
        (lambda run: run.overwrite(rows(), "modeled/u"),
         "modeled/t writes modeled/u and does not declare it in also"),
        (lambda run: run.append(rows(), "cleaned/users"), "does not declare it in also"),
        (lambda run: run.merge(None, keys=["id"], key="modeled/u"), "does not declare it in also"),
        (lambda run: run.replace_window(None, column="id", key="modeled/u"),
         "does not declare it in also"),
    ],
)  # fmt: skip
def test_what_is_not_declared_can_neither_be_read_nor_written(
    graph: tuple[Asset, Asset], act: Callable[[TableRun], Any], said: str
) -> None:
    @table_asset("modeled", columns=IDS, deps=["cleaned/users"])
    def t(run: TableRun) -> None:
        """Oversteps."""
        act(run)

    assert said in failure(run(t))


@pytest.mark.parametrize(
    "read",
    [
        lambda run: run.read("cleaned/users"),  # starts no JVM for it
        lambda run: run.sql("SELECT * FROM cleaned.users"),
        lambda run: run.lakehouse.tables.dataset("cleaned/users"),
    ],
)
def test_a_declared_input_that_was_never_made_is_named_with_what_to_do(
    home: Home, read: Callable[[TableRun], Any]
) -> None:
    @table_asset("modeled", columns=IDS, deps=["cleaned/users"])
    def t(run: TableRun) -> None:
        """Comes too early."""
        read(run)

    said = failure(run(t))
    assert "there is no table cleaned/users" in said
    assert "Materialize it first" in said


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="'gold' is not one of"):
        table_asset("gold", columns={})


def test_the_asset_says_what_the_table_is(graph: tuple[Asset, Asset]) -> None:
    (spec,) = [s for s in graph[1].specs if s.key.path == ["cleaned", "users"]]
    assert spec.description == "Users that can be used."
    (place,) = spec.metadata["dagster/code_references"].code_references
    assert place.file_path == __file__
    assert spec.owners == ["team:data-platform"]
    assert spec.kinds == {"spark", "delta"}
    assert [dep.asset_key.path for dep in spec.deps] == [["raw", "users"]]


def test_what_was_made_is_told_with_rows_version_schema_and_place(
    graph: tuple[Asset, Asset], home: Home
) -> None:
    found = made(run(*graph))["cleaned/users"]
    assert found["dagster/row_count"] == 1
    assert found["delta_version"] == 0
    assert found["path"] == str(home.lakehouse / "cleaned/users")
    columns = found["dagster/column_schema"].columns
    assert [(c.name, c.type, c.description) for c in columns] == [
        ("id", "string", "Id."), ("email", "string", "Address."),
    ]  # fmt: skip


# windows ---------------------------------------------------------------------------------------


def test_a_range_reaches_windowed_tables_only_and_makes_them_write(
    home: Home, calls: list[str], source: Source
) -> None:
    seen: list[Any] = []

    @table_asset("modeled", columns=PEOPLE, windowed=True)
    def daily(run: TableRun) -> None:
        """By day."""
        seen.append(run.window)
        run.overwrite(rows({"id": "a"}))

    @table_asset("modeled", columns=PEOPLE)
    def as_of_now(run: TableRun) -> None:
        """As of now."""
        seen.append(run.window)
        run.overwrite(rows({"id": "a"}))

    assert run(daily, as_of_now).success
    assert seen == [None, None]
    seen.clear()
    assert run(daily, as_of_now, start="2024-01-01", end="2024-01-02").success
    assert [tuple(map(str, window)) for window in seen] == [("2024-01-01", "2024-01-03")]


def days_of_january(first: int, last: int, **more: str) -> dict[str, str]:
    """Tags by which these partitions of January 2024 are one run."""
    return {
        "dagster/asset_partition_range_start": f"2024-01-{first:02}",
        "dagster/asset_partition_range_end": f"2024-01-{last:02}",
        **more,
    }


def by_day(offset: int, seen: list[Any]) -> Asset:
    """A daily table of the first five days of 2024, whose numbers are day + offset."""

    @table_asset(
        "modeled",
        columns={"day": Column("date", "Day."), "n": Column("long", "Number.")},
        daily="day",
        first_day="web_first_day",
    )
    def daily(run: TableRun) -> None:
        """By day."""
        seen.append(run.window)
        first, after = run.window or (date(2024, 1, 1), date(2024, 1, 6))
        days = [date(2024, 1, n) for n in range(1, 6)]
        inside = [day for day in days if first <= day < after]
        table = pa.table(
            {
                "day": pa.array(inside, pa.date32()),
                "n": pa.array([day.day + offset for day in inside], pa.int64()),
            }
        )
        if run.window and run.exists("modeled/daily"):
            run.lakehouse.replace_window(
                run.key, table, column="day", start=first, end=after, stamp=run.stamp
            )
        else:
            run.overwrite(table)

    return daily


def numbers() -> list[int]:
    return list(Lakehouse().tables.sql("SELECT n FROM modeled.daily ORDER BY day")["n"].to_pylist())


def test_selected_days_are_one_call_and_each_of_them_is_made(home: Home) -> None:
    seen: list[Any] = []
    assert run(by_day(0, seen), tags=days_of_january(1, 5, **{WHOLE_TAG: "true"})).success
    assert (seen, numbers()) == ([None], [1, 2, 3, 4, 5])
    result = run(by_day(10, seen), tags=days_of_january(2, 3))
    assert result.success
    assert seen[1:] == [(date(2024, 1, 2), date(2024, 1, 4))]
    assert numbers() == [1, 12, 13, 4, 5]
    events = [e.step_materialization_data.materialization
              for e in result.get_asset_materialization_events()]  # fmt: skip
    assert sorted(event.partition or "" for event in events) == ["2024-01-02", "2024-01-03"]
    found = made(result)["modeled/daily"]
    assert (found["rows_in_range"], found["dagster/row_count"]) == (2, 5)


def test_a_range_of_the_window_goes_before_the_selected_days(home: Home) -> None:
    seen: list[Any] = []
    result = run(by_day(0, seen), start="2024-01-04", end="2024-01-05", tags=days_of_january(4, 5))
    assert result.success
    assert seen == [(date(2024, 1, 4), date(2024, 1, 6))]


def test_days_begin_where_the_setting_says_and_end_today(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_WEB_FIRST_DAY", "2024-02-28")
    keys = daily_partitions("web_first_day").get_partition_keys(
        current_time=datetime(2024, 3, 1, 9, tzinfo=UTC)
    )
    assert keys == ["2024-02-28", "2024-02-29", "2024-03-01"]


def test_a_reversed_range_fails_in_words_and_writes_nothing(
    graph: tuple[Asset, Asset], calls: list[str]
) -> None:
    result = run(graph[0], start="2024-02-01", end="2024-01-01")
    assert "END 2024-01-01 is before START 2024-02-01" in failure(result)
    assert calls == []


# checks ----------------------------------------------------------------------------------------

FEW = Check("few", "SELECT greatest(count(*) - 1, 0), count(*) AS rows FROM cleaned.users", "≤ 1")


def evaluated(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, dict[str, Any]]]:
    return {
        e.check_name: (e.passed, {name: value.value for name, value in e.metadata.items()})
        for e in result.get_asset_check_evaluations()
    }


def test_checks_are_evaluated_with_their_figures_also_when_nothing_is_new(
    graph: tuple[Asset, Asset], calls: list[str], source: Source
) -> None:
    assets = graph[0], cleaned_users(calls, checks=(FEW,))
    figures = {"offending": 0, "rule": "≤ 1", "rows": 1}
    assert evaluated(run(*assets)) == {"few": (True, figures)}
    assert evaluated(run(*assets)) == {"few": (True, figures)}
    source["rows"] += [{"id": "b"}, {"id": "c"}]
    for _ in range(2):
        result = run(*assets)
        assert evaluated(result) == {"few": (False, {"offending": 2, "rule": "≤ 1", "rows": 3})}
        assert result.success


@pytest.mark.parametrize("runs", [1, 2])
def test_a_failed_blocking_check_stops_what_depends_on_the_table(
    graph: tuple[Asset, Asset], calls: list[str], source: Source, runs: int
) -> None:
    blocking = Check(FEW.name, FEW.sql, FEW.description, blocking=True)

    @table_asset("modeled", columns=IDS, deps=["cleaned/users"])
    def daily(run: TableRun) -> None:
        """Downstream."""
        calls.append(run.key)
        run.overwrite(run.sql("SELECT id FROM cleaned.users"))

    assets = graph[0], cleaned_users(calls, checks=(blocking,)), daily
    source["rows"] += [{"id": "b"}]
    for _ in range(runs):
        result = run(*assets)
        assert not result.success
        assert evaluated(result)["few"][0] is False
    assert "modeled/daily" not in calls
    source["rows"] = [{"id": "a"}]
    assert run(*assets).success
    assert calls[-1] == "modeled/daily"


# previews --------------------------------------------------------------------------------------


def test_previews_show_neither_personal_nor_undeclared_columns(
    home: Home, calls: list[str], source: Source
) -> None:
    @table_asset("raw", columns=PEOPLE, further=Column("string", "As received.", "free text"))
    def users(run: TableRun) -> None:
        """One row with more than was declared."""
        run.overwrite(
            pa.table({"id": ["a"], "email": ["ann@mail.example"], "iban": ["DE02"], "_note": ["x"]})
        )

    found = made(run(users))["raw/users"]
    assert found["preview"] == "| id |\n|---|\n| a |"
    assert {column.name: column.tags for column in found["dagster/column_schema"].columns} == {
        "id": {}, "email": {"personal": "contact"},
        "iban": {"personal": "free text"}, "_note": {"personal": "free text"},
    }  # fmt: skip


WRITES = {
    "overwrite": lambda run, frame: run.overwrite(frame),
    "append": lambda run, frame: run.append(frame),
    "replace_window": lambda run, frame: run.replace_window(frame, column="id"),
    "overwrite of another": lambda run, frame: run.overwrite(frame, "quarantine/users"),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"id": ["secret"]}, "email is missing"),
        ({"id": [7], "email": ["secret"]}, "id is long and was declared string"),
        ({"id": ["a"], "email": ["b"], "iban": ["secret"]}, "iban (string) is not declared"),
    ],
)
def test_what_differs_from_the_declaration_is_not_committed(
    home: Home, write: str, frame: dict[str, list[Any]], said: str
) -> None:
    @table_asset("cleaned", columns=PEOPLE, also={"quarantine/users": PEOPLE})
    def users(run: TableRun) -> None:
        """Other columns than were declared."""
        WRITES[write](run, pa.table(frame))

    told = failure(run(users))
    assert told.endswith(f"users is not written: {said}\n")
    assert "secret" not in told
    assert Lakehouse().tables.written() == []


def test_a_table_that_keeps_its_sources_columns_may_have_more_and_less_but_no_other_type(
    home: Home,
) -> None:
    given: dict[str, list[Any]] = {"id": ["a"], "iban": ["DE02"]}

    @table_asset("raw", columns=PEOPLE, further=Column("string", "As received.", "free text"))
    def users(run: TableRun) -> None:
        """As the source has it."""
        run.overwrite(pa.table(given))

    assert run(users).success
    given["iban"] = [2]
    assert "iban is long and was declared string" in failure(
        run(users, tags={AGAIN_TAG: "raw/users"})
    )
    assert list(Lakehouse().tables.sql("SELECT iban FROM raw.users").to_pylist()[0].values()) == [
        "DE02"
    ]


@pytest.mark.parametrize(
    ("layer", "key", "rows", "name", "offending"),
    [
        ("modeled", ("a",), [("x", "1"), ("y", "1")], "key_unique", 0),
        ("modeled", ("a",), [("x", "1"), ("x", "2")], "key_unique", 1),
        ("modeled", ("a",), [(None, "1")], "key_unique", 1),
        ("cleaned", ("a", "b"), [("x", "1"), ("x", "2"), (None, "1")], "keys_unique", 0),
        ("cleaned", ("a", "b"), [("x", "1"), ("x", "1")], "keys_unique", 1),
    ],
)
def test_a_declared_key_is_checked(
    home: Home, layer: str, key: tuple[str, ...], rows: list[Any], name: str, offending: int
) -> None:
    columns = {one: Column("string", "A part.") for one in ("a", "b")}

    @table_asset(layer, columns=columns, key=key)
    def parts(run: TableRun) -> None:
        """Parts."""
        run.overwrite(pa.Table.from_pylist([{"a": a, "b": b} for a, b in rows],
                                           arrow_schema(columns)))  # fmt: skip

    (check,) = run(parts).get_asset_check_evaluations()
    assert (check.check_name, check.passed) == (name, offending == 0)
    assert check.metadata["offending"].value == offending
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert check.metadata["rule"].value == f"{', '.join(key)} identifies a row."


def test_a_key_of_columns_that_nobody_declared_is_refused() -> None:
    def users(run: TableRun) -> None:
        """Users."""

    with pytest.raises(ValueError, match="modeled/users: its key names day, no declared column"):
        table_asset("modeled", columns=IDS, key=("id", "day"))(users)


def test_a_preview_is_a_table_whatever_the_cells_hold(home: Home) -> None:
    lakehouse = Lakehouse()
    lakehouse.overwrite("raw/t", pa.table({"a|b": ["x|y\nz" + "w" * 90, None], "n": [1, 2]}))
    lines = preview(
        lakehouse.tables,
        "raw/t",
        {"a|b": Column("string", "Text."), "n": Column("long", "Number.")},
    ).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| `x\\|y z")
    assert len(lines[2]) < 80
    assert lines[3] == "|  | 2 |"


def test_a_table_of_personal_columns_alone_has_an_empty_preview(home: Home) -> None:
    lakehouse = Lakehouse()
    lakehouse.overwrite("raw/t", pa.table({"email": ["ann@mail.example"]}))
    assert preview(lakehouse.tables, "raw/t", {"email": PEOPLE["email"]}) == ""


# as others write meanwhile ------------------------------------------------------------------------
def beside(*assets: Asset) -> dg.ExecuteInProcessResult:
    """Run assets by our own executor, which lets runs of other assets go on beside it."""
    job = dg.Definitions(
        assets,
        executor=threads_executor,
        resources={"lakehouse": Lakehouse(), "window": Window()},
    ).get_implicit_global_asset_job_def()
    return run_job(
        job,
        assets=job.asset_layer.executable_asset_keys,
        instance=dg.DagsterInstance.ephemeral(),
        run_id=str(uuid.uuid4()),
        tags={},
        run_config={},
    )


def test_an_input_that_is_written_meanwhile_is_read_as_it_stood_and_read_again_next_time(
    home: Home, calls: list[str], source: Source
) -> None:
    """The data version names the content that was used, neither an older nor a newer one."""
    users = raw_users(calls, source)
    meanwhile = [{"rows": [{"id": "b", "email": "bob@mail.example"}]}, dict(source)]
    seen: list[list[str]] = []

    @table_asset("cleaned", columns={"id": PEOPLE["id"]}, deps=["raw/users"], checks=(
        Check("as_many", "SELECT abs((SELECT count(*) FROM raw.users) - "
              "(SELECT count(*) FROM cleaned.ids))", "As many as received.", blocking=True),
    ))  # fmt: skip
    def ids(run: TableRun) -> None:
        """Ids, read twice."""
        first = run.sql("SELECT id FROM raw.users")
        while meanwhile:  # another run writes the input, and at last what it was before
            source.update(meanwhile.pop(0))
            assert beside(users).success
        again = run.sql("SELECT id FROM raw.users")
        seen.append([*first["id"].to_pylist(), *again["id"].to_pylist()])
        run.overwrite(again)

    assert beside(users).success
    before = dict(source)
    result = beside(ids)
    assert result.success, failure(result)
    assert seen == [["a", "a"]]
    assert source == before
    assert made(beside(ids))["cleaned/ids"]["unchanged"]  # the input is what it was
    source["rows"] = [{"id": "c", "email": "cy@mail.example"}, {"id": "d", "email": None}]
    assert beside(users).success
    assert beside(ids).success
    assert seen[-1] == ["c", "d", "c", "d"]


def test_an_input_that_is_first_written_meanwhile_counts_as_absent(
    home: Home, calls: list[str], source: Source
) -> None:
    users = raw_users(calls, source)
    seen: list[bool] = []

    @table_asset("cleaned", columns=PEOPLE, deps=["raw/users"])
    def ids(run: TableRun) -> None:
        """Whether there is an input."""
        if not seen:
            assert beside(users).success
        seen.append(run.exists("raw/users"))
        run.overwrite(rows())

    assert beside(ids).success
    assert beside(ids).success
    assert seen == [False, True]


def test_a_table_that_is_read_where_it_is_there_is_nothing_new_until_then(
    home: Home, calls: list[str], source: Source
) -> None:
    def ids(**options: Any) -> Asset:
        count = "SELECT count(*) - {} AS offending FROM cleaned.ids"
        check = Check("as_many", count.format(0), "None.", with_table=(
            "raw/users", f"{count.format(1)} CROSS JOIN raw.users"))  # fmt: skip

        @table_asset("cleaned", columns=PEOPLE, checks=(check,), **options)
        def ids(run: TableRun) -> None:
            """Those that there are, if any."""
            calls.append(run.key)
            there = "raw/users" in run.deps and run.exists("raw/users")
            run.overwrite(run.sql("FROM raw.users") if there else rows())

        return ids

    assert run(ids()).success
    assert calls == ["cleaned/ids"]
    joined = ids(where_there=["raw/users"])
    assert evaluated(beside(joined))["as_many"][0]
    assert calls == ["cleaned/ids"]  # declared, and not there: nothing is new
    assert beside(raw_users(calls, source)).success
    calls.clear()
    assert evaluated(beside(joined))["as_many"][0]
    assert evaluated(beside(joined))["as_many"][0]
    assert calls == ["cleaned/ids"]
    assert Lakehouse().tables.sql("SELECT id FROM cleaned.ids")["id"].to_pylist() == ["a"]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT id, email::INTEGER::VARCHAR AS email FROM raw.users", "ConversionException"),
        ("SELECT id, email::TIMESTAMP::VARCHAR AS email FROM raw.users", "ConversionException"),
        ("SELECT id, strptime(email, '%Y')::VARCHAR AS email FROM raw.users", "InvalidInput"),
    ],
)
def test_an_engine_that_stops_at_a_value_does_not_tell_it(
    home: Home, calls: list[str], source: Source, sql: str, kind: str
) -> None:
    @table_asset("modeled", columns=PEOPLE, deps=["raw/users"])
    def read_as_another_type(run: TableRun) -> None:
        """Of text that is none."""
        run.overwrite(run.sql(sql))

    result = run(raw_users(calls, source), read_as_another_type)
    assert kind in failure(result)
    assert "ann@mail.example" not in "\n".join(str(event) for event in result.all_events)
    assert "…" in failure(result)


def test_a_check_that_stops_at_a_value_does_not_tell_it(
    home: Home, calls: list[str], source: Source
) -> None:
    wrong = Check("sums", "SELECT sum(email::INTEGER) FROM cleaned.users", "They add up.")
    result = run(raw_users(calls, source), cleaned_users(calls, checks=(wrong,)))
    assert "ConversionException" in failure(result)
    assert "ann@mail.example" not in "\n".join(str(event) for event in result.all_events)


def test_a_preview_shows_no_rows_of_advertisers(home: Home) -> None:
    """Who may look at runs need not be a member of any."""
    lakehouse = Lakehouse()
    lakehouse.overwrite("raw/t", pa.table({"advertiser_id": ["acme"], "n": [1]}))
    columns = {"advertiser_id": Column("string", "Whose."), "n": Column("long", "Number.")}
    shown = preview(lakehouse.tables, "raw/t", columns)
    assert "acme" not in shown and "dmp show raw/t" in shown
