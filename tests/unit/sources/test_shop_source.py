"""The shop: CSV exports are loaded, the database is probed and its reads are planned."""

import threading
from datetime import date
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.sources.shop.connection import ShopError, connect, shop_name
from dmp_assets.sources.shop.jdbc import jdbc_options
from dmp_assets.sources.shop.load import load_shop
from dmp_assets.sources.shop.plan import read_plan
from dmp_assets.sources.shop.probe import check_columns, column_changes, probe
from tests.support.postgres import fresh_database

REAL_DATA = Path(__file__).parents[3].parent / "shared" / "data" / "noaat"
FILES = {
    "users.csv": "user_id,created_at,email\nu1,2024-01-01 10:00:00,a@x.org\nu2,2024-01-05,\n",
    "promo_codes.csv": "promo_code,discount_value\nP1,10\n",
    "promo_usages.csv": "user_id,promo_code,used_at\nu1,P1,2024-01-02 11:00:00\n",
}


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def foreign_url(shop_url: SecretStr) -> SecretStr:
    with connect(shop_url) as connection:
        connection.execute("CREATE TABLE users (user_id int, created_at timestamptz, vip boolean)")
        connection.execute("CREATE TABLE promo_codes (promo_code varchar(10))")
        connection.execute(
            "CREATE VIEW promo_usages AS SELECT 1 AS user_id, 'P'::text AS "
            "promo_code, timestamp '2024-01-02' AS used_at"
        )
        connection.execute(
            "INSERT INTO users SELECT i, timestamptz '2024-01-01 00:00+00' + "
            "i * interval '1 day', true FROM generate_series(0, 99) i"
        )
    return shop_url


def rows(url: SecretStr, query: str) -> list[tuple[object, ...]]:
    with connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def read(url: SecretStr, table: str, **options: object) -> list[tuple[object, ...]]:
    """What Spark would read: each predicate over the subquery."""
    plan = read_plan(probe(url), table, **options)  # type: ignore[arg-type]
    found = []
    for predicate in plan.predicates:
        found += rows(url, f"SELECT * FROM {plan.dbtable} WHERE {predicate}")
    return found


# loading --------------------------------------------------------------------------------------


@pytest.mark.given_data
def test_the_real_exports_load_once_and_the_second_time_change_nothing(shop_url: SecretStr) -> None:
    first = load_shop(shop_url, REAL_DATA)
    assert first.changed
    state = probe(shop_url)
    counts = {name: table.row_count for name, table in state.tables.items()}
    assert counts == {"users": 8998, "promo_codes": 1000, "promo_usages": 8091, "orders": 0}
    assert {file.table: file.rows for file in first.files} == {
        "users": 8998,
        "promo_codes": 1000,
        "promo_usages": 8091,
    }
    for mode in ("refuse", "append", "replace"):
        again = load_shop(shop_url, REAL_DATA, mode=mode)
        assert not again.changed
        assert "nothing was changed" in again.message
    assert probe(shop_url) == state


def test_other_files_are_refused_appended_or_replace_what_is_there(
    shop_url: SecretStr, exports: Path
) -> None:
    load_shop(shop_url, exports)
    before = probe(shop_url)
    (exports / "users.csv").write_text("user_id,created_at,nickname\nu3,2024-02-01,Bo\n")
    with pytest.raises(ShopError, match=r"already holds rows in users.*--replace.*--append"):
        load_shop(shop_url, exports)
    assert probe(shop_url) == before

    added = load_shop(shop_url, exports, mode="append")
    assert {file.name: file.loaded for file in added.files} == {
        "users.csv": True,
        "promo_codes.csv": False,
        "promo_usages.csv": False,
    }
    appended = probe(shop_url)
    assert appended.identity == before.identity
    assert appended.tables["users"].row_count == 3
    assert appended.tables["promo_codes"] == before.tables["promo_codes"]
    assert column_changes(
        before.tables["users"].columns, appended.tables["users"].columns
    ).added == ("nickname",)

    load_shop(shop_url, exports, mode="replace")
    replaced = probe(shop_url)
    assert replaced.identity.id != before.identity.id
    assert replaced.tables["users"].row_count == 1
    assert "email" not in replaced.tables["users"].columns
    assert replaced.tables["users"].max_row_id == 1


def test_new_usages_alone_can_be_appended(shop_url: SecretStr, exports: Path) -> None:
    load_shop(shop_url, exports)
    (exports / "users.csv").unlink()
    (exports / "promo_codes.csv").unlink()
    (exports / "promo_usages.csv").write_text("user_id,promo_code,used_at\nu2,P1,2024-01-07\n")
    assert load_shop(shop_url, exports, mode="append").changed
    assert probe(shop_url).tables["promo_usages"].row_count == 2


def test_orders_are_loaded_when_there_are_any(shop_url: SecretStr, exports: Path) -> None:
    (exports / "orders.csv").write_text("order_id,amount\no1,9.90\n")
    load_shop(shop_url, exports)
    assert probe(shop_url).tables["orders"].row_count == 1


def test_exports_with_a_header_only_load_as_an_empty_shop(
    shop_url: SecretStr, exports: Path
) -> None:
    for name, text in FILES.items():
        (exports / name).write_text(text.splitlines()[0] + "\n")
    load_shop(shop_url, exports)
    state = probe(shop_url)
    assert state.kind == "landing"
    assert state.tables["users"].row_count == 0
    plan = read_plan(state, "users")
    assert plan.empty
    assert read(shop_url, "users") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"users\.csv is empty: not even a header line"),
        (
            "user_id,email\nu1,a\n",
            r"users\.csv lacks the required column created_at \(it has: user_id, email\)",
        ),
        ("user_id,created_at,x,x\n1,2,3,4\n", r"users\.csv has the column x twice"),
        ("user_id,created_at,\n1,2,3\n", r"users\.csv line 2: column 3 holds a value"),
        ("user_id,created_at,_row_id\n1,2,3\n", r"users\.csv has the column _row_id, which is res"),
        ("user_id,created_at\nu1,a\nu2,b,c\n", r"users\.csv line 3: extra data after last"),
        (
            'user_id,created_at,x\nu1,a,"b\nc"\nu2,b\n',
            r'users\.csv line 4: missing data for column "x"',
        ),
        ('user_id,created_at\nu1,a\n"u2,b\n', r"users\.csv line \d: unterminated CSV quoted field"),
    ],
)
def test_a_bad_file_is_named_with_its_line_and_nothing_is_loaded(
    shop_url: SecretStr, exports: Path, text: str, message: str
) -> None:
    (exports / "users.csv").write_text(text)
    with pytest.raises(ShopError, match=message):
        load_shop(shop_url, exports)
    assert rows(shop_url, "SELECT relname FROM pg_class WHERE relname ~ 'users|promo|dmp'") == []


def test_a_malformed_line_is_reported_without_the_personal_data_in_it(
    shop_url: SecretStr, exports: Path
) -> None:
    (exports / "users.csv").write_text("user_id,created_at\nu1,a,jane.doe@example.org\n")
    with pytest.raises(ShopError) as caught:
        load_shop(shop_url, exports)
    assert "jane" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_file_is_named(shop_url: SecretStr, exports: Path) -> None:
    (exports / "promo_usages.csv").unlink()
    with pytest.raises(ShopError, match=r"lacks promo_usages\.csv \(it has: promo_codes.csv, use"):
        load_shop(shop_url, exports)
    with pytest.raises(ShopError, match="is not a folder"):
        load_shop(shop_url, exports / "nowhere")


def test_bom_crlf_quoted_newlines_and_blank_lines_at_the_end_are_fine(
    shop_url: SecretStr, exports: Path
) -> None:
    (exports / "users.csv").write_bytes(
        b'\xef\xbb\xbfuser_id,created_at,city\r\nu1,2024-01-01,"New\r\nYork"\r\nu2,,""\r\n\r\n\r\n'
    )
    (exports / "promo_codes.csv").write_bytes(b"promo_code\nP1\nP2\n\n")
    summary = load_shop(shop_url, exports)
    assert [file.rows for file in summary.files] == [2, 2, 1]
    assert rows(shop_url, "SELECT user_id, created_at, city FROM users ORDER BY 1") == [
        ("u1", "2024-01-01", "New\r\nYork"),
        ("u2", None, ""),
    ]


def test_bytes_that_are_not_utf8_are_replaced_counted_and_located(
    shop_url: SecretStr, exports: Path
) -> None:
    (exports / "users.csv").write_bytes(
        "user_id,created_at,city\nu1,2024-01-01,Zürich\n".encode()
        + b"u2,2024-01-02,Z\xfcrich\nu3,2024-01-03,B\0n\xe9\n"
    )
    summary = load_shop(shop_url, exports)
    users = summary.files[0]
    assert users.replaced == 3
    assert (
        "2 unreadable characters were replaced by \ufffd (not UTF-8, first in line 3)"
        in summary.message
    )
    assert "1 NUL character was replaced by \ufffd (U+0000, first in line 4)" in summary.message
    cities = [row[0] for row in rows(shop_url, "SELECT city FROM users ORDER BY user_id")]
    assert cities == ["Zürich", "Z\ufffdrich", "B\ufffdn\ufffd"]


def test_large_files_are_streamed_whole(shop_url: SecretStr, exports: Path) -> None:
    body = "".join(f'u{i},2024-01-01,"line\none {i}"\n' for i in range(120_000))
    (exports / "users.csv").write_text("user_id,created_at,note\n" + body)
    assert load_shop(shop_url, exports).files[0].rows == 120_000
    assert rows(shop_url, "SELECT count(DISTINCT note), max(_row_id) FROM users") == [
        (120_000, 120_000)
    ]


def test_exports_are_never_loaded_into_a_foreign_shop(
    foreign_url: SecretStr, exports: Path
) -> None:
    for mode in ("refuse", "replace", "append"):
        with pytest.raises(ShopError, match="never loaded into a foreign shop"):
            load_shop(foreign_url, exports, mode=mode)  # type: ignore[arg-type]


def test_replacing_names_what_still_depends_on_a_table(shop_url: SecretStr, exports: Path) -> None:
    load_shop(shop_url, exports)
    with connect(shop_url) as connection:
        connection.execute("CREATE VIEW report AS SELECT user_id FROM users")
    (exports / "users.csv").write_text("user_id,created_at\nu9,2024-01-01\n")
    with pytest.raises(ShopError, match="view report depends on table users; drop that first"):
        load_shop(shop_url, exports, mode="replace")
    assert probe(shop_url).tables["users"].row_count == 2


def test_a_load_whose_connection_is_cut_leaves_nothing(
    shop_url: SecretStr, exports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = exports / "promo_usages.csv"
    load_shop(shop_url, exports)
    before = probe(shop_url)
    body = "".join(f"u{i},P1,2024-01-01\n" for i in range(400_000))
    (exports / "users.csv").write_text("user_id,created_at\nu5,2024-01-01\n")
    pipe.write_text("user_id,promo_code,used_at\n" + body)
    failure: list[ShopError] = []

    def load() -> None:
        try:
            load_shop(shop_url, exports, mode="append")
        except ShopError as error:
            failure.append(error)

    loader = threading.Thread(target=load)
    loader.start()
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%usages%'"
    while loader.is_alive() and not rows(shop_url, cut):
        pass
    loader.join()
    assert failure and "sho" in str(failure[0])
    assert probe(shop_url) == before


@pytest.mark.given_data
def test_two_loads_at_once_load_once(shop_url: SecretStr) -> None:
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(load_shop(shop_url, REAL_DATA).changed))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False, True]


# probing --------------------------------------------------------------------------------------


def test_a_wrong_password_user_database_or_address_is_named_without_the_password(
    postgres: Endpoint, shop_url: SecretStr
) -> None:
    base = f"{postgres.host}:{postgres.port}"
    secret = postgres.password.get_secret_value()
    cases = {
        f"postgresql://dmp:s3cret@{base}/shop": "refuses the user or password",
        f"postgresql://dmp:{secret}@{base}/nowhere": 'database "nowhere" does not exist',
        f"postgresql://dmp:{secret}@127.0.0.1:1/shop": "no PostgreSQL answers",
        f"postgresql://dmp:{secret}@no-such-host.invalid/shop": "no PostgreSQL answers",
        f"mysql://dmp:{secret}@{base}/shop": "is not a PostgreSQL URL",
        f"postgresql://dmp:{secret}@{base}/shop?nonsense": "cannot be read",
        f"postgresql://dmp:s3@cret@{base}/shop": "@ as %40",
    }
    for url, message in cases.items():
        with pytest.raises(ShopError, match=message) as caught:
            probe(SecretStr(url))
        for hidden in (secret, "s3cret", "cret@"):
            assert hidden not in str(caught.value)


def test_a_missing_schema_table_or_column_is_named(shop_url: SecretStr) -> None:
    with pytest.raises(ShopError, match=r"has no schema sales \(it has: public\); set DMP_SHOP_SC"):
        probe(shop_url, "sales")
    with pytest.raises(
        ShopError,
        match=r"no table users in schema public \(it has: none\); make a v",
    ):
        probe(shop_url)
    with connect(shop_url) as connection:
        connection.execute("CREATE SCHEMA sales")
        connection.execute("CREATE TABLE sales.users (user_id text, email text)")
    with pytest.raises(ShopError, match="there is one in schema sales: set DMP_SHOP_SCHEMA"):
        probe(shop_url)
    with pytest.raises(ShopError, match=r"users lacks the required column created_at \(it has: us"):
        probe(shop_url, "sales")


def test_a_table_that_may_not_be_read_is_named(foreign_url: SecretStr, postgres: Endpoint) -> None:
    database = foreign_url.get_secret_value().partition("?")[0].rpartition("/")[2]
    with connect(foreign_url) as connection:
        connection.execute("DROP ROLE IF EXISTS visitor")
        connection.execute("CREATE ROLE visitor LOGIN PASSWORD 'v'")
    url = f"postgresql://visitor:v@127.0.0.1:{postgres.port}/{database}"
    try:
        with pytest.raises(ShopError, match=r"does not allow it: permission denied for .*users"):
            probe(url)
    finally:
        with connect(foreign_url) as connection:
            connection.execute("DROP ROLE visitor")


def test_the_probe_of_a_foreign_shop_sees_every_change_of_a_row(foreign_url: SecretStr) -> None:
    state = probe(foreign_url)
    assert state.kind == "foreign"
    assert state.tables["users"].columns["created_at"] == "timestamp with time zone"
    assert state.tables["users"].row_count == 100
    assert not state.tables["orders"].exists
    assert probe(foreign_url) == state
    with connect(foreign_url) as connection:
        connection.execute("UPDATE users SET vip = false WHERE user_id = 7")
    now = probe(foreign_url)
    assert now.tables["users"].content_hash != state.tables["users"].content_hash
    assert now.tables["promo_codes"] == state.tables["promo_codes"]
    assert now.identity == state.identity


def test_a_shop_is_known_by_its_database_and_not_by_its_address(
    postgres: Endpoint, shop_url: SecretStr, exports: Path
) -> None:
    load_shop(shop_url, exports)
    by_name = SecretStr(shop_url.get_secret_value().replace("@127.0.0.1", "@localhost"))
    assert probe(shop_url).identity.id == probe(by_name).identity.id
    with fresh_database(postgres) as other:
        load_shop(other, exports)
        assert probe(other).identity.id != probe(shop_url).identity.id
    assert postgres.password.get_secret_value() not in shop_name(shop_url)


def test_columns_are_compared_with_those_remembered() -> None:
    changes = column_changes(
        {"a": "text", "b": "text", "c": "text"}, {"a": "text", "b": "int", "d": "text"}
    )
    assert (changes.removed, changes.added, changes.retyped) == (("c",), ("d",), ("b",))
    assert changes
    assert not column_changes({"a": "text"}, {"a": "text"})
    check_columns("promo_codes", ["promo_code"])


# reading --------------------------------------------------------------------------------------


@pytest.mark.given_data
def test_a_landing_table_is_read_once_over_disjoint_ranges(shop_url: SecretStr) -> None:
    load_shop(shop_url, REAL_DATA)
    state = probe(shop_url)
    plan = read_plan(state, "users", partitions=3)
    assert len(plan.predicates) == 3
    assert set(plan.columns) >= {"user_id", "is_abuser", "_row_id", "_received_at"}
    found = read(shop_url, "users", partitions=3)
    assert len(found) == len({row[-2] for row in found}) == 8998
    assert read_plan(state, "promo_codes").absent == (
        "valid_from",
        "valid_until",
        "max_uses_per_user",
    )


def test_only_rows_after_the_watermark_and_up_to_the_probe_are_read(
    shop_url: SecretStr, exports: Path
) -> None:
    load_shop(shop_url, exports)
    probed = probe(shop_url)
    (exports / "users.csv").write_text("user_id,created_at\nu3,2024-02-01\n")
    load_shop(shop_url, exports, mode="append")
    assert [row[0] for row in read(shop_url, "users", after_row_id=2)] == ["u3"]
    old = read_plan(probed, "users")
    assert len(rows(shop_url, old.sql)) == 2
    assert read_plan(probed, "users", after_row_id=2).empty


def test_a_window_bounds_the_times_and_keeps_what_cannot_be_placed(
    shop_url: SecretStr, exports: Path
) -> None:
    times = {
        "before": "2023-12-31 23:59:59",
        "first": "2024-01-01",
        "last": " 2024-01-31T23:59:59.9Z",
        "one_digit_hour": "2024-01-31 6:17:03",
        "after": "2024-02-01 00:00:00",
        "offset": "2024-02-01T01:00:00+02:00",
        "far_offset": "2024-02-03T01:00:00+02:00",
        "american": "01/15/2030",
        "nonsense": "soon",
        "impossible": "2024-01-99",
        "nothing": "",
    }
    body = "".join(f"{name},{time}\n" for name, time in times.items())
    (exports / "users.csv").write_text("user_id,created_at\n" + body)
    load_shop(shop_url, exports)
    found = read(shop_url, "users", window=(date(2024, 1, 1), date(2024, 2, 1)))
    missing = set(times) - {str(row[0]) for row in found}
    assert missing == {"before", "after", "far_offset"}
    assert len(read(shop_url, "promo_codes", window=(date(2024, 1, 1), date(2024, 2, 1)))) == 1


def test_a_foreign_table_is_read_as_text_in_utc_over_disjoint_hashes(
    foreign_url: SecretStr,
) -> None:
    found = read(foreign_url, "users", partitions=4)
    assert sorted(int(str(row[0])) for row in found) == list(range(100))
    plan = read_plan(probe(foreign_url), "users")
    assert plan.columns[:3] == ("user_id", "created_at", "vip")
    zone = "SET TimeZone = 'America/New_York'"
    with connect(foreign_url) as connection:
        connection.execute(zone)
        row = connection.execute(
            sql.SQL("SELECT * FROM {} WHERE user_id = '0'").format(sql.SQL(plan.dbtable))  # type: ignore[arg-type]
        ).fetchone()
    assert row is not None
    assert row[:3] == ("0", "2024-01-01 00:00:00+00", "true")
    assert set(row[3:]) == {None}
    assert len(read(foreign_url, "promo_usages")) == 1


def test_a_foreign_table_is_bounded_by_window_and_watermark(foreign_url: SecretStr) -> None:
    window = (date(2024, 1, 2), date(2024, 1, 4))
    assert {row[0] for row in read(foreign_url, "users", window=window)} == {"1", "2"}
    since = ("created_at", "2024-04-08 00:00:00+00")
    assert {row[0] for row in read(foreign_url, "users", watermark=since)} == {"98", "99"}
    assert len(read(foreign_url, "users", watermark=("user_id", 90))) == 10
    with connect(foreign_url) as connection:
        connection.execute("INSERT INTO users (user_id) VALUES (200)")  # nobody knows since when
    assert {row[0] for row in read(foreign_url, "users", watermark=since)} == {"98", "99", "200"}
    state = probe(foreign_url)
    with pytest.raises(ShopError, match="lacks the watermark column updated_at"):
        read_plan(state, "users", watermark=("updated_at", 1))
    with pytest.raises(ShopError, match=r"promo_codes\.promo_code is text, which does not grow"):
        read_plan(state, "promo_codes", watermark=("promo_code", 1))
    with pytest.raises(ShopError, match="no table orders"):
        read_plan(state, "orders")


# JDBC -----------------------------------------------------------------------------------------


def test_jdbc_gets_the_decoded_parts_and_no_secret_in_its_url() -> None:
    url, properties = jdbc_options(
        "postgresql://us%40er:p%2Fss%20w%C3%B6rd@db.example.org:6543/my%20shop"
        "?sslmode=require&application_name=x&connect_timeout=3"
    )
    assert url == "jdbc:postgresql://db.example.org:6543/my%20shop"
    assert properties == {
        "driver": "org.postgresql.Driver",
        "user": "us@er",
        "password": "p/ss wörd",
        "sslmode": "require",
        "ApplicationName": "x",
    }
    assert jdbc_options("postgresql://u@[::1]/s")[0] == "jdbc:postgresql://[::1]:5432/s"
    assert jdbc_options("postgresql://u@a,b:5433/s")[0] == "jdbc:postgresql://a:5432,b:5433/s"
    with pytest.raises(ShopError, match="not a Unix socket"):
        jdbc_options("postgresql://u@/s?host=/var/run/postgresql")


def test_the_embedded_servers_own_url_becomes_its_own_jdbc_options(postgres: Endpoint) -> None:
    assert jdbc_options(postgres.url()) == postgres.jdbc()


def test_postgres_environment_variables_do_not_redirect_the_embedded_server(
    postgres: Endpoint, shop_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGHOSTADDR": "192.0.2.1", "PGSSLMODE": "require", "PGPORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert rows(shop_url, "SELECT 1") == [(1,)]
    with psycopg.connect(postgres.url().get_secret_value()) as connection:
        assert connection.info.host == "127.0.0.1"


@pytest.fixture(autouse=True)
def _no_postgres_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPASSWORD", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
