"""Received text becomes typed columns, batch by batch, as Spark's Python workers do it."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import duckdb
import pyarrow as pa
import pytest

from dmp_assets.cleaned.shop import normal_batches, promo_codes
from dmp_assets.cleaned.web import web_values
from dmp_assets.platform.cleaning import normalise, reading
from dmp_assets.platform.cleaning.reading import Reading
from dmp_assets.platform.values import money_signs, readers, times
from dmp_assets.platform.values.readers import USUAL, Format
from dmp_assets.platform.values.words import STANDARD

POINT, COMMA, DAY = USUAL["amount"], Format("comma"), USUAL["time"]
DAY_LONG = timedelta(days=1)


def read(reading_: Reading, *texts: list[str | None], kind: pa.DataType | None = None) -> list[Any]:
    batch = pa.RecordBatch.from_pydict(
        {
            name: pa.array(column, pa.string())
            for name, column in zip(reading_.of, texts, strict=True)
        }
    )
    (made,) = reading._batches([batch], {"made": reading_}, {"made": kind or pa.string()})
    assert made.schema.names == [*reading_.of, "made"]
    return list(made.column("made").to_pylist())


@pytest.mark.parametrize(
    ("text", "form", "wanted"),
    [("1,234.565", POINT, "1234.57"), ("-1,234.565", POINT, "-1234.57"),
     ("1.234,5", COMMA, "1234.50"),
     ("9999999999.994", POINT, "9999999999.99"), ("9999999999.995", POINT, None),
     ("1e20", POINT, None), ("1e-9", POINT, "0.00"), ("abc", POINT, None), (None, POINT, None)],
)  # fmt: skip
def test_amounts_are_rounded_to_their_type_and_what_it_cannot_hold_is_unread(
    text: str | None, form: Format, wanted: str | None
) -> None:
    made = reading.amount("v", form, "DECIMAL(12, 2)")
    assert read(made, [text], kind=pa.decimal128(12, 2)) == [wanted and Decimal(wanted)]


def test_a_word_of_a_list_is_read_however_it_is_written() -> None:
    texts = [
        "Percentage",
        "percent",
        "%",
        "fixed_amount",
        "FIXED-CART",
        "Fixed amount",
        "free",
        None,
    ]
    wanted = ["percentage"] * 3 + ["fixed_amount"] * 3 + [None, None]
    assert read(reading.one_of("v", promo_codes.DISCOUNT_TYPES), texts) == wanted


def test_whole_numbers_are_whole() -> None:
    texts = ["3", "3.0", "3.5", "-7", "2147483647", "2147483648", "1e3", "x", None]
    wanted = [3, 3, None, -7, 2147483647, None, 1000, None, None]
    assert read(reading.whole("v", POINT), texts, kind=pa.int32()) == wanted


def test_a_moment_needs_its_day_and_its_time() -> None:
    days = ["2024-03-01", "01.03.2024", "2024-03-01", None, "2024-03-01", "x"]
    times = ["12:30:59.9", "12:30", "25:00", "12:30", None, "12:30"]
    made = web_values.moment("day", "time", DAY)
    found = read(made, days, times, kind=pa.timestamp("us", "UTC"))
    at = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
    assert found == [at.replace(second=59), at, None, None, None, None]


def test_a_reading_sees_what_the_one_before_it_has_read() -> None:
    batch = pa.RecordBatch.from_pydict({"day": [" 2024-03-01 ", "N/A"], "n": [1, 2]})
    readings = reading.given({"day": "other"}) | {"on": reading.day("day", DAY)}
    (made,) = reading._batches([batch], readings, {"day": pa.string(), "on": pa.date32()})
    assert made.to_pydict() == {
        "n": [1, 2], "day": ["2024-03-01", None], "on": [date(2024, 3, 1), None]
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["1 Mar 2024", "01-Mar-2024", "Mar 1, 2024", "March 1st, 2024", "1. März 2024", "1er mars 2024",
     "1 de marzo de 2024", "2024-Mar-01", "2024年3月1日", "2024년 3월 1일", "٠١/٠٣/٢٠٢٤",
     "1 марта 2024", "２０２４-０３-０１", "Fri, 01 Mar 2024 00:00:00 GMT",
     "2024-03-01 00:00:00,000", "Fri Mar 01 2024 01:00:00 GMT+0100 (CET)",
     "2024-03-01T01:00:00+01:00[Europe/Berlin]", "20240301", "1-MAR-24", "01MAR2024", "1. 3. 2024",
     "2024. 3. 1.", "2024년 3월 1일 금요일", "2024年3月1日(金)", "2024-W09-5",
     "2024W095", "2024-061", "45352", "1709251200", "1.7092512E9", "1.7092512E12", "20240301000000",
     "Fri Mar  1 00:00:00 2024", "vendredi 1 mars 2024", "Freitag, 01.03.2024", "01.03.2024 г.",
     "1. maaliskuuta 2024", "1 Mart 2024", "1. března 2024", "1 tháng 3, 2024", "2024-03-01Z",
     "2024:03:01 00:00:00", "01/03/2024 12:00 a.m.", "2024-03-01T00:00:00[Zulu]",
     "2024-03-01T00:00:00[Etc/GMT]"],
)  # fmt: skip
def test_days_that_people_and_programs_write_are_read(text: str) -> None:
    assert times.read_time(text, DAY) == datetime(2024, 3, 1, tzinfo=UTC)
    assert times.read_day(text, DAY) == date(2024, 3, 1)


@pytest.mark.parametrize(
    "text",
    ["2567-03-01", "๑ มีนาคม ๒๕๖๗", "1403/05/12", "32 Mar 2024", "1 Foo 2024", "Mar 2024",
     "jui 1 2024", "1 jui 2024", "March", "1 Mar 12:30", "02-30-2024", "2024-03", "2024-W09",
     "2023-366", "240301", "01032024", "12:30", "1.7093E+09", "2031010112", "1 lis 2024",
     "2024-03-01 12", "2024-03-01T12:30:60", "2024-03-01T24:00:01", "2024-03-01T12:30+99:99",
     "2024-03-01 12:30 CST", "2024-03-01 13:30 AM", "2024-03-01 0:30 PM", "2024/3/1 午後12:30",
     "2024-03-01 12:60", "2024-03-31T02:30:00[Europe/Berlin]", "2024-03-31 02:30:00 (CEST)",
     "2024-03-31T02:30:00[Etc/GMT+5]",
     "31.03.2024 02:30 (America/New York)", "2024-03-31T02:30:00[America/São_Paulo]",
     "2024-03-31 02:30:00 (x]", "2024-03-31T02:30:00+02:00(]", "2024-03-31T02:30:00+02:00[z)"],
)  # fmt: skip
def test_what_names_no_time_of_these_years_or_several_is_not_guessed(text: str) -> None:
    assert times.read_time(text, DAY) is None


@pytest.mark.parametrize(
    "text",
    ["20240301T123000Z", "20240301T133000+0100", "20240301123000", "202403011230",
     "2024-03-01-12.30.00.000000", "01-MAR-2024 12:30:00", "01-MAR-24 12.30.00.000000 PM",
     "01/Mar/2024:13:30:00 +0100", "Fri Mar  1 12:30:00 UTC 2024", "Fri Mar  1 13:30:00 CET 2024",
     "Fri Mar  1 12:30:00 PM UTC 2024", "Fri, 01 Mar 2024 13:30:00 +0100 (CET)",
     "Friday, 01-Mar-24 12:30:00 GMT", "2024-03-01 12:30:00 +0000 UTC", "2024-03-01 18:00 UTC+5:30",
     "01.03.2024 um 12:30 Uhr", "01.03.2024, 12:30 Uhr", "01/03/2024 à 12:30", "01/03/2024 12h30",
     "1 mars 2024 à 12 h 30", "1.3.2024 klo 12.30", "1 de março de 2024 às 12:30",
     "March 1, 2024 at 12:30 PM", "1/3/2024, 12:30:00\u202fp.\u00a0m.", "2024-03-01 12:30p",
     "Mar  1 2024 12:30:00:000PM", "12:30 01/03/2024", "12:30:00 PM, 2024-03-01",
     "20240301-12:30:00.000", "01MAR24:12:30:00", "2024/3/1(金) 12:30", "1. Ma\u0308rz 2024, 12:30",
     "2024년 3월 1일 오후 12:30", "2024. 3. 1. 오후 12:30:00", "2024年3月1日12時30分00秒",
     "2024/3/1 下午12:30:00", "\u200f١\u200f/٣\u200f/٢٠٢٤، ١٢:٣٠ م", "1 марта 2024 г. в 12:30",
     "45352.5208333333", "45352,5208333333", "1709296200.0", "1709296200000", "1709296200000000",
     "1709296200000000000", "2024-W09-5T12:30:00Z", "2024‑03‑01 12:30:00.0"],
)  # fmt: skip
def test_times_that_people_and_programs_write_are_read(text: str) -> None:
    assert times.read_time(text, DAY) == datetime(2024, 3, 1, 12, 30, tzinfo=UTC)


def test_the_end_of_a_day_and_a_leap_second_are_the_next_day() -> None:
    after = datetime(2024, 3, 2, tzinfo=UTC)
    texts = "2024-03-01 24:00:00", "2024-03-01T24:00", "2024-03-01T23:59:60Z", "2024-03-02 2400"
    assert [times.read_time(text, DAY) for text in texts] == [after] * 3 + [after + DAY_LONG]
    nanoseconds = times.read_time("2024-03-01T12:30:00.123456789Z", DAY)
    assert nanoseconds == datetime(2024, 3, 1, 12, 30, 0, 123456, UTC)


def test_a_month_that_two_languages_share_is_told_by_the_dot_of_the_day() -> None:
    said = [times.read_day(text, DAY) for text in ("1 listopada 2024", "1. listopada 2024.")]
    assert said == [date(2024, 11, 1), date(2024, 10, 1)]


@pytest.mark.parametrize(
    ("text", "registered", "born"),
    [("05-MAY-62", 2024, date(1962, 5, 5)), ("05-MAY-05", 2024, date(2005, 5, 5)),
     ("05-MAY-20", 2024, None), ("05-MAY-24", 2023, date(1924, 5, 5)), ("5/25/62", 2024, None)],
)  # fmt: skip
def test_of_two_figures_a_year_of_birth_is_the_one_that_a_person_can_have(
    text: str, registered: int, born: date | None
) -> None:
    assert times.read_day(text, DAY, date(registered, 7, 1)) == born


COLUMNS: dict[str, tuple[readers.Kind, list[str], Format]] = {
    "day first": ("time", ["31/12/2024", "03/04/2024", "03/04/24"], Format("day", 2)),
    "month first": ("time", ["12/31/2024 5 PM", "03/04/2024"], Format("month", 1)),
    "month first, short": ("time", ["12/31/24", "3/4/24"], Format("month", 1)),
    "weekdays": (
        "time",
        ["Sat, 31/12/2022", "Mon 03/04/2024", "12:30 4/3/2024"],
        Format("day", 2),
    ),
    "dots": ("time", ["03.04.2024", "1. 4. 2024"], Format("day", 2)),
    "short years": ("time", ["03/04/24", "25/12/23", "24.03.01"], Format(None, 3)),
    "other figures": ("time", ["٣١/١٢/٢٠٢٤", "٠٣/٠٤/٢٠٢٤"], Format("day", 1)),
    "nothing tells": ("time", ["03/04/2024", "2024-03-04"], Format(None, 1)),
    "comma": ("amount", ["12,50 €", "1.250 €", "R$ 1.234,56"], Format("comma", 1)),
    "point": ("amount", ["(1,250)", "US$12.50", "1,23,456"], Format("point", 1)),
    "parts of a day": ("clock", ["0.25", "0,5", "14:30"], Format("part", 1)),
    "parts alone": ("clock", ["0.25", "0.30", "0"], Format("part", 2)),
    "clock times": ("clock", ["0.30", "14.30", "09.05"], Format("clock", 1)),
    "part or time": ("clock", ["0.30", "14:30"], Format(None, 1)),
    "both": ("clock", ["0.30", "14.30", "0.7"], Format(None, 1)),
    "thousand?": ("amount", ["1,250", "7", "500円"], Format(None, 1)),
}
"""What a column writes, and what that says of it."""


@pytest.mark.parametrize("name", COLUMNS)
def test_how_a_column_writes_is_told_by_all_of_it(name: str) -> None:
    kind, texts, wanted = COLUMNS[name]
    with duckdb.connect() as c:
        counted = c.execute(
            f"SELECT [{readers.evidence('v', kind)}] FROM (SELECT unnest($1) AS v)", [texts]
        )
        (counts,) = counted.fetchall()[0]
    assert readers.decide(kind, *counts) == wanted


@pytest.mark.parametrize(
    ("texts", "several"),
    [(["12,50 €", "EUR 3", "5 Euro", "7", "10 %"], []), (["$5", "US$12", "7 USD", None], []),
     (["12,50 €", "US$12"], ["EUR", "USD"]), (["$5", "CHF 1'234.50"], ["$", "CHF"]),
     (["1e5", "-3", "(12.50)", "x"], []), (["500円", "¥5", "(R$ 3)"], ["BRL", "JPY"])],
)  # fmt: skip
def test_amounts_in_several_currencies_are_said(
    texts: list[str | None], several: list[str]
) -> None:
    with duckdb.connect() as c:
        sql = f"SELECT {readers.currencies('v')} FROM (SELECT unnest($1) AS v)"
        (found,) = c.execute(sql, [texts]).fetchall()[0]
    assert money_signs.different(found) == several


def test_short_years_are_read_as_the_setting_says() -> None:
    said = [times.read_day("03/04/05", Format(side)) for side in ("day", "month", "year", None)]
    assert said == [date(2005, 4, 3), date(2005, 3, 4), date(2003, 4, 5), None]


@pytest.mark.parametrize(
    ("time", "read"),
    [("14h30", True), ("um 14:30 Uhr", True), ("2:30 p.m.", True), ("午後2時30分", True),
     ("143000", True), ("0.604166667", True), ("1899-12-30 14:30:00", True), ("14.30", True),
     ("2024-03-01T14:30:00Z", True), ("2024-03-02 14:30:00", False), ("14", False), ("930", False)],
)  # fmt: skip
def test_a_time_of_day_beside_its_day_is_read_as_one_within_a_time(time: str, read: bool) -> None:
    found = times.read_moment("01.03.2024", time, DAY)
    assert found == (datetime(2024, 3, 1, 14, 30, tzinfo=UTC) if read else None)


CLOCKS: dict[str, tuple[readers.Side | None, int | None]] = {
    "0.5": ("clock", 720), "0.75": ("clock", 1080), "0,1": ("clock", 144), ".25": ("clock", 360),
    "4.16666666666667E-02": ("clock", 60), "0.00": (None, 0), "0.25": ("part", 360),
    "0,05": ("part", 72), "0": ("part", 0), "0.30": ("clock", 30), "00.30": ("part", 30),
    "14.30": ("part", 870), "0.10": (None, None), "1.5": ("part", None),
}  # fmt: skip
"""Time of day → what its column writes, and the minute that it is."""


@pytest.mark.parametrize("text", CLOCKS)
def test_a_part_of_a_day_is_told_from_a_clock_time_by_its_column(text: str) -> None:
    side, minute = CLOCKS[text]
    found = times.read_moment("45356", text, DAY, Format(side))
    at = datetime(2024, 3, 5, tzinfo=UTC)
    assert found == (None if minute is None else at + timedelta(minutes=minute))


@pytest.mark.parametrize(
    ("text", "day"),
    [("平成3年1月2日", date(1991, 1, 2)), ("令和元年5月1日", date(2019, 5, 1)),
     ("昭和６４年１月７日", date(1989, 1, 7)), ("平成03/12/31", date(1991, 12, 31)),
     ("平成三年1月2日", None)],
)  # fmt: skip
def test_a_year_of_a_japanese_era_is_read(text: str, day: date | None) -> None:
    assert times.read_day(text, DAY) == day


FLAGS = {
    True: "TRUE yes oui ja t 1 1.0 1,00 １ ✓ ☑ WAHR VERO да так evet はい 예 نعم כן "
    "-1 −1 -1.0 x X ｘ [x] ✔ ✔️ wahr vrai 是 有 ○",
    False: "FALSE no non nein f 0 0.0 0.00 ✗ ☐ FALSCH нет ні HAYIR いいえ 아니오 لا לא "
    "-0 無 なし 没有 없음 yok नहीं ＦＡＬＳＥ",
    None: f"2 × maybe nan inf {'1' * 400}",
}


def test_a_flag_that_counts_is_true_but_for_nothing() -> None:
    texts: list[str | None] = ["2", "-1", "-0,5", "0", "0.00", "-0", "x", "無し", "maybe"]
    wanted = [True] * 3 + [False] * 3 + [True, False, None]
    assert read(reading.flag("v", is_count=True), texts, kind=pa.bool_()) == wanted


def test_flags_are_read_in_many_languages_and_a_doubtful_one_is_none() -> None:
    for meaning, listed in FLAGS.items():
        texts: list[str | None] = [*listed.split()]
        assert read(reading.flag("v"), texts, kind=pa.bool_()) == [meaning] * len(texts), texts
        assert [normalise.flag(text) for text in texts] == [meaning] * len(texts), texts
        if meaning is not None:
            assert [STANDARD.given("flag", text) for text in texts] == texts


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("١٢٫٥٠", "12.50"),
        ("١٬٢٣٤٫٥", "1234.5"),
        ("１２．５", "12.5"),
        ("๑๒.๕๐", "12.50"),
        ("−3", "-3"),
    ],
)
def test_amounts_in_figures_of_other_scripts_are_read(text: str, wanted: str) -> None:
    assert readers.read_amount(text, POINT) == Decimal(wanted)


AMOUNTS = {
    "1234.56": ["R$ 1.234,56", "1\u00a0234,56\u00a0€", "1\u202f234,56 €", "CHF 1'234.56",
                "1’234.56 Fr.", "EUR1.234,56", "1,234.56 Euro", "S/ 1,234.56", "１，２３４．５６"],
    "12.50": ["RM12.50", "Rs. 12.50", "12.50 лв.", "+12.50", "12,50 zł", "A$12.50", "kr. 12,50",
              '="12.50"', "12,50 Kč", "R12.50", "12,50 %", "12.50 د.إ", "usd 12.50",
              "NT$12.50", "12.50円"],
    "-12.50": ["(12.50)", "12.50 -", "12.50-", "−12.50", "– 12,50 €", "($12.50)", "$(12.50)",
               "-$12.50", "$-12.50", "12,50 €-", '"-12,50 $US"', "EUR 12,50-"],
    "12": ["US$12", "12:-", "₹12/-", "12 kr", "12 $ CA", "12,-",
           "12,– €", "12.-", "Fr. 12.–", "12.", "1.2e1", "1,2E+01"],
    "123456": ["1,23,456.00", "₹1,23,456", "Rp 123.456,00", "123 456"],
    None: ["12€50", "12 MIO", "ABC12", "12 TSD", "1.5k", "1.2.3", "--5", "(-5)", "€", "()", "99¢",
           "½", "1_000", "0x10", "$-$5", "1" * 101, "1,250", "1.250 €", "12,"],
}  # fmt: skip
"""Number → texts that write it, where nothing else is known of their column."""


def test_amounts_as_shops_of_many_countries_write_them_are_the_same_in_duckdb() -> None:
    texts = [text for written in AMOUNTS.values() for text in written]
    wanted = [n and Decimal(n) for n, written in AMOUNTS.items() for _ in written]
    unknown = Format(None)
    assert [readers.read_amount(text, unknown) for text in texts] == wanted
    with duckdb.connect() as c:
        sql = readers.amount("v", "DECIMAL(12, 2)", unknown)
        found = c.execute(f"SELECT {sql} FROM (SELECT unnest($1) AS v)", [texts]).fetchall()
    differ = [(t, n, d) for t, n, (d,) in zip(texts, wanted, found, strict=True) if n != d]
    assert differ == []


def test_what_worker_processes_import_brings_no_engine() -> None:
    """Two seconds of imports in each process of Spark's would be longer than all the reading."""
    words = {"x": "x"}
    made = (
        web_values.moment("d", "t"), web_values.mapped("c", {}), reading.one_of("x", words),
        reading.amount("v", POINT, "DECIMAL(12, 2)"), reading.whole("v", POINT),
        reading.time("v", DAY), reading.day("v", DAY), reading.flag("v"),
        *reading.given({"v": "id"}).values(),
    )  # fmt: skip
    functions = [*(cast(Any, reading_.read).func for reading_ in made), normal_batches.user_batches]
    modules = ", ".join(sorted({function.__module__ for function in functions}))
    code = f"import sys, {modules}; print(*{{'dagster', 'pyspark', 'duckdb'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "", modules
