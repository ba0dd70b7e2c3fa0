"""Received text becomes typed columns, batch by batch, as Spark's Python workers do it."""

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

import duckdb
import pyarrow as pa
import pytest

from dmp_assets.cleaned import normal_batches, reading, web_values
from dmp_assets.cleaned.reading import Reading
from dmp_assets.values import readers
from dmp_assets.values.readers import USUAL, Format

POINT, COMMA, DAY = USUAL["amount"], Format("comma"), USUAL["time"]


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
     "2024-03-01T01:00:00+01:00[Europe/Berlin]"],
)  # fmt: skip
def test_days_that_people_and_programs_write_are_read(text: str) -> None:
    assert readers.read_time(text, DAY) == datetime(2024, 3, 1, tzinfo=UTC)
    assert readers.read_day(text, DAY) == date(2024, 3, 1)


@pytest.mark.parametrize(
    "text",
    ["2567-03-01", "๑ มีนาคม ๒๕๖๗", "1403/05/12", "32 Mar 2024", "1 Foo 2024", "Mar 2024",
     "jui 1 2024", "1 jui 2024", "March", "1 Mar 24", "02-30-2024"],
)  # fmt: skip
def test_what_names_no_day_of_these_years_is_not_guessed(text: str) -> None:
    assert readers.read_time(text, DAY) is None


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
def test_amounts_in_figures_of_other_scripts_are_read_alike_in_duckdb(
    text: str, wanted: str
) -> None:
    assert readers.read_amount(text, POINT) == Decimal(wanted)
    with duckdb.connect() as c:
        sql = readers.amount("v", "DECIMAL(12, 2)", POINT)
        found = c.execute(f"SELECT {sql} FROM (SELECT $1 AS v)", [text])
        assert found.fetchone() == (Decimal(wanted),)


def test_what_worker_processes_import_brings_no_engine() -> None:
    """Two seconds of imports in each process of Spark's would be longer than all the reading."""
    words = frozenset({"x"})
    made = (
        web_values.moment("d", "t"), web_values.mapped("c", {}), reading.one_of("x", words),
        reading.amount("v", POINT, "DECIMAL(12, 2)"), reading.whole("v", POINT),
        reading.time("v", DAY), reading.day("v", DAY), *reading.given({"v": "id"}).values(),
    )  # fmt: skip
    functions = [*(cast(Any, reading_.read).func for reading_ in made), normal_batches.user_batches]
    modules = ", ".join(sorted({function.__module__ for function in functions}))
    code = f"import sys, {modules}; print(*{{'dagster', 'pyspark', 'duckdb'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "", modules
