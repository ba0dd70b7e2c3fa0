"""Figures and months as people of other scripts and languages write them, in ASCII figures.

`١٢٫٥٠` is 12.50, `1. März 2024`, `Fri, 01 Mar 2024` and `2024年3月1日` are 2024-3-1. A month's name
leaves no doubt about the order, so nothing is guessed. Years are those of the Common Era: a year
of another calendar (2567, 1403) stays what it says, which the readers then refuse.
"""

import re
import unicodedata
from collections.abc import Iterator

_ZEROS = (
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50,
    0xED0, 0xF20, 0x1040, 0x17E0, 0x1810, 0xFF10,
)  # fmt: skip
"""Code points of the zeros of scripts that are written today; 1 to 9 follow each."""
OTHERS = "".join(chr(zero + digit) for zero in _ZEROS for digit in range(10)) + "٫٬−＋．，／：－"
ASCII = "0123456789" * len(_ZEROS) + ".,-+.,/:-"
"""What each character of `OTHERS` is in ASCII, in the same order."""
_TO_ASCII = str.maketrans(OTHERS, ASCII)

_NAMES = """
january february march april may june july august september october november december
januar februar märz april mai juni juli august september oktober november dezember
jänner feber maerz april mai juni juli august sept oktober november dezember
janvier février mars avril mai juin juillet août septembre octobre novembre décembre
enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre
janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro
januari februari maart april mei juni juli augustus september oktober november december
januari februari mars april maj juni juli augusti september oktober november december
stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia
января февраля марта апреля мая июня июля августа сентября октября ноября декабря
"""


def _names() -> Iterator[tuple[str, int]]:
    for line in _NAMES.strip().splitlines():
        for number, name in enumerate(line.split(), start=1):
            for end in range(3, len(name) + 1):
                yield name[:end], number


def _months() -> dict[str, int]:
    """Names and their beginnings of three letters and more, but for those of several months."""
    found: dict[str, set[int]] = {}
    for name, number in _names():
        found.setdefault(name, set()).add(number)
        bare = "".join(
            c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c)
        )
        found.setdefault(bare, set()).add(number)
    return {name: numbers.pop() for name, numbers in found.items() if len(numbers) == 1}


_MONTHS = _months()
_PLAIN = re.compile(r"[0-9 T:Z+./,-]*")
_WORD = r"([^\W\d_]{3,})\.?"
_OF = r"(?:de|di|of)?"
_WEEKDAY = re.compile(r"^[^\W\d_]+\.?(?:,\s*|\s+(?=[^\W\d_]))")
_DAY_MONTH = re.compile(rf"^([0-9]{{1,2}})(?:st|nd|rd|th|er|º|\.)?[\s-]*{_OF}[\s-]*{_WORD}"
                        rf"[\s,-]*{_OF}[\s-]*([0-9]{{4}})(?![0-9])")  # fmt: skip
_MONTH_DAY = re.compile(
    rf"^{_WORD}[\s-]*([0-9]{{1,2}})(?:st|nd|rd|th)?[\s,-]+([0-9]{{4}})(?![0-9])", re.IGNORECASE
)
_YEAR_MONTH = re.compile(rf"^([0-9]{{4}})[\s-]*{_WORD}[\s-]*([0-9]{{1,2}})(?![0-9])")
_EAST_ASIAN = re.compile(r"^([0-9]{4})\s*[年년]\s*([0-9]{1,2})\s*[月월]\s*([0-9]{1,2})\s*[日일]")


def figures(text: str) -> str:
    """The text with the figures, signs and marks of other scripts in ASCII."""
    return text if text.isascii() else text.translate(_TO_ASCII)


def dated(text: str) -> str:
    """The text with a day at its start that names its month as `year-month-day`; else as it is."""
    if _PLAIN.fullmatch(text):
        return text
    text = figures(text)
    if found := _EAST_ASIAN.match(text):
        return "-".join(found.groups()) + text[found.end() :]
    for said in (text, _WEEKDAY.sub("", text, count=1)):
        for pattern, order in ((_DAY_MONTH, (3, 2, 1)), (_MONTH_DAY, (3, 1, 2)),
                               (_YEAR_MONTH, (1, 2, 3))):  # fmt: skip
            found = pattern.match(said)
            month = _MONTHS.get(found.group(order[1]).lower()) if found else None
            if found and month:
                day = f"{found.group(order[0])}-{month}-{found.group(order[2])}"
                return day + said[found.end() :]
    return text
