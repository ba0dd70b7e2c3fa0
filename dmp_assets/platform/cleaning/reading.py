"""Received text, read column by column by the readers of `values/`.

The reading is done in Spark's Python workers, batch by batch: the lakehouse reads by the very
functions that the service reads by. Imports nothing heavy: each worker process imports this module.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from dmp_assets.platform.values import flags, readers, times
from dmp_assets.platform.values.readers import Format
from dmp_assets.platform.values.words import STANDARD, Kind, Words

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Reading:
    """One column that is read: from which columns of text, by what, into which SQL type.

    The function gets the texts, none of them None (None in, None out), and raises nothing. It
    belongs into a module that imports nothing heavy, since each worker process imports that.
    """

    of: tuple[str, ...]
    read: Callable[..., Any]
    type: str = "string"


Readings = Mapping[str, Reading]


def read(frame: "DataFrame", readings: Readings) -> "DataFrame":
    """The frame with these columns added, or replaced; each sees what those before it have read."""
    from pyspark.sql.pandas.types import to_arrow_schema
    from pyspark.sql.types import StructType

    ddl = ", ".join(f"`{name}` {reading.type}" for name, reading in readings.items())
    made = cast(StructType, StructType.fromDDL(ddl))
    arrow = to_arrow_schema(made, timezone="UTC")
    types = {field.name: field.type for field in arrow}
    kept = [field for field in frame.schema.fields if field.name not in readings]
    return frame.mapInArrow(
        partial(_batches, readings=dict(readings), types=types), StructType([*kept, *made.fields])
    )


def _batches(
    batches: Iterable[pa.RecordBatch], readings: Readings, types: Mapping[str, pa.DataType]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        read: dict[str, list[Any]] = {}
        for name, reading in readings.items():
            texts = [
                read[of] if of in read else columns[of].cast(pa.string()).to_pylist()
                for of in reading.of
            ]
            read[name] = _each(reading.read, texts)
        made = {name: pa.array(values, types[name]) for name, values in read.items()}
        kept = {name: column for name, column in columns.items() if name not in made}
        yield pa.RecordBatch.from_pydict(kept | made)


def _each(function: Callable[..., Any], texts: list[list[str | None]]) -> list[Any]:
    """What the function makes of each row; the same texts are read once."""
    known: dict[tuple[str | None, ...], Any] = {}
    values = []
    for row in zip(*texts, strict=True):
        if row not in known:
            known[row] = None if None in row else function(*row)
        values.append(known[row])
    return values


def given(kinds: Mapping[str, Kind], words: Words = STANDARD) -> dict[str, Reading]:
    """Trim text; what is then empty, or a word that means nothing for its kind, is unknown.

    `kinds`: column → kind of its values.
    """
    return {name: given_as(name, kind, words) for name, kind in kinds.items()}


def given_as(column: str, kind: Kind, words: Words = STANDARD) -> Reading:
    """One column as `given` has it."""
    return Reading((column,), partial(words.given, kind))


def time(column: str, form: Format) -> Reading:
    """A UTC time, as `times.read_time` has it."""
    return Reading((column,), partial(times.read_time, form=form), "timestamp")


def day(column: str, form: Format) -> Reading:
    """A day, as `times.read_day` has it."""
    return Reading((column,), partial(times.read_day, form=form), "date")


def amount(column: str, form: Format, kind: str) -> Reading:
    """A number of the SQL type `kind`, `DECIMAL(digits, decimals)`; the rest is rounded half up."""
    digits, decimals = (int(number) for number in re.findall(r"\d+", kind))
    reader = partial(_amount, form=form, digits=digits, decimals=decimals)
    return Reading((column,), reader, kind)


def whole(column: str, form: Format) -> Reading:
    """A whole number of 32 bits, `3.0` too; None for what is none or too large."""
    return Reading((column,), partial(_whole, form=form), "int")


def flag(column: str, *, is_count: bool = False) -> Reading:
    """A boolean, as `flags.read_flag` has it."""
    return Reading((column,), partial(flags.read_flag, is_count=is_count), "boolean")


def one_of(column: str, words: Mapping[str, str]) -> Reading:
    """What one of these words stands for; None for any other. Capitals, `_` and `-` for a space do
    not matter."""
    return Reading((column,), partial(_one_of, words=words))


def _one_of(text: str, words: Mapping[str, str]) -> str | None:
    return words.get(re.sub("[ _-]+", " ", text.lower()))


def _amount(text: str, form: Format, digits: int, decimals: int) -> Decimal | None:
    return fitted(readers.read_amount(text, form), digits, decimals)


def fitted(number: Decimal | None, digits: int, decimals: int) -> Decimal | None:
    """The number as DECIMAL(digits, decimals) holds it; None for one that is too large."""
    if number is None or not number.is_finite():
        return None
    try:
        return number.quantize(
            Decimal(1).scaleb(-decimals), context=Context(prec=digits, rounding=ROUND_HALF_UP)
        )
    except InvalidOperation:
        return None


def _whole(text: str, form: Format) -> int | None:
    number = readers.read_amount(text, form)
    if number is None or abs(number) >= 2**31 or number != int(number):
        return None
    return int(number)
