"""One reader of times and days, however a person or a program writes them.

What common programs write is tried first and read by Python's own parser; the rest is read in two
steps, the day and what follows it. What names no day of the Common Era, or several, is not read.
"""

import re
import unicodedata
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from typing import NamedTuple

from dmp_assets.platform.values.numerals import BY_DOT, MONTHS, WEEKDAYS, figures
from dmp_assets.platform.values.readers import USUAL, Format

EARLIEST, LATEST = 1990, 2100
"""Years of times; days of birth begin earlier."""
OLDEST = 110
"""Years that a person of whose birth two figures tell the year may have lived."""
LONGEST = 100
"""A longer text names no time."""
_MIDNIGHT = clock_time(0)
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# What common programs write -----------------------------------------------------------------------

_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![^ T])")
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(Z|[+-](?:0[0-9]|1[0-4])(?::?[0-9]{2})?)?"
)
_ISO_CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?")

# Numbers ------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"(-?)([0-9]+)(?:[.,]([0-9]*))?")
_EXPONENT = re.compile(r"[1-9]\.[0-9]+e(?:4|[89]|1[0-2]|15)")
"""Whole, as Java writes its floats; `1.7093E+09`, which a spreadsheet rounded, is not."""
_SCALES = {9: 1_000_000, 10: 1_000_000, 12: 1_000, 13: 1_000, 16: 1}
"""Digits of a number of seconds, milli- or microseconds since 1970 → microseconds in one."""
_STAMP_DAY = r"((?:19|20)[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
_HOUR = re.compile(rf"{_STAMP_DAY}(?:[01][0-9]|2[0-3])")
_STAMP = re.compile(_STAMP_DAY + r"(?:([01][0-9]|2[0-3])([0-5][0-9])(?:([0-5][0-9])([0-9]{3})?)?)?")

# Days ---------------------------------------------------------------------------------------------

_YEAR_FIRST = re.compile(
    r"([0-9]{4}) ?([-/.:]) ?([0-9]{1,2}) ?\2 ?([0-9]{1,2})(?![0-9])\.?"
    r"(?: ?\([^\W\d_]{1,9}\.?\))?"  # the weekday
)
_YEAR_LAST = re.compile(
    r"([0-9]{1,2}) ?([-/.]) ?([0-9]{1,2}) ?\2 ?([0-9]{4}|[0-9]{2})(?![0-9])(?:\.(?![0-9]))?"
)
_COMPACT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?=[t ]|-[0-9]{2}:)")
_WEEK = re.compile(r"([0-9]{4})-?w([0-9]{2})-?([1-7])(?![0-9])")
_ORDINAL = re.compile(r"([0-9]{4})-([0-9]{3})(?=$|[t z])")
_EAST_ASIAN = re.compile(
    r"([0-9]{4}) ?[年년] ?([0-9]{1,2}) ?[月월] ?([0-9]{1,2}) ?[日일号號]"
    r"(?: ?(?:\([月火水木金土日一二三四五六월화수목금토일]\)|[月火水木金土日]曜日"
    r"|(?:星期|周|週)[一二三四五六日天]|[월화수목금토일]요일))?"
)
_ERAS = {"明治": 1867, "大正": 1911, "昭和": 1925, "平成": 1988, "令和": 2018}
"""Japan's, and the year before the first of each."""
_ERA = re.compile(rf"({'|'.join(_ERAS)}) ?(元|[0-9]{{1,2}})(?= ?[年/.-])")
_VIETNAMESE = re.compile(r"([0-9]{1,2}) tháng ([0-9]{1,2}),? (?:năm )?([0-9]{4})(?![0-9])")
_WORD = r"([^\W\d_]{3,})\.?"
_GAP = r"[ /-]*(?:de[ ]+|of[ ]+)?"
_DAY_MONTH = re.compile(
    rf"([0-9]{{1,2}})(st|nd|rd|th|er|º|\.)?{_GAP}{_WORD}[ ,/-]*(?:de[l]?[ ]+)?"
    r"([0-9]{4}|'?[0-9]{2}(?=$|[ ,]|:[0-9]{2}:[0-9]{2}:[0-9]{2}))(?![0-9])\.?"
)
_MONTH_DAY = re.compile(rf"{_WORD}[ -]*([0-9]{{1,2}})(?:st|nd|rd|th)?[ ,-]+([0-9]{{4}})(?![0-9])")
_YEAR_MONTH = re.compile(rf"([0-9]{{4}})[ /-]*{_WORD}[ /-]*([0-9]{{1,2}})(?![0-9])")
_YEAR_AT_END = re.compile(
    rf"(?:{_WORD} ([0-9]{{1,2}})|([0-9]{{1,2}})\.? {_WORD}) "
    r"([0-9]{1,2}:[0-9]{2}.*) ([0-9]{4})"
)
"""`Mar 1 12:30:00 UTC 2024`, as date(1) and ctime write it."""
_CLOCK_FIRST = re.compile(
    r"([0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?: ?[ap]\.?m\.?)?),? (?=[^ ]{3})(.*)"
)
_WEEKDAY = re.compile(r"([^\W\d_]+(?:-feira)?)\.?(?:,? )")

# Times of the day ---------------------------------------------------------------------------------

_HALVES = {
    **dict.fromkeys(("am", "a", "上午", "오전", "ص", "πμ"), 0),
    **dict.fromkeys(("pm", "p", "下午", "오후", "م", "μμ"), 12),
}
_JAPANESE = {"午前": 0, "午後": 12}
"""Of 0 to 11: what their 12 is, people disagree."""
_HALF = r"[ap]\.?[ ]?m\.?|午前|午後|上午|下午|오전|오후"
_AT = r"um|at|à|a[ ]las|às|as|alle|alle[ ]ore|ore|om|kl\.?|klo|o|в|о"
_CLOCK = re.compile(
    rf"""
    (?P<join> t | [ ]-[ ] | [ ,;]* (?:г\.?|года|р\.|року)? [ ,]* (?:(?:{_AT})[ ])?
      | :(?=[0-9]{{2}}:[0-9]{{2}}:) | -(?=[0-9]{{2}}\.[0-9]{{2}}\.|[0-9]{{2}}:[0-9]{{2}}:) )
    (?:(?P<before>{_HALF})[ ]?)?
    (?P<hour>[0-9]{{1,2}})
    (?: : (?P<m1>[0-9]{{2}}) (?: : (?P<s1>[0-9]{{2}}(?:[.,][0-9]+|:[0-9]{{3}})?) )?
      | \. (?P<m2>[0-9]{{2}}) (?: \. (?P<s2>[0-9]{{2}}(?:[.,][0-9]+)?) )?
      | [ ]?(?P<unit>[h時时点點시])
        (?:[ ]?(?P<m3>[0-9]{{2}}|[0-9](?=[ ]?[分분]))
           (?:[ ]?[分분m](?:[ ]?(?P<s3>[0-9]{{1,2}})[ ]?[秒초s])?)?)?
      | (?P<m4>[0-9]{{2}}) (?P<s4>[0-9]{{2}}(?:[.,][0-9]+)?)?
    )?
    (?:[ ]?(?P<said>uhr|hrs?|h|uur|ч\.?)(?![a-z]))?
    (?:[ ]?(?P<after>{_HALF}|[ap]|ص|م|[πμ]\.?μ\.?)(?![a-z]))?
    (?P<zone>.*)
    """,
    re.VERBOSE,
)
_PART = re.compile(r"0?[.,][0-9]+|[0-9](?:[.,][0-9]+)?e-[0-9]{1,2}")
"""Of a day, as a spreadsheet's number."""
_PART_OR_CLOCK = re.compile(r"0[.,](?:[1-5][0-9]|0[1-9])")
_ZONES = {
    **dict.fromkeys(("z", "ut", "utc", "gmt", "wet"), 0), "west": 1, "cet": 1, "met": 1, "cest": 2,
    "mest": 2, "eet": 2, "eest": 3, "msk": 3, "hkt": 8, "jst": 9, "kst": 9, "aest": 10, "aedt": 11,
    "nzst": 12, "nzdt": 13, "est": -5, "edt": -4, "mdt": -6, "pdt": -7, "akst": -9, "akdt": -8,
}  # fmt: skip
"""Hours ahead of UTC of the abbreviations that mean one zone (CST, IST, BST and others do not)."""
_ZONE = re.compile(
    r" ?(?P<name>[a-z]{1,4})?(?: ?(?P<sign>[+-])(?P<hours>[0-9]{1,2})(?::?(?P<minutes>[0-9]{2}))?"
    r"(?P<said> [a-z]{2,5})?)?(?: ?(?P<remark>\([^)]*\)|\[[^]]*\]))?"
)
_NAMES_OF_UTC = ("utc", "uct", "gmt", "gmt0", "gmt+0", "gmt-0", "greenwich", "universal", "zulu")
_REMARKS = {
    "", "z", "ut", "coordinated universal time", "greenwich mean time",
    *_NAMES_OF_UTC, *(f"etc/{name}" for name in _NAMES_OF_UTC), *WEEKDAYS,
}  # fmt: skip
"""What may stand in brackets behind a time without zone."""
_AFTER_DAY = re.compile(r"$|[ ,;.tzг]|:[0-9]{2}:|[+-][0-9]{2}[:.]|[0-9午上下오]")
_DAY_ZONE = re.compile(r"z| ?(?:utc|gmt)|[+-][0-9]{2}:[0-9]{2}")


class _Day(NamedTuple):
    """A day and what follows it; the year has two figures only where it `is_short`."""

    year: int
    month: int
    day: int
    rest: str
    is_short: bool = False


def read_time(text: str, form: Format) -> datetime | None:
    """The UTC time that a text names; None when it names none, or one outside 1990–2100.

    Accepted: a day (see `read_day`), then a time of day in 12 or 24 hours, with or without marks
    and a zone; 24:00 is the end of the day, a leap second the one after it. Seconds to nanoseconds
    since 1970, Excel's serial days, `20240301123000`.
    """
    found = _iso(text) or _time(_plain(text), form)
    return found if found and EARLIEST <= found.year <= LATEST else None


def read_day(text: str, form: Format, born_before: date | None = None) -> date | None:
    """The day that a text names, as written: no zone moves it. None when it names none.

    Accepted: year first, or day and month (which is first, the column says) before the year;
    `19900203`; months by name; days of weeks and years (`2024-W09-5`, `2024-061`); Excel's serial
    days; seconds or more since 1970; whatever time follows. Of two figures a year is one of
    1990–2089; of a birth, the one that a person who registered on `born_before` can have, if only
    one can.
    """
    if _ISO_DAY.match(text):
        return _calendar(int(text[:4]), int(text[5:7]), int(text[8:10]))
    text = _plain(text)
    if _NUMBER.fullmatch(text) or _EXPONENT.fullmatch(text):
        at = _number(text, is_day=True)
        return at.date() if at else None
    found = _day(text, form)
    if found is None or not _AFTER_DAY.match(found.rest):
        return None
    if not found.is_short:
        return _calendar(*found[:3])
    if born_before is None:
        return _calendar(_century(found.year), *found[1:3])
    days = [_calendar(found.year + since, *found[1:3]) for since in (1900, 2000)]
    can_be = [
        day for day in days
        if day and day <= born_before and born_before.year - day.year <= OLDEST
    ]  # fmt: skip
    return can_be[0] if len(can_be) == 1 else None


def read_moment(
    day: str, time: str, form: Format, clock: Format = USUAL["clock"]
) -> datetime | None:
    """The UTC time that a text of the day and a text of the time of day name.

    The time of day may stand beside a day, its own or the first of the calendar of spreadsheets,
    or be a spreadsheet's part of a day (`0.5208333`). Which of the two `0.30` is, its column says
    (`clock`); where that says nothing, it is not read.
    """
    on = read_day(day, form)
    if on is None:
        return None
    if _ISO_CLOCK.fullmatch(time):
        return read_time(f"{on} {time}", form)
    time = _plain(time)
    is_either = _PART_OR_CLOCK.fullmatch(time) is not None
    if is_either and clock.side is None:
        return None
    is_part = time == "0" or is_either if clock.side == "part" else False
    if is_part or (_PART.fullmatch(time) and not is_either):
        part = Decimal(time.replace(",", "."))
        return _since(datetime.combine(on, _MIDNIGHT, UTC), round(part * 86_400) * 1_000_000)
    if dated := re.match(r"(1899-12-3[01]|[0-9]{4}-[0-9]{2}-[0-9]{2})(?=[t ])", time):
        if dated[1] not in ("1899-12-30", "1899-12-31", on.isoformat()):
            return None
        time = time[dated.end() + 1 :]
    return read_time(f"{on} {time.removeprefix('t')}", form)


def _plain(text: str) -> str:
    """In ASCII and small letters, where there are such, with single spaces."""
    if len(text) > LONGEST:
        return ""
    if not text.isascii():
        text = figures(unicodedata.normalize("NFC", text))
        text = _ERA.sub(_of_common_era, text, count=1)
    return " ".join(text.lower().split())


def _of_common_era(found: re.Match[str]) -> str:
    return str(_ERAS[found[1]] + (1 if found[2] == "元" else int(found[2])))


def _iso(text: str) -> datetime | None:
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if found[1] else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _calendar(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _century(year: int) -> int:
    return year + (1900 if year >= EARLIEST % 100 else 2000)


# numbers ------------------------------------------------------------------------------------------


def _number(text: str, *, is_day: bool = False) -> datetime | None:
    if _EXPONENT.fullmatch(text):
        text = format(Decimal(text), "f")
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    sign, whole, part = found.groups()
    if len(whole) == 10 and _HOUR.fullmatch(whole):
        return None  # seconds of 2030 to 2036 as well
    stamp = None if sign or part else _STAMP.fullmatch(whole)
    if stamp and len(whole) == 12 and is_day:
        return None  # milliseconds of 1976 as well
    if stamp:
        return _stamped(stamp)
    number = Decimal(f"{sign}{whole}.{part or 0}")
    if len(whole) == 5 and whole[0] != "0" and not sign:
        micros = round((number - 25569) * 86400) * 1_000_000
    elif len(whole) == 19:
        micros = int(number / 1000)
    elif len(whole) in _SCALES:
        micros = int(number * _SCALES[len(whole)])
    else:
        return None
    return _since(_EPOCH, micros)


def _stamped(stamp: re.Match[str]) -> datetime | None:
    year, month, day, hour, minute, second, millis = (int(part or 0) for part in stamp.groups())
    try:
        return datetime(year, month, day, hour, minute, second, millis * 1000, UTC)
    except ValueError:
        return None


def _since(start: datetime, micros: int) -> datetime | None:
    try:
        return start + timedelta(microseconds=micros)
    except OverflowError:
        return None


# days ---------------------------------------------------------------------------------------------


def _day(text: str, form: Format) -> _Day | None:
    if clock := _CLOCK_FIRST.fullmatch(text):
        text = f"{clock[2]} {clock[1]}"
    text = text.removeprefix("ngày ")
    if text[:1].isdigit():
        return _numeric(text, form) or _named(text)
    weekday = _WEEKDAY.match(text)
    if weekday and weekday[1] in WEEKDAYS:
        after = text[weekday.end() :]
        if found := _numeric(after, form) or _named(after):
            return found
    return _named(text)


def _numeric(text: str, form: Format) -> _Day | None:
    if found := _YEAR_FIRST.match(text):
        year, _, month, day = found.groups()
    elif found := _YEAR_LAST.match(text):
        return _year_last(found, form)
    elif found := (_COMPACT.match(text) or _EAST_ASIAN.match(text)):
        year, month, day = found.groups()
    elif found := _VIETNAMESE.match(text):
        day, month, year = found.groups()
    elif found := (_WEEK.match(text) or _ORDINAL.match(text)):
        on = _counted(*map(int, found.groups()))
        return _Day(on.year, on.month, on.day, text[found.end() :]) if on else None
    else:
        return None
    return _Day(int(year), int(month), int(day), text[found.end() :])


def _counted(year: int, number: int, weekday: int | None = None) -> date | None:
    """Day of a week, or of a year."""
    try:
        if weekday is not None:
            return date.fromisocalendar(year, number, weekday)
        on = date(year, 1, 1) + timedelta(days=number - 1)
    except (ValueError, OverflowError):
        return None
    return on if on.year == year else None


def _year_last(found: re.Match[str], form: Format) -> _Day | None:
    one, two, year = int(found[1]), int(found[3]), int(found[4])
    is_short = len(found[4]) == 2
    rest = found.string[found.end() :]
    side = form.side
    if side is None and not is_short:
        side = "day" if one > 12 >= two else "month" if two > 12 >= one else None
    elif side is None and two > 12 >= one:
        side = "month"
    elif side is None and year > 31:
        side = "day" if one > 12 >= two else None
    if side == "year" and is_short:
        return _Day(one, two, year, rest, is_short=True)
    if side not in ("day", "month"):
        return None
    day, month = (one, two) if side == "day" else (two, one)
    return _Day(year, month, day, rest, is_short)


def _named(text: str) -> _Day | None:
    """A day whose month has its name."""
    weekday = _WEEKDAY.match(text)
    for said in (text, text[weekday.end() :] if weekday and weekday[1] in WEEKDAYS else ""):
        if found := _DAY_MONTH.match(said):
            day, dot, word, year = found.groups()
            month = BY_DOT[word][dot == "."] if word in BY_DOT else MONTHS.get(word)
        elif found := _MONTH_DAY.match(said):
            word, day, year = found.groups()
            month = MONTHS.get(word)
        elif found := _YEAR_MONTH.match(said):
            year, word, day = found.groups()
            month = MONTHS.get(word)
        elif found := _YEAR_AT_END.fullmatch(said):
            month = MONTHS.get(found[1] or found[4])
            day, year = found[2] or found[3], found[6]
            if month:
                return _Day(int(year), month, int(day), f" {found[5]}")
        else:
            continue
        if month:
            year = year.removeprefix("'")
            return _Day(int(year), month, int(day), said[found.end() :], len(year) == 2)
    return None


# times of the day ---------------------------------------------------------------------------------


def _time(text: str, form: Format) -> datetime | None:
    if _NUMBER.fullmatch(text) or _EXPONENT.fullmatch(text):
        return _number(text)
    found = _day(text, form)
    if found is None:
        return None
    on = _calendar(_century(found.year) if found.is_short else found.year, *found[1:3])
    if on is None:
        return None
    midnight, rest = datetime.combine(on, _MIDNIGHT, UTC), found.rest
    if not rest.strip(" ,.") or rest.strip() in ("г", "г.", "года"):
        return midnight
    try:
        if _DAY_ZONE.fullmatch(rest):
            return midnight - (_away(rest) or timedelta(0))
        return _clock(midnight, rest)
    except OverflowError:
        return None


def _clock(midnight: datetime, text: str) -> datetime | None:
    found = _CLOCK.fullmatch(text)
    away = _away(found["zone"]) if found else None
    if found is None or away is None:
        return None
    minute = found["m1"] or found["m2"] or found["m3"] or found["m4"]
    half = found["before"] or found["after"]
    if (found["before"] and found["after"]) or (found["m4"] and len(found["hour"]) != 2):
        return None
    if minute is None and not (half or found["unit"] or found["said"] or found["join"] == "t"):
        return None  # no one writes the hour alone
    hour = _of_day(int(found["hour"]), half)
    seconds = found["s1"] or found["s2"] or found["s3"] or found["s4"] or "0"
    second = Decimal(re.sub("[,:]", ".", seconds))
    minutes = int(minute or 0)
    if hour is None or minutes > 59 or second >= 61:
        return None
    if hour == 24:
        return midnight + _DAY - away if not minutes and not second and half is None else None
    is_leap = second >= 60
    at = midnight + timedelta(
        hours=hour, minutes=minutes, seconds=59 if is_leap else int(second),
        microseconds=int(second % 1 * 1_000_000),
    ) - away  # fmt: skip
    if is_leap:
        return at + _SECOND if (at.hour, at.minute) == (23, 59) else None
    return at


def _of_day(hour: int, half: str | None) -> int | None:
    """Hour of the day, 24 too; None for what is none."""
    if half is None:
        return hour if hour <= 24 else None
    if half in _JAPANESE:
        return hour + _JAPANESE[half] if hour < 12 else None
    later = _HALVES[half.replace(".", "").replace(" ", "")]
    if hour in (0, *range(13, 24)):  # 24 hours, and the half said once more
        return hour if (hour >= 12) == (later == 12) else None
    return hour % 12 + later if 1 <= hour <= 12 else None


def _away(text: str) -> timedelta | None:
    """How far the clocks of a zone are ahead of UTC; None for no zone that is known."""
    found = _ZONE.fullmatch(text.rstrip())
    if found is None or (found["name"] and found["name"] not in _ZONES):
        return None
    remark = (found["remark"] or "")[1:-1]
    if not (found["sign"] or found["name"]) and remark not in _REMARKS:
        return None  # a zone's name, of which the hours depend on the day
    if found["sign"] is None:
        return timedelta(hours=_ZONES[found["name"]] if found["name"] else 0)
    hours, minutes = int(found["hours"]), int(found["minutes"] or 0)
    if (found["name"] or "utc") not in ("utc", "gmt", "ut") or hours > 18 or minutes > 59:
        return None
    away = timedelta(hours=hours, minutes=minutes)
    return -away if found["sign"] == "-" else away
