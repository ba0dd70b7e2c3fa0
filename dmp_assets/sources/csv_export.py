"""CSV exports: how a file is written is found out, its header checked, its bytes made clean UTF-8.

Files are streamed; what was found is said in `notes`.
"""

import codecs
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import psycopg

from dmp_assets.sources import csv_header
from dmp_assets.sources.csv_header import DELIMITERS, HeaderError, Reading
from dmp_assets.sources.shop_connection import ShopError

_BLOCK = 1 << 20
_HEADER_LINES = 100  # a quoted name may hold line breaks


@dataclass(frozen=True)
class CsvExport:
    """A file whose header was checked.

    `columns` are our names in the file's order. `sha256` is of its bytes and of how people said
    that they are to be read; `digest` of its bytes alone.
    """

    path: Path
    table: str
    columns: tuple[str, ...]
    sha256: str
    digest: str
    delimiter: str = ","
    encoding: str = "utf-8"
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class FileLoad:
    """One CSV file of a load. `replaced` counts bytes that were no UTF-8 and became U+FFFD."""

    name: str
    table: str
    sha256: str
    rows: int
    loaded: bool
    replaced: int = 0
    replaced_line: int | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def left_alone(cls, file: CsvExport) -> "FileLoad":
        """Of a file that was loaded before."""
        return cls(file.name, file.table, file.sha256, 0, loaded=False)

    def __str__(self) -> str:
        done = f"{self.rows:,} rows" if self.loaded else "there already, left alone"
        if self.replaced:
            done += (
                f"; {self.replaced} unreadable characters (not UTF-8, first in line "
                f"{self.replaced_line}) were replaced by \N{REPLACEMENT CHARACTER}"
            )
        return "\n  ".join((f"{self.name}: {done}", *self.notes))


def inspect(
    path: Path,
    table: str,
    *,
    known: Sequence[str],
    required: Sequence[str],
    reserved: Sequence[str],
    reading: Reading | None = None,
) -> CsvExport:
    """Find out how the export of a table is written; raises ShopError naming what is wrong."""
    reading = reading or Reading()
    try:
        with path.open("rb") as file:
            encoding, digest = _look_through(file)
        with path.open(encoding=encoding, errors="replace", newline="") as text:
            start = [line.replace("\0", "") for line in islice(text, _HEADER_LINES)]
        if start:
            start[0] = start[0].removeprefix("\ufeff")
        header = csv_header.parse(path.name, start, known, reading)
    except OSError as error:
        raise ShopError(f"{path} cannot be read: {error.strerror}") from error
    except HeaderError as error:
        raise ShopError(str(error)) from error
    _check(path.name, header, required, reserved)
    notes = header.notes
    if encoding != "utf-8":
        notes = (f"read as {_SPOKEN[encoding]}, not UTF-8", *notes)
    said = json.dumps([reading.delimiter, sorted(reading.names.items())])
    told = bool(reading.delimiter or set(reading.names.values()) & set(header.given))
    return CsvExport(
        path, table, header.columns,
        hashlib.sha256((digest + said).encode()).hexdigest() if told else digest,
        digest, header.delimiter, encoding, notes,
    )  # fmt: skip


_SPOKEN = {
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "cp1252": "Windows-1252",
}


def unused(files: Sequence[CsvExport], reading: Reading) -> str | None:
    """What is wrong with `--map` when a name in it is in no file."""
    taken = {column for file in files for column in file.columns}
    wrong = [f"{column}={name}" for column, name in reading.names.items() if column not in taken]
    if not wrong:
        return None
    there = "; ".join(f"{file.name}: {', '.join(file.columns)}" for file in files)
    return f"--map {', '.join(wrong)}: no file has a column of that name ({there})"


def _look_through(file: IO[bytes]) -> tuple[str, str]:
    """(encoding, SHA-256): bytes that are no UTF-8 anywhere are Windows's if all can be."""
    digest = hashlib.sha256()
    start = file.read(4096)
    file.seek(0)
    utf8_seen, other_seen, windows = False, False, True
    while block := file.read(_BLOCK) + file.readline():
        digest.update(block)
        if block.isascii():
            continue
        windows = windows and b"\0" not in block and not set(block) & _NOT_IN_WINDOWS
        for line in [block] if _is_utf8(block) else io.BytesIO(block):
            if not line.isascii():
                sound = _is_utf8(line)
                utf8_seen, other_seen = utf8_seen or sound, other_seen or not sound
    encoding = "utf-8"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif start[:2] and len(start) > 3 and not any(start[1:64:2]):
        encoding = "utf-16-le"
    elif len(start) > 3 and not any(start[0:64:2]):
        encoding = "utf-16-be"
    elif other_seen and windows and not utf8_seen:
        encoding = "cp1252"
    return encoding, digest.hexdigest()


_NOT_IN_WINDOWS = frozenset(b"\x81\x8d\x8f\x90\x9d")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check(
    file: str, header: csv_header.Header, required: Sequence[str], reserved: Sequence[str]
) -> None:
    if not any(header.given):
        raise ShopError(f"{file} is empty: not even a header line")
    has = f"(it has: {', '.join(header.given)})"
    parted = "" if len(header.given) > 1 else "; if fields are parted otherwise, add --delimiter"
    for column in required:
        if column not in header.columns:
            raise ShopError(
                f"{file} lacks the required column {column} {has}"
                f"{csv_header.missing(column, header.given) or parted}"
            )
    for column in header.columns:
        if header.columns.count(column) > 1:
            raise ShopError(f"{file} has the column {column or '(without a name)'} twice {has}")
        if not column or "\0" in column or len(column.encode()) > 63:
            raise ShopError(f"{file} has a column name that is empty or over 63 bytes {has}")
        if column in reserved:
            raise ShopError(
                f"{file} has the column {column}, which is reserved; rename it, e.g. "
                f"--map shop{column}={column}"
            )


def open_quote(file: CsvExport) -> int | None:
    """The line on which a quote opens that never ends; None when each one ends."""
    line, opened = 1, None
    with file.path.open("rb") as source:
        for block in Utf8Blocks(source, file.encoding):
            for part in block.splitlines(keepends=True):
                if part.count(b'"') % 2:
                    opened = line if opened is None else None
                line += part.endswith((b"\n", b"\r"))
    return opened


def why_not_csv(file: CsvExport, error: psycopg.Error) -> str:
    """What PostgreSQL found wrong with a line, and what is expected; nothing of the line itself."""
    line = re.search(r"line (\d+)", error.diag.context or "")
    # The primary message names columns at most; DETAIL and CONTEXT quote the row.
    said = str(error.diag.message_primary or "")
    if "unterminated CSV quoted field" in said:
        return stray_quote(file)
    at = f" line {line[1]}" if line else ""
    count = f"expected are {len(file.columns)} fields, parted by {DELIMITERS[file.delimiter]}s"
    odd = "extra data" in said or "missing data" in said
    return f"{file.name}{at}: {said}" + (f" ({count}; {_QUOTING})" if odd else "")


_QUOTING = (
    'a field that holds a delimiter, a quote or a line break stands in "…", a quote in it is ""'
)


def stray_quote(file: CsvExport) -> str:
    """That a quote never ends, and the line on which it opens."""
    line = open_quote(file)
    return f"{file.name} line {line or '?'}: unterminated CSV quoted field ({_QUOTING})"


class Utf8Blocks:
    """A file's blocks as clean UTF-8: without BOM, trailing blank lines, bad bytes and NULs.

    After iterating, `digest` is the file's, `replaced` counts the characters that became U+FFFD
    and `replaced_line` is the first line that has one.
    """

    def __init__(self, source: IO[bytes], encoding: str = "utf-8") -> None:
        self._source, self._encoding = source, encoding
        self.digest = hashlib.sha256()
        self.replaced = 0
        self.replaced_line: int | None = None
        self._lines = 0

    def __iter__(self) -> Iterator[bytes]:
        held_back = b""
        first = True
        decoder = codecs.getincrementaldecoder(self._encoding)("replace")
        while block := self._source.read(_BLOCK) + self._source.readline():
            self.digest.update(block)
            if self._encoding != "utf-8":
                block = decoder.decode(block).encode()
            if first:
                block, first = block.removeprefix(codecs.BOM_UTF8), False
            block = held_back + self._readable(block)
            body = block.rstrip(b"\r\n")
            held_back = block[len(body) :]
            yield body
        yield b"\r\n" if held_back.startswith(b"\r\n") else held_back[:1]

    def _readable(self, block: bytes) -> bytes:
        try:
            block.decode()
            clean = b"\0" not in block
        except UnicodeDecodeError:
            clean = False
        if clean:
            self._lines += block.count(b"\n")
            return block
        lines = [self._repaired(line) for line in io.BytesIO(block)]
        return b"".join(lines)

    def _repaired(self, line: bytes) -> bytes:
        self._lines += 1
        text = line.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        bad = text.count("\N{REPLACEMENT CHARACTER}") - line.count(b"\xef\xbf\xbd")
        if bad:
            self.replaced += bad
            self.replaced_line = self.replaced_line or self._lines
        return text.encode()
