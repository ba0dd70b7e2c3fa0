"""How people say that their files are to be read: delimiter, encoding, what columns are called."""

import codecs
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from encodings.aliases import aliases

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.text.spelling import meant

_WRITTEN = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


class HeaderError(UserError, ValueError):
    """A header that cannot be used; the message names what is wrong with it."""


@dataclass(frozen=True)
class Naming:
    """`column` is ours, `name` what a file calls it; `table` the one it is said of, else all."""

    column: str
    name: str
    table: str | None = None

    def __str__(self) -> str:
        return f"{self.target}={self.name}"

    @property
    def target(self) -> str:
        """The column as it is written, with the table before it where that is said."""
        return f"{self.table}.{self.column}" if self.table else self.column

    def fits(self, table: str, known: Collection[str], elsewhere: Collection[str]) -> bool:
        """Whether its column may be one of the table, whose columns are `known`.

        A column of another table (`elsewhere`) is not; one that is of none is an extra one.
        """
        here = self.table in (None, table)
        return here and (self.column in known or self.column not in elsewhere)


@dataclass(frozen=True)
class Reading:
    """How people say their files are to be read; what they leave out is found out."""

    delimiter: str | None = None
    names: tuple[Naming, ...] = ()
    encoding: str | None = None

    @classmethod
    def of(
        cls, delimiter: str | None, names: Iterable[str], encoding: str | None = None
    ) -> "Reading":
        """From what was typed: a delimiter or its name, `column=name` or `table.column=name` for
        each renamed column, one of Python's encodings.

        Raises HeaderError.
        """
        if delimiter is not None:
            delimiter = _WRITTEN.get(delimiter.lower(), delimiter)
            if len(delimiter) != 1 or delimiter in '"\r\n' or ord(delimiter) > 126:
                raise HeaderError("--delimiter is one character, or comma, semicolon, tab or pipe")
        namings = dict.fromkeys(map(_naming, names))
        return cls(delimiter, tuple(namings), None if encoding is None else _codec(encoding))

    def check(self, tables: Sequence[str]) -> None:
        """Raise HeaderError where a file is named that is none of these tables."""
        for naming in self.names:
            if naming.table and naming.table not in tables:
                raise HeaderError(
                    f"--map {naming}: {naming.table}.csv is none of the files (they are: "
                    f"{', '.join(f'{table}.csv' for table in tables)})"
                    f"{meant(naming.table, tables)}"
                )

    def applying(
        self,
        table: str,
        given: Collection[str],
        known: Collection[str],
        elsewhere: Collection[str],
    ) -> tuple[Naming, ...]:
        """Those that rename a column of this file, whose header has the names `given`.

        What is said of the file itself goes before what is said of all. What is said of all leaves
        alone a file that has the column by its own name. Raises HeaderError where two remain that
        exclude each other.
        """
        fit = [n for n in self.names if n.name in given and n.fits(table, known, elsewhere)]
        own = [n for n in fit if n.table]
        columns, names = {n.column for n in own}, {n.name for n in own}
        renamed = {n.name for n in fit}
        kept = own + [
            n
            for n in fit
            if not n.table
            and n.column not in columns
            and n.name not in names
            and (n.column not in given or n.column in renamed)
        ]
        for place, one in enumerate(kept):
            for other in kept[:place]:
                if one.column == other.column or one.name == other.name:
                    raise HeaderError(_conflict(table, other, one))
        return tuple(kept)


def _conflict(table: str, one: Naming, other: Naming) -> str:
    said = f"{table}.csv: --map {one} and --map {other} both apply to it"
    if one.table:
        return f"{said}; leave one of them out"
    return f"{said}; say which it takes, e.g. --map '{Naming(one.column, one.name, table)}'"


def _naming(text: str) -> Naming:
    target, found, name = (part.strip() for part in text.partition("="))
    table, dotted, column = target.rpartition(".")
    if not found or not column or not name or (dotted and not table):
        raise HeaderError(
            f"--map {text}: write COLUMN=NAME, e.g. --map email=E-Mail, or FILE.COLUMN=NAME, "
            "e.g. --map users.email=E-Mail"
        )
    return Naming(column, unicodedata.normalize("NFC", name), table.removesuffix(".csv") or None)


def _codec(name: str) -> str:
    """What Python calls an encoding. Raises HeaderError when it is none of a text."""
    try:
        codecs.getincrementaldecoder(name)
        b"a".decode(name)
    except UnicodeError:
        pass  # an encoding that "a" alone is no text of, e.g. UTF-16
    except (LookupError, ValueError) as error:
        near = meant(name, {*aliases, *aliases.values()})
        raise HeaderError(
            f"--encoding {name}: no encoding of a text is called so"
            f"{near or '; name one, e.g. utf-8, cp1251, shift_jis'}"
        ) from error
    return codecs.lookup(name).name
