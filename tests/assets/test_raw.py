"""raw/*: what is read of a real PostgreSQL, landing and foreign, at first and ever after."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.privacy import suppression
from dmp_assets.platform.run.causes import first_cause
from dmp_assets.raw import shop as raw
from dmp_assets.sources.shop.connection import shop_name
from dmp_assets.sources.shop.load import load_shop
from tests.support.pooler import pooler
from tests.support.postgres import fresh_database

USERS = "user_id,created_at,email"
Row = tuple[Any, ...]


@pytest.fixture
def shop_url(
    postgres: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SecretStr]:
    """An empty database, which is the shop of this test's live home."""
    home = Home(tmp_path / "live").prepare("live")
    monkeypatch.setenv("DMP_HOME", str(home.root))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    with fresh_database(postgres) as url:
        monkeypatch.setenv("DMP_SHOP_DATABASE_URL", url.get_secret_value())
        yield url


@pytest.fixture
def load(shop_url: SecretStr, tmp_path: Path) -> Callable[..., None]:
    """Loads users (and one code, one usage) into the landing shop; text of a CSV."""

    def load(*lines: str, header: str = USERS, mode: Any = "append") -> None:
        folder = tmp_path / "export"
        folder.mkdir(exist_ok=True)
        (folder / "users.csv").write_text("\n".join([header, *lines]) + "\n")
        (folder / "promo_codes.csv").write_text("promo_code\nA\n")
        (folder / "promo_usages.csv").write_text("user_id,promo_code,used_at\na,A,2024-01-01\n")
        load_shop(shop_url, folder, mode=mode)

    return load


@pytest.fixture
def sql(shop_url: SecretStr) -> Callable[[str], None]:
    """Runs SQL in the shop."""

    def run(statements: str) -> None:
        with psycopg.connect(shop_url.get_secret_value(), autocommit=True) as connection:
            connection.execute(statements)

    return run


FOREIGN = """
SET TimeZone = 'UTC';
CREATE TABLE users (user_id int PRIMARY KEY, created_at timestamptz, is_abuser boolean,
                    rating numeric);
CREATE TABLE promo_codes (promo_code varchar(10), discount_value numeric(12, 2), valid_from date);
CREATE TABLE promo_usages (user_id int, promo_code varchar(10), used_at timestamp);
INSERT INTO promo_codes VALUES ('A', 12.50, '2024-01-01');
"""


@pytest.fixture
def foreign(sql: Callable[[str], None]) -> Callable[[str], None]:
    """A foreign shop with its own types; returns what runs SQL in it."""
    sql(FOREIGN)
    return sql


def run(start: str = "", end: str = "", assets: Any = (raw.users,)) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        list(assets),
        instance=dg.DagsterInstance.ephemeral(),
        resources={"lakehouse": Lakehouse(), "window": Window(start=start, end=end)},
        raise_on_error=False,
    )


def read(query: str) -> list[Row]:
    """What raw/users holds; runs that failed show their cause."""
    return [tuple(row.values()) for row in Lakehouse().tables.sql(query).to_pylist()]


def ids() -> list[str]:
    return [row[0] for row in read("SELECT user_id FROM raw.users ORDER BY 1")]


def good(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Metadata of the only table of a run that went well."""
    assert result.success, cause(result)
    (event,) = result.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    return {name: value.value for name, value in metadata.items()}


def cause(result: dg.ExecuteInProcessResult) -> str:
    """What the summary of a failed run says."""
    return "; ".join(first_cause(e.step_failure_data) for e in result.get_step_failure_events())


def version() -> int:
    return Lakehouse().tables.version("raw/users")


def test_a_shop_of_any_types_and_names_behind_a_pooler_is_read_by_spark(
    spark: Any, foreign: Callable[[str], None], postgres: Endpoint, shop_url: SecretStr,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    foreign(
        "DROP TABLE users; CREATE TABLE users (user_id numeric(8, 1), created_at timestamptz, "
        'ip_address inet, spent money, "Email" text, email text, "Total Spent" money, "Tags;all" '
        'text, "a.b`c" int, _loaded_at date, _source text, _row_id int, _received_at int, t int);'
        "INSERT INTO users VALUES (1003.0, '2024-01-01 00:00+00', '93.184.1.17', 25, 'B', 'a@x.de',"
        " 5, 't', 1, '2020-01-01', 'theirs', 7, 8, 9)"
    )
    with pooler(postgres.host, postgres.port) as (port, refused):
        direct = shop_url.get_secret_value().replace(f"hostaddr={postgres.host}&", "")
        monkeypatch.setenv(
            "DMP_SHOP_DATABASE_URL", direct.replace(f":{postgres.port}/", f":{port}/")
        )
        result = run()
        if refused:  # this driver asks for more than PgBouncer lets pass
            assert refused == ["extra_float_digits"]
            assert "ignore_startup_parameters" in cause(result)
            monkeypatch.setenv("DMP_SHOP_DATABASE_URL", direct)
            result = run()
    good(result)
    monkeypatch.setenv("DMP_SHOP_DATABASE_URL", direct)
    assert read(
        "SELECT user_id, ip_address, spent, email, _x0045_mail, Total_x0020_Spent, Tags_x003B_all, "
        "_x005F_loaded_at, _x005F_source, _x005F_row_id, _row_id, t FROM raw.users"
    ) == [("1003", "93.184.1.17", "25", "a@x.de", "B", "5", "t", "2020-01-01", "theirs", "7", None,
           "9")]  # fmt: skip
    assert good(run())["unchanged"] is True


# our own landing tables ------------------------------------------------------------------------


def test_a_landing_shop_is_read_in_full_once_and_then_only_what_came_since(
    spark: Any, load: Callable[..., None]
) -> None:
    load("a, 2024-01-01 ,A@x.org", "b,never,", mode="refuse")
    assert good(run(assets=(raw.users,)))["dagster/row_count"] == 2
    assert read(
        "SELECT user_id, created_at, email, _row_id, is_abuser FROM raw.users ORDER BY 1"
    ) == [
        ("a", " 2024-01-01 ", "A@x.org", 1, None),
        ("b", "never", None, 2, None),
    ]
    files = set(Lakehouse().tables.delta("raw/users").file_uris())
    assert good(run())["unchanged"] is True
    load("c,2024-01-03,c@x.org")
    found = good(run())
    assert (found["dagster/row_count"], found["unchanged"]) == (3, False)
    assert ids() == ["a", "b", "c"]
    assert files < set(Lakehouse().tables.delta("raw/users").file_uris())
    (sources,) = read("SELECT count(DISTINCT _source), count(_received_at), count(_loaded_at) "
                      "FROM raw.users")  # fmt: skip
    assert sources == (1, 3, 3)


@pytest.mark.usefixtures("large")
def test_a_range_run_reads_its_days_again_by_row_and_moves_no_watermark(
    spark: Any, load: Callable[..., None], sql: Callable[[str], None]
) -> None:
    load("a,2024-01-01 10:00:00,", "b,2024-01-02 10:00:00,")
    good(run())
    sql("UPDATE users SET email = 'new@x.org'")
    load("c,2024-01-01 12:00:00,", "d,2024-02-01 10:00:00,")
    good(run("2024-01-01", "2024-01-01"))
    assert read("SELECT user_id, email FROM raw.users ORDER BY 1") == [
        ("a", "new@x.org"), ("b", None), ("c", None),
    ]  # fmt: skip
    assert Lakehouse().tables.stamp("raw/users")["max_row_id"] == 2
    good(run("2024-01-01", "2024-01-01"))
    assert ids() == ["a", "b", "c"]
    good(run())
    assert ids() == ["a", "b", "c", "d"]
    assert good(run())["unchanged"] is True


def test_after_a_range_run_with_nothing_new_the_next_run_writes_no_rows(
    spark: Any, load: Callable[..., None]
) -> None:
    load("a,2024-01-01 10:00:00,")
    good(run())
    good(run("2024-01-01", "2024-01-01"))
    stamp = Lakehouse().tables.stamp("raw/users")
    good(run())
    assert Lakehouse().tables.stamp("raw/users")["data_version"] == stamp["data_version"]
    assert good(run())["unchanged"] is True
    assert ids() == ["a"]


def test_a_new_column_is_kept_in_raw_and_told_also_by_a_range_run(
    spark: Any, load: Callable[..., None]
) -> None:
    load("a,2024-01-01,")
    good(run())
    load("b,2024-01-02,b@x.org,gold", header=f"{USERS},tier")
    assert good(run())["columns_added"] == "tier"
    assert read("SELECT user_id, tier FROM raw.users ORDER BY 1") == [("a", None), ("b", "gold")]
    load("c,2024-01-01,,3", header=f"{USERS},level")
    assert good(run("2024-01-01", "2024-01-01"))["columns_added"] == "level"
    assert read("SELECT user_id, level FROM raw.users WHERE level IS NOT NULL") == [("c", "3")]


# a shop that changes or is none ----------------------------------------------------------------


def test_a_column_that_vanished_is_refused_by_name_until_accepted_once(
    spark: Any, load: Callable[..., None], sql: Callable[[str], None], monkeypatch: Any
) -> None:
    load("a,2024-01-01,a@x.org")
    good(run())
    before = version()
    sql("ALTER TABLE users DROP COLUMN email")
    assert "users.email is gone" in cause(run())
    assert "DMP_ACCEPT_COLUMN_CHANGES=true" in cause(run())
    assert version() == before
    monkeypatch.setenv("DMP_ACCEPT_COLUMN_CHANGES", "true")
    good(run())
    monkeypatch.delenv("DMP_ACCEPT_COLUMN_CHANGES")
    good(run())
    assert read("SELECT user_id, email FROM raw.users") == [("a", "a@x.org")]


def test_a_column_of_another_type_is_refused_by_name_with_both_types(
    spark: Any, foreign: Callable[[str], None]
) -> None:
    foreign("INSERT INTO users VALUES (1, '2024-01-01', true, 1)")
    good(run())
    foreign("ALTER TABLE users ALTER rating TYPE text")
    assert "users.rating was numeric and is text" in cause(run())
    assert ids() == ["1"]


def test_an_empty_source_is_an_empty_table_and_a_check_says_so(
    spark: Any, load: Callable[..., None]
) -> None:
    load()
    for _ in range(2):
        result = run()
        assert good(result)["dagster/row_count"] == 0
        passed = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
        assert passed == {"not_empty": False, "required_columns_filled": True}
    load("a,2024-01-01,")
    good(run())
    assert ids() == ["a"]


def test_another_shop_is_refused_and_both_are_named(
    spark: Any, load: Callable[..., None], postgres: Endpoint, monkeypatch: Any
) -> None:
    load("a,2024-01-01,")
    good(run())
    with fresh_database(postgres) as other:
        with psycopg.connect(other.get_secret_value()) as connection:
            connection.execute(FOREIGN)
        name = shop_name(other)
        known = Lakehouse().home.state()["shop"]["name"]
        monkeypatch.setenv("DMP_SHOP_DATABASE_URL", other.get_secret_value())
        said = cause(run())
    assert f"was built from the shop {known}; the shop is now" in said
    assert name in said
    assert ids() == ["a"]


def test_the_same_shop_loaded_anew_is_refused(spark: Any, load: Callable[..., None]) -> None:
    load("a,2024-01-01,")
    good(run())
    load("z,2024-01-01,", mode="replace")
    assert "that shop was loaded anew since" in cause(run())
    assert ids() == ["a"]


def test_what_is_wrong_with_the_shop_is_said_in_one_line_without_the_password(
    spark: Any, load: Callable[..., None], shop_url: SecretStr, monkeypatch: Any
) -> None:
    load("a,2024-01-01,")
    url = shop_url.get_secret_value()
    password = url.partition("//")[2].partition(":")[2].partition("@")[0]
    port = url.rpartition(":")[2].partition("/")[0]
    for wrong, said in {
        url.replace(password, "hunter2"): "refuses the user or password",
        url.replace("/test_", "/gone_"): "does not exist",
        url.replace(f":{port}/", ":1/"): "no PostgreSQL answers for the shop",
        "mysql://shop": "is not a PostgreSQL URL",
    }.items():
        monkeypatch.setenv("DMP_SHOP_DATABASE_URL", wrong)
        told = cause(run())
        assert said in told
        assert "\n" not in told
        assert password not in told
        assert "hunter2" not in told
    monkeypatch.setenv("DMP_SHOP_DATABASE_URL", url)
    good(run())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("DROP TABLE promo_usages", "has no table promo_usages"),
        ("ALTER TABLE users DROP COLUMN created_at", "lacks the required column created_at"),
    ],
)
def test_a_missing_table_or_required_column_is_named(
    spark: Any, foreign: Callable[[str], None], spoil: str, said: str
) -> None:
    foreign(spoil)
    assert said in cause(run())


# somebody's own shop ---------------------------------------------------------------------------


def test_a_foreign_shop_is_read_in_full_with_its_types_as_text(
    spark: Any, foreign: Callable[[str], None]
) -> None:
    foreign(
        "INSERT INTO users VALUES (1, '2024-01-01 00:00:00+02', true, 1.50), (2, NULL, NULL, NULL);"
        "INSERT INTO promo_usages VALUES (1, 'A', '2024-01-01 00:00:00.5')"
    )
    assert run(assets=(raw.users, raw.promo_codes, raw.promo_usages)).success
    assert read(
        "SELECT user_id, created_at, is_abuser, rating, _row_id FROM raw.users ORDER BY 1"
    ) == [
        ("1", "2023-12-31 22:00:00+00", "true", "1.5", None),
        ("2", None, None, None, None),
    ]
    assert read("SELECT promo_code, discount_value, valid_from FROM raw.promo_codes") == [
        ("A", "12.5", "2024-01-01")
    ]
    assert read("SELECT used_at FROM raw.promo_usages") == [("2024-01-01 00:00:00.5",)]
    foreign("DELETE FROM users WHERE user_id = 2; UPDATE users SET rating = 2")
    good(run())
    assert read("SELECT user_id, rating FROM raw.users") == [("1", "2")]
    assert good(run())["unchanged"] is True


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("created_at", ["2024-01-01 10:00:00+00", "2024-01-01 10:00:00.5+00"]),
        ("user_id", ["9", "10", "100"]),
        ("rating", ["1.4", "1.6"]),
    ],
)  # fmt: skip
def test_with_a_watermark_no_row_is_read_twice_and_none_is_lost(
    spark: Any, foreign: Callable[[str], None], monkeypatch: Any, column: str, values: list[str]
) -> None:
    monkeypatch.setenv("DMP_SHOP_WATERMARK_COLUMNS", f'{{"users": "{column}"}}')
    if column != "user_id":
        foreign("ALTER TABLE users DROP CONSTRAINT users_pkey")

    def insert(user: int, value: str) -> None:
        if column == "user_id":
            foreign(f"INSERT INTO users (user_id) VALUES ({value})")
        else:
            foreign(f"INSERT INTO users (user_id, {column}) VALUES ({user}, '{value}')")

    good(run())
    for n, value in enumerate(values):
        insert(n, value)
        if column != "user_id":
            insert(n + 10, value)  # the same moment, read in the same run …
            good(run())
            insert(n + 20, value)  # … and after it
        good(run())
    expected = (
        values if column == "user_id" else [str(n + k) for n in range(2) for k in (0, 10, 20)]
    )
    assert ids() == sorted(expected)


def test_a_watermark_column_that_is_not_there_is_named(
    spark: Any, foreign: Callable[[str], None], monkeypatch: Any
) -> None:
    foreign("INSERT INTO users VALUES (1, '2024-01-01', true, 1)")
    good(run())
    monkeypatch.setenv("DMP_SHOP_WATERMARK_COLUMNS", '{"users": "created"}')
    failed = run()
    assert not failed.success and "did you mean created_at" in cause(failed)


def test_a_column_change_under_a_watermark_reads_the_shop_in_full(
    spark: Any, foreign: Callable[[str], None], monkeypatch: Any
) -> None:
    monkeypatch.setenv("DMP_SHOP_WATERMARK_COLUMNS", '{"users": "created_at"}')
    foreign("INSERT INTO users VALUES (1, '2024-01-01', true, 1), (2, '2024-01-02', true, 1)")
    good(run())
    foreign("ALTER TABLE users ADD COLUMN tier text DEFAULT 'gold'")
    assert good(run())["columns_added"] == "tier"
    assert read("SELECT user_id, tier FROM raw.users ORDER BY 1") == [("1", "gold"), ("2", "gold")]


def test_a_range_run_of_a_watermarked_shop_sees_corrected_rows(
    spark: Any, foreign: Callable[[str], None], monkeypatch: Any
) -> None:
    monkeypatch.setenv("DMP_SHOP_WATERMARK_COLUMNS", '{"users": "created_at"}')
    foreign("INSERT INTO users VALUES (1, '2024-01-01', true, 1), (2, '2024-01-02', true, 1)")
    good(run())
    foreign("UPDATE users SET is_abuser = false WHERE user_id = 1")
    good(run("2024-01-01", "2024-01-01"))
    assert read("SELECT user_id, is_abuser FROM raw.users ORDER BY 1") == [
        ("1", "false"), ("2", "true"),
    ]  # fmt: skip


def test_rows_with_commas_quotes_and_line_breaks_arrive_as_they_were(
    spark: Any, load: Callable[..., None], tmp_path: Path
) -> None:
    texts = ['a "quoted", name', "two\nlines", "ünï©ode 😀", "\\N", " spaces "]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([f"u{n}", "2024-01-01", text] for n, text in enumerate(texts))
    load(path.read_text().rstrip("\r\n"))
    good(run())
    assert [row[0] for row in read("SELECT email FROM raw.users ORDER BY user_id")] == texts


# people who were forgotten ------------------------------------------------------------------------


def test_who_was_forgotten_is_not_read_again_from_a_foreign_shop(
    spark: Any, foreign: Callable[[str], None]
) -> None:
    foreign("INSERT INTO users VALUES (1, '2024-01-01', true, 1), (2, '2024-01-02', true, 1)")
    good(run())
    suppression.add(Home.current(), "user_id", ["1"])
    lakehouse = Lakehouse()
    assert lakehouse.delete("raw/users", pa.table({"user_id": ["1"]})) == 1
    before = version()
    assert good(run())["unchanged"]
    assert (ids(), version()) == (["2"], before)
    foreign("INSERT INTO users VALUES (3, '2024-01-03', true, 1)")
    assert good(run())["rows_of_forgotten_people"] == 1
    assert ids() == ["2", "3"]


def test_who_was_forgotten_is_not_read_again_from_a_landing_shop(
    spark: Any, load: Callable[..., None]
) -> None:
    load("a,2024-01-01,a@x.de", "b,2024-01-02,b@x.de", mode="refuse")
    good(run())
    suppression.add(Home.current(), "user_id", ["b"])
    assert Lakehouse().delete("raw/users", pa.table({"user_id": ["b"]})) == 1
    assert good(run())["unchanged"]
    load("c,2024-01-03,c@x.de")
    good(run())
    assert ids() == ["a", "c"], "it goes on after the last row that it read"
    assert good(run("2024-01-01", "2024-01-03"))["rows_of_forgotten_people"] == 1
    assert ids() == ["a", "c"]
