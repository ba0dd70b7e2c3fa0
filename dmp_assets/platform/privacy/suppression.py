"""Who was forgotten, so that no source brings them back: keyed hashes, and no id.

`$DMP_HOME/forgotten.json` holds kind of identifier → HMAC-SHA256 (RFC 2104) of each id by a secret
of the home, without which nobody can try ids out. What lands in a raw table is compared with it.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.config import secret_files
from dmp_assets.platform.lake.columns import Columns
from dmp_assets.platform.values.numerals import INVISIBLE
from dmp_assets.platform.values.words import SPACES

SECRET = "suppression_key"  # noqa: S105 # nosec B105 - its name
_BLOCK = 64  # bytes that SHA-256 takes at once
_NOTHING = dict.fromkeys(map(ord, INVISIBLE))


class SuppressionError(UserError):
    """The list of who was forgotten cannot be used; the message says how to put that right."""


def normal(text: str) -> str:
    """An id without what may stand around it and cannot be seen."""
    return text.translate(_NOTHING).strip(SPACES)


@dataclass(frozen=True)
class Suppressed:
    """The list of a home. `hashes`: kind of identifier → the hash of each id, hexadecimal."""

    key: bytes = field(repr=False, default=b"")
    hashes: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, home: Home) -> "Suppressed":
        """Raises SuppressionError for a list that cannot be read, or that another secret made."""
        file = _file(home)
        try:
            found = json.loads(file.read_text())
            hashes = {name: frozenset(marks) for name, marks in found["hashes"].items()}
            keyed_by = str(found["keyed_by"])
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SuppressionError(
                f"{file} cannot be read, and without it sources would bring back who was "
                "forgotten: restore it from a backup"
            ) from error
        key = _key(home)
        if not hmac.compare_digest(keyed_by, _hash(key, "", "")):
            raise SuppressionError(
                f"{file} was made with another secret than {home.secrets / SECRET}: restore that "
                "from the same backup (`dmp restore --trust`), or remove the list and `dmp forget` "
                "its people again"
            )
        return cls(key, hashes)

    def without(self, frame: Any, columns: Columns, told: Callable[[int], None]) -> Any:
        """The rows of Arrow data or of a Spark DataFrame that are of nobody who was forgotten.

        A row is of all whom its columns with a `subject` name. `told` hears how many others there
        are, of a reader of batches once it is at its end, and only where there are any.
        """
        subjects = {
            name: column.subject
            for name, column in columns.items()
            if column.subject in self.hashes
        }
        if not subjects:
            return frame
        if isinstance(frame, pa.Table):
            kept = self._kept(frame, subjects)
            _tell(told, frame.num_rows - kept.num_rows)
            return kept
        if isinstance(frame, pa.RecordBatchReader):
            return pa.RecordBatchReader.from_batches(
                frame.schema, self._batches(frame, subjects, told)
            )
        there = {name: kind for name, kind in subjects.items() if name in frame.columns}
        return self._kept_by_spark(frame, there, told) if there else frame

    def _kept(self, rows: Any, subjects: Mapping[str, str | None]) -> Any:
        """The rows of an Arrow table or batch."""
        for name, subject in subjects.items():
            if name in rows.schema.names and rows.num_rows:
                gone = self._gone(rows.column(name), str(subject))
                rows = rows.filter(pc.invert(gone))
        return rows

    def _gone(self, column: Any, subject: str) -> pa.Array:
        values = column.to_pylist()
        texts = {one for value in values for one in _texts(value)}
        bad = {one for one in texts if _hash(self.key, subject, one) in self.hashes[subject]}
        return pa.array([any(one in bad for one in _texts(value)) for value in values], pa.bool_())

    def _batches(
        self,
        reader: pa.RecordBatchReader,
        subjects: Mapping[str, str | None],
        told: Callable[[int], None],
    ) -> Iterator[pa.RecordBatch]:
        gone = 0
        for batch in reader:
            kept = self._kept(batch, subjects)
            gone += batch.num_rows - kept.num_rows
            yield kept
        _tell(told, gone)

    def _kept_by_spark(
        self, frame: Any, subjects: Mapping[str, str | None], told: Callable[[int], None]
    ) -> Any:
        """By a join with a table of hashes: none of them is a literal of the plan or its log."""
        from pyspark.sql import functions as F

        columns, gone = frame.columns, F.lit(False)
        for number, (name, subject) in enumerate(subjects.items()):
            mark, hashed = f"_mark_{number}", f"_hash_{number}"
            marks, column = sorted(self.hashes[str(subject)]), F.col(f"`{name}`")
            several = frame.schema[name].dataType.typeName() == "array"
            table = pa.table({mark: [marks] if several else marks})
            listed = F.broadcast(frame.sparkSession.createDataFrame(table))
            if several:
                frame = frame.withColumn(hashed, F.transform(column, self._hashed(str(subject))))
                frame = frame.join(listed, how="cross")
                meets = F.arrays_overlap(hashed, mark)
                gone = gone | F.coalesce(meets, F.lit(False))
            else:
                frame = frame.withColumn(hashed, self._hashed(str(subject))(column))
                frame = frame.join(listed, F.col(hashed) == F.col(mark), "left")
                gone = gone | F.col(mark).isNotNull()
        _tell(told, frame.where(gone).count())
        return frame.where(~gone).select(*(F.col(f"`{name}`") for name in columns))

    def _hashed(self, subject: str) -> Callable[[Any], Any]:
        """By which value of this subject, as a column of Spark's, its hash is found."""
        return lambda value: _hash_in_spark(self.key, subject, value)


def add(home: Home, subject: str, ids: Collection[str]) -> int:
    """Put these on the list; how many were not on it before. Raises SuppressionError."""
    file = _file(home)
    with whole_file.changing(file):
        known, key = Suppressed.of(home), _key(home)
        before = known.hashes.get(subject, frozenset())
        after = before | {_hash(key, subject, one) for one in ids}
        hashes = {name: sorted(marks) for name, marks in {**known.hashes, subject: after}.items()}
        text = json.dumps({"keyed_by": _hash(key, "", ""), "hashes": hashes}, indent=1)
        whole_file.write(file, text + "\n")
    return len(after) - len(before)


def _tell(told: Callable[[int], None], gone: int) -> None:
    if gone:
        told(gone)


def _texts(value: Any) -> Iterator[str]:
    for one in value if isinstance(value, list) else (value,):
        if one is not None:
            yield str(one)


def _file(home: Home) -> Path:
    return home.root / "forgotten.json"


def _key(home: Home) -> bytes:
    return bytes.fromhex(secret_files.of(home, SECRET, lambda: secrets.token_hex(32)))


def _hash(key: bytes, subject: str, text: str) -> str:
    return hmac.new(key, f"{subject}\0{normal(text)}".encode(), hashlib.sha256).hexdigest()


def _hash_in_spark(key: bytes, subject: str, column: Any) -> Any:
    """The same by Spark's own functions, which know SHA-256 and no HMAC."""
    from pyspark.sql import functions as F

    padded = key.ljust(_BLOCK, b"\0")
    inner, outer = (bytearray(byte ^ pad for byte in padded) for pad in (0x36, 0x5C))
    text = F.trim(F.translate(column, INVISIBLE, ""), F.lit(SPACES)).cast("binary")
    within = F.sha2(F.concat(F.lit(inner), F.lit(bytearray(f"{subject}\0".encode())), text), 256)
    return F.sha2(F.concat(F.lit(outer), F.unhex(within)), 256)
