"""Rows of made-up tables in the columns that the product's tables declare."""

from collections.abc import Mapping
from functools import cache

import pyarrow as pa

from dmp_assets.platform.faces import lake as faces
from dmp_assets.platform.lake.columns import arrow_type


@cache
def types() -> Mapping[str, Mapping[str, pa.DataType]]:
    """Table → its declared columns and their Arrow types."""
    return {
        key: {name: arrow_type(column.type) for name, column in columns.items()}
        for key, columns in faces.declared().items()
    }


def declared(key: str, given: pa.Table) -> pa.Table:
    """The rows with every column of the table, of its type; what was not given is null.

    Raises ValueError for a column that the table does not have.
    """
    wanted = types()[key]
    if unknown := [name for name in given.column_names if name not in wanted]:
        raise ValueError(f"{key} has no column {', '.join(unknown)}")
    return pa.table(
        {
            name: given[name].cast(kind)
            if name in given.column_names
            else pa.nulls(given.num_rows, kind)
            for name, kind in wanted.items()
        }
    )
