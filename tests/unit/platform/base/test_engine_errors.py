"""Engines' errors are told without the values that they quote, and other errors as they are."""

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sqlalchemy as sa
from pyspark.errors import PythonException

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.text.engine_errors import EngineError, values_left_out

VALUES = ["ann@mail.example", 'O\'Brien said "qq"', "two\nlines", "'", ""]


@pytest.mark.parametrize("value", VALUES)
def test_no_part_of_the_value_is_told(value: str) -> None:
    parts = [part for part in value.replace("'", " ").replace('"', " ").split() if len(part) > 1]

    def by_duckdb() -> None:
        duckdb.execute("SELECT $1::INTEGER", [value]).fetchall()

    def by_arrow() -> None:
        pc.cast(pa.array([value]), pa.int32())

    def by_spark() -> None:
        raise PythonException(f"ValueError: cannot read '{value}' as a day\nCaused by: No space")

    for act in (by_duckdb, by_arrow, by_spark):
        with pytest.raises(EngineError) as told, values_left_out():
            act()
        assert not [part for part in parts if part in str(told.value)], told.value
        assert told.value.__suppress_context__
    assert str(told.value).startswith("PythonException: ValueError: cannot read …")
    assert str(told.value).endswith("Caused by: No space")


def test_of_postgresql_only_the_first_line_is_told() -> None:
    error = psycopg.errors.UniqueViolation(
        'duplicate key breaks "users_pkey"\nDETAIL:  Key (user_id)=(u-1) already exists.'
    )
    with (
        pytest.raises(EngineError, match=r"^UniqueViolation: duplicate key breaks …$"),
        values_left_out(),
    ):
        raise error
    with (
        pytest.raises(EngineError, match=r"^UniqueViolation: duplicate key breaks …$"),
        values_left_out(),
    ):
        raise sa.exc.IntegrityError("INSERT …", None, error)


@pytest.mark.parametrize(
    "error",
    [
        UserError("set DMP_X='a'"),
        duckdb.BinderException('Referenced column "x" not found'),
        ValueError("a 'b'"),
    ],
)
def test_other_errors_are_as_they_were(error: Exception) -> None:
    with pytest.raises(type(error)) as told, values_left_out():
        raise error
    assert told.value is error
