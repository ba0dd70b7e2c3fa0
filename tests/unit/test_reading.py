"""Received text becomes typed columns, batch by batch, as Spark's Python workers do it."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dmp_assets.cleaned import reading, web_values
from dmp_assets.cleaned.reading import Reading
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
