"""How a column writes amounts and days, and the one reader of amounts, in DuckDB's SQL as well.

A column writes its values in one way. Where the values alone tell which (31/12 can only be day
first), `evidence` counts it and `decide` says it; where nothing tells, what could mean two things
is not read, and the setting `DMP_COLUMN_FORMATS` decides. Nothing is guessed row by row.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from dmp_assets.platform.values.money_signs import AFTER, BEFORE
from dmp_assets.platform.values.numerals import ASCII, OTHERS, figures

Kind = Literal["amount", "time", "clock"]
Side = Literal["point", "comma", "day", "month", "year", "part", "clock"]
SETTINGS: Mapping[str, Side] = {
    "decimal-point": "point", "decimal-comma": "comma", "day-first": "day", "month-first": "month",
    "year-first": "year", "part-of-day": "part", "clock-time": "clock",
}  # fmt: skip
"""What `DMP_COLUMN_FORMATS` may say of a column."""
SIDES: Mapping[Kind, tuple[Side, ...]] = {
    "amount": ("point", "comma"), "time": ("day", "month", "year"), "clock": ("part", "clock"),
}  # fmt: skip
"""How a column of the kind can write; values alone tell between the first two."""

LONGEST = 100
"""A longer text is no amount."""
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


USUAL: Mapping[Kind, Format] = {
    "amount": Format("point"), "time": Format("day"), "clock": Format("clock"),
}  # fmt: skip
"""Where no evidence was asked for."""
TYPED: Mapping[Kind, Format] = {**USUAL, "clock": Format("part")}
"""How a database writes its own numbers and times."""


# amounts ----------------------------------------------------------------------------------------

_STEPS = (
    (r'^=?" ?([^"]*?) ?"$', r"\g<1>"),  # quotes, also a spreadsheet's mark of text
    (rf"(?i)^([(]? ?[+-]? ?)(?:{BEFORE}) ?([+-]? ?[(]?[.,0-9])", r"\g<1>\g<2>"),
    (rf"(?i)([.,0-9)]-*) ?(?:{AFTER})([)-]?)$", r"\g<1>\g<2>"),
    (r"^([+-]) ", r"\g<1>"),
    (r"([0-9][.,])-{1,2}$", r"\g<1>0"),  # 12,- is 12,00
    (r"([0-9][.])$", r"\g<1>0"),
    (r"([0-9])(?::-{1,2}|/-)$", r"\g<1>"),
    (r"^([0-9]([0-9.,' ]*[0-9])?) ?-$", r"-\g<1>"),
    (r"^[(] ?([.,0-9][.,0-9' ]*)[)]$", r"-\g<1>"),
)
"""From an amount to its number: currency or percent at one end, cents that are a dash, what is
owed behind the number or in brackets. Patterns that `re` and RE2 read alike."""
_EDGES = "^ +| +$"
_USUAL, _FRAMED = "^[ -~]*$", "^[^!-~]|[^!-~]$"
_BARE = r"^-?[0-9]+([.][0-9]+)?$"
_GROUPED = "^[+-]?[0-9]{1,3}([ '][0-9]{3})+([.,][0-9]+)?$"
_WHOLE = r"^[+-]?[0-9]+$"
_SCIENTIFIC = r"^[+-]?([0-9]*[.]?[0-9]+|[0-9],[0-9]+)[eE][+-]?[0-9]{1,2}$"
_EITHER = r"^[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}$"


def _sure(decimal: str, thousands: str, more: str = "") -> str:
    """Texts that say of themselves which mark is the decimal one."""
    grouped = f"[0-9]{{1,3}}([{thousands}][0-9]{{3}})"
    return (
        f"^[+-]?([0-9]*[{decimal}]([0-9]{{1,2}}|[0-9]{{4,}})"
        f"|(0*|[0-9]{{4,}}|0[0-9]+)[{decimal}][0-9]+"
        f"|{grouped}+[{decimal}][0-9]+|{grouped}{{2,}}{more})$"
    )


_LAKHS = "|[0-9]{1,2}(,[0-9]{2})+,[0-9]{3}([.][0-9]+)?"
"""Thousands, and hundreds of them, as India writes them."""
_POINT, _COMMA = _sure(".", ",", _LAKHS), _sure(",", ".")
_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)(?:[.](?:[0-9]{1,2}|[0-9]{4,}))?")
_COMPILED = tuple((re.compile(pattern), to) for pattern, to in ((_EDGES, ""), *_STEPS))


def read_amount(text: str, form: Format) -> Decimal | None:
    """The number that a text writes, None when it writes none."""
    if len(text) > LONGEST:
        return None
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    bare = figures(text)
    for pattern, to in _COMPILED:
        bare = pattern.sub(to, bare)
    if re.search(_GROUPED, bare):
        bare = bare.replace(" ", "").replace("'", "")
    as_comma = bare.replace(".", "").replace(",", ".")
    as_point = bare.replace(",", "")
    if re.search(_WHOLE, bare):
        chosen = bare
    elif re.search(_SCIENTIFIC, bare):
        chosen = bare.replace(",", ".")
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


# DuckDB's SQL -----------------------------------------------------------------------------------


def _text(literal: str) -> str:
    quoted = literal.replace("'", "''")
    return f"'{quoted}'"


def _matches(value: str, pattern: str) -> str:
    return f"regexp_matches({value}, {_text(pattern)})"


def _ascii(column: str) -> str:
    """As `figures` has it, without spaces around it."""
    plain = f"translate({column}, {_text(OTHERS)}, {_text(ASCII)})"
    written = f"CASE WHEN {_matches(column, _USUAL)} THEN {column} ELSE {plain} END"
    return f"CASE WHEN {_matches(column, _FRAMED)} THEN {_trimmed(written)} ELSE {written} END"


def _trimmed(value: str) -> str:
    return f"regexp_replace({value}, {_text(_EDGES)}, '', 'g')"


def _with(value: str, name: str, then: str) -> str:
    """An expression over a value that is worked out once."""
    return f"list_transform([{value}], lambda {name}: {then})[1]"


def _bare(column: str) -> str:
    """The number without currency and gaps between thousands."""
    bare = _ascii(column)
    for pattern, to in _STEPS:
        group = re.sub(r"\\g<(.)>", r"\\\1", to)
        bare = f"regexp_replace({bare}, {_text(pattern)}, {_text(group)})"
    gapless = "replace(replace(b, ' ', ''), chr(39), '')"
    whole = _with(bare, "b", f"CASE WHEN {_matches('b', _GROUPED)} THEN {gapless} ELSE b END")
    return f"CASE WHEN {_matches(column, _BARE)} THEN {column} ELSE {whole} END"


def amount(column: str, kind: str, form: Format) -> str:
    """DuckDB's SQL that reads a text as a number of the SQL type `kind`; NULL when it cannot."""
    as_comma = "replace(replace(n, '.', ''), ',', '.')"
    as_point = "replace(n, ',', '')"
    either = {"point": as_point, "comma": as_comma}.get(form.side or "", "NULL")
    return _with(
        f"CASE WHEN length({column}) <= {LONGEST} THEN {_bare(column)} END",
        "n",
        f"try_cast(CASE WHEN {_matches('n', _WHOLE)} THEN n "
        f"WHEN {_matches('n', _SCIENTIFIC)} THEN replace(n, ',', '.') "
        f"WHEN {_matches('n', _EITHER)} THEN {either} "
        f"WHEN {_matches('n', _POINT)} THEN {as_point} "
        f"WHEN {_matches('n', _COMMA)} THEN {as_comma} END AS {kind})",
    )


# evidence ---------------------------------------------------------------------------------------

_BEFORE_DAY = "^([^0-9]{1,20}|[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?[^0-9]{1,6})"
"""A weekday or a time."""
_MARK = " ?[-/.] ?"
_SHORT = "[0-9]{2}($|[^0-9])"
_OVER, _MONTH = "(1[3-9]|2[0-9]|3[01])", "(0?[1-9]|1[0-2])"
_FIRST_OVER = f"^{_OVER}{_MARK}{_MONTH}{_MARK}([0-9]{{4}}|(3[2-9]|[4-9][0-9])($|[^0-9]))"
_SECOND_OVER = f"^{_MONTH}{_MARK}{_OVER}{_MARK}([0-9]{{4}}|{_SHORT})"
_NEITHER_OVER = (
    f"^({_MONTH}{_MARK}{_MONTH}{_MARK}([0-9]{{4}}|{_SHORT})"
    f"|{_OVER}{_MARK}{_MONTH}{_MARK}([0-2][0-9]|3[01])($|[^0-9]))"
)
"""Of a year of two figures the first number may be the year as well."""
_DOTTED = "^[0-9]{1,2}[.] ?[0-9]{1,2}[.] ?[0-9]{4}"
_BELOW_ONE = "^(0?[.,][0-9]+|0|[0-9]([.,][0-9]+)?[eE]-[0-9]{1,2})$"
_PART_OR_CLOCK = "^0[.,]([1-5][0-9]|0[1-9])$"
"""`0.30`: half past midnight, or the time at which 30 % of the day is over."""
_PART = "^([.,][0-9]+|0[.,]([0-9]|[6-9][0-9]|[0-9]{3,})|[0-9]([.,][0-9]+)?[eE]-[0-9]{1,2})$"
_DOTTED_CLOCK = "^([1-9]|[01][0-9]|2[0-4])[.,][0-5][0-9]([.,][0-5][0-9])?$"
_SERIAL = "^[1-9][0-9]{4}([.,]0*)?$"


def serial_days(column: str) -> str:
    """DuckDB's SQL that says whether a column of days has a spreadsheet's numbers of days."""
    serial = _matches(_ascii(column), _SERIAL)
    return f"count(*) FILTER ({serial}) * 2 > count({column})"


def evidence(column: str, kind: Kind) -> str:
    """DuckDB's SQL of four counts over a column: sure of one side, of the other, of neither, and
    dotted days, or times that are no number below one."""

    def count(pattern: str, of: str) -> str:
        return f"count(*) FILTER ({_matches(of, pattern)})"

    if kind == "amount":
        bare = _bare(column)
        either = _matches(bare, _EITHER)
        sure = [
            f"count(*) FILTER ({_matches(bare, pattern)} AND NOT {either})"
            for pattern in (_POINT, _COMMA)
        ]
        return ", ".join((*sure, count(_EITHER, bare), "0"))
    if kind == "clock":
        text = _ascii(column)
        other = f"{_matches(text, '[0-9]')} AND NOT {_matches(text, _BELOW_ONE)}"
        told = (count(pattern, text) for pattern in (_PART, _DOTTED_CLOCK, _PART_OR_CLOCK))
        return ", ".join((*told, f"count(*) FILTER ({other})"))
    text = _without_weekday(column)
    return ", ".join(
        count(pattern, text) for pattern in (_FIRST_OVER, _SECOND_OVER, _NEITHER_OVER, _DOTTED)
    )


def either(column: str, kind: Kind) -> str:
    """DuckDB's SQL of whether an amount, or a day, can be read in two ways."""
    if kind == "amount":
        return _matches(_bare(column), _EITHER)
    return _matches(_without_weekday(column), _NEITHER_OVER)


def _without_weekday(column: str) -> str:
    return f"regexp_replace({_ascii(column)}, {_text(_BEFORE_DAY)}, '')"


def currencies(column: str) -> str:
    """DuckDB's SQL of the signs, words and codes of currencies that a column's amounts have."""
    text = f"CASE WHEN NOT {_matches(column, _BARE)} THEN {_ascii(column)} END"
    patterns = (
        rf"(?i)^[(+ -]*({BEFORE})[ (+-]*[.,0-9]",
        rf"(?i)[.,0-9)]-* ?({AFTER})[)-]?$",
    )
    before, after = (f"regexp_extract({text}, {_text(p)}, 1)" for p in patterns)
    return f"list(DISTINCT upper(coalesce(nullif({before}, ''), {after})))"


def decide(kind: Kind, one: int, other: int, either: int, dotted: int) -> Format:
    """What the counts of `evidence` say of a column."""
    first, second, *_ = SIDES[kind]
    if one > OVERWHELMING * other or (one and not other):
        return Format(first, either)
    if other > OVERWHELMING * one or (other and not one):
        return Format(second, either)
    if kind == "clock":
        is_part = either and not (one or other or dotted)  # all of it are numbers below one
        return Format(first if is_part else None, either)
    if dotted and not other:  # day.month.year is written day first
        return Format(first, either)
    return Format(None, either)
