"""An export's file: how it is written, which column is which, and its rows with their lines."""

import csv
import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmp_assets.sources.csv.export import CsvExport, inspect
from dmp_assets.sources.csv.header import LONGEST
from dmp_assets.sources.csv.reading import Reading
from dmp_assets.sources.exports.columns import Export, Kind
from dmp_assets.sources.exports.kept import ExportError
from dmp_assets.sources.exports.kinds import KINDS
from dmp_assets.sources.shop.connection import ShopError

_LONGEST_SHOWN = 80
"""Characters of a header that are shown."""


@dataclass(frozen=True)
class Row:
    """A row of a file. line: where it begins. texts: column → its text, empty for nothing. hash: of
    all that it holds. problem: what is wrong with its shape."""

    line: int
    texts: Mapping[str, str]
    hash: str
    problem: str | None


@dataclass(frozen=True)
class Opened:
    """A file whose header was read.

    columns: column of ours → its places; several where the file has it twice. currency: what the
    header says of the amounts. unused: headers that mean nothing here.
    """

    export: Export
    path: Path
    sha256: str
    delimiter: str
    encoding: str
    width: int
    columns: Mapping[str, Sequence[int]]
    currency: str | None = None
    unused: Sequence[str] = ()
    notes: Sequence[str] = ()

    def rows(self) -> Iterator[Row]:
        """The rows behind the header; blank lines are none.

        A row of another length than the header's is whole and said to be. Raises ExportError for
        what is not CSV, and where two columns of one name differ.
        """
        csv.field_size_limit(LONGEST)
        encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
        try:
            with self.path.open(encoding=encoding, errors="replace", newline="") as text:
                clean = (line.replace("\0", "\N{REPLACEMENT CHARACTER}") for line in text)
                reader = csv.reader(clean, delimiter=self.delimiter, strict=True)
                before, is_header = 0, True
                for cells in reader:
                    line, before = before + 1, reader.line_num
                    if not any(cell.strip() for cell in cells):
                        continue
                    if not is_header:
                        yield Row(line, self._taken(cells, line), _hash(cells), self._wrong(cells))
                    is_header = False
        except csv.Error as error:
            raise ExportError(f"{self.path.name} line {reader.line_num}: {error}") from error
        except OSError as error:
            raise ExportError(f"{self.path} cannot be read: {error.strerror}") from error

    def _wrong(self, cells: Sequence[str]) -> str | None:
        beyond = any(cell.strip() for cell in cells[self.width :])
        if len(cells) >= self.width and not beyond:
            return None
        return f"{len(cells)} values for {self.width} columns"

    def _taken(self, cells: Sequence[str], line: int) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, places in self.columns.items():
            texts = {cells[place] for place in places if place < len(cells)}
            if len(texts) > 1:
                raise ExportError(
                    f"{self.path.name} line {line}: it has {name} in columns "
                    f"{', '.join(str(place + 1) for place in places)}, which differ here; remove "
                    "or rename all but one"
                )
            found[name] = next(iter(texts), "")
        return found


def _hash(cells: Sequence[str]) -> str:
    return hashlib.sha256("\x1f".join(cells).encode()).hexdigest()[:32]


def opened(
    path: Path, kind: Kind | None, further: Mapping[str, str], reading: Reading | None = None
) -> Opened:
    """Read a file's header. `further`: what files call a column of ours.

    Raises ExportError for a file that cannot be read, is no export of the kind (of any, where none
    is named), or lacks what every one has.
    """
    try:
        file = inspect(
            path, path.stem, known={}, elsewhere=(), reserved=(), keeps_others=False,
            reading=reading,
        )  # fmt: skip
    except ShopError as error:  # it names the file and what is wrong with it
        raise ExportError(str(error)) from error
    exports = list(KINDS.values()) if kind is None else [KINDS[kind]]
    read = [_of(file, one, further) for one in exports]
    fit = [one for one in read if not one.export.lacks(list(one.columns))]
    if len(fit) > 1:
        fit = [max(fit, key=lambda one: len(one.columns))]
    if fit:
        return fit[0]
    near = max(read, key=lambda one: len(one.columns))
    lacking = near.export.lacks(list(near.columns))
    raise ExportError(
        f"{path.name} is no export of {near.export.title}: it lacks {', '.join(lacking)} (it has: "
        f"{', '.join(map(_shown, file.given))}); what is called otherwise is told by "
        f'DMP_ADS_EXPORT_COLUMNS=\'{{"NAME": "{_first_lacking(near)}"}}\''
    )


def _shown(header: str) -> str:
    """A header as it may be shown: in one line, and not at any length."""
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in header)
    return plain if len(plain) <= _LONGEST_SHOWN else f"{plain[:_LONGEST_SHOWN]}…"


def _first_lacking(near: Opened) -> str:
    return next(g[0] for g in near.export.needs if not set(g) & set(near.columns))


def _of(file: CsvExport, export: Export, further: Mapping[str, str]) -> Opened:
    places: dict[str, list[int]] = {}
    unused, currencies = [], set()
    own = {header: name for header, name in further.items() if name in export.columns}
    for place, header in enumerate(file.given):
        column, currency = export.meant(unicodedata.normalize("NFC", header), own)
        if column is None:
            unused.append(header)
            continue
        places.setdefault(column, []).append(place)
        if currency is not None:
            currencies.add(currency)
    if len(currencies) > 1:
        raise ExportError(
            f"{file.name} names several currencies: {', '.join(sorted(currencies))}; export each "
            "ad account by itself"
        )
    return Opened(
        export=export,
        path=file.path,
        sha256=file.digest,
        delimiter=file.delimiter,
        encoding=file.encoding,
        width=len(file.given),
        columns=places,
        currency=next(iter(currencies), None),
        unused=unused,
        notes=[note for note in file.notes if "not used" not in note],
    )
