"""What the received columns of a source write, where that can be written in several ways."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from dmp_assets.platform.cleaning.received import ReceivedColumns, written_of
from dmp_assets.platform.values.readers import Kind


@dataclass(frozen=True)
class Written:
    """What a source's columns write.

    `columns`: table below raw/ → column → what it writes. `days`: column of times of day → the
    column of their days. `at_source`: what the source calls a table → the table below raw/.
    """

    columns: Mapping[str, Mapping[str, Kind]]
    days: Mapping[str, str] = field(default_factory=dict)
    at_source: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, tables: Mapping[str, ReceivedColumns], at_source: Mapping[str, str] | None = None
    ) -> Self:
        """As follows from what the received columns of these tables below raw/ are."""
        return cls(
            {table: written_of(columns) for table, columns in tables.items()},
            {
                name: column.days
                for columns in tables.values()
                for name, column in columns.items()
                if column.days
            },
            at_source or {},
        )

    def __getitem__(self, table: str) -> Mapping[str, Kind]:
        return self.columns[table]
