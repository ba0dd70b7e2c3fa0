"""CSV exports as other programs write them: what is found is said, what is wrong is located."""

import csv
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from dmp_assets.cli.main import app
from dmp_assets.sources.csv.header import plain
from dmp_assets.sources.csv.reading import HeaderError, Reading
from dmp_assets.sources.shop.connection import ShopError, connect
from dmp_assets.sources.shop.load import load_shop
from dmp_assets.sources.shop.probe import probe
from dmp_assets.sources.shop.tables import TABLES
from dmp_assets.sources.web.database import WebError, WebSource
from dmp_assets.sources.web.tables import TABLES as WEB_TABLES

Load = Callable[..., tuple[str, list[tuple[object, ...]]]]
CODES = "promo_code\nP1\n"
USAGES = "user_id,promo_code,used_at\nu1,P1,2024-01-01\n"
USERS = "user_id,created_at,email,city\nu1,2024-01-01,a@x.de,Köln\nu2,2024-01-02,b@x.de,Zürich\n"


@pytest.fixture
def load(shop_url: SecretStr, tmp_path: Path) -> Load:
    """Loads a users.csv of these bytes; (what was said of it, id, e-mail and city of each row)."""

    def load(users: bytes | str, *, delimiter: str | None = None, names: tuple[str, ...] = (),
             usages: str = USAGES) -> tuple[str, list[tuple[object, ...]]]:  # fmt: skip
        data = users if isinstance(users, bytes) else users.encode()
        (tmp_path / "users.csv").write_bytes(data)
        (tmp_path / "promo_codes.csv").write_text(CODES)
        (tmp_path / "promo_usages.csv").write_text(usages)
        reading = Reading.of(delimiter, names)
        done = load_shop(shop_url, tmp_path, mode="replace", reading=reading)
        with connect(shop_url) as connection:
            found = connection.execute("SELECT user_id, email, city FROM users ORDER BY _row_id")
            return str(done.files[0]), found.fetchall()

    return load


EXPECTED = [("u1", "a@x.de", "Köln"), ("u2", "b@x.de", "Zürich")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (USERS.replace(",", ";"), "parted by semicolons"),
        (USERS.replace(",", "\t"), "parted by tabs"),
        (USERS.replace(",", "|"), "parted by vertical bars"),
        (USERS.encode("utf-8-sig"), "2 rows"),
        (USERS.encode("utf-16"), "read as UTF-16"),
        (USERS.encode("utf-16-le"), "read as UTF-16"),
        (USERS.encode("utf-16-be"), "read as UTF-16"),
        (USERS.replace(",", ";").replace("\n", "\r\n").encode("cp1252"), "read as Windows-1252"),
        (USERS.replace("user_id,created_at,email,city", "User ID,CREATED_AT,E-Mail,City"),
         "'User ID' is read as user_id"),
        (USERS.replace("user_id", ' "user_id" ', 1).replace(' "', '"').replace('" ', '"'),
         "2 rows"),
        (USERS.replace("\n", "\r\n") + "\r\n\r\n", "2 rows"),
    ],
)  # fmt: skip
def test_the_obvious_is_found_out_and_said(load: Load, data: bytes | str, said: str) -> None:
    if isinstance(data, str) and "E-Mail" in data:
        message, rows = load(data, names=("email=E-Mail",))
    else:
        message, rows = load(data)
    assert rows == EXPECTED
    assert said in message


def test_files_of_another_shape_are_read_as_people_say(
    load: Load,
) -> None:
    data = "Kunde~Angelegt~E-Mail~Ort\nu1~2024-01-01~a@x.de~Köln\nu2~2024-01-02~b@x.de~Zürich\n"
    names = ("user_id=Kunde", "created_at=Angelegt", "email=E-Mail", "city=Ort")
    message, rows = load(data, delimiter="~", names=names, usages=USAGES.replace(",", "~"))
    assert rows == EXPECTED
    assert "'E-Mail' is read as email" in message


def test_unknown_columns_are_said_with_the_one_that_was_likely_meant_and_kept(
    load: Load, shop_url: SecretStr
) -> None:
    message, _ = load(
        "user_id,created_at,email,city,ip,Total Spent,emial\nu1,2024-01-01,,,1.1.1.1,5,x\n"
    )
    assert "ip is not used; did you mean ip_address? (--map ip_address=ip)" in message
    assert "the column Total Spent is not used" in message
    assert "'Total Spent' is read as" not in message
    with connect(shop_url) as connection:
        assert connection.execute('SELECT ip, "Total Spent" FROM users').fetchall() == [
            ("1.1.1.1", "5")
        ]


def test_two_columns_that_differ_in_case_are_both_kept(load: Load, shop_url: SecretStr) -> None:
    message, rows = load("user_id,created_at,Email,email,city\nu1,2024-01-01,B,a@x.de,Köln\n")
    assert rows == EXPECTED[:1]
    assert "the column Email is not used" in message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("customer_id,created_at\nu1,2024-01-01\n",
         r"lacks the required column user_id \(it has: customer_id, created_at\); is it "
         r"'customer_id'\? Then add --map user_id=customer_id"),
        ("user_id~created_at\nu1~x\n", r"add --delimiter"),
        ("sep=;\nuser_id;created_at\nu1;2024-01-01\n", r"Excel's line 'sep=;': remove"),
        ('user_id,created_at,city\nu1,2024-01-01,"Köln\nu2,2024-01-02,Bonn\nu3,2024-01-03,Ulm\n',
         r"users\.csv line 2: unterminated CSV quoted field.*a quote in it is"),
        ('user_id,created_at,city\nu1,a,b\nu2,2024-01-02,5" nail\nu3,2024-01-03,Ulm\n',
         r"users\.csv line 3: unterminated"),
        ("user_id;created_at;city\nu1;a;b\nu2;a\n",
         r"users\.csv line 3: missing data.*expected are 3 fields, parted by semicolons"),
        ("user_id,created_at\nu1,a\nu2,1,50\n",
         r"users\.csv line 3: extra data.*expected are 2 fields, parted by commas"),
        ("user_id,created_at,_row_id\nu1,2024,5\n", r"reserved; rename it, e\.g\. --map shop_"),
        ("User ID,user-id,created_at\nu1,u2,2024\n", r"lacks the required column user_id"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line_and_what_is_expected(
    load: Load, data: str, message: str
) -> None:
    with pytest.raises(ShopError, match=message) as said:
        load(data)
    assert "2024-01-03" not in str(said.value)


@pytest.mark.parametrize(
    ("delimiter", "names", "message"),
    [("::", (), "one character"), ('"', (), "one character"), (None, ("email",), "COLUMN=NAME"),
     (None, ("email=",), "COLUMN=NAME"), (None, (".email=a",), "FILE.COLUMN=NAME")],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(
    delimiter: str | None, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(HeaderError, match=message):
        Reading.of(delimiter, names)


def test_a_mapped_name_that_no_file_has_is_said_with_those_there_are(
    load: Load,
) -> None:
    with pytest.raises(ShopError, match=r"--map phone=Telefon: no file .*users\.csv: user_id, cr"):
        load(USERS, names=("phone=Telefon",))


def test_the_same_file_read_otherwise_is_another_load(
    load: Load,
) -> None:
    data = "user_id,created_at,email,Alt,city\nu1,2024-01-01,a@x.de,b@x.de,Köln\n"
    assert load(data)[1] == [("u1", "a@x.de", "Köln")]
    data = data.replace(",email,", ",Mail,")
    assert load(data, names=("email=Mail",))[1] == [("u1", "a@x.de", "Köln")]
    assert load(data, names=("email=Alt",))[1] == [("u1", "b@x.de", "Köln")]
    assert "there already" in load(data, names=("email=Alt",))[0]


def test_the_web_database_takes_the_same_files_and_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    sessions = list(WEB_TABLES["session_sources"])
    rows = {
        "session_sources": [sessions, ["s1", "u1", "2024-01-01", "10:00:00", "Börse", "1", "0", "0",
                                       ""]],
        "conversions": [list(WEB_TABLES["conversions"]),
                        ["c1", "u1", "2024-01-02", "10:00:00", "9,50"]],
        "session_costs": [["Session", "Cost"], ["s1", "0.10"]],
    }  # fmt: skip
    for name, lines in rows.items():
        with (folder / f"{name}.csv").open("w", encoding="cp1252", newline="") as file:
            csv.writer(file, delimiter=";").writerows(lines)
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_WEB_DATABASE", str(tmp_path / "web.sqlite"))
    ran = CliRunner().invoke(app, ["web", "load", str(folder)])
    assert ran.exit_code == 1
    assert "add --map session_id=Session" in ran.output
    ran = CliRunner().invoke(app, ["web", "load", str(folder), "--map", "session_id=Session"])
    assert ran.exit_code == 0, ran.output
    assert "read as Windows-1252" in ran.output
    with closing(sqlite3.connect(tmp_path / "web.sqlite")) as connection:
        assert connection.execute("SELECT channel_name FROM session_sources").fetchall() == [
            ("Börse",)
        ]
        assert connection.execute("SELECT revenue FROM conversions").fetchall() == [("9,50",)]


def test_a_quote_that_never_ends_is_located_in_the_web_database_too(tmp_path: Path) -> None:
    source = WebSource(tmp_path / "web.sqlite")
    source.init()
    (tmp_path / "session_costs.csv").write_text('session_id,cost\ns1,1\ns2,"2\ns3,3\n')
    with pytest.raises(WebError, match=r"session_costs\.csv line 3: unterminated"):
        source.load(tmp_path, append=True)


def test_what_others_call_a_column_is_written_as_headers_are_and_means_one_column() -> None:
    for columns in (*(spec.columns for spec in TABLES.values()), *WEB_TABLES.values()):
        aliases = [alias for column in columns.values() for alias in column.aliases]
        assert [plain(alias) for alias in aliases] == aliases
        assert len({*aliases, *columns}) == len(aliases) + len(columns)


def test_the_sample_that_ships_loads_as_it_is_and_a_folder_is_never_overwritten(
    shop_url: SecretStr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    ran = CliRunner().invoke(app, ["sample", str(tmp_path / "export"), "--users", "150"])
    assert ran.exit_code == 0, ran.output
    done = load_shop(shop_url, tmp_path / "export")
    assert done.changed and sum(file.rows for file in done.files) > 150
    assert "not used" not in done.message
    again = CliRunner().invoke(app, ["sample", str(tmp_path / "export")])
    assert again.exit_code == 1 and "is there already" in again.output


def test_a_missing_table_is_said_with_those_there_are(shop_url: SecretStr, tmp_path: Path) -> None:
    with connect(shop_url) as connection:
        connection.execute("CREATE TABLE user_accounts (id int); CREATE VIEW usrs AS SELECT 1 AS x")
    with pytest.raises(ShopError, match=r"no table users .* \(it has: user_accounts, usrs\); did"):
        probe(shop_url)
    web = WebSource(shop_url)
    assert any("(there are: user_accounts, usrs)" in problem for problem in web.check())
    with closing(sqlite3.connect(tmp_path / "web.sqlite")) as connection:
        connection.execute("CREATE TABLE conversion (x)")
    [first, *_] = WebSource(tmp_path / "web.sqlite").check()
    assert "(there are: conversion)" in first
    assert any("did you mean conversion?" in p for p in WebSource(tmp_path / "web.sqlite").check())
