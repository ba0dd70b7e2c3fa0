"""Figures, marks, months and weekdays as people of other scripts and languages write them.

`١٢٫٥٠` is 12.50, `1. März` and `1 de março` are the first day of the third month. A month's name
leaves no doubt about the order, so nothing is guessed; a name that two languages give to different
months (`lis`) is none.
"""

import unicodedata
from collections.abc import Iterator, Mapping

_ZEROS = (
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50,
    0xED0, 0xF20, 0x1040, 0x17E0, 0x1810, 0xFF10,
)  # fmt: skip
"""Code points of the zeros of scripts that are written today; 1 to 9 follow each."""
_MARKS: Mapping[str, str] = {
    "٫": ".", "．": ".", "٬": ",", "，": ",", "،": ",", "：": ":", "／": "/", "＋": "+", "٪": "%",
    "％": "%", "（": "(", "）": ")", "＄": "$", "￥": "¥", "￡": "£", "＠": "@", "＃": "#",
    **dict.fromkeys("−－﹣‐‑‒–—", "-"), **dict.fromkeys("’‘ʼ＇", "'"),
    **dict.fromkeys(
        "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2028\u2029\u202f\u205f\u3000"
        + "".join(map(chr, range(0x2000, 0x200B))), " "
    ),
}  # fmt: skip
INVISIBLE = (
    "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff"
)
"""Characters without width: joiners, directions, byte order marks, hyphens that do not show."""
OTHERS = (
    "".join(chr(zero + digit) for zero in _ZEROS for digit in range(10)) + "".join(_MARKS)
) + INVISIBLE
ASCII = "0123456789" * len(_ZEROS) + "".join(_MARKS.values())
"""What each character of `OTHERS` is in ASCII, in the same order; the last ones are nothing."""
_TO_ASCII = str.maketrans(OTHERS[: len(ASCII)], ASCII, INVISIBLE)

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
"""Taken with their beginnings of three letters and more."""
_WHOLE_NAMES = """
januar februar marts april maj juni juli august september oktober november december
tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta lokakuuta marraskuuta joulukuuta
ledna února března dubna května června července srpna září října listopadu prosince
led úno bře dub kvě čvn čvc srp zář říj lis pro
leden únor březen duben květen červen červenec srpen září říjen listopad prosinec
január február március április május június július augusztus szeptember október november december
jan. febr. márc. ápr. máj. jún. júl. aug. szept. okt. nov. dec.
ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie
ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık
oca şub mar nis may haz tem ağu eyl eki kas ara
siječnja veljače ožujka travnja svibnja lipnja srpnja kolovoza rujna listopada studenoga prosinca
sij velj ožu tra svi lip srp kol ruj lis stu pro
січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня
январь февраль март апрель май июнь июль август сентябрь октябрь ноябрь декабрь
януари февруари март април май юни юли август септември октомври ноември декември
ιανουαρίου φεβρουαρίου μαρτίου απριλίου μαΐου ιουνίου ιουλίου αυγούστου σεπτεμβρίου οκτωβρίου νοεμβρίου δεκεμβρίου
januari februari maret april mei juni juli agustus september oktober november desember
يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر
"""  # noqa: E501 - one language, one line
"""Taken as they are."""
_WEEKDAY_NAMES = """
monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun
montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag mo di mi do fr sa so
lundi mardi mercredi jeudi vendredi samedi dimanche lun mar mer jeu ven sam dim
lunes martes miércoles jueves viernes sábado domingo mié jue vie sáb dom
lunedì martedì mercoledì giovedì venerdì sabato domenica gio sab
segunda-feira terça-feira quarta-feira quinta-feira sexta-feira segunda terça quarta quinta sexta
seg ter qua qui sex maandag dinsdag woensdag donderdag vrijdag zaterdag zondag ma wo vr za zo
måndag tisdag onsdag torsdag fredag lördag söndag mandag tirsdag lørdag søndag mån tis ons tors fre
poniedziałek wtorek środa czwartek piątek sobota niedziela pon wt śr czw pt sob ndz niedz
понедельник вторник среда четверг пятница суббота воскресенье пн вт ср чт пт сб вс
maanantai tiistai keskiviikko torstai perjantai lauantai sunnuntai
pazartesi salı çarşamba perşembe cuma cumartesi pazar
"""


def _bare(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))


def _names() -> Iterator[tuple[str, int]]:
    for line in _NAMES.strip().splitlines():
        for number, name in enumerate(line.split(), start=1):
            for end in range(3, len(name) + 1):
                yield name[:end], number
    for line in _WHOLE_NAMES.strip().splitlines():
        for number, name in enumerate(line.split(), start=1):
            yield name.rstrip("."), number


def _months() -> dict[str, int]:
    found: dict[str, set[int]] = {}
    for name, number in _names():
        for spelling in (name, _bare(name), name.replace("ı", "i")):
            found.setdefault(spelling, set()).add(number)
    return {name: numbers.pop() for name, numbers in found.items() if len(numbers) == 1}


WEEKDAYS = frozenset(_WEEKDAY_NAMES.split())
MONTHS: Mapping[str, int] = _months()
"""Name in small letters → number of the month."""
BY_DOT: Mapping[str, tuple[int, int]] = {"listopada": (11, 10)}
"""Months of names that two languages share: after a day without a dot (Polish), and with one, as
ordinal numbers have it (Croatian)."""


def figures(text: str) -> str:
    """The text with the figures, signs, marks and spaces of other scripts in ASCII, and nothing of
    what has no width."""
    return text if text.isascii() else text.translate(_TO_ASCII)
