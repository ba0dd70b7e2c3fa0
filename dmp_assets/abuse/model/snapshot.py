"""The snapshot: all known accounts as a service needs them to score in milliseconds, as files.

    serving/current                name of the version to read
    serving/<version>/accounts.arrow   VIEW, FEATURES and `codes`, one row per account
    serving/<version>/index.arrow      keys (see `keys`), and accounts in the order of each key

Rows are sorted by (created_at, user_id), so that a row's number is its place in time. The files
are read whole and compared with their hashes: one that is cut short or changed afterwards does
nothing to who has read it, and one that was before is not taken.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.abuse.model import features, keys
from dmp_assets.abuse.model.features import Floats
from dmp_assets.abuse.model.view import VIEW, account_view_sql
from dmp_assets.platform.base import whole_file

if TYPE_CHECKING:
    import duckdb

BATCH = 20_000
VERSIONS_KEPT = 2
"""The one that is read, and the one before, which a slow reader may just have chosen."""
FILES = ("accounts.arrow", "index.arrow")
TOTALS = tuple(name for name in VIEW.names if name.split("_")[0] == "accounts")
"""Columns of the view that speak of the shop as a whole."""
ACCOUNTS = pa.schema(
    [
        *VIEW,
        *[(f"f_{name}", pa.float64()) for name in features.NAMES],
        ("codes_used", pa.list_(pa.string())),
    ]
)
Numbers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.uint8]

_SNAPSHOT = f"""
SELECT v.*, epoch_us(u.created_at) AS created_us, u.codes_used, {", ".join(keys.NAMES)},
    {keys.key_sql("v.user_id")} AS user_key
FROM account_view v
JOIN (
    SELECT user_id, created_at, c.codes_used,
        {", ".join(f"{keys.key_sql(text)} AS {name}" for name, text in keys.SQL.items())}
    FROM cleaned.users
    LEFT JOIN (
        SELECT user_id, list(DISTINCT promo_code) AS codes_used FROM cleaned.promo_usages
        GROUP BY user_id
    ) c USING (user_id)
) u USING (user_id)
ORDER BY created_us, v.user_id
"""
"""All of a snapshot's columns, of the account view as a table."""


class SnapshotError(Exception):
    """A snapshot that cannot be read; the message says what to do."""


def rows(connection: "duckdb.DuckDBPyConnection", salt: str = "") -> Iterator[pa.RecordBatch]:
    """What `write` takes, in its order, with keys made by `salt`.

    Needs the view's tables and `zone_country` as relations.
    The view is a temporary table first, which DuckDB can put aside on disk: as a part of one query
    it took over a gigabyte for a million accounts.
    """
    connection.execute("SET preserve_insertion_order = false")
    if salt:
        connection.execute(f"SET VARIABLE {keys.SQL_VARIABLE} = ?", [salt])
    else:
        connection.execute(f"RESET VARIABLE {keys.SQL_VARIABLE}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE account_view AS {account_view_sql()}")
    return iter(connection.sql(_SNAPSHOT).to_arrow_reader(BATCH))


def write(
    folder: Path,
    version: str,
    batches: Iterator[pa.RecordBatch],
    made_at: datetime,
    salt: str = "",
) -> int:
    """Write a version of what `rows` gives and make it the current one; its rows.

    `salt`: by which the keys in the rows were made.
    """
    target, part = folder / version, folder / f".{version}.part"
    shutil.rmtree(part, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    part.mkdir(mode=0o700)
    created: list[Numbers] = []
    hashed: dict[str, list[Keys]] = {name: [] for name in (*keys.NAMES, "user_key")}
    totals: dict[str, int] = dict.fromkeys(TOTALS, 0)
    with pa.ipc.new_file(str(part / "accounts.arrow"), ACCOUNTS) as out:
        for batch in batches:
            table = pa.table(batch)
            view = table.select(VIEW.names).cast(VIEW)
            found = features.matrix(view)
            for name, values in zip(features.NAMES, found.T, strict=True):
                view = view.append_column(f"f_{name}", pa.array(values, from_pandas=True))
            view = view.append_column("codes_used", table["codes_used"]).cast(ACCOUNTS)
            out.write_table(view.combine_chunks())
            created.append(table["created_us"].to_numpy().astype(np.int64))
            for name, parts in hashed.items():
                parts.append(table[name].to_numpy().astype(np.uint64))
            totals = {name: view[name][0].as_py() for name in TOTALS}
    columns: dict[str, Any] = {"created": _joined(created, np.int64)}
    for name, parts in hashed.items():
        values = _joined(parts, np.uint64)
        order = np.argsort(values, kind="stable").astype(np.uint32)
        columns |= {name: values, f"order_{name}": order, f"sorted_{name}": values[order]}
    table = pa.table(columns).combine_chunks()
    with pa.ipc.new_file(str(part / "index.arrow"), table.schema) as out:
        out.write_table(table)
    noted = {
        "version": version, "made_at": made_at.isoformat(), "accounts": table.num_rows,
        "totals": totals, "features": features.NAMES, "keys": keys.NAMES,
        "keyed_by": keys.key_of("", salt) if salt else None,
        "sha256": {name: _hash((part / name).read_bytes()) for name in FILES},
    }  # fmt: skip
    (part / "snapshot.json").write_text(json.dumps(noted))
    for file in part.iterdir():  # a power cut leaves the old version or the whole new one
        file.chmod(0o600)
        with file.open("rb") as written:
            os.fsync(written.fileno())
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    whole_file.write(folder / "current", version, mode=None)
    _forget_old(folder, keep=version)
    return int(table.num_rows)


def _hash(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()


def _joined(parts: list[Any], kind: Any) -> Any:
    return np.concatenate(parts) if parts else np.empty(0, kind)


def _forget_old(folder: Path, keep: str) -> None:
    made = sorted(
        (path.parent for path in folder.glob("*/snapshot.json")),
        key=lambda path: (path.name == keep, path.stat().st_mtime),
    )
    for old in made[:-VERSIONS_KEPT]:
        shutil.rmtree(old)


def current(folder: Path) -> str | None:
    """The version to read; None before the first."""
    try:
        return (folder / "current").read_text().strip()
    except FileNotFoundError:
        return None


@dataclass
class Snapshot:
    """An opened version. `salt`: by which its keys are made; `verified`: see `identity.witness`."""

    version: str
    made_at: datetime
    totals: dict[str, int]
    size: int
    created: Numbers
    keys: tuple[Keys, ...]
    ordered: tuple[tuple[Keys, Rows], ...]
    users: tuple[Keys, Rows]
    verified: Flags
    batches: tuple[pa.RecordBatch, ...] = ()
    starts: Numbers = field(default_factory=lambda: np.empty(0, np.int64))
    salt: str = ""

    def key_of(self, text: str) -> int:
        """The key of a text in this snapshot."""
        return keys.key_of(text, self.salt)

    def key(self, name: str) -> Keys:
        """The key of every row."""
        return self.keys[keys.POSITION[name]]

    def rows_of(self, position: int, key: int) -> Rows:
        """Rows that have this key at a position of `keys.NAMES`, in order of time."""
        ordered, rows = self.ordered[position]
        wanted = np.uint64(key)
        return rows[ordered.searchsorted(wanted) : ordered.searchsorted(wanted, "right")]

    def row_of(self, user_id: str) -> int | None:
        """The row of a user; None when there is none."""
        ordered, rows = self.users
        wanted = np.uint64(self.key_of(user_id))
        place = int(ordered.searchsorted(wanted))
        while place < len(ordered) and ordered[place] == wanted:
            row = int(rows[place])
            if self.id_of(row) == user_id:
                return row
            place += 1
        return None

    def _place(self, row: int) -> tuple[pa.RecordBatch, int]:
        number = int(self.starts.searchsorted(row, "right")) - 1
        return self.batches[number], row - int(self.starts[number])

    def id_of(self, row: int) -> str:
        batch, place = self._place(row)
        return str(batch.column(0)[place].as_py())

    def view_of(self, row: int) -> dict[str, Any]:
        """The row's account view, and `codes_used`."""
        batch, place = self._place(row)
        held = [name for name in (*VIEW.names, "codes_used") if name in batch.schema.names]
        found = batch.slice(place, 1).select(held).to_pylist()[0]
        return {**{name: self.totals[name] for name in TOTALS}, **found}

    def value_of(self, row: int, column: str) -> Any:
        """One column of the row."""
        batch, place = self._place(row)
        return batch.column(column)[place].as_py()

    def feature_batches(self) -> Iterator[Floats]:
        """The features of all rows in order, batch by batch."""
        for batch in self.batches:
            yield _matrix_of(batch)

    def features_of(self, row: int) -> Floats:
        """The features of one row, shape (1, features)."""
        batch, place = self._place(row)
        return _matrix_of(batch.slice(place, 1))


def _matrix_of(batch: pa.RecordBatch) -> Floats:
    return np.column_stack([features.numbers(batch.column(f"f_{name}")) for name in features.NAMES])


def _verified(batch: pa.RecordBatch) -> Flags:
    email, phone = (
        np.asarray(pc.fill_null(batch.column(name), False).cast(pa.uint8()))
        for name in ("is_email_verified", "is_phone_verified")
    )
    return np.asarray(email + 2 * phone, np.uint8)


EMPTY = Snapshot(
    version="none",
    made_at=datetime(1970, 1, 1, tzinfo=UTC),
    totals=dict.fromkeys(TOTALS, 0),
    size=0,
    created=np.empty(0, np.int64),
    keys=tuple(np.empty(0, np.uint64) for _ in keys.NAMES),
    ordered=tuple((np.empty(0, np.uint64), np.empty(0, np.uint32)) for _ in keys.NAMES),
    users=(np.empty(0, np.uint64), np.empty(0, np.uint32)),
    verified=np.empty(0, np.uint8),
)
"""A shop without accounts: what is served before the first snapshot."""


def open_current(folder: Path, salt: str = "") -> Snapshot:
    """The current version; `EMPTY` before the first.

    A version of before there were secrets is opened as it is; a count of the whole shop that it
    does not have is 0, of which no feature speaks. Raises SnapshotError for files that are damaged,
    made with another secret, or of another version of this program.
    """
    version = current(folder)
    if version is None:
        return EMPTY
    place = folder / version
    try:
        noted = json.loads((place / "snapshot.json").read_text())
        if noted["features"] != list(features.NAMES) or noted["keys"] != list(keys.NAMES):
            raise SnapshotError(
                f"the snapshot {version} is of another version of this program: materialize "
                "published/account_snapshot"
            )
        if (keyed_by := noted.get("keyed_by")) not in (None, keys.key_of("", salt)):
            raise SnapshotError(
                f"the snapshot {version} was made with the secret of another home: materialize "
                "published/account_snapshot"
            )
        hashes = noted.get("sha256", {})
        index = pa.ipc.open_file(_content(place / "index.arrow", hashes)).read_all()
        accounts = pa.ipc.open_file(_content(place / "accounts.arrow", hashes))
        batches = tuple(accounts.get_batch(n) for n in range(accounts.num_record_batches))
        if lacking := set(ACCOUNTS.names) - set(accounts.schema.names) - set(TOTALS):
            raise SnapshotError(
                f"the snapshot {version} is of another version of this program, which had no "
                f"{min(lacking)}: materialize published/account_snapshot"
            )
    except (OSError, ValueError, KeyError, pa.ArrowInvalid) as error:
        raise SnapshotError(
            f"the snapshot {place} cannot be read ({type(error).__name__}): materialize "
            "published/account_snapshot"
        ) from error

    def array(name: str) -> Any:
        column = index[name]
        if column.num_chunks == 0:
            return np.empty(0, column.type.to_pandas_dtype())
        return column.chunk(0).to_numpy(zero_copy_only=True)

    return Snapshot(
        version=version,
        made_at=datetime.fromisoformat(noted["made_at"]),
        totals=dict.fromkeys(TOTALS, 0) | noted["totals"],
        size=index.num_rows,
        created=array("created"),
        keys=tuple(array(name) for name in keys.NAMES),
        ordered=tuple((array(f"sorted_{name}"), array(f"order_{name}")) for name in keys.NAMES),
        users=(array("sorted_user_key"), array("order_user_key")),
        verified=_joined([_verified(batch) for batch in batches], np.uint8),
        batches=batches,
        salt="" if keyed_by is None else salt,
        starts=np.cumsum([0, *(batch.num_rows for batch in batches)])[:-1].astype(np.int64),
    )


def _content(file: Path, hashes: Mapping[str, str]) -> pa.Buffer:
    """A file's content. Raises ValueError for one that is not as it was written."""
    with pa.OSFile(str(file)) as opened:
        content = opened.read_buffer()
    if hashes and _hash(content) != hashes.get(file.name):
        raise ValueError(f"{file.name} is damaged")
    return content


def is_keyed(folder: Path) -> bool:
    """Whether the current version's keys are made with a salt."""
    version = current(folder)
    try:
        noted = json.loads((folder / str(version) / "snapshot.json").read_text())
    except (OSError, ValueError):
        return False
    return noted.get("keyed_by") is not None
