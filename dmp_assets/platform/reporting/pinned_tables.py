"""Tables of one consistent state: the first read of one fixes its version for all that follow."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import pyarrow as pa

from dmp_assets.home import Home
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.lake.tables import TableError, Tables, named_tables
from dmp_assets.settings import Settings


@dataclass
class PinnedTables:
    """Reads the lakehouse of a home.

    The first read of a table fixes its Delta version, so that a run which writes meanwhile cannot
    make two figures disagree. `versions` fixes them from outside, `read` tells what was read.
    """

    home: Home
    versions: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    _opened: ExitStack = field(default_factory=ExitStack)
    _connection: Any = None
    _shown: set[str] = field(default_factory=set)

    @property
    def settings(self) -> Settings:
        return self.home.settings()

    @property
    def tables(self) -> Tables:
        """The tables, as of the versions fixed so far."""
        return replace(Tables.of(self.home), versions=self.versions)

    def has(self, *keys: str) -> bool:
        """Whether all these tables have been written (`modeled/account_clusters`)."""
        return all(self.tables.exists(key) for key in keys)

    def columns(self, key: str) -> tuple[str, ...]:
        """Names of a table's columns; none for a table that has not been written."""
        return tuple(self.tables.columns(key)) if self.has(key) else ()

    def sql(self, query: str, parameters: Any = None) -> pd.DataFrame:
        """Run SQL over `layer.table` names.

        Raises TableError for a table that is not there, or a version that retention has removed
        (the message names the oldest that is left).
        """
        frame: pd.DataFrame = self._arrow(query, parameters).to_pandas()
        return frame

    def rows(self, query: str, parameters: Any = None) -> list[dict[str, Any]]:
        """The rows of a query as dicts of Python values."""
        found: list[dict[str, Any]] = self._arrow(query, parameters).to_pylist()
        return found

    def row(self, query: str, parameters: Any = None) -> dict[str, Any]:
        """The only row of a query, as a dict of Python values."""
        return self.rows(query, parameters)[0]

    def pinned(self, *keys: str) -> Tables:
        """The tables, these fixed like those that `sql` reads."""
        self._fix(keys)
        return self.tables

    def _arrow(self, query: str, parameters: Any) -> pa.Table:
        keys = named_tables(query)
        self._fix(keys)
        with self._explained(keys):
            if self._connection is None:  # one for all queries: versions are fixed
                self._connection = self._opened.enter_context(self.tables.connect())
            for key in keys:
                if key not in self._shown:
                    self.tables.show(self._connection, key)
                    self._shown.add(key)
            return self._connection.sql(query, params=parameters).to_arrow_table()

    def _fix(self, keys: tuple[str, ...]) -> None:
        unpinned = replace(self.tables, versions={})
        for key in keys:
            if key not in self.read:
                self.versions[key] = int(unpinned.delta(key, self.versions.get(key)).version())
                self.read[key] = self.versions[key]

    @contextmanager
    def _explained(self, keys: tuple[str, ...]) -> Iterator[None]:
        """Turn a data file that retention has deleted into an error that says so."""
        try:
            yield
        except Exception as error:
            gone = [key for key in keys if not is_complete(self.tables, key, self.versions[key])]
            if not gone:
                raise
            key = gone[0]
            raise TableError(
                f"{key} can no longer be read as of version {self.versions[key]}: its files are "
                f"past the retention of {self.settings.retention_days} days; "
                f"the oldest version that can be read is {self._oldest(key)}"
            ) from error

    def _oldest(self, key: str) -> int:
        unpinned = replace(self.tables, versions={})
        known = unpinned.kept_versions(key)
        return int(next(v for v in known if is_complete(unpinned, key, v)))


def is_complete(tables: Tables, key: str, version: int) -> bool:
    """Whether the files of this version of a table are there. Raises TableError, StorageError."""
    paths = tables.delta(key, version).file_uris()
    if "://" not in tables.root:
        return all(os.path.exists(path) for path in paths)
    with in_words(tables.root):
        return tables.files.below(tables.path(key)).keys() >= set(paths)
