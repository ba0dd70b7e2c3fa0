"""Columns of the account view as features need them: of many accounts in Arrow, of few in lists.

The two hold the same numbers; tests compare them.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property, wraps
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.abuse.model import texts
from dmp_assets.abuse.model.texts import Floats
from dmp_assets.abuse.model.view import VIEW, as_view

C = TypeVar("C")
_AFTER_MAILBOX = r"[+@][^\n]*$"


def _once(find: Callable[[Any, str], C]) -> Callable[[Any, str], C]:
    """Find each column once in the life of a view."""

    @wraps(find)
    def kept(view: "View", name: str) -> C:
        key = (find.__name__, name)
        if key not in view.found:
            view.found[key] = find(view, name)
        return cast(C, view.found[key])

    return kept


class View:
    """The account view's columns as the features need them: texts (Arrow), numbers (NumPy)."""

    def __init__(self, rows: pa.Table | pa.RecordBatch) -> None:
        self.rows = as_view(rows)
        self.size = rows.num_rows
        self.found: dict[tuple[str, str], Any] = {}

    @_once
    def column(self, name: str) -> pa.Array:
        return _whole(self.rows[name])

    @_once
    def number(self, name: str) -> Floats:
        return numbers(self.column(name))

    def absent(self, name: str) -> Floats:
        """1 where the value is unknown, else 0."""
        return numbers(self.column(name).is_null())

    @_once
    def days(self, name: str) -> Floats:
        """A date or time as days since 1970."""
        column = self.column(name)
        if pa.types.is_date(column.type):
            return numbers(column.cast(pa.int32()))
        return numbers(column.cast(pa.int64())) / 86_400e6

    def list(self, name: str) -> Sequence[Any]:
        """A column as Python values."""
        return cast(list[Any], self.column(name).to_pylist())

    def counted(self, name: str, pattern: str) -> Floats:
        """How often a pattern (of small letters) stands in each text of a column; or `mailbox`."""
        return numbers(pc.count_substring_regex(self._lower(name), pattern))

    def matching(self, name: str, pattern: str) -> Floats:
        """Whether it does."""
        return numbers(pc.match_substring_regex(self._lower(name), pattern))

    @_once
    def _lower(self, name: str) -> pa.Array:
        return self.mailbox if name == "mailbox" else pc.utf8_lower(self.column(name))

    @_once
    def others(self, name: str) -> Floats:
        """log(1 + other accounts) of a count that includes the account."""
        return np.log1p(np.maximum(self.number(name) - 1, 0))

    def share(self, part: str, whole: str) -> Floats:
        """part / whole without the account itself; NaN when there is nobody else."""
        others = self.number(whole) - 1
        return np.divide(
            self.number(part) - 1, others, out=np.full(self.size, np.nan), where=others > 0
        )

    def place_in(self, name: str, values: tuple[str, ...]) -> Floats:
        """Place of each text of a column among these values; NaN where it is none of them."""
        return numbers(pc.index_in(self.column(name), _array(values)))

    def entropy(self) -> Floats:
        """Of the mailbox: see `texts.entropy`."""
        return texts.entropy(self.mailbox)

    def name_in_mailbox(self, *names: str) -> Floats:
        """Whether a part of these columns stands in the mailbox: see `texts.name_in`."""
        return texts.name_in(self.mailbox, *map(self.column, names))

    @cached_property
    def mailbox(self) -> pa.Array:
        """Local part of the e-mail as received, without a plus tag, lower case."""
        local = pc.replace_substring_regex(self.column("email_received"), _AFTER_MAILBOX, "")
        return pc.utf8_lower(local)


@cache
def _array(values: tuple[str, ...]) -> pa.Array:
    return pa.array(values)


@cache
def _places(values: tuple[str, ...]) -> dict[str | None, int]:
    return {value: place for place, value in enumerate(values)}


_MAILBOX = re.compile(_AFTER_MAILBOX.replace("$", r"\Z"))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """For few texts: Arrow compiles a pattern anew for each call."""
    return re.compile(pattern.replace("$", r"\Z"), re.ASCII)


def lower(text: str) -> str:
    """Letter by letter, as utf8proc does for Arrow; Python's own may change the length."""
    return text.lower() if text.isascii() else str(pc.utf8_lower(text).as_py())


class ListedView(View):
    """The same of few accounts, whose columns are lists: Arrow takes longer to begin than to end.

    `columns`: column of `VIEW` → values, None or NaN is unknown; one that is left out is unknown.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self.columns = columns
        self.size = len(next(iter(columns.values()), ()))
        self.found = {}

    def _values(self, name: str) -> Sequence[Any]:
        return self.columns.get(name) or [None] * self.size

    @_once
    def column(self, name: str) -> pa.Array:
        return pa.array(self._values(name), VIEW.field(name).type, from_pandas=True)

    @_once
    def number(self, name: str) -> Floats:
        return np.array(self._values(name), dtype=np.float64)

    @_once
    def list(self, name: str) -> Sequence[Any]:
        if name == "mailbox":
            return self._mailboxes
        return self._values(name)

    @_once
    def days(self, name: str) -> Floats:
        return np.array([_days(value) for value in self._values(name)], dtype=np.float64)

    def place_in(self, name: str, values: tuple[str, ...]) -> Floats:
        places = _places(values)
        return np.array(
            [places.get(value, math.nan) for value in self._values(name)], dtype=np.float64
        )

    def entropy(self) -> Floats:
        return texts.entropy_of_few(self._mailboxes)

    def name_in_mailbox(self, *names: str) -> Floats:
        return texts.name_in_few(self._mailboxes, *map(self._values, names))

    def counted(self, name: str, pattern: str) -> Floats:
        return np.array(
            [math.nan if text is None else len(_compiled(pattern).findall(text))
             for text in self._lowered(name)], dtype=np.float64,
        )  # fmt: skip

    def matching(self, name: str, pattern: str) -> Floats:
        return np.array(
            [math.nan if text is None else _compiled(pattern).search(text) is not None
             for text in self._lowered(name)], dtype=np.float64,
        )  # fmt: skip

    @_once
    def _lowered(self, name: str) -> Sequence[str | None]:
        return [None if text is None else text.lower() for text in self.list(name)]

    @cached_property
    def mailbox(self) -> pa.Array:
        return pa.array(self._mailboxes, pa.string())

    @cached_property
    def _mailboxes(self) -> Sequence[str | None]:
        return [
            None if text is None else lower(_MAILBOX.sub("", text))
            for text in self._values("email_received")
        ]

    def absent(self, name: str) -> Floats:
        return np.array([value is None for value in self._values(name)], dtype=np.float64)


def _whole(column: Any) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def numbers(column: Any) -> Floats:
    """An Arrow column of numbers or booleans as floats, null as NaN."""
    return texts.numbers(_whole(column))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _days(at: date | None) -> float:
    """A date or time as days since 1970, to the microsecond."""
    if at is None:
        return math.nan
    if not isinstance(at, datetime):
        return float(at.toordinal() - _EPOCH.toordinal())
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1) / 86_400e6
