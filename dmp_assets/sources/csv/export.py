"""CSV exports: how a file is written is found out, its header checked, what was wrong is said.

Files are streamed; what was found is said in `notes`.
"""

import codecs
import hashlib
import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg

from dmp_assets.platform.cleaning.received import ReceivedColumns, required
from dmp_assets.sources.csv import header as csv_header
from dmp_assets.sources.csv.binary import binary_kind
from dmp_assets.sources.csv.reading import HeaderError, Naming, Reading
from dmp_assets.sources.csv.text import BLOCK, QUOTING, CsvExport, Utf8Blocks
from dmp_assets.sources.shop.connection import ShopError

__all__ = [
    "CsvExport",
    "FileLoad",
    "Utf8Blocks",
    "inspect",
    "stray_quote",
    "unused",
    "why_not_csv",
]


@dataclass(frozen=True)
class FileLoad:
    """One CSV file of a load. `replaced` counts characters that became U+FFFD.

    `remarks` say what was put right in its text, `notes` how it was read.
    """

    name: str
    table: str
    sha256: str
    rows: int
    loaded: bool
    replaced: int = 0
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def left_alone(cls, file: CsvExport) -> "FileLoad":
        """Of a file that was loaded before."""
        return cls(file.name, file.table, file.sha256, 0, loaded=False)

    @classmethod
    def done(cls, file: CsvExport, rows: int, text: Utf8Blocks) -> "FileLoad":
        """Of a file whose text was loaded. Raises ShopError when it changed meanwhile."""
        if text.digest.hexdigest() != file.digest:
            raise ShopError(
                f"{file.name} changed while it was read; load it again when it is complete"
            )
        return cls(
            file.name, file.table, file.sha256, rows, loaded=True, replaced=text.replaced,
            remarks=text.remarks, notes=file.notes,
        )  # fmt: skip

    def __str__(self) -> str:
        done = f"{self.rows:,} rows" if self.loaded else "there already, left alone"
        return "\n  ".join((f"{self.name}: {'; '.join((done, *self.remarks))}", *self.notes))


def inspect(
    path: Path,
    table: str,
    *,
    known: ReceivedColumns,
    elsewhere: Collection[str],
    reserved: Sequence[str],
    keeps_others: bool,
    reading: Reading | None = None,
) -> CsvExport:
    """Find out how the export of a table is written; raises ShopError naming what is wrong.

    `known` are the table's columns, `elsewhere` the names of all tables' columns. Where others are
    kept, their names must be such as a new column can have.
    """
    reading = reading or Reading()
    try:
        with path.open("rb") as file:
            _check_text(file, path.name, reading)
            encoding, digest = _look_through(file, path.name, reading.encoding)
        with path.open(encoding=encoding, errors="replace", newline="") as text:
            header = csv_header.parse(table, _start(text), known, elsewhere, reading)
    except OSError as error:
        raise ShopError(f"{path} cannot be read: {error.strerror}") from error
    except HeaderError as error:
        raise ShopError(str(error)) from error
    _check(path.name, header, known, reserved, keeps_others)
    said = [reading.delimiter, sorted((naming.target, naming.name) for naming in reading.names)]
    said += [reading.encoding] if reading.encoding else []
    told = bool(reading.delimiter or header.applied or reading.encoding)
    export = CsvExport(
        path, table, header.columns,
        hashlib.sha256((digest + json.dumps(said)).encode()).hexdigest() if told else digest,
        digest, header.delimiter, encoding, header.notes, header.given, header.applied,
        frozenset(
            place for place, column in enumerate(header.columns)
            if column in known and known[column].traits.is_key
        ),
        header.nameless, header.nameless,
    )  # fmt: skip
    if encoding == "utf-8" or reading.encoding:
        return export
    otherwise = "; if it is written otherwise, add --encoding" if encoding == "cp1252" else ""
    return export.noted(f"read as {export.read_as}, not UTF-8{otherwise}")


def _check_text(file: IO[bytes], name: str, reading: Reading) -> None:
    """Raise ShopError for what is no text, unless people say how it is written."""
    kind = binary_kind(file.read(4096))
    file.seek(0)
    if kind and not (reading.delimiter or reading.encoding):
        raise ShopError(f"{name} is {kind}")


def _start(text: Iterator[str]) -> Iterator[str]:
    """A file's lines without byte order mark and NULs."""
    for number, line in enumerate(text):
        line = line.replace("\0", "")
        yield line.removeprefix("\ufeff") if number == 0 else line


def unused(files: Sequence[CsvExport], reading: Reading) -> str | None:
    """What is wrong with `--map` when one is of no use in any file."""
    applied = {naming for file in files for naming in file.applied}
    wrong = [
        f"--map {naming}: {_why_unused(naming, files)}"
        for naming in reading.names
        if naming not in applied
    ]
    return "; ".join(wrong) or None


def _why_unused(naming: Naming, files: Sequence[CsvExport]) -> str:
    its = [file for file in files if naming.table in (None, file.table)]
    if not its:
        return f"there is no {naming.table}.csv"
    holders = [file for file in its if naming.name in file.given]
    if not holders:
        there = "; ".join(f"{file.name}: {', '.join(file.given)}" for file in its)
        return f"no file has a column of that name ({there})"
    own = [file.name for file in holders if naming.column in file.given]
    if own:
        return (
            f"not applied, as {', '.join(own)} has {naming.column} too; to take {naming.name!r} "
            f"for it, rename that one as well: --map other_{naming.column}={naming.column}"
        )
    told = [str(other) for file in holders for other in file.applied if other.table]
    if told:
        return f"not applied, as for the same file there is --map {', '.join(told)}"
    names = ", ".join(file.name for file in holders)
    return f"of what has a column {naming.name!r} ({names}) none has {naming.column}"


def _look_through(file: IO[bytes], name: str, encoding: str | None) -> tuple[str, str]:
    """(encoding, SHA-256): bytes that are no UTF-8 anywhere are Windows's if all can be.

    Raises ShopError for a byte that is not of the encoding that people say.
    """
    digest = hashlib.sha256()
    start = file.read(4096)
    file.seek(0)
    if encoding:
        for block in _decodable(file, name, encoding):
            digest.update(block)
        return encoding, digest.hexdigest()
    utf8_seen, other_seen, windows = False, False, True
    while block := file.read(BLOCK) + file.readline():
        digest.update(block)
        if block.isascii():
            continue
        windows = windows and b"\0" not in block and not set(block) & _NOT_IN_WINDOWS
        for line in [block] if _is_utf8(block) else io.BytesIO(block):
            if not line.isascii():
                sound = _is_utf8(line)
                utf8_seen, other_seen = utf8_seen or sound, other_seen or not sound
    found = "utf-8"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        found = "utf-16"
    elif start[:2] and len(start) > 3 and not any(start[1:64:2]):
        found = "utf-16-le"
    elif len(start) > 3 and not any(start[0:64:2]):
        found = "utf-16-be"
    elif other_seen and windows and not utf8_seen:
        found = "cp1252"
    return found, digest.hexdigest()


_NOT_IN_WINDOWS = frozenset(b"\x81\x8d\x8f\x90\x9d")


def _decodable(file: IO[bytes], name: str, encoding: str) -> Iterator[bytes]:
    """The file's blocks. Raises ShopError where one is not of the encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    while True:
        block = file.read(BLOCK) + file.readline()
        try:
            line += _breaks(decoder.decode(block, final=not block))
        except UnicodeDecodeError as error:
            line += _breaks(error.object[: error.start].decode(encoding, "replace"))
            raise ShopError(
                f"{name} line {line}: byte 0x{error.object[error.start]:02X} is not {encoding} "
                f"({error.reason}); name the encoding that the file is written in"
            ) from error
        except UnicodeError as error:
            raise ShopError(
                f"{name} is not {encoding} (from line {line}: {error}); name the encoding that the "
                "file is written in"
            ) from error
        if not block:
            return
        yield block


def _breaks(text: str) -> int:
    return text.count("\n") or text.count("\r")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check(
    file: str,
    header: csv_header.Header,
    known: ReceivedColumns,
    reserved: Sequence[str],
    keeps_others: bool,
) -> None:
    has = f"(it has: {', '.join(header.given)})"
    for column in required(known):
        if column not in header.columns:
            raise ShopError(
                f"{file} lacks the required column {column} {has}"
                f"{csv_header.missing(column, known[column].aliases, header.given)}"
            )
    for place, column in enumerate(header.columns):
        if (not keeps_others and column not in known) or place in header.nameless:
            continue
        if not column:
            raise ShopError(
                f"{file}: column {place + 1} of {len(header.columns)} has no name {has}; name it "
                "in the header line, or remove the column"
            )
        if header.columns.count(column) > 1:
            raise ShopError(
                f"{file} has the column {column} twice {has}; rename one of them in the header line"
            )
        if len(column.encode()) > 63:
            raise ShopError(
                f"{file}: the name of column {place + 1} is over 63 bytes, more than PostgreSQL "
                f"takes: {column!r}; shorten it in the header line, or add --map "
                f"{csv_header.typed('SHORTER', column)}"
            )
        if column in reserved:
            raise ShopError(
                f"{file} has the column {column}, which is reserved; rename it, e.g. "
                f"--map shop{column}={column}"
            )


def open_quote(file: CsvExport) -> int | None:
    """The line on which a quote opens that never ends; None when each one ends."""
    line, opened = 1, None
    with file.path.open("rb") as source:
        text = Utf8Blocks(source, file)
        for block in text:
            for part in block.splitlines(keepends=True):
                if part.count(b'"') % 2:
                    opened = text.line(line) if opened is None else None
                line += part.endswith((b"\n", b"\r"))
    return opened


def why_not_csv(file: CsvExport, text: Utf8Blocks, error: psycopg.Error) -> str:
    """What PostgreSQL found wrong with a line, and what is expected; nothing of the line itself."""
    line = re.search(r"line (\d+)", error.diag.context or "")
    # The primary message names columns at most; DETAIL and CONTEXT quote the row.
    said = str(error.diag.message_primary or "")
    if "unterminated CSV quoted field" in said:
        return stray_quote(file)
    at = f" line {text.line(int(line[1]))}" if line else ""
    odd = "extra data" in said or "missing data" in said
    return f"{file.name}{at}: {said}" + (f" ({file.shape})" if odd else "")


def stray_quote(file: CsvExport) -> str:
    """That a quote never ends, and the line on which it opens."""
    line = open_quote(file)
    return f"{file.name} line {line or '?'}: unterminated CSV quoted field ({QUOTING})"
