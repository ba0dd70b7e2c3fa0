"""What a written table must obey, as its file says it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A rule that a written table must obey, evaluated by DuckDB after the write.

    `sql` names tables as `layer.table` and returns one row: how much offends the rule (0 passes),
    then any further figures, which become metadata. None: what offends is what the write noted
    among its figures by the name `noted`. A `blocking` check is an ERROR and stops what depends on
    the table; any other is a WARN. `with_table`: (key, SQL) that takes the place of `sql` once the
    table of this key, which is read where it is there, has been written.
    """

    name: str
    sql: str | None
    description: str
    blocking: bool = False
    noted: str = "problem"
    with_table: tuple[str, str] | None = None

    def sql_of(self, is_there: Callable[[str], bool]) -> str | None:
        """The SQL to evaluate. `is_there`: whether a table of this key has been written."""
        if self.with_table is not None and is_there(self.with_table[0]):
            return self.with_table[1]
        return self.sql


def source_checks(table: str, key: str) -> tuple[Check, ...]:
    """Checks that every table of received rows has: it holds rows, and their key is filled."""
    return (
        Check(
            "not_empty",
            f"SELECT (count(*) = 0)::INT AS offending, count(*) AS rows FROM raw.{table}",
            "The source holds rows.",
        ),
        Check(
            "required_columns_filled",
            f"SELECT count(*) FROM raw.{table} WHERE {key} IS NULL OR trim({key}) = ''",
            f"{key} is filled; rows without it end in quarantine.",
        ),
    )


_KEY_CHECKS = {"cleaned": "keys_unique"}
"""Layer → name of its keys' checks, where it is not `key_unique`: alerts and histories know it."""


def key_check(table: str, key: Sequence[str], once: str | None = None) -> Check:
    """The check that a key identifies a row. `table`: its key, `layer/name`.

    A key of one column must be filled, too. once: what the check says; by default by the columns.
    """
    layer, _, name = table.partition("/")
    columns = ", ".join(key)
    keys = f"(SELECT count(*) FROM (SELECT DISTINCT {columns} FROM {layer}.{name}))"
    distinct = f"count(DISTINCT {columns})" if len(key) == 1 else keys
    return Check(
        _KEY_CHECKS.get(layer, "key_unique"),
        f"SELECT count(*) - {distinct} FROM {layer}.{name}",
        once or f"{columns} identifies a row.",
        blocking=True,
    )
