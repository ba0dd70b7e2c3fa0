"""What engines say when they fail, without the values that they quote.

DuckDB, Spark, Arrow and PostgreSQL quote the value at which they stopped. The text of a failed
step stands in Dagster's event log, in alerts and in the summary, where no personal datum belongs.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import psycopg
import pyarrow as pa

_QUOTE = re.compile("['\"]")
_JVM_LINE = re.compile(r"\s*(Caused by:|at )")
_OF_VALUES: tuple[type[Exception], ...] = (
    duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException,
    duckdb.TypeMismatchException, duckdb.ConstraintException,
    pa.ArrowInvalid, pa.ArrowTypeError,
)  # fmt: skip
"""Errors of engines that speak of data; others speak of SQL and files, which are ours."""
_OF_VALUES_BY_NAME = ("SparkException", "PythonException", "Py4JJavaError", "DateTimeException",
                      "NumberFormatException", "ArithmeticException", "IllegalArgumentException",
                      "SparkRuntimeException", "StreamingQueryException", "UnknownException",
                      "SparkConnectGrpcException")  # fmt: skip
"""The same of Spark, by name: a process that only reads has no Spark, and imports none."""


class EngineError(Exception):
    """An engine stopped at a value; the message is the engine's own, the values left out."""


@contextmanager
def values_left_out() -> Iterator[None]:
    """Raise EngineError for what an engine raises inside of data; any other error is as it was."""
    try:
        yield
    except Exception as error:
        if (told := _told(error)) is None:
            raise
        raise EngineError(told).with_traceback(error.__traceback__) from None


def _told(error: Exception) -> str | None:
    kind = type(error).__name__
    if isinstance(cause := getattr(error, "orig", None), psycopg.Error):  # SQLAlchemy's wrapping
        return _told(cause)
    if isinstance(error, (psycopg.Error, *_OF_VALUES)):  # further lines quote without marks
        return f"{kind}: {_masked(str(error).partition(chr(10))[0])}"
    if type(error).__module__.startswith(("pyspark.", "py4j.")) and kind in _OF_VALUES_BY_NAME:
        return f"{kind}: {_masked(str(error))}"
    return None


def _masked(text: str) -> str:
    """Each line without what stands between its first and its last quotation mark.

    Of a value over several lines the further ones are left out, too, up to the next of the JVM's.
    """
    lines, is_open = [], False
    for line in text.splitlines():
        places = [found.start() for found in _QUOTE.finditer(line)]
        if is_open and not _JVM_LINE.match(line):
            if places:
                lines.append("…" + line[places[-1] + 1 :])
                is_open = False
        elif places:
            after = line[places[-1] + 1 :] if len(places) > 1 else ""
            lines.append(line[: places[0]] + "…" + after)
            is_open = len(places) % 2 == 1
        else:
            lines.append(line)
            is_open = False
    return "\n".join(lines)
