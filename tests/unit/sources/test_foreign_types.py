"""What a foreign database's columns become: by type, under names that the lakehouse can hold."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dmp_assets.sources import names
from dmp_assets.sources.shop.connection import connect
from dmp_assets.sources.shop.plan import read_plan
from dmp_assets.sources.shop.probe import names_in_lakehouse, probe
from dmp_assets.sources.web.database import WebSource

OTHERS = """
CREATE TABLE promo_codes (promo_code text);
CREATE TABLE promo_usages (user_id text, promo_code text, used_at timestamptz);
"""
VALUES = [
    ("inet", "'93.184.1.17'", "93.184.1.17"), ("inet", "'93.184.1.17/24'", "93.184.1.17"),
    ("inet", "'2001:db8::1'", "2001:db8::1"), ("cidr", "'93.184.1.17/32'", "93.184.1.17"),
    ("cidr", "'93.184.1.0/24'", "93.184.1.0/24"), ("macaddr", "'08:00:2b:01:02:03'",
     "08:00:2b:01:02:03"),
    ("money", "25", "25"), ("money", "1234.5", "1234.5"), ("money", "-0.5", "-0.5"),
    ("numeric(12,1)", "1003.0", "1003"), ("numeric", "49302000000.0", "49302000000"),
    ("numeric", "12.50", "12.5"), ("numeric", "100", "100"), ("numeric", "0.00", "0"),
    ("numeric", "'NaN'", "NaN"), ("numeric(4,-2)", "1200", "1200"),
    ("double precision", "49302000000", "49302000000"), ("double precision", "1.5", "1.5"),
    ("double precision", "1e15", "1000000000000000"), ("double precision", "'Infinity'",
     "Infinity"), ("real", "16777216", "16777216"), ("real", "0.25", "0.25"),
    ("bigint", "9007199254740993", "9007199254740993"), ("smallint", "1", "1"),
    ("boolean", "true", "true"), ("bit(1)", "B'1'", "1"),
    ("char(8)", "'ab'", "ab"), ("varchar(8)", "'ab '", "ab "), ('"char"', "'x'", "x"),
    ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("timestamptz", "'2024-01-01 00:00+02'", "2023-12-31 22:00:00+00"),
    ("timestamptz", "'infinity'", None), ("timestamp", "'2024-01-01 10:00:00.5'",
     "2024-01-01 10:00:00.5"), ("timestamp", "'-infinity'", None), ("date", "'2024-02-29'",
     "2024-02-29"), ("date", "'infinity'", None), ("time", "'10:11:12'", "10:11:12"),
    ("timetz", "'10:00:00+02'", "08:00:00+00"),
    ("mood", "'happy'", "happy"), ("address", "'10.0.0.1/8'", "10.0.0.1"),
    ("price", "12.50", "12.5"), ("deep_price", "12.50", "12.5"), ("moment",
     "'2024-01-01 00:00+02'", "2023-12-31 22:00:00+00"),
    ("text[]", "ARRAY['a@x.de']", "a@x.de"), ("text[]", "ARRAY['a','b']", '["a","b"]'),
    ("int[]", "'{}'", "[]"), ("jsonb", "'\"a@x.de\"'", "a@x.de"), ("json", "'[1, 2]'", "[1, 2]"),
    ("jsonb", "'5'", "5"), ("bytea", "'abc'", "\\x616263"),
    ("interval", "'90 minutes'", "01:30:00"), ("point", "'(1,2)'", "(1,2)"),
    ("text", "NULL", None), ("inet", "NULL", None), ("money", "NULL", None),
]  # fmt: skip


def rows(url: SecretStr, table: str) -> list[dict[str, object]]:
    """What Spark would read."""
    plan = read_plan(probe(url), table)
    with connect(url) as connection:
        found = connection.execute(f"SELECT * FROM {plan.dbtable}".encode()).fetchall()
    return [dict(zip(plan.columns, row, strict=True)) for row in found]


def test_every_type_of_postgresql_is_read_as_what_it_means(shop_url: SecretStr) -> None:
    columns = ", ".join(f"c{i} {kind}" for i, (kind, _, _) in enumerate(VALUES))
    values = ", ".join(value for _, value, _ in VALUES)
    with connect(shop_url) as connection:
        connection.execute(
            "CREATE TYPE mood AS ENUM ('happy', 'sad');"
            "CREATE DOMAIN address AS inet; CREATE DOMAIN price AS numeric(12, 2);"
            "CREATE DOMAIN deep_price AS price CHECK (VALUE > 0);"
            "CREATE DOMAIN moment AS timestamptz;"
            f"CREATE TABLE users (user_id int, created_at moment, t int, {columns});"
            f"INSERT INTO users VALUES (1, '2024-01-02', 3, {values});{OTHERS}".encode()
        )
        database = connection.info.dbname
        for setting in ("DateStyle = 'German'", "IntervalStyle = 'iso_8601'", "TimeZone = 'Asia/"
                        "Tokyo'", "bytea_output = 'escape'", "lc_monetary = 'C'"):  # fmt: skip
            connection.execute(f'ALTER DATABASE "{database}" SET {setting}'.encode())
    [row] = rows(shop_url, "users")
    wrong = [
        (kind, value, row[f"c{i}"], text)
        for i, (kind, value, text) in enumerate(VALUES)
        if row[f"c{i}"] != text
    ]
    assert wrong == []
    before = probe(shop_url).tables["users"].content_hash
    with connect(shop_url) as connection:
        connection.execute("UPDATE users SET c0 = '10.0.0.1'")
    assert probe(shop_url).tables["users"].content_hash != before  # a column named t hides no row


def test_views_and_generated_and_identity_columns_are_read(shop_url: SecretStr) -> None:
    with connect(shop_url) as connection:
        connection.execute(
            "CREATE TABLE people (id numeric(10,1) PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY,"
            " mail text, mail_low text GENERATED ALWAYS AS (lower(mail)) STORED, seen inet);"
            "INSERT INTO people (id, mail, seen) VALUES (1003.0, 'A@X.de', '10.0.0.1');"
            "CREATE VIEW users AS SELECT id AS user_id, timestamptz '2024-01-01' AS created_at,"
            " mail_low AS email, seen AS ip_address, n FROM people;"
            f"{OTHERS}".encode()
        )
    [row] = rows(shop_url, "users")
    assert (row["user_id"], row["email"], row["ip_address"], row["n"]) == (
        "1003", "a@x.de", "10.0.0.1", "1",
    )  # fmt: skip


def test_a_window_bounds_a_domain_over_a_time(shop_url: SecretStr) -> None:
    from datetime import date

    with connect(shop_url) as connection:
        connection.execute(
            "CREATE DOMAIN moment AS timestamptz; CREATE TABLE users (user_id int, created_at "
            "moment); INSERT INTO users VALUES (1, '2024-01-01'), (2, '2024-02-01'), (3, NULL);"
            f"{OTHERS}".encode()
        )
    plan = read_plan(probe(shop_url), "users", window=(date(2024, 1, 1), date(2024, 1, 2)))
    with connect(shop_url) as connection:
        found = connection.execute(f"SELECT user_id FROM {plan.dbtable}".encode()).fetchall()
    assert {row[0] for row in found} == {"1", "3"}


# names ----------------------------------------------------------------------------------------

NAMES = {
    "Total Spent": "Total_x0020_Spent", "Tags;all": "Tags_x003B_all", "Größe": "Größe",
    'say "hi"': "say_x0020__x0022_hi_x0022_", "back`tick": "back_x0060_tick",
    "a.b": "a_x002E_b", "_loaded_at": "_x005F_loaded_at", "_Source": "_x005F_Source",
    "_row_id": "_x005F_row_id", "_received_at": "_x005F_received_at", "email": "email",
    "Email": "_x0045_mail", "EMAIL": "_x0045__x004D__x0041__x0049__x004C_", "a=b": "a_x003D_b",
    "x_x0041_y": "x_x005F_x0041_y", "tab\tx": "tab_x0009_x", "名前": "名前",
}  # fmt: skip


def test_any_name_of_a_column_is_mapped_and_can_be_mapped_back(shop_url: SecretStr) -> None:
    listed = ", ".join(f"{psycopg.sql.Identifier(name).as_string(None)} int" for name in NAMES)
    with connect(shop_url) as connection:
        connection.execute(
            f"CREATE TABLE users (user_id int, created_at date, {listed});{OTHERS}".encode()
        )
        numbers = ", ".join(map(str, range(len(NAMES))))
        connection.execute(f"INSERT INTO users VALUES (1, '2024-01-01', {numbers})".encode())
    found = names_in_lakehouse(probe(shop_url), "users")
    assert {name: found[name] for name in NAMES} == NAMES
    [row] = rows(shop_url, "users")
    assert [row[target] for target in NAMES.values()] == [str(i) for i in range(len(NAMES))]
    assert [names.original(target) for target in NAMES.values()] == list(NAMES)
    assert "'Total Spent' → Total_x0020_Spent" in names.renamed(found)


def test_a_known_column_in_other_case_is_that_column_unless_there_are_two() -> None:
    known = ("user_id", "email")
    assert names.targets(["User_ID", " Email "], known) == {"User_ID": "user_id",
                                                           " Email ": "email"}  # fmt: skip
    two = names.targets(["Email", "EMAIL"], known)
    assert "email" not in two.values()
    assert names.targets(["email", "Email"], known)["email"] == "email"


@given(st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=8))
def test_mapped_names_differ_in_more_than_case_and_lead_back(given_names: list[str]) -> None:
    mapped = names.targets(given_names, ())
    assert len({target.casefold() for target in mapped.values()}) == len(given_names)
    for name, target in mapped.items():
        assert names.original(target) == name
        assert target.casefold() not in names.LINEAGE
        assert not set(" ,;{}()\n\t=`.\"") & set(target)  # fmt: skip


# the web database -----------------------------------------------------------------------------


def web_rows(source: WebSource, table: str) -> list[dict[str, object]]:
    schema, batches = source.read_batches(table)
    return pa.Table.from_batches(batches, schema).to_pylist()


def test_a_web_database_in_postgresql_is_read_by_type_too(shop_url: SecretStr) -> None:
    with connect(shop_url) as connection:
        connection.execute(
            "CREATE DOMAIN amount AS numeric(12, 2);"
            "CREATE TABLE session_costs (session_id numeric(10, 1), cost money);"
            "INSERT INTO session_costs VALUES (1003.0, 25);"
            'CREATE TABLE conversions ("Conv_ID" double precision, user_id char(8), conv_date date,'
            ' conv_time time, revenue amount, "Total Spent" int, _row_id int, _row_number int);'
            "INSERT INTO conversions VALUES (7, 'u1', '2024-01-01', '10:00', 9.50, 1, 2, 3);"
            "CREATE TABLE session_sources (session_id uuid, user_id bigint, event_date date,"
            " event_time time, channel_name varchar(20), holder_engagement boolean,"
            " closer_engagement smallint, impression_interaction numeric);"
            "INSERT INTO session_sources VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 5,"
            " '2024-01-01', '10:00', 'mail', true, 0, 1.0)"
        )
    source = WebSource(shop_url)
    assert source.check() == []
    [cost] = web_rows(source, "session_costs")
    assert (cost["session_id"], cost["cost"]) == ("1003", "25")
    [conversion] = web_rows(source, "conversions")
    assert [conversion[name] for name in (
        "conv_id", "user_id", "revenue", "Total_x0020_Spent", "_x005F_row_id",
        "_x005F_row_number", "_row_number",
    )] == ["7", "u1", "9.5", "1", "2", "3", 1]  # fmt: skip
    [session] = web_rows(source, "session_sources")
    assert [session[name] for name in (
        "session_id", "user_id", "holder_engagement", "closer_engagement", "impression_interaction",
    )] == ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "5", "1", "0", "1"]  # fmt: skip


@pytest.mark.parametrize("declared", ["", "REAL", "NUMERIC", "INTEGER", "TEXT", "BLOB"])
def test_whole_floats_of_sqlite_have_no_point_whatever_the_column_is_declared(
    tmp_path: Path, declared: str
) -> None:
    source = WebSource(tmp_path / "web.sqlite")
    source.init()
    with closing(sqlite3.connect(tmp_path / "web.sqlite", isolation_level=None)) as connection:
        connection.execute("DROP TABLE session_costs")
        connection.execute(
            'CREATE TABLE session_costs (Session_ID text, cost real, "É x" ' + declared + ", "
            "twice GENERATED ALWAYS AS (cost * 2))"
        )
        connection.execute("INSERT INTO session_costs VALUES ('s1', 2, ?)", [49302000000.0])
    [row] = web_rows(source, "session_costs")
    expected = "49302000000.0" if declared == "TEXT" else "49302000000"
    assert (row["session_id"], row["cost"], row["twice"]) == ("s1", "2", "4")
    assert row["É_x0020_x"] == expected
