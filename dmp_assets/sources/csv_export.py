"""CSV exports of a shop: their header is checked and their bytes made clean UTF-8, streaming."""

import codecs
import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dmp_assets.sources.shop_connection import ShopError

_BLOCK = 1 << 20


@dataclass(frozen=True)
class CsvExport:
    """A file whose header was checked. `sha256` is of its bytes."""

    path: Path
    table: str
    columns: tuple[str, ...]
    sha256: str

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
        return f"{self.name}: {done}"


def inspect(
    path: Path, table: str, *, required: Sequence[str], reserved: Sequence[str]
) -> CsvExport:
    """Hash the export of a table and check its header; raises ShopError naming what is wrong."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ShopError(f"{path.name} is UTF-16; save it as UTF-8 CSV")
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as text:
            header = [name.strip() for name in next(csv.reader(text), [])]
    except OSError as error:
        raise ShopError(f"{path} cannot be read: {error.strerror}") from error
    except csv.Error as error:
        raise ShopError(f"{path.name} line 1 is not CSV: {error}") from error
    if not header:
        raise ShopError(f"{path.name} is empty: not even a header line")
    has = f"(it has: {', '.join(header)})"
    for column in required:
        if column not in header:
            raise ShopError(f"{path.name} lacks the required column {column} {has}")
    for column in header:
        if header.count(column) > 1:
            raise ShopError(
                f"{path.name} has the column {column or '(without a name)'} twice {has}"
            )
        if not column or "\0" in column or len(column.encode()) > 63:
            raise ShopError(f"{path.name} has a column name that is empty or over 63 bytes {has}")
        if column in reserved:
            raise ShopError(f"{path.name} has the column {column}, which is reserved; rename it")
    return CsvExport(path, table, tuple(header), digest)


class Utf8Blocks:
    """A file's blocks as clean UTF-8: without BOM, trailing blank lines, bad bytes and NULs.

    After iterating, `digest` is the file's, `replaced` counts the characters that became U+FFFD
    and `replaced_line` is the first line that has one.
    """

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()
        self.replaced = 0
        self.replaced_line: int | None = None
        self._lines = 0

    def __iter__(self) -> Iterator[bytes]:
        held_back = b""
        first = True
        while block := self._source.read(_BLOCK) + self._source.readline():
            self.digest.update(block)
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
