"""One write of a Delta table, by Spark's own writer or by delta-rs: same rows, schema and stamp."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import DeltaTable, Schema, write_deltalake

from dmp_assets.platform.lake.collation import as_stored
from dmp_assets.platform.lake.fences import OWN, Mark
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.lake.tables import Tables, columns_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


_REFUSED = frozenset(" ,;{}()\n\t=")
"""What the name of a column does not hold, as Delta's writer in Spark has it."""


@dataclass(frozen=True)
class Commit:
    """What a write does to which table.

    mode: `overwrite` or `append`. properties: of a table that it makes. stamp: noted with the
    commit. where: a predicate; the rows that meet it are replaced, and no others. mark: what a
    commit carries where several homes write the table. transaction: (whose, growing number), by
    which of two writers who repeat the same one commits.

    delta-rs notes mark and transaction in one commit. Spark's writer takes one of them: the mark,
    where there is one. It promises what the transaction does: two who repeat the same are then two
    holders of the table's lease, and the log refuses the one that lapsed (`fences.py`), whatever
    both commit; who took over reads the table as it is from then on.
    """

    tables: Tables
    key: str
    mode: str
    properties: Mapping[str, str]
    stamp: Mapping[str, Any] | None = None
    where: str | None = None
    mark: Mark = OWN
    transaction: tuple[str, int] | None = None

    def fits(self, rows: pa.Table) -> bool:
        """Whether delta-rs does with these rows what Spark does.

        It casts other types without a word, tells names by their capitals and takes names that
        Spark refuses; a part of a table that is replaced needs all columns.
        """
        if any(not _REFUSED.isdisjoint(name) for name in rows.schema.names):
            return False
        replaces_all = self.mode == "overwrite" and self.where is None
        if replaces_all or not self.tables.exists(self.key):
            return True
        there = self.tables.columns(self.key)
        given = columns_of(Schema.from_arrow(rows.schema))
        if any(there[name] != kind for name, kind in given.items() if name in there):
            return False
        if self.where:
            return there.keys() == given.keys()
        new = {name.lower() for name in given.keys() - there.keys()}
        return new.isdisjoint(name.lower() for name in there)

    def by_delta_rs(self, rows: pa.Table | pa.RecordBatchReader) -> None:
        """Write Arrow data. Raises an error of delta-rs for rows outside of `where`."""
        where = self._predicate()
        merged = "overwrite" if self.mode == "overwrite" else "merge"
        with in_words(self.tables.root):
            write_deltalake(  # type: ignore[call-overload, misc]
                self._target(),
                rows,
                mode=self.mode,
                predicate=where,
                schema_mode=None if where else merged,
                configuration=dict(self.properties),
                commit_properties=self.mark.properties(self.stamp, self.transaction),
                storage_options=self.tables.storage_options,
            )

    def _target(self) -> DeltaTable | str:
        """The table as it stands, from which the commit begins; where it will be."""
        if self.mark.number is None or not self.tables.exists(self.key):
            return self.tables.path(self.key)
        return self.mark.checked(self.tables.delta(self.key))

    def by_spark(self, frame: "DataFrame") -> None:
        """Write what Spark computes. Raises DELTA_REPLACE_WHERE_MISMATCH for rows outside of
        `where`."""
        options = {**self.properties, **self.mark.options(self.transaction)}
        writer = as_stored(frame).write.format("delta").mode(self.mode).options(**options)
        if self.stamp:
            writer = writer.option("userMetadata", json.dumps(self.stamp))
        if where := self._predicate():
            writer = writer.option("replaceWhere", where)
        elif self.mode == "overwrite":
            writer = writer.option("overwriteSchema", "true")
        else:
            writer = writer.option("mergeSchema", "true")
        writer.save(self.tables.path(self.key))

    def _predicate(self) -> str | None:
        """`where`, if there is a table of which a part can be replaced."""
        return self.where if self.where and self.tables.exists(self.key) else None
