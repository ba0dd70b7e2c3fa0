"""Words that mean nothing: what systems write where they have no value.

`NULL`, `(not set)`, `無し`, an id of zeros: taken for values they make one person of all who lack
one. There is one list per kind of value, in any case and width and without what stands around it;
the setting `DMP_NO_VALUES` extends it. The lakehouse and the service ask the
same list.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal, get_args

from dmp_assets.platform.values.blank_words import COMMON, OTHERWISE, listed
from dmp_assets.platform.values.flags import FALSE_WORDS, TRUE_WORDS
from dmp_assets.platform.values.numerals import INVISIBLE, figures

Kind = Literal[
    "id", "visitor", "email", "phone", "device", "ip", "user_agent", "name", "city", "timezone",
    "code", "channel", "flag", "time", "other", "as received",
]  # fmt: skip
"""What a value is to be. `id` names a row of its own table, `visitor` a person from elsewhere;
`as received` takes any text but an empty one for a value."""

KINDS: tuple[Kind, ...] = get_args(Kind)
ANY = "any"
"""In the setting: whatever the kind."""

SPACES = (
    " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
    + "".join(map(chr, range(0x2000, 0x200C)))
    + INVISIBLE
)
"""What may stand around a value: Unicode's spaces, what has no width, and line ends."""
_NOTHING = dict.fromkeys(map(ord, INVISIBLE))
TYPED_IN = frozenset({"id", "visitor", "device", "email", "phone", "ip", "code", "timezone"})
"""Kinds in which a character without width is no part of the value wherever it stands."""
_QUOTED = re.compile(r'=?"([^"]*)"')
"""How exports keep a spreadsheet from making `0012` a number, and what is quoted twice."""
_MARKS = ("=", '"', "'")
_OWN_QUOTES = frozenset({"name", "city", "user_agent", "channel", "other"})
"""Kinds in which quotes may be part of the value."""

NUMBERED = frozenset({"id", "visitor", "device"})
"""Kinds whose values may be whole numbers: `1003.0`, a float on its way, is `1003`."""
_WHOLE = re.compile(r"([0-9]+)[.]0+\Z")
_TEXT_MARKED = NUMBERED | {"phone", "code"}
"""Kinds of which a spreadsheet's mark of text (`'0012`, `'+49…`) is no part."""

LONGEST = 64
"""A longer text means something."""


_ZEROS = r"(?:0x)?[0{}:-]*0[0{}:-]+"
"""An id, UUID or hardware address of nothing but zeros."""
_FULL = r"f{8}-f{4}-f{4}-f{4}-f{12}|f{32}|(?:ff[:-]){5}ff|(?:02[:-])(?:00[:-]){4}00"
_NOTHING_HASHED = (
    "d41d8cd98f00b204e9800998ecf8427e|da39a3ee5e6b4b0d3255bfef95601890afd80709"
    "|e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)
"""MD5, SHA-1 and SHA-256 of an empty text."""
_ROUNDED = r"[0-9](?:[.,][0-9]+)?e[+][0-9]{2,}"
"""A number of which a spreadsheet left the first figures: of many ids it made one."""
_NO_TIME = (
    r"(?:0000[-/.]00[-/.]00|00[-/.]00[-/.]0000|0001-01-01|0?1[-/.]0?1[-/.]0001|1900-01-01"
    r"|1899-12-3[01]|9999-12-31|31[-/.]12[-/.]9999|12[-/.]31[-/.]9999)(?:[t ,].*)?"
)
"""What databases and languages have for a time that is not, or never ends."""
_TEMPLATE = (
    r"\{\{[^}]*\}\}|\$\{[^}]*\}|%%[^%]*%%|<%[^%]*%>|\[%[^%]*%\]|\{[a-z_]+\}|\[[a-z]+_[a-z_]+\]"
)
"""A place-holder that nobody filled in."""
_NOBODY = (
    r"(?:test[0-9]*|none|null|nil|na|n/a|no|noemail|no[-_.]?(?:e?mail|one|body)|unknown"
    r"|undefined|invalid|anonymous|x+|asdf+|qwerty?|abc|a{3,}|example)"
)
_NOWHERE = (
    r"(?:test[0-9]*|none|null|nil|n/?a|no|noemail|no-?e?mail|email|unknown|undefined|invalid|example"
    r"|localhost|domain|x+|asdf+|qwerty?|abc|a{3,})"
)
_SAME_DIGIT = "|".join(rf"(?:{digit}[ ()./-]*){{7,}}" for digit in range(10))

_WORDS: Mapping[Kind, frozenset[str]] = {
    "visitor": listed(
        "0 -1 guest (guest) guests gast gäste anonymous (anonymous) anonym anon anonyme anonimo "
        "invité invite invitado visitor besucher visitante hóspede convidado ospite гость gość "
        "misafir gjest gæst vieras návštěvník ゲスト 匿名 游客 遊客 访客 訪客 "
        "게스트 익명 손님 अतिथि ضيف زائر"
    ),
    "email": listed("0 x xx xxx no@email no@mail @ email e-mail"),
    "phone": listed(
        "0 x xx xxx 1234567 12345678 123456789 1234567890 0123456789 12345678901 +1234567890 "
        "123-456-7890 (123)~456-7890 +1~123-456-7890 +1~(123)~456-7890 phone telefon +1 +49"
    ),
    "device": listed(
        "0 1 -1 x xx xxx test device browser web mobile desktop android ios iphone default "
        "unknown~device unknown-device unknown_device no~device "
        "9774d56d682e549c"  # one id of many early Android phones
    ),
    "ip": listed("0 localhost 255.255.255.255"),
    "user_agent": listed("0 user~agent user-agent useragent test"),
    "name": listed(
        "first~name last~name firstname lastname your~name vorname nachname prénom nombre apellido "
        "guest gast anonymous anonym user name"
    ),
    "city": listed("0 city stadt ort ville ciudad other (other)"),
    "timezone": listed("0 factory local default localtime"),
    "code": listed("0 no~code nocode no-code kein~code"),
    "channel": listed("0"),
    "time": listed("0 never forever nie jamais nunca mai"),
}

_PATTERNS: Mapping[Kind, str] = {
    "id": f"{_ZEROS}|{_FULL}|{_ROUNDED}",
    "visitor": f"{_ZEROS}|{_FULL}|{_NOTHING_HASHED}|{_ROUNDED}",
    "email": rf"{_NOBODY}@{_NOWHERE}(?:\.[a-z.]+)?",
    "phone": rf"\+?[ ()./-]*(?:[0-9][ ()./-]*){{0,3}}(?:{_SAME_DIGIT})|[0+ ()./-]+",
    "device": f"{_ZEROS}|{_FULL}|{_NOTHING_HASHED}|{_ROUNDED}",
    "time": _NO_TIME,
    "ip": r"(?:::ffff:)?(?:0+\.0+\.0+\.0+|127\.[0-9]+\.[0-9]+\.[0-9]+)|[0:]+|[0:]*:0*1",
}

_COMPILED: Mapping[Kind, re.Pattern[str]] = {
    kind: re.compile("|".join(filter(None, (_TEMPLATE, _PATTERNS.get(kind)))), re.ASCII)
    for kind in KINDS
}
"""Small letters: what whole texts look like."""

NO_CHANNEL = "unknown"
"""The channel of sessions whose channel means nothing: they count, under one name."""


def key(text: str) -> str:
    """How words are compared: small letters of usual width, one dash, one space, ASCII figures."""
    if text.isascii():
        return text.lower()
    word = figures(unicodedata.normalize("NFKC", text)).lower().replace("\u0307", "")
    dashed = ("-" if unicodedata.category(sign) == "Pd" else sign for sign in word)
    return " ".join("".join(dashed).split())


_ANSWERS = TRUE_WORDS | FALSE_WORDS
_NAMED: tuple[Kind, ...] = ("name", "city", "id", "code")
_COMMON = frozenset(map(key, COMMON))
_PAIRS = dict(zip("<([{\"'“‘«‹「『【《〈〔*_-~", ">)]}\"'”’»›」』】》〉〕*_-~", strict=True))
"""What stands around a word that is none of the value's own."""
_BRACKETS = "<([{«‹「『【《〈〔"
"""No person, place, id or code stands in these: inside of them each common word means nothing."""
_STOPS = ".!。｡"
_LONG_VOWELS = "ー"


def _otherwise(kind: Kind) -> frozenset[str]:
    """Common words that may be values of this kind."""
    return OTHERWISE if kind in _NAMED else _ANSWERS if kind == "flag" else frozenset()


@lru_cache(maxsize=1024)
def _is_mark(sign: str) -> bool:
    """Punctuation, a sign of mathematics, a line: of such alone is no value.

    Pictures and money's signs are none of them, nor is a percentage's, or the cross that answers a
    question.
    """
    return sign not in "×%‰" and (
        unicodedata.category(sign)[0] in "PZ"
        or unicodedata.category(sign) in ("Sm", "Sk")
        or "\u2500" <= sign <= "\u257f"
        or sign in _LONG_VOWELS
    )


def _bare(word: str) -> str:
    """Without brackets, quotes and full stops around."""
    while len(word) > 2 and _PAIRS.get(word[0]) == word[-1]:
        word = word[1:-1].strip()
    return word.rstrip(_STOPS).rstrip() if len(word) > 2 and word[:1].isalpha() else word


@dataclass(frozen=True)
class Words:
    """The lists with what a setting adds. `more`: kind, or `any`, → further words."""

    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def exact(self) -> dict[Kind, frozenset[str]]:
        """Small letters: the words of each kind."""
        lists = {}
        for kind in KINDS:
            own = (*self.more.get(ANY, ()), *self.more.get(kind, ()))
            lists[kind] = (
                _COMMON - _otherwise(kind)
                | _WORDS.get(kind, frozenset())
                | {key(word.strip(SPACES)) for word in own}
            )
        return lists

    def mean_nothing(self, kind: Kind, text: str) -> bool:
        """Whether a text without spaces around it says that there is no value."""
        if len(text) > LONGEST or kind == "as received":
            return False
        word = key(text)
        if word in self.exact[kind] or _COMPILED[kind].fullmatch(word) is not None:
            return True
        if kind == "flag" and word in _ANSWERS:
            return False
        if all(map(_is_mark, word)):
            return True
        bare = _bare(word)
        if bare == word:
            return False
        is_bracketed = kind != "flag" and word[0] in _BRACKETS
        return bare in self.exact[kind] or (is_bracketed and bare in _COMMON)

    def given(self, kind: Kind, text: str | None) -> str | None:
        """The text without spaces around it, an id's number whole; None when it means nothing."""
        if text is None:
            return None
        text = plain(kind, text)
        return None if not text or self.mean_nothing(kind, text) else text


def plain(kind: Kind, text: str) -> str:
    """The text without what is no part of a value of this kind, an id's number whole.

    This is the rule by which ids and codes compare, in tables and in the service.
    """
    text = text.strip(SPACES)
    if kind in TYPED_IN and not text.isascii():
        text = text.translate(_NOTHING)
    if text[:1] in _MARKS:
        text = _unmarked(kind, text)
    found = _WHOLE.match(text) if kind in NUMBERED else None
    return found[1] if found else text


def _unmarked(kind: Kind, text: str) -> str:
    quoted = text[:1] == "=" or (text[:1] == '"' and kind not in _OWN_QUOTES)
    if quoted and (found := _QUOTED.fullmatch(text)):
        text = found[1].strip(SPACES)
    if text[:1] == "'" and kind in _TEXT_MARKED and len(text) > 1 and "'" not in text[1:]:
        text = text[1:]
    return text


STANDARD = Words()


def of(more: Mapping[str, Iterable[str]]) -> Words:
    """The lists with these words added. Raises ValueError for a kind that there is not."""
    for kind in more:
        if kind not in known():
            raise ValueError(f"{kind!r} is no kind of value (there are: {', '.join(known())})")
    return Words({kind: tuple(words) for kind, words in more.items()}) if more else STANDARD


def known() -> tuple[str, ...]:
    """What the setting may name."""
    return (ANY, *(kind for kind in KINDS if kind != "as received"))
