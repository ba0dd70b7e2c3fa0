"""`dmp demo` from nothing: what it says, what lies in the home, and that the numbers are right."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import psycopg
import pyarrow.parquet as pq
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from dmp_assets.domains import DOMAINS
from dmp_assets.platform.faces.domain import known_sources
from dmp_assets.platform.figures.short_ids import short_ids
from dmp_assets.platform.lake.tables import LAYERS
from dmp_assets.platform.reporting.privacy import find_personal_data
from dmp_assets.platform.reporting.report_assets import messages
from dmp_assets.platform.stream.stream import COLUMNS
from tests.support.demo import Demo
from tests.support.dmp import Dmp, Ran
from tests.support.recount import recount, rows, tally

OUTSIDE = {"delivery/promo_abuse", "delivery/attribution", "exports/channel_reporting"}
"""Assets that are made again where what lies outside of the lakehouse is not as they left it."""
ASKED = ("raw/meta_", "raw/shopify_", "raw/experiment_reach")
"""Tables whose service is asked in every run; that it was is noted with them."""
NOT_PERSONAL = frozenset({"12.4.84.32"})  # an SVG path in plotly.js
TABLES = ("users", "promo_codes", "promo_usages")


@pytest.fixture(scope="module")
def source(demo: Demo) -> Iterator[psycopg.Connection[tuple]]:
    """The shop's rows, counted anew."""
    with demo.source() as connection:
        recount(connection)
        yield connection


@pytest.fixture(scope="module")
def graph(demo: Demo) -> Iterator[AssetGraph]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DMP_HOME", str(demo.dmp.root))
        patch.setenv("DMP_PROJECT_DIR", str(demo.dmp.project))
        from dmp_assets.definitions import defs

        yield defs.get_repository_def().asset_graph


@pytest.fixture(scope="module")
def instance(demo: Demo) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(demo.dmp.home.dagster)) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(demo: Demo) -> str:
    """The dashboard as Slack received it."""
    return delivered(demo, "promo_abuse.html").decode()


@pytest.fixture(scope="module")
def page_data(page: str) -> dict[str, Any]:
    """The numbers that the dashboard draws."""
    found = re.search(r'id="dashboard-data">(.*?)</script>', page, re.DOTALL)
    assert found
    return dict(json.loads(found[1].replace("<\\/", "</")))


def delivered(demo: Demo, name: str) -> bytes:
    slack = demo.slack()
    for message in slack.messages():
        for file in message.get("files", []):
            if file["name"] == name:
                return (slack.files / file["id"]).read_bytes()
    raise AssertionError(f"Slack has no {name}")


def posts(demo: Demo, title: str = "", channel: str = "C_REPORTS") -> list[dict[str, Any]]:
    return [
        message
        for message in demo.slack().messages()
        if message["channel"] == channel
        and "thread_ts" not in message
        and message["text"].startswith(title)
    ]


# the run ------------------------------------------------------------------------------------------
def test_the_demo_ends_well_and_sums_up_for_machines(demo: Demo) -> None:
    assert demo.first.code == 0, demo.first.text
    summary = demo.first.summary
    assert summary["success"] is True
    assert summary["failures"] == []
    assert all("(WARN)" in check for check in summary["failed_checks"])
    assert summary["rows_by_layer"]["raw"] > 0
    assert {"raw", "cleaned", "modeled", "ml", "marts", "reports", "delivery", "exports"} <= set(
        summary["seconds_by_layer"]
    )


def test_the_demo_leaves_its_reports_tables_and_warehouse_in_the_home(demo: Demo) -> None:
    home = demo.dmp.home
    for report in ("promo_abuse", "attribution", "model_monitoring", "data_quality", "index"):
        assert (home.reports / f"{report}.html").stat().st_size > 5_000
    assert home.warehouse.exists()
    assert list(home.models.glob("*"))
    assert home.state()["profile"] == "sandbox"


def test_the_demo_calls_nothing_beyond_this_machine_whatever_is_configured(demo: Demo) -> None:
    assert "java" in demo.first.watched.programs
    assert demo.first.watched.addresses
    assert demo.first.watched.outside() == set()


def test_no_key_or_address_of_the_environment_is_used_or_kept(demo: Demo) -> None:
    home = demo.dmp.home
    for folder in (home.dagster, home.outbox, home.reports, home.sandbox):
        for file in folder.rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                for secret in (b"Real-Looking-1", b"xoxb-904861734209", b".shop.invalid"):
                    assert secret not in content, file
    assert posts(demo, channel="C0PRODUCTION") == []


# tables -------------------------------------------------------------------------------------------
def only_at_need(graph: AssetGraph, key: dg.AssetKey) -> bool:
    """Whether a table is made only once there is something for it."""
    is_table = key.path[0] in LAYERS
    return is_table and graph.get(key).assets_def.get_asset_spec(key).skippable


def last_materializations(
    instance: dg.DagsterInstance, graph: AssetGraph
) -> dict[str, dg.AssetMaterialization]:
    found = {}
    for key in graph.get_all_asset_keys():
        event = instance.get_latest_materialization_event(key)
        if event is None and only_at_need(graph, key):
            continue
        assert event is not None, f"{key} was never made"
        assert event.asset_materialization is not None
        found["/".join(key.path)] = event.asset_materialization
    return found


def test_every_table_opens_in_deltalake_and_duckdb_with_the_rows_that_dagster_shows(
    demo: Demo, instance: dg.DagsterInstance, graph: AssetGraph
) -> None:
    made = last_materializations(instance, graph)
    tables = [key for key in made if key.partition("/")[0] in LAYERS]
    assert sorted(tables) == sorted(demo.dmp.tables.written())
    for key in tables:
        from deltalake import DeltaTable

        path = demo.dmp.root / "lakehouse" / key
        dataset = DeltaTable(str(path)).to_pyarrow_dataset()
        with duckdb.connect() as connection:
            connection.register("dataset", dataset)
            (counted,) = connection.sql("SELECT count(*) FROM dataset").fetchall()[0]
            assert len(connection.sql("SELECT * FROM dataset").to_arrow_table()) == counted
        assert DeltaTable(str(path)).count() == counted
        assert made[key].metadata["dagster/row_count"].value == counted, key
        assert made[key].metadata["delta_version"].value == DeltaTable(str(path)).version()


def test_every_mart_holds_the_rows_that_dagster_shows(
    demo: Demo, instance: dg.DagsterInstance, graph: AssetGraph
) -> None:
    made = last_materializations(instance, graph)
    with duckdb.connect(str(demo.dmp.home.warehouse), read_only=True) as connection:
        for key in [key for key in made if key.startswith("marts/")]:
            (counted,) = connection.sql(f"SELECT count(*) FROM {key[6:]}").fetchall()[0]
            assert made[key].metadata["dagster/row_count"].value == counted, key


def test_every_column_of_every_table_is_declared_and_described(
    demo: Demo, graph: AssetGraph
) -> None:
    for key in graph.get_all_asset_keys():
        name = "/".join(key.path)
        if key.path[0] not in LAYERS:
            continue
        schema = graph.get(key).metadata["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchema)
        assert all(column.description for column in schema.columns), name
        if only_at_need(graph, key) and not demo.dmp.tables.exists(name):
            continue
        there = demo.dmp.tables.columns(name)
        without = set(COLUMNS) - {*there}  # those of Kafka, where it is in use
        assert list(there) == [c.name for c in schema.columns if c.name not in without], name


def test_every_asset_says_what_it_is_who_owns_it_and_where_it_belongs(graph: AssetGraph) -> None:
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert len(node.description or "") > 20, key
        assert node.owners, key
        assert node.kinds, key
        received = key.path[0] in ("raw", "cleaned", "quarantine") and node.group_name
        assert node.group_name == (received or node.tags["domain"]), key
        places = node.metadata["dagster/code_references"].code_references
        assert all(Path(place.file_path).is_file() for place in places), key
    groups = {graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert groups == {*(source.name for source in known_sources()), *DOMAINS}


def test_every_asset_but_the_sources_declares_inputs_that_exist(graph: AssetGraph) -> None:
    known = graph.get_all_asset_keys()
    for key in known:
        parents = graph.get(key).parent_keys
        assert parents <= known, key
        if key.path[0] == "raw":  # what is in an account is asked of each that is listed
            assert all(parent.path[0] == "raw" for parent in parents), key
        else:
            assert bool(parents) == (not only_at_need(graph, key)), key


# the numbers --------------------------------------------------------------------------------------
@pytest.mark.parametrize("table", TABLES)
def test_rows_received_are_kept_or_duplicates_or_in_quarantine(
    demo: Demo, source: psycopg.Connection[tuple], table: str
) -> None:
    counted = tally(source, table)
    tables = demo.dmp.tables
    assert tables.scalar(f"SELECT count(*) FROM raw.{table}") == counted["received"]
    assert tables.scalar(f"SELECT count(*) FROM cleaned.{table}") == counted["kept"]
    twice = tables.scalar(f"SELECT sum(received_rows - 1)::BIGINT FROM cleaned.{table}")
    assert twice == counted["duplicates"]
    assert tables.scalar(f"SELECT count(*) FROM quarantine.{table}") == counted["quarantined"]
    assert counted["received"] == sum(
        counted[part] for part in ("kept", "duplicates", "quarantined")
    )
    assert quarantined_by_rule(demo, table) == counted["rules"]


@pytest.mark.parametrize("table", TABLES)
def test_quarantine_and_duplicates_are_those_of_the_simulators_ledger(
    demo: Demo, table: str
) -> None:
    ledger = pq.read_table(demo.shop / "truth" / "ledger.parquet").to_pylist()
    put = Counter(entry["rule"] for entry in ledger if entry["table"] == table)
    unusable = quarantined_by_rule(demo, table)
    assert unusable
    assert unusable == {rule: put[rule] for rule in unusable}
    tables = demo.dmp.tables
    twice = tables.scalar(f"SELECT sum(received_rows - 1)::BIGINT FROM cleaned.{table}")
    assert twice == put["duplicate"]
    disputed = tables.scalar(f"SELECT count(*) FROM cleaned.{table} WHERE is_ambiguous")
    assert disputed == put["contradictory"]
    if table == "promo_usages":
        early = "SELECT count(*) FROM cleaned.promo_usages WHERE is_before_registration"
        assert tables.scalar(early) == put["used_before_registration"]


def quarantined_by_rule(demo: Demo, table: str) -> dict[str, int]:
    found = demo.dmp.tables.sql(
        f"""SELECT rule, count(*) AS n FROM
        (SELECT unnest(failed_rules) AS rule FROM quarantine.{table}) GROUP BY rule"""
    )
    return {row["rule"]: row["n"] for row in found.to_pylist()}


def by_day(source: psycopg.Connection[tuple], table: str) -> dict[date, int]:
    column = {"users": "min(at)", "promo_usages": "at"}[table]
    if table == "users":  # of disputed times of registration the earliest counts
        query = f"SELECT {column}::date AS day FROM ranked_users WHERE latest GROUP BY user_id"
    else:
        query = "SELECT at::date AS day FROM ranked_promo_usages WHERE place = 1"
    return dict(rows(source, f"SELECT day, count(*) FROM ({query}) AS days GROUP BY day"))


@pytest.mark.parametrize(
    ("table", "daily", "column"),
    [
        ("users", "registrations_daily", "registrations"),
        ("promo_usages", "promo_usage_daily", "usages"),
    ],
)
def test_the_timelines_equal_a_recount_of_the_source(
    demo: Demo,
    source: psycopg.Connection[tuple],
    page_data: dict[str, Any],
    table: str,
    daily: str,
    column: str,
) -> None:
    counted = by_day(source, table)
    modeled = demo.dmp.tables.sql(f"SELECT date, {column} AS n FROM modeled.{daily}").to_pylist()
    assert {row["date"]: row["n"] for row in modeled if row["n"]} == counted
    first = date.fromisoformat(page_data["first"])
    drawn = page_data[column]
    assert {first + timedelta(days=i): n for i, n in enumerate(drawn) if n} == counted
    with duckdb.connect(str(demo.dmp.home.warehouse), read_only=True) as warehouse:
        mart = warehouse.sql(f"SELECT date, {column} FROM daily_activity WHERE {column} > 0")
        assert dict(mart.fetchall()) == counted


def usages_by(source: psycopg.Connection[tuple], key: str) -> dict[str, int]:
    return dict(
        rows(
            source,
            f"SELECT {key}, count(*) FROM ranked_promo_usages WHERE place = 1 GROUP BY {key}",
        )
    )


def in_page(carried: dict[str, Any]) -> list[tuple[str, int]]:
    sums: Counter[int] = Counter()
    for index, count in zip(carried["index"], carried["count"], strict=True):
        sums[index] += count
    return [(carried["labels"][index], n) for index, n in sums.items()]


def test_codes_and_users_of_the_dashboard_equal_a_recount_of_the_source(
    source: psycopg.Connection[tuple], page_data: dict[str, Any]
) -> None:
    codes = usages_by(source, "promo_code")
    assert dict(in_page(page_data["codes"])) == codes
    users = usages_by(source, "user_id")
    shown = in_page(page_data["users"])
    assert Counter(shown) == Counter((f"{u[:4]}…{u[-2:]}", n) for u, n in users.items())
    for who, counted in (("users", users), ("codes", codes)):
        sizes = {int(n): many for n, many in page_data[who]["sizes"].items()}
        assert sizes == dict(Counter(counted.values()))


@pytest.mark.parametrize(("mart", "key"), [("top_users", "user_id"), ("top_codes", "promo_code")])
def test_top_lists_of_the_marts_equal_a_recount_with_ties(
    demo: Demo, source: psycopg.Connection[tuple], mart: str, key: str
) -> None:
    counted = usages_by(source, key)
    with duckdb.connect(str(demo.dmp.home.warehouse), read_only=True) as warehouse:
        listed = warehouse.sql(f"SELECT {key}, usages, rank FROM {mart} ORDER BY rank").fetchall()
    assert len(listed) >= 10
    numbers = sorted(counted.values(), reverse=True)
    assert [n for _, n, _ in listed] == numbers[: len(listed)]
    for who, n, rank in listed:
        assert counted[who] == n
        assert rank == numbers.index(n) + 1


def test_the_message_equals_a_recount_of_the_last_full_week(
    demo: Demo, source: psycopg.Connection[tuple]
) -> None:
    (post,) = posts(demo, "Promo-code abuse")
    monday, weeks = date(2024, 3, 25), []  # the simulated history ends on Sunday, 31 March
    for start in (monday, monday - timedelta(days=7)):
        days = [start + timedelta(days=i) for i in range(7)]
        week = f"at >= '{start}' AND at < '{start + timedelta(days=7)}' AND place = 1"
        registered = by_day(source, "users")
        ((usages, users),) = rows(
            source,
            f"SELECT count(*), count(DISTINCT user_id) FROM ranked_promo_usages WHERE {week}",
        )
        weeks.append((sum(registered.get(day, 0) for day in days), usages, users))
    fields = {
        f["text"].split("\n")[0]: f["text"].split("\n")[1]
        for block in post["blocks"]
        for f in block.get("fields", [])
    }
    for label, now, before in zip(
        ("Users registered", "Promo usages", "Users who redeemed"), *weeks, strict=True
    ):
        share = round(100 * (now - before) / before)
        assert fields[label].startswith(f"*{now:,}*"), label
        change = f"{'▲' if share > 0 else '▼'} {abs(share):,} %"
        assert now == before or change in fields[label] or abs(share) < 1, label
    (table,) = [
        b["text"]["text"] for b in post["blocks"] if "```" in b.get("text", {}).get("text", "")
    ]
    top = rows(
        source,
        f"""SELECT user_id, count(*) AS n FROM ranked_promo_usages
        WHERE at >= '{monday}' AND at < '{monday + timedelta(days=7)}' AND place = 1
        GROUP BY user_id ORDER BY n DESC, user_id COLLATE "C" LIMIT 5""",
    )
    listed = [tuple(line.split()[:2]) for line in table.splitlines()[2:-1]]
    shown = short_ids([user for user, _ in top])
    assert listed == [(shown[user], str(n)) for user, n in top]
    assert "Data through" in json.dumps(post)


# personal data ------------------------------------------------------------------------------------
def personal_values(source: psycopg.Connection[tuple]) -> set[str]:
    """Every e-mail, phone, IP and device that the shop holds and that could be recognised."""
    values = set()
    for column in ("email", "phone", "ip_address", "device_id"):
        values.update(rows(source, f"SELECT DISTINCT {column} FROM users WHERE {column} <> ''"))
    return {value for value in values if len(value) >= 8 and not value.isalpha()}


def test_nothing_delivered_holds_personal_data(
    demo: Demo, source: psycopg.Connection[tuple], page: str
) -> None:
    messages = json.dumps(demo.slack().messages(), ensure_ascii=False)
    images = [delivered(demo, f"{name}.png") for name in ("promo_abuse", "attribution")]
    pages = page + delivered(demo, "attribution.html").decode()
    for content in (messages, *images, pages):
        assert find_personal_data(content, NOT_PERSONAL) == []
    from plotly.offline import get_plotlyjs

    texts = messages + pages.replace(get_plotlyjs(), "") + b"".join(images).decode("latin-1")
    assert [value for value in personal_values(source) if value in texts] == []


def test_logs_and_event_history_hold_no_personal_data(
    demo: Demo, source: psycopg.Connection[tuple]
) -> None:
    values = personal_values(source)
    logs = [path for path in demo.dmp.home.dagster.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in logs)
    assert any(path.suffix == ".db" for path in logs)
    word = re.compile(r"[\w.+@:%-]{8,}")
    for path in logs:
        text = path.read_bytes().decode("latin-1")
        words = {part.strip(".:-") for part in word.findall(text)}
        assert words & values == set(), path


# delivery, and once more --------------------------------------------------------------------------
@pytest.fixture(scope="module")
def again(demo: Demo) -> tuple[Ran, dict[str, int], dict[str, int]]:
    """A second demo, with the tables' versions before and after."""
    before = demo.dmp.versions()
    ran = demo.dmp("demo", "--json")
    return ran, before, demo.dmp.versions()


def test_a_run_leaves_nothing_of_the_rows_beside_the_tables(demo: Demo) -> None:
    scratch = demo.dmp.home.root / "spark"
    assert scratch.exists()
    assert [file for file in scratch.rglob("*") if file.is_file()] == []


def test_a_second_demo_changes_nothing_and_starts_no_jvm(
    demo: Demo, again: tuple[Ran, dict[str, int], dict[str, int]]
) -> None:
    ran, before, after = again
    assert ran.code == 0, ran.text
    assert ran.made() == set()
    assert but_asked(before) == but_asked(after)
    assert len(but_asked(after)) < len(after)
    assert not {name for name in ran.watched.programs if "java" in name}


def but_asked(versions: dict[str, int]) -> dict[str, int]:
    """The versions of all tables that do not note by one that a service was asked."""
    return {key: number for key, number in versions.items() if not key.startswith(ASKED)}


def test_slack_has_message_image_and_file_once_also_after_a_second_demo(
    demo: Demo, again: tuple[Ran, dict[str, int], dict[str, int]]
) -> None:
    assert again[0].code == 0
    assert len(posts(demo)) == len(messages())
    for title, name, more in (
        ("Promo-code abuse", "promo_abuse", []),
        ("Attribution", "attribution", ["channel_reporting.csv"]),
    ):
        (post,) = posts(demo, title)
        images = [block for block in post["blocks"] if block["type"] == "image"]
        assert len(images) == 1
        replies = [m for m in demo.slack().messages() if m.get("thread_ts") == post["ts"]]
        names = [file["name"] for reply in replies for file in reply["files"]]
        assert sorted(names) == [f"{name}.html", f"{name}.png", *more]
        assert delivered(demo, f"{name}.png").startswith(b"\x89PNG")
    assert list(demo.dmp.home.outbox.glob("*.json"))


def test_a_demo_in_a_live_home_is_refused(demo: Demo, folder: Path) -> None:
    root = folder / "live"
    root.mkdir()
    (root / "home.json").write_text('{"profile": "live"}')
    refused = demo.dmp("demo", env={"DMP_HOME": str(root)})
    assert refused.code == 1
    assert "is a live home and this command needs a sandbox one" in refused.text
    assert sorted(p.name for p in root.iterdir()) == ["home.json"]


def test_tables_are_listed_and_shown_without_a_jvm(demo: Demo) -> None:
    listed = demo.dmp("show")
    assert listed.code == 0
    for key in demo.dmp.tables.written():
        assert key in listed.out
    shown = demo.dmp("show", "quarantine/promo_usages", "--where", "reason LIKE '%(yet)%'")
    assert shown.code == 0
    assert "user_unknown" in shown.out
    unknown = demo.dmp("show", "cleaned/nothing")
    assert unknown.code == 1
    assert "there is no table cleaned/nothing" in unknown.text
    assert not (shown.watched.programs | listed.watched.programs) & {"java"}


def test_a_restored_home_gives_the_same_scores_and_reports(demo: Demo, folder: Path) -> None:
    file = folder / "backup.tar.gz"
    saved = demo.dmp("backup", str(file))
    assert saved.code == 0, saved.text
    restored = Dmp(folder / "restored", demo.dmp.project, demo.dmp.environment)
    ran = restored("restore", str(file))
    assert ran.code == 0, ran.text
    scores = "SELECT * FROM ml.abuse_scores ORDER BY user_id"
    assert restored.tables.sql(scores) == demo.dmp.tables.sql(scores)
    assert restored.versions() == demo.dmp.versions()
    for report in demo.dmp.home.reports.glob("*.html"):
        assert (restored.home.reports / report.name).read_bytes() == report.read_bytes()
    again = restored("run", "--json")
    assert again.code == 0, again.text
    assert again.made() <= OUTSIDE
    assert but_asked(restored.versions()) == but_asked(demo.dmp.versions())
