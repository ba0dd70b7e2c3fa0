"""One reader per kind of value: amounts and times; of amounts in DuckDB's SQL as well.

A column writes its values in one way. Where the values alone tell which (31/12 can only be day
first), `evidence` counts it and `decide` says it; where nothing tells, what could mean two things
is not read, and the setting `DMP_COLUMN_FORMATS` decides. Nothing is guessed row by row.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal, InvalidOperation
from typing import Literal

from dmp_assets.values.numerals import ASCII, OTHERS, dated, figures

Kind = Literal["amount", "time"]
Side = Literal["point", "comma", "day", "month"]
SETTINGS: Mapping[str, Side] = {
    "decimal-point": "point", "decimal-comma": "comma", "day-first": "day", "month-first": "month",
}  # fmt: skip
"""What `DMP_COLUMN_FORMATS` may say of a column."""
_SIDES: Mapping[Kind, tuple[Side, Side]] = {"amount": ("point", "comma"), "time": ("day", "month")}

OVERWHELMING = 20
"""So many times more values of one form than of the other: the few are mistakes."""


@dataclass(frozen=True)
class Format:
    """How a column writes: `side` is None where nothing tells; `either` values then stay unread."""

    side: Side | None
    either: int = 0

    @property
    def is_ambiguous(self) -> bool:
        return self.side is None and self.either > 0


USUAL: Mapping[Kind, Format] = {"amount": Format("point"), "time": Format("day")}
"""Where no evidence was asked for."""
TYPED: Mapping[Kind, Format] = {"amount": Format("point"), "time": Format("day")}
"""How a database writes its own numbers and times."""


# amounts ----------------------------------------------------------------------------------------

_SIGNS = "[$€£¥₹₽₩₺₫฿₴₦%]|zł|kr[.]?|Fr[.]|^[A-Z]{3}|[A-Z]{3}$"
_GAPS = "[ \u00a0\u2009\u202f'’]"
_GROUPED = f"^[+-]?[0-9]{{1,3}}({_GAPS}[0-9]{{3}})+([.,][0-9]+)?$"
_WHOLE = r"^[+-]?[0-9]+$"
_SCIENTIFIC = r"^[+-]?[0-9]*[.]?[0-9]+[eE][+-]?[0-9]{1,2}$"
_EITHER = r"^[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}$"


def _sure(decimal: str, thousands: str) -> str:
    """Texts that say of themselves which mark is the decimal one."""
    grouped = f"[0-9]{{1,3}}([{thousands}][0-9]{{3}})"
    return (
        f"^[+-]?([0-9]*[{decimal}]([0-9]{{1,2}}|[0-9]{{4,}})"
        f"|(0*|[0-9]{{4,}}|0[0-9]+)[{decimal}][0-9]+"
        f"|{grouped}+[{decimal}][0-9]+|{grouped}{{2,}})$"
    )


_POINT, _COMMA = _sure(".", ","), _sure(",", ".")


# times ------------------------------------------------------------------------------------------

_YEAR_FIRST = r"^([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})"
_YEAR_LAST = r"^([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})"
_CLOCK = r"[ T,]+([0-9]{1,2}):([0-9]{2})(:[0-9]{2}([.,][0-9]{1,6})?[0-9]*)?"
_HALF = r"[ ]*([AaPp])[.]?[Mm][.]?$"
_ZONE = r"[ ]*(Z|UTC|GMT|(?:UTC|GMT)?[+-][0-9]{2}(:?[0-9]{2})?)(?:[ ]*[(\[][^)\]]*[)\]])?$"
_END = r"[ ]*$"
_COMPACT = r"^(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$"
_SERIAL = r"^[1-9][0-9]{4}([.][0-9]+)?$"
_SECONDS = r"^[0-9]{9,10}([.][0-9]+)?$"
_MILLIS = r"^[0-9]{12,13}([.]0*)?$"
_MICROS = r"^[0-9]{16}$"
_NANOS = r"^[0-9]{19}$"
_FIRST_OVER = r"^(1[3-9]|2[0-9]|3[01])[-/.](0?[1-9]|1[0-2])[-/.][0-9]{4}"
_SECOND_OVER = r"^(0?[1-9]|1[0-2])[-/.](1[3-9]|2[0-9]|3[01])[-/.][0-9]{4}"
_NEITHER_OVER = r"^(0?[1-9]|1[0-2])[-/.](0?[1-9]|1[0-2])[-/.][0-9]{4}"
_DOTTED = r"^[0-9]{1,2}[.][0-9]{1,2}[.][0-9]{4}"
MIDNIGHT = clock_time(0)
EARLIEST, LATEST = 1990, 2100
"""Years of times; days of birth begin earlier."""


# DuckDB's SQL -----------------------------------------------------------------------------------


def _text(literal: str) -> str:
    quoted = literal.replace("'", "''")
    return f"'{quoted}'"


def _matches(value: str, pattern: str) -> str:
    return f"regexp_matches({value}, {_text(pattern)})"


def _without(value: str, pattern: str) -> str:
    return f"regexp_replace({value}, {_text(pattern)}, '', 'g')"


def _bare(column: str) -> str:
    """The number without currency and gaps between thousands."""
    ascii_only = f"translate({column}, {_text(OTHERS)}, {_text(ASCII)})"
    bare = f"trim({_without(ascii_only, _SIGNS)})"
    return f"CASE WHEN {_matches(bare, _GROUPED)} THEN {_without(bare, _GAPS)} ELSE {bare} END"


def amount(column: str, kind: str, form: Format) -> str:
    """DuckDB's SQL that reads a text as a number of the SQL type `kind`; NULL when it cannot."""
    bare = f"({_bare(column)})"
    as_comma = f"replace(replace({bare}, '.', ''), ',', '.')"
    as_point = f"replace({bare}, ',', '')"
    either = {"point": as_point, "comma": as_comma}.get(form.side or "", "NULL")
    return (
        f"try_cast(CASE WHEN {_matches(bare, _WHOLE)} OR "
        f"{_matches(bare, _SCIENTIFIC)} THEN {bare} "
        f"WHEN {_matches(bare, _EITHER)} THEN {either} "
        f"WHEN {_matches(bare, _POINT)} THEN {as_point} "
        f"WHEN {_matches(bare, _COMMA)} THEN {as_comma} END AS {kind})"
    )


# evidence ---------------------------------------------------------------------------------------


def evidence(column: str, kind: Kind) -> str:
    """DuckDB's SQL of four counts over a column: sure of one side, of the other, of neither, and
    dotted days."""

    def count(pattern: str, of: str) -> str:
        return f"count(*) FILTER ({_matches(of, pattern)})"

    if kind == "amount":
        bare = _bare(f"trim({column})")
        either = _matches(bare, _EITHER)
        sure = [
            f"count(*) FILTER ({_matches(bare, pattern)} AND NOT {either})"
            for pattern in (_POINT, _COMMA)
        ]
        return ", ".join((*sure, count(_EITHER, bare), "0"))
    text = f"trim({column})"
    return ", ".join(
        count(pattern, text) for pattern in (_FIRST_OVER, _SECOND_OVER, _NEITHER_OVER, _DOTTED)
    )


def decide(kind: Kind, one: int, other: int, either: int, dotted: int) -> Format:
    """What the counts of `evidence` say of a column."""
    first, second = _SIDES[kind]
    if one > OVERWHELMING * other or (one and not other):
        return Format(first, either)
    if other > OVERWHELMING * one or (other and not one):
        return Format(second, either)
    if dotted and not other:  # day.month.year is written day first
        return Format(first, either)
    return Format(None, either)


# reading ----------------------------------------------------------------------------------------
_DAY_TEXT = f"(?:{_YEAR_FIRST[1:]}|{_YEAR_LAST[1:]})"
_ANY_DAY = re.compile(_DAY_TEXT)
_DAY_ALONE = re.compile(f"^{_DAY_TEXT}{_END}")
_DAY_AND_REST = re.compile(f"({_YEAR_FIRST}|{_YEAR_LAST})([ T,].*)?$")
_DAY_AND_CLOCK = re.compile(f"^{_DAY_TEXT}{_CLOCK}(?P<rest>.*)$")


def read_amount(text: str, form: Format) -> Decimal | None:
    """The number that a text writes, None when it writes none."""
    bare = re.sub(_SIGNS, "", figures(text)).strip(" ")
    if re.search(_GROUPED, bare):
        bare = re.sub(_GAPS, "", bare)
    as_comma = bare.replace(".", "").replace(",", ".")
    as_point = bare.replace(",", "")
    if re.search(_WHOLE, bare) or re.search(_SCIENTIFIC, bare):
        chosen = bare
    elif re.search(_EITHER, bare):
        chosen = {"point": as_point, "comma": as_comma}.get(form.side or "", "")
    elif re.search(_POINT, bare):
        chosen = as_point
    else:
        chosen = as_comma if re.search(_COMMA, bare) else ""
    try:
        return Decimal(chosen) if chosen else None
    except InvalidOperation:
        return None


def _read_day(text: str, form: Format) -> date | None:
    if found := re.match(_YEAR_FIRST, text):
        year, month, in_month = found.groups()
    elif found := re.match(_YEAR_LAST, text):
        one, two, year = found.groups()
        side = form.side
        if side is None:
            over = re.match(_FIRST_OVER, text), re.match(_SECOND_OVER, text)
            side = "day" if over[0] else "month" if over[1] else None
        if side is None:
            return None
        in_month, month = (one, two) if side == "day" else (two, one)
    else:
        return None
    try:
        return date(int(year), int(month), int(in_month))
    except ValueError:
        return None


def _read_number(text: str) -> datetime | None:
    scales = ((_SECONDS, 1_000_000), (_MILLIS, 1_000), (_MICROS, 1))
    if re.match(_SERIAL, text):
        micros = round((Decimal(text) - 25569) * 86400) * 1_000_000
    elif re.match(_NANOS, text):
        micros = int(Decimal(text) / 1000)
    else:
        scale = next((by for pattern, by in scales if re.match(pattern, text)), None)
        if scale is None:
            return None
        micros = int(Decimal(text) * scale)
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    except OverflowError:
        return None


def _read_compact(text: str) -> date | None:
    if not re.match(_COMPACT, text):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def read_day(text: str, form: Format) -> date | None:
    """The day that a text names, as written: no zone moves it. None when it names none.

    Accepted: year first, or day and month (which is first, the column says) before the year, with
    `-`, `/` or `.`, whatever time follows; `19900203`; months by name (see `numerals`); Excel's
    serial days; seconds or more since 1970.
    """
    text = dated(text)
    if _DAY_AND_REST.match(text):
        return _read_day(text, form)
    if re.match(_COMPACT, text):
        return _read_compact(text)
    found = _read_number(text)
    return found.date() if found else None


def read_time(text: str, form: Format) -> datetime | None:
    """The UTC time that a text names; None when it names none, or one outside 1990–2100.

    Accepted: a day (see `read_day`), then a time of day, with AM or PM or a zone; seconds, milli-,
    micro- and nanoseconds since 1970; Excel's serial days; `20240301`; months by name and figures
    of other scripts (see `numerals`).
    """
    found = _read_time(dated(text), form)
    return found if found and EARLIEST <= found.year <= LATEST else None


def _read_time(text: str, form: Format) -> datetime | None:
    on = _read_day(text, form)
    if on is None:
        if _ANY_DAY.match(text):
            return None
        compact = _read_compact(text)
        if re.match(_COMPACT, text):
            return datetime.combine(compact, MIDNIGHT, UTC) if compact else None
        return _read_number(text)
    if _DAY_ALONE.match(text):
        return datetime.combine(on, MIDNIGHT, UTC)
    clock = _DAY_AND_CLOCK.match(text)
    if clock is None:
        return None
    hour, minute, seconds = clock.groups()[6:9]
    hours, minutes, second = (
        int(hour),
        int(minute),
        Decimal((seconds or ":0")[1:].replace(",", ".")),
    )
    away, rest = timedelta(0), clock.group("rest")
    if half := re.fullmatch(_HALF[:-1], rest):
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if half.group(1).lower() == "p" else 0)
    elif zone := re.fullmatch(_ZONE[:-1], rest):
        named = zone.group(1).removeprefix("UTC").removeprefix("GMT") or "Z"
        if named[0] in "+-":
            digits = named[1:].replace(":", "").ljust(4, "0")
            if int(digits[:2]) > 18 or int(digits[2:]) > 59:
                return None
            away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
            away = -away if named[0] == "-" else away
    elif rest.strip(" "):
        return None
    try:
        at = datetime(on.year, on.month, on.day, hours, minutes, int(second), tzinfo=UTC)
    except ValueError:
        return None
    return at + timedelta(microseconds=int(second % 1 * 1_000_000)) - away
