"""Parts of a table that are read side by side: disjoint, and together the whole."""

from collections.abc import Sequence
from itertools import pairwise

from psycopg import sql


def between(column: str, low: int, high: int) -> sql.Composable:
    """Whether a number lies above `low` and not above `high`."""
    return sql.SQL("{0} > {1} AND {0} <= {2}").format(
        sql.Identifier(column), sql.Literal(low), sql.Literal(high)
    )


def ranges(column: str, low: int, high: int, partitions: int) -> list[sql.Composable]:
    """What lies above `low` and not above `high`, in at most so many parts of about one size."""
    count = max(1, min(partitions, high - low))
    edges = [low + (high - low) * part // count for part in range(count + 1)]
    return [between(column, start, end) for start, end in pairwise(edges)]


def hash_parts(columns: Sequence[str], partitions: int) -> list[sql.Composable]:
    """All rows, in parts by the hash of these text columns."""
    key = sql.SQL(" || ").join(
        sql.SQL("coalesce({}, '')").format(sql.Identifier(name)) for name in columns
    )
    return [
        sql.SQL("(hashtext({}) & 2147483647) % {} = {}").format(
            key, sql.Literal(partitions), sql.Literal(part)
        )
        for part in range(max(1, partitions))
    ]
