"""CSV files as strangers write them: names, delimiters, blank lines and encodings of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from dmp_assets.cli.main import app
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.sources.csv.reading import HeaderError, Reading
from dmp_assets.sources.shop.connection import ShopError, connect
from dmp_assets.sources.shop.load import load_shop
from dmp_assets.sources.web.database import WebError, WebSource
from tests.support.postgres import fresh_database

Rows = list[tuple[object, ...]]
Shop = Callable[..., tuple[str, Rows]]

FLAGS = "holder_engagement,closer_engagement,impression_interaction"
SHOP = {
    "users": "user_id,created_at\nu1,2024-01-01\n",
    "promo_codes": "promo_code\nP1\n",
    "promo_usages": "user_id,promo_code,used_at\nu1,P1,2024-01-01\n",
}
WEB = {
    "session_sources": f"session_id,user_id,date,time,channel_name,{FLAGS}\n"
    "s1,u1,2024-01-01,10:00:00,Email,1,0,0\n",
    "conversions": "conv_id,user_id,date,time,revenue\nc1,u1,2024-01-02,11:00:00,5\n",
    "session_costs": "session_id,cost\ns1,1\n",
}
SAID = ("event_date=date", "event_time=time", "conv_date=date", "conv_time=time")


@pytest.fixture
def shop(shop_url: SecretStr, tmp_path: Path) -> Shop:
    """Loads a shop, files of it as given; (what was said, what `query` finds)."""

    def shop(
        query: str = "SELECT user_id, created_at FROM users ORDER BY _row_id",
        names: tuple[str, ...] = (),
        encoding: str | None = None,
        delimiter: str | None = None,
        **files: str | bytes,
    ) -> tuple[str, Rows]:
        for name, text in (SHOP | files).items():
            data = text if isinstance(text, bytes) else text.encode()
            (tmp_path / f"{name}.csv").write_bytes(data)
        reading = Reading.of(delimiter, names, encoding)
        done = load_shop(shop_url, tmp_path, mode="replace", reading=reading)
        with connect(shop_url) as connection:
            return done.message, connection.execute(query.encode()).fetchall()

    return shop


@pytest.fixture(params=["sqlite", "postgresql"])
def web(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WebSource]:
    """An empty web database with its tables."""
    if request.param == "sqlite":
        source = WebSource(tmp_path / "web.sqlite")
        source.init()
        yield source
        return
    postgres: Endpoint = request.getfixturevalue("postgres")
    with fresh_database(postgres) as url:
        source = WebSource(url)
        source.init()
        yield source


def load(web: WebSource, folder: Path, reading: Reading, **files: str | bytes) -> str:
    """What is said of loading these files, the others as they are in WEB."""
    for name, text in (WEB | files).items():
        (folder / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return web.load(folder, replace=True, reading=reading).message


def held(web: WebSource, table: str) -> list[dict[str, object]]:
    _, batches = web.read_batches(table)
    return [row for batch in batches for row in batch.to_pylist()]


# --map ------------------------------------------------------------------------------------------


def test_a_name_means_in_each_file_the_column_that_the_file_has(
    web: WebSource, tmp_path: Path
) -> None:
    load(web, tmp_path, Reading.of(None, SAID))
    [session], [conversion] = held(web, "session_sources"), held(web, "conversions")
    assert (session["event_date"], session["event_time"]) == ("2024-01-01", "10:00:00")
    assert (conversion["conv_date"], conversion["conv_time"]) == ("2024-01-02", "11:00:00")


def test_a_column_has_another_name_in_each_file(shop: Shop) -> None:
    users = SHOP["users"].replace("user_id", "id")
    usages = SHOP["promo_usages"].replace("user_id", "customer_id")
    _, rows = shop(
        "SELECT u.user_id, p.user_id FROM users u, promo_usages p",
        names=("user_id=id", "user_id=customer_id"), users=users, promo_usages=usages,
    )  # fmt: skip
    assert rows == [("u1", "u1")]


def test_what_is_said_of_a_file_goes_before_what_is_said_of_all(shop: Shop) -> None:
    users = SHOP["users"].replace("user_id", "id")
    usages = "id,customer_id,promo_code,used_at\n7,u1,P1,2024-01-01\n"
    query = "SELECT u.user_id, p.user_id FROM users u, promo_usages p"
    names = ("user_id=id", "promo_usages.user_id=customer_id")
    assert shop(query, names=names, users=users, promo_usages=usages)[1] == [("u1", "u1")]
    users = "user_id,created_at,when\nu1,2024-01-01,x\n"
    usages = "user_id,promo_code,when\nu1,P1,2024-01-01\n"
    names = ("used_at=when", "dob=when", "users.city=when")
    query = "SELECT u.city, p.used_at FROM users u, promo_usages p"
    with pytest.raises(
        ShopError, match=r"dob=when: not applied, .* there is --map users\.city=when"
    ):
        shop(query, names=names, users=users, promo_usages=usages)
    rows = shop(query, names=names[::2], users=users, promo_usages=usages)[1]
    assert rows == [("x", "2024-01-01")]


def test_two_names_of_one_file_that_exclude_each_other_are_told(shop: Shop) -> None:
    users = SHOP["users"].replace("user_id", "id")
    usages = "id,customer_id,promo_code,used_at\n7,u1,P1,2024-01-01\n"
    with pytest.raises(ShopError) as said:
        shop(names=("user_id=id", "user_id=customer_id"), users=users, promo_usages=usages)
    assert (
        "promo_usages.csv: --map user_id=id and --map user_id=customer_id both apply to it; say "
        "which it takes, e.g. --map 'promo_usages.user_id=id'"
    ) in str(said.value)


def test_a_column_that_a_file_has_by_its_own_name_is_left_and_two_can_be_exchanged(
    shop: Shop,
) -> None:
    usages = "id,user_id,promo_code,used_at\n7,u1,P1,2024-01-01\n"
    users = "id,created_at,email,phone\nu1,2024-01-01,123,a@x.de\n"
    _, rows = shop(
        "SELECT p.user_id, p.id, u.email FROM users u, promo_usages p",
        names=("user_id=id", "email=phone", "phone=email"), users=users, promo_usages=usages,
    )  # fmt: skip
    assert rows == [("u1", "7", "a@x.de")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conversion.conv_date=date",
         r"--map conversion\.conv_date=date: conversion\.csv is none of .*did you mean conversion"),
        ("conv_time=date", r"conversions\.csv: --map conv_date=date and --map conv_time=date both"),
        ("conversions.event_date=date",
         r"conversions\.event_date=date: of what has a column 'date' \(conversions\.csv\) none h"),
        ("user_id=session_id", r"user_id=session_id: not applied, as session_sources\.csv has us"),
        ("session_costs.cost=Preis", r"no file has .*\(session_costs\.csv: session_id, cost\)"),
    ],
)  # fmt: skip
def test_a_renaming_of_no_use_and_two_that_exclude_each_other_are_named(
    web: WebSource, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(WebError, match=message):
        load(web, tmp_path, Reading.of(None, [*SAID, name]))


def test_a_column_is_taken_in_the_place_of_another_when_both_are_renamed(shop: Shop) -> None:
    users = "user_id,created_at,email,Alt\nu1,2024-01-01,a@x.de,b@x.de\n"
    with pytest.raises(ShopError, match=r"email too; .*: --map other_email=email$"):
        shop(users=users, names=("email=Alt",))
    names = ("email=Alt", "other_email=email")
    assert shop("SELECT email FROM users", users=users, names=names)[1] == [("b@x.de",)]
    with pytest.raises(
        ShopError, match=r"email=Mail: not applied, .* there is --map users\.email=A"
    ):
        shop(users=users.replace("email", "Mail"), names=("email=Mail", "users.email=Alt"))


# columns ----------------------------------------------------------------------------------------


def test_columns_that_the_web_database_lacks_are_left_out_and_said(
    web: WebSource, tmp_path: Path
) -> None:
    costs = 'session_id,currency,cost,,Total,Total\ns1,"a\n""b"";",1,,,\ns2,EUR,2,,,\n'
    said = load(web, tmp_path, Reading.of(None, SAID), session_costs=costs)
    assert [(row["session_id"], row["cost"]) for row in held(web, "session_costs")] == [
        ("s1", "1"), ("s2", "2"),
    ]  # fmt: skip
    assert "the column currency is not used" in said
    assert "loaded without currency, column 4 (without a name), Total, Total: the table" in said
    near = "session_id,cost,campain_name\n"
    sources = WEB["session_sources"].replace("impression_interaction\n", near.split(",")[2])
    with pytest.raises(WebError, match="lacks the required column impression_interaction"):
        load(web, tmp_path, Reading.of(None, SAID), session_sources=sources)
    sources = WEB["session_sources"].replace("\n", ",campain_name\n", 1).replace(",0\n", ",0,x\n")
    said = load(web, tmp_path, Reading.of(None, SAID), session_sources=sources)
    assert "campain_name is not used; did you mean campaign_name?" in said


def test_columns_that_the_web_database_has_are_kept(shop_url: SecretStr, tmp_path: Path) -> None:
    web = WebSource(shop_url)
    web.init()
    with psycopg.connect(shop_url.get_secret_value()) as connection:
        connection.execute("ALTER TABLE session_costs ADD COLUMN currency text")
        connection.execute("ALTER TABLE session_costs ADD COLUMN clicks int")
    costs = 'session_id,cost,note,Currency,clicks\ns1,1,"a\nb",EUR,3\n'
    said = load(web, tmp_path, Reading.of(None, SAID), session_costs=costs)
    assert "loaded without note" in said
    assert held(web, "session_costs")[0]["currency"] == "EUR"
    costs += "\ns2,1,,EUR,3\ns3,1,,EUR,many\n"
    with pytest.raises(WebError, match=r"session_costs\.csv line 6: invalid input syntax"):
        load(web, tmp_path, Reading.of(None, SAID), session_costs=costs)


def test_what_parts_fields_is_found_where_no_name_is_ours(shop: Shop) -> None:
    users = "Id użytkownika;Data rejestracji;Saldo, zł\nu1;2024-01-01;5,5\nu2;2024-01-02;7,25\n"
    with pytest.raises(ShopError) as caught:
        shop(users=users)
    assert "(it has: Id użytkownika, Data rejestracji, Saldo, zł)" in str(caught.value)
    assert "add --map user_id=NAME" in str(caught.value)
    names = ("users.user_id=Id użytkownika", "created_at=Data rejestracji")
    message, rows = shop(users=users, names=names)
    assert rows == [("u1", "2024-01-01"), ("u2", "2024-01-02")]
    assert "fields are parted by semicolons" in message


@pytest.mark.parametrize(
    "users",
    [
        'user_id;created_at;\nu1;2024-01-01;\n"u;2";"2024\n";""\n',
        'user_id;created_at;;;\nu1;2024-01-01\n"u;2";"2024\n";;;\n',
        'user_id;created_at\nu1;2024-01-01;\n"u;2";"2024\n";\n',
    ],
)
def test_a_delimiter_at_the_end_of_lines_is_no_column(shop: Shop, users: str) -> None:
    message, rows = shop(users=users)
    assert rows == [("u1", "2024-01-01"), ("u;2", "2024\n")]
    assert "left out" in message


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ("user_id,created_at,\nu1,2,\nu2,2,x\n", r"users\.csv line 3: column 3 holds a value, but"),
        ("user_id,,created_at\nu1,,2\n", r"column 2 of 3 has no name .*; name it in the header"),
        (f"user_id,created_at,{'x' * 64}\nu1,2,3\n", r"column 3 is over 63 bytes.*--map SHORTER=x"),
        ("user_id,created_at,\nu1\n", r"users\.csv line 2: 1 values for 3 columns"),
        (";;\nu1;2;\n", r"users\.csv line 1: a header line is expected"),
    ],
)
def test_a_column_without_a_usable_name_is_told_apart(shop: Shop, users: str, message: str) -> None:
    with pytest.raises(ShopError, match=message):
        shop(users=users, delimiter=";" if users.startswith(";") else None)


def test_long_fields_are_taken_by_all(web: WebSource, shop: Shop, tmp_path: Path) -> None:
    long = "x" * 1_000_000
    sources = WEB["session_sources"].replace("Email", f'"{long}"')
    load(web, tmp_path, Reading.of(None, SAID), session_sources=sources)
    assert held(web, "session_sources")[0]["channel_name"] == long
    assert shop(users=SHOP["users"] + f"{long},2024\n")[1][1] == (long, "2024")


# lines ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_blank_lines_are_left_out_of_a_shop_and_later_lines_keep_their_number(
    shop: Shop, end: str
) -> None:
    users = '\n\nuser_id,created_at\n\nu1,"a\n\nb"\n\n\nu2,c\n\n'.replace("\n", end)
    message, rows = shop(users=users)
    assert rows == [("u1", f"a{end}{end}b"), ("u2", "c")]
    assert "2 rows; 6 blank lines were left out" in message
    with pytest.raises(ShopError, match=r"users\.csv line 12: missing data"):
        shop(users=users + f"u3{end}")
    with pytest.raises(ShopError, match=r"users\.csv line 12: unterminated"):
        shop(users=users + f'u3,"a{end}{end}')


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_blank_lines_are_left_out_of_a_web_database_too(
    web: WebSource, tmp_path: Path, end: str
) -> None:
    costs = '\n\nsession_id,cost\n\ns1,"a\n\nb"\n\n\ns2,c\n\n'.replace("\n", end)
    said = load(web, tmp_path, Reading.of(None, SAID), session_costs=costs)
    assert [row["cost"] for row in held(web, "session_costs")] == [f"a{end}{end}b", "c"]
    assert "2 rows; 6 blank lines were left out" in said
    with pytest.raises(WebError, match=r"session_costs\.csv line 12: .*expected are 2 fields"):
        load(web, tmp_path, Reading.of(None, SAID), session_costs=costs + f"u3{end}")


def test_blank_lines_between_blocks_are_found(shop: Shop) -> None:
    body = "".join(f'u{i},"2024\n"\n\n' for i in range(100_000))
    message, rows = shop("SELECT count(*) FROM users", users=f"user_id,created_at\n{body}")
    assert rows == [(100_000,)]
    assert "100,000 blank lines" in message


# encodings --------------------------------------------------------------------------------------


def test_a_nul_is_called_by_its_name(shop: Shop) -> None:
    users = "user_id,created_at,city\nu1,2024,Köln\nu2,2024,a\0b\n"
    for encoding in ("utf-8", "utf-16"):
        message, rows = shop("SELECT city FROM users", users=users.encode(encoding))
        assert [city for (city,) in rows] == ["Köln", "a\ufffdb"]
        assert (
            "1 NUL character was replaced by \N{REPLACEMENT CHARACTER} (U+0000, first in line 3)"
            in message
        )
        assert "unreadable" not in message
    with pytest.raises(ShopError, match=r"line 3, column user_id: .* a NUL character"):
        shop(users=users.replace("u2", "u\0").encode("utf-16"))


def test_what_is_no_utf_16_is_counted(shop: Shop) -> None:
    users = "user_id,created_at,city\nu1,2024,Köln\nu2,2024,a\ud800b\n"
    message, rows = shop("SELECT city FROM users", users=users.encode("utf-16", "surrogatepass"))
    assert [city for (city,) in rows] == ["Köln", "a\ufffdb"]
    assert (
        "1 unreadable character was replaced by \N{REPLACEMENT CHARACTER} (not UTF-16, first in"
        in message
    )


def test_ids_are_never_made_one_by_what_is_unreadable_in_them(
    web: WebSource, shop: Shop, tmp_path: Path
) -> None:
    text = 'conv_id,user_id,conv_date,conv_time,revenue\n"c\n\n1",会員能,2024-01-02,11:00,5\n'
    text += "c・2,会員表,2024-01-02,11:00,6\n"
    names = SAID[:2]
    with pytest.raises(WebError) as caught:
        load(web, tmp_path, Reading.of(None, names), conversions=text.encode("shift_jis"))
    assert "conversions.csv line 4, column user_id: " in str(caught.value)
    assert "--encoding shift_jis or --encoding cp1251" in str(caught.value)
    reading = Reading.of(None, names, "Shift-JIS")
    load(web, tmp_path, reading, conversions=text.encode("shift_jis"))
    assert [row["user_id"] for row in held(web, "conversions")] == ["会員能", "会員表"]
    usages = "used_at,promo_code,user_id\n2024-01-01,\x81é,u1\n".encode("latin-1")
    with pytest.raises(ShopError, match=r"promo_usages\.csv line 2, column promo_code"):
        shop(promo_usages=usages)


def test_a_quote_within_a_field_hides_no_unreadable_id(tmp_path: Path) -> None:
    web = WebSource(tmp_path / "web.sqlite")
    web.init()
    sources = WEB["session_sources"].replace("Email", 'Screen 5" wide')
    sources += 's2,u\x81é,2024-01-01,10:00:00,"a ""b"" c",1,0,0\n'
    with pytest.raises(WebError, match=r"session_sources\.csv line 3, column user_id"):
        load(web, tmp_path, Reading.of(None, SAID), session_sources=sources.encode("latin-1"))
    sources = sources.replace("u\x81é", "u2").replace('"" c', '"" \x81é')
    said = load(web, tmp_path, Reading.of(None, SAID), session_sources=sources.encode("latin-1"))
    assert "2 rows" in said


def test_names_that_are_unreadable_lead_to_the_encoding(shop: Shop) -> None:
    users = "会員番号・,登録日\nu1,2024-01-01\n".encode("shift_jis")
    with pytest.raises(ShopError, match="names are unreadable here, add --encoding"):
        shop(users=users)
    names = ("user_id=会員番号・", "created_at=登録日")
    assert shop(users=users, names=names, encoding="sjis")[1] == [("u1", "2024-01-01")]


def test_columns_that_a_web_database_writes_otherwise_are_filled(
    postgres: Endpoint, tmp_path: Path
) -> None:
    with fresh_database(postgres) as url:
        with psycopg.connect(url.get_secret_value()) as connection:
            connection.execute('CREATE TABLE session_costs ("Session_ID " text, "COST" text)')
        web = WebSource(url)
        web.init()
        load(web, tmp_path, Reading.of(None, SAID))
        assert [row["session_id"] for row in held(web, "session_costs")] == ["s1"]


def test_an_encoding_is_taken_as_said(shop: Shop) -> None:
    users = "user_id,created_at,city\nu1,2024,Москва\n"
    query = "SELECT city FROM users"
    message, rows = shop(query, users=users.encode("cp1251"), encoding="windows-1251")
    assert rows == [("Москва",)]
    assert "read as" not in message
    for encoding in ("utf-8", "utf-8-sig"):
        assert shop(query, users=users.encode("utf-8-sig"), encoding=encoding)[1] == rows
    with pytest.raises(ShopError, match=r"users\.csv line 2: byte 0xCC is not utf-8"):
        shop(users=users.encode("cp1251"), encoding="utf-8")
    with pytest.raises(ShopError, match=r"users\.csv line 4: byte 0x81 is not shift_jis"):
        shop(users="user_id,created_at\nu1,会\n\nu2,".encode("shift_jis") + b"\x81\n",
             encoding="shift_jis")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "message"),
    [("shiftjjis", r"no encoding of a text is called so; did you mean"), ("hex", "no encoding of"),
     ("\0", "no encoding of"), ("", "no encoding of")],
)  # fmt: skip
def test_an_encoding_that_there_is_not_is_refused(name: str, message: str) -> None:
    with pytest.raises(HeaderError, match=message):
        Reading.of(None, (), name)


def test_the_command_takes_names_of_one_file_and_an_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    for name, text in WEB.items():
        data = text.replace("u1", "会員能・").encode("shift_jis")
        (folder / f"{name}.csv").write_bytes(data)
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_WEB_DATABASE", str(tmp_path / "web.sqlite"))
    said = ["session_sources.event_date=date", "session_sources.event_time=time",
            "conversions.conv_date=date", "conversions.conv_time=time"]  # fmt: skip
    command = ["web", "load", str(folder), *(f"--map={name}" for name in said)]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 1
    assert "--encoding shift_jis" in ran.output
    ran = CliRunner().invoke(app, [*command, "--encoding", "shift_jis"])
    assert ran.exit_code == 0, ran.output
    assert held(WebSource(tmp_path / "web.sqlite"), "conversions")[0]["user_id"] == "会員能・"
