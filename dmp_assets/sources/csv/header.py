"""Which column of ours each name in an export's header means, and how its fields are parted."""

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from dmp_assets.platform.cleaning.received import ReceivedColumns
from dmp_assets.platform.text.spelling import nearest
from dmp_assets.sources.csv.reading import HeaderError, Naming, Reading

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
LONGEST = (1 << 30) - 1
"""Characters of a field: as many as PostgreSQL takes of a line."""
_LINES = 100  # a quoted name may hold line breaks, and the first rows tell what parts fields


@dataclass(frozen=True)
class Header:
    """`columns`: our names in the file's order. `notes`: what people should know, a line each.

    `nameless` are the places at its end that have no name; `applied` is what renamed a column.
    """

    delimiter: str
    columns: tuple[str, ...]
    given: tuple[str, ...]
    notes: tuple[str, ...]
    applied: tuple[Naming, ...] = ()
    nameless: frozenset[int] = frozenset()


def parse(
    table: str,
    lines: Iterator[str],
    known: ReceivedColumns,
    elsewhere: Collection[str],
    reading: Reading,
) -> Header:
    """The header of a table's file, of which `lines` are the first; blank ones before it are none.

    `known` are the table's columns, `elsewhere` the names of all tables'. Raises HeaderError.
    """
    file = f"{table}.csv"
    number, first = next(((n, s) for n, s in enumerate(lines, 1) if s.strip("\r\n")), (0, ""))
    if not number:
        raise HeaderError(f"{file} is empty: not even a header line")
    start = [first, *islice(lines, _LINES - 1)]
    if re.fullmatch(r'"?sep=.[";,\s]*', first.strip(), re.IGNORECASE):
        raise HeaderError(f"{file} begins with Excel's line {first.strip()!r}: remove that line")
    delimiter = reading.delimiter or _likeliest(start, known, reading)
    try:
        cells = next(_reader(start, delimiter), [])
    except csv.Error as error:
        raise HeaderError(f"{file} line {number} is not CSV: {error}") from error
    given = [unicodedata.normalize("NFC", cell).strip() for cell in cells]
    if not any(given):
        raise HeaderError(f"{file} line {number}: a header line is expected, which names columns")
    named = max(place for place, name in enumerate(given) if name) + 1
    applied = reading.applying(table, given, known, elsewhere)
    columns = _meant(given, known, {naming.name: naming.column for naming in applied})
    notes = []
    if delimiter != "," and reading.delimiter is None:
        notes.append(f"fields are parted by {DELIMITERS[delimiter]}s")
    for name, column in zip(given[:named], columns, strict=False):
        unused = "" if column in known else f"not used{_advice(column, known, columns)}"
        if name != column:
            notes.append(
                f"the column {name!r} is read as {column}"
                + (f", which is {unused}" if unused else "")
            )
        elif unused:
            notes.append(f"the column {column} is {unused}")
    if extra := len(given) - named:
        what = f"last {extra} columns have" if extra > 1 else "last column has"
        notes.append(f"the {what} no name and no values: left out")
    else:
        rows = [row for row in _rows(start, delimiter)[1:] if row]
        if rows and all(len(row) == named + 1 and not row[-1].strip() for row in rows):
            notes.append("every row ends with a delimiter more than the header: left out")
            given, columns = [*given, ""], [*columns, ""]
    return Header(
        delimiter, tuple(columns), tuple(given), tuple(notes), applied,
        frozenset(range(named, len(given))),
    )  # fmt: skip


def missing(column: str, aliases: Collection[str], given: Collection[str]) -> str:
    """Advice where a required column is missing: the name in the header that likely means it."""
    if any("\N{REPLACEMENT CHARACTER}" in name for name in given):
        return "; if its names are unreadable here, add --encoding, e.g. --encoding shift_jis"
    likely = [name for name in given if plain(name) in aliases]
    close = nearest(column, {plain(name): name for name in given})
    found = likely or [name for name in given if plain(name) == close]
    if found:
        return f"; is it {found[0]!r}? Then add --map {typed(column, found[0])}"
    if len(given) > 1:
        return f"; if it is called otherwise, add --map {column}=NAME with its name in the file"
    return "; if fields are parted otherwise, add --delimiter"


def plain(name: str) -> str:
    """A name without case, accents' composition, blanks and signs around and in it."""
    text = unicodedata.normalize("NFKC", name).strip().strip("\"'").casefold()
    return re.sub(r"\W+", "_", text).strip("_")


def _advice(column: str, known: ReceivedColumns, taken: Sequence[str]) -> str:
    free = [name for name in known if name not in taken]
    by_alias = [name for name in free if plain(column) in known[name].aliases]
    likely = by_alias[0] if by_alias else nearest(plain(column), free)
    return f"; did you mean {likely}? (--map {typed(likely, column)})" if likely else ""


def typed(column: str, name: str) -> str:
    """A renaming as it is typed in a shell."""
    return f"{column}={name}" if re.fullmatch(r"[\w.-]+", name) else f"'{column}={name}'"


def _likeliest(start: Sequence[str], known: Collection[str], reading: Reading) -> str:
    """The delimiter by which the header names most columns that are known.

    Where it names none, the one that parts the first rows as often as the header, and most often.
    """
    mapped = {naming.name for naming in reading.names}
    rows = {delimiter: _rows(start, delimiter) for delimiter in DELIMITERS}

    def named(delimiter: str) -> int:
        header = next(iter(rows[delimiter]), [])
        return sum(plain(cell) in known or cell.strip() in mapped for cell in header)

    def even(delimiter: str) -> float:
        counts = [len(row) for row in rows[delimiter] if row]
        return (counts[0] - 1) * Counter(counts)[counts[0]] / len(counts) if counts else 0

    best = max(DELIMITERS, key=named)
    return best if named(best) else max(DELIMITERS, key=even)


def _reader(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(LONGEST)
    return csv.reader(lines, delimiter=delimiter)


def _rows(start: Sequence[str], delimiter: str) -> list[list[str]]:
    try:
        rows = list(_reader(start, delimiter))
    except csv.Error:
        return []
    return rows[:-1] if len(start) == _LINES else rows  # the last one may be cut


def _meant(given: Sequence[str], known: Collection[str], by_name: Mapping[str, str]) -> list[str]:
    exact = {by_name.get(name, name) for name in given} & set(known)
    plains = [plain(name) for name in given]
    columns = []
    for name in given:
        same = plain(name)
        if name in by_name:
            columns.append(by_name[name])
        elif same in known and same not in exact and plains.count(same) == 1:
            columns.append(same)
        else:
            columns.append(name)
    return columns
