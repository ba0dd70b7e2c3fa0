"""The text of a CSV file: clean UTF-8 without blank lines, its lines numbered as in the file."""

import codecs
import hashlib
import io
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeVar

from dmp_assets.sources.csv.header import DELIMITERS
from dmp_assets.sources.csv.reading import Naming
from dmp_assets.sources.shop.connection import ShopError

Field = TypeVar("Field", bytes, str)

BLOCK = 1 << 20
QUOTING = (
    'a field that holds a delimiter, a quote or a line break stands in "…", a quote in it is ""'
)
_SPOKEN = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "cp1252": "Windows-1252",
}


@dataclass(frozen=True)
class CsvExport:
    """A file whose header was checked.

    `columns` are our names in the file's order, `given` the file's own. `left_out` are the places
    of columns that are not loaded; of these, the `nameless` hold nothing. `keys` are the places of
    ids and codes. `sha256` is of the file's bytes and of how people said that they are to be read;
    `digest` of its bytes alone.
    """

    path: Path
    table: str
    columns: tuple[str, ...]
    sha256: str
    digest: str
    delimiter: str = ","
    encoding: str = "utf-8"
    notes: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    applied: tuple[Naming, ...] = ()
    keys: frozenset[int] = frozenset()
    left_out: frozenset[int] = frozenset()
    nameless: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def loaded(self) -> tuple[str, ...]:
        """The columns that are loaded."""
        return tuple(self.kept(self.columns))

    @property
    def read_as(self) -> str:
        """What people call its encoding."""
        return _SPOKEN.get(self.encoding, self.encoding)

    @property
    def shape(self) -> str:
        """What a line is expected to be."""
        parted = DELIMITERS.get(self.delimiter)
        by = f"{parted}s" if parted else repr(self.delimiter)
        return f"expected are {len(self.columns)} fields, parted by {by}; {QUOTING}"

    def noted(self, note: str) -> "CsvExport":
        """The same, with one more note."""
        return replace(self, notes=(note, *self.notes))

    def without(self, places: frozenset[int], note: str) -> "CsvExport":
        """The same, with these columns left out, and a note of that."""
        return replace(self, left_out=self.left_out | places, notes=(*self.notes, note))

    def named(self, names: Mapping[int, str]) -> "CsvExport":
        """The same, with other names for the columns at these places."""
        columns = tuple(names.get(place, name) for place, name in enumerate(self.columns))
        return replace(self, columns=columns)

    def kept(self, fields: Sequence[Field]) -> Sequence[Field]:
        """Of a row's fields those that are loaded."""
        if not self.left_out:
            return fields
        return [field for place, field in enumerate(fields) if place not in self.left_out]

    def picked(self, fields: Sequence[Field], line: int) -> Sequence[Field]:
        """Of a row's fields those that are loaded.

        Raises ShopError for a row of another length, unless what is missing or there is of columns
        without a name and nothing; and for a value in such a column.
        """
        count = len(self.columns)
        if not count - len(self.nameless) <= len(fields) <= count:
            raise ShopError(
                f"{self.name} line {line}: {len(fields)} values for {count} columns ({self.shape})"
            )
        for place in self.nameless:
            if place < len(fields) and _holds(fields[place]):
                raise ShopError(
                    f"{self.name} line {line}: column {place + 1} holds a value, but the header "
                    "has no name for it: name it there, or remove the column"
                )
        return self.kept(fields)


def _holds(field: bytes | str) -> bool:
    return bool(field.strip(b'" \t') if isinstance(field, bytes) else field.strip('" \t'))


class _Lines:
    """Numbers of a text's lines before some were left out of it."""

    def __init__(self) -> None:
        self._after: list[int] = []
        self._gone: list[int] = []

    def left_out(self, after: int, count: int) -> None:
        """`count` lines are gone behind the line `after` of what remains."""
        gone = (self._gone[-1] if self._gone else 0) + count
        if self._after and self._after[-1] == after:
            self._gone[-1] = gone
        else:
            self._after.append(after)
            self._gone.append(gone)

    def before(self, line: int) -> int:
        """The number that a line of what remains had."""
        place = bisect_right(self._after, line - 1)
        return line + (self._gone[place - 1] if place else 0)


class Utf8Blocks:
    """A file's blocks as clean UTF-8: without BOM, blank lines, bad bytes and NULs.

    A block ends with a line. After iterating, `digest` is the file's, `replaced` counts the
    characters that became U+FFFD and `remarks` says what was done. Iterating raises ShopError where
    such a character is in an id or a code: two of them would become one.

    A quote within a field opens one, as PostgreSQL has it, or with `letters` is a letter of a field
    that does not begin with one, as Python has it.
    """

    letters = False

    def __init__(self, source: IO[bytes], file: CsvExport) -> None:
        self._source, self._file = source, file
        self.digest = hashlib.sha256()
        self._unreadable, self._first_unreadable = 0, 0
        self._nuls, self._first_nul = 0, 0
        self._blank = 0
        self._line = 0  # of the file
        self._given = 0  # lines given on
        self._end = b""
        self._in_header, self._open, self._place = True, False, 0
        self._signs = re.compile(f'["\0\udc80-\udcff{re.escape(file.delimiter)}]')
        self._lines, self._picked_lines = _Lines(), _Lines()

    @property
    def replaced(self) -> int:
        """How many characters became U+FFFD."""
        return self._unreadable + self._nuls

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was found and put right, for people."""
        said = []
        if self._unreadable:
            said.append(
                f"{_replaced('unreadable character', self._unreadable)} (not "
                f"{self._file.read_as}, first in line {self._first_unreadable})"
            )
        if self._nuls:
            said.append(
                f"{_replaced('NUL character', self._nuls)} (U+0000, first in line "
                f"{self._first_nul})"
            )
        if count := self._blank:
            said.append(f"{count:,} blank line{'s were' if count > 1 else ' was'} left out")
        return tuple(said)

    def line(self, number: int) -> int:
        """Which line of the file a line of this text is."""
        return self._lines.before(self._picked_lines.before(number))

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for block in self._decoded():
            if not self._end:
                self._end = b"\r" if b"\r" in block and b"\n" not in block else b"\n"
            rest += block
            if end := self._whole_rows(rest):
                yield self._clean(rest[:end])
                rest = rest[end:]
        if rest:
            yield self._clean(rest)

    def _whole_rows(self, text: bytes) -> int:
        """Where the last row ends that is whole; the last line where a row is longer than that."""
        last = begin = text.rfind(self._end) + 1
        if self._open:
            return last
        quotes = text.count(b'"', 0, last) % 2
        while quotes and begin:  # back to the line that opens what is open at the end
            line = text.rfind(self._end, 0, begin - 1) + 1
            quotes ^= text.count(b'"', line, begin) % 2
            begin = line
        return begin or last

    def picked(self) -> Iterator[bytes]:
        """The blocks without the columns that are left out. Raises ShopError, as `file.picked`."""
        if not self._file.left_out:
            yield from self
            return
        record: list[bytes] = []
        is_open, read, given = False, 0, 0
        for block in self:
            rows = []
            for part in _parted(block, self._end):
                record.append(part)
                is_open ^= part.count(b'"') % 2 == 1
                if is_open:
                    continue
                row = self._row(b"".join(record), read + 1)
                rows.append(row)
                lines = max(row.count(self._end), 1)
                given += lines
                read += len(record)
                if len(record) > lines:
                    self._picked_lines.left_out(given, len(record) - lines)
                record = []
            yield b"".join(rows)
        yield b"".join(record)

    def _row(self, record: bytes, line: int) -> bytes:
        body = record.rstrip(b"\r\n")
        delimiter = self._file.delimiter.encode()
        parts = body.split(b'"')
        parts[::2] = [part.replace(delimiter, b"\0") for part in parts[::2]]
        fields = b'"'.join(parts).split(b"\0")
        return (
            delimiter.join(self._file.picked(fields, self._lines.before(line)))
            + (record[len(body) :])
        )

    def _decoded(self) -> Iterator[bytes]:
        """UTF-8, but for bytes that are none; the bad bytes of other encodings are such a byte."""
        decoder = codecs.getincrementaldecoder(self._file.encoding)(_BAD)
        first = True
        while True:
            block = self._source.read(BLOCK) + self._source.readline()
            self.digest.update(block)
            final = not block
            if self._file.encoding != "utf-8":
                text = _SURROGATES.sub("\udcff", decoder.decode(block, final))
                block = text.encode("utf-8", "surrogateescape")
            if first and block:
                block, first = block.removeprefix(codecs.BOM_UTF8), False
            if block:
                yield block
            if final:
                return

    def _clean(self, block: bytes) -> bytes:
        if not self._is_clean(block):
            return b"".join(self._cleaned(line) for line in _parted(block, self._end))
        lines = block.count(self._end) + (not block.endswith(self._end))
        self._line += lines
        self._given += lines
        self._in_header = False
        return block

    def _is_clean(self, block: bytes) -> bool:
        """Whether nothing in it is to be changed and it ends where a row does."""
        if self._open or b"\0" in block or block.count(b'"') % 2:
            return False
        if block.startswith((self._end, b"\r\n")) or any(e in block for e in _BLANK[self._end]):
            return False
        try:
            block.decode()
        except UnicodeDecodeError:
            return False
        return True

    def _cleaned(self, line: bytes) -> bytes:
        self._line += 1
        if not self._open and not line.strip(b"\r\n"):
            self._blank += 1
            self._lines.left_out(self._given, 1)
            return b""
        self._given += 1
        text = line.decode("utf-8", "replace")
        nuls = text.count("\0")
        bad = text.count("\N{REPLACEMENT CHARACTER}") - line.count(b"\xef\xbf\xbd")
        if nuls or bad or self._open or b'"' in line:
            self._walk(line.decode("utf-8", "surrogateescape"))
        if not self._open:
            self._in_header = False
        if bad:
            self._unreadable += bad
            self._first_unreadable = self._first_unreadable or self._line
        if nuls:
            self._nuls += nuls
            self._first_nul = self._first_nul or self._line
        return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode() if nuls or bad else line

    def _walk(self, line: str) -> None:
        """Follow quotes and delimiters; raises ShopError for a bad character in a key."""
        begin = -1 if self._open else 0  # where the field begins
        if not self._open:
            self._place = 0
        for found in self._signs.finditer(line):
            sign = found[0]
            if sign == '"':
                if self._open or not self.letters or found.start() == begin:
                    self._open = not self._open
                    begin = found.end()  # right behind an end another quote opens again
            elif sign == self._file.delimiter:
                if not self._open:
                    self._place += 1
                    begin = found.end()
            elif self._place in self._file.keys and not self._in_header:
                raise ShopError(self._bad_key(sign))

    def _bad_key(self, sign: str) -> str:
        at = (
            f"{self._file.name} line {self._line}, column {self._file.columns[self._place]}: "
            "ids and codes are taken letter by letter, but here is "
        )
        if sign == "\0":
            return f"{at}a NUL character (U+0000), which no database holds: remove it"
        return (
            f"{at}a character that is not {self._file.read_as}: say how the file is written, e.g. "
            "--encoding shift_jis or --encoding cp1251, or write it as UTF-8"
        )


def _replaced(what: str, count: int) -> str:
    many = "s were" if count > 1 else " was"
    return f"{count:,} {what}{many} replaced by \N{REPLACEMENT CHARACTER}"


_BAD = "dmp_bad_bytes"
codecs.register_error(_BAD, lambda error: ("\udcff", error.end))  # type: ignore[attr-defined]
_SURROGATES = re.compile("[\ud800-\udfff]")
_BLANK = {b"\n": (b"\n\n", b"\n\r\n"), b"\r": (b"\r\r",)}


def _parted(block: bytes, end: bytes) -> Iterator[bytes]:
    """The lines of a block, with their ends."""
    if end == b"\n":
        yield from io.BytesIO(block)
    else:
        yield from (line + end for line in block.removesuffix(end).split(end))
