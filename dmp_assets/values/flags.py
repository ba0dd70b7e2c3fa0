"""One reader of flags: yes and no as people, programs and spreadsheets of many languages write.

`x` and `-1` are in neither list: a cross means both, and databases differ on the number.
"""

import re

from dmp_assets.values.numerals import figures

_YES = """
true t yes y on checked enabled ja j jawohl oui si sí sì sim s da да так tak ano igen evet kyllä joo
áno jes ναι כן نعم はい 是 真 예 네
wahr vrai verdadero verdadeiro vero waar sant sand tosi prawda pravda
doğru igaz истина істина ✓ ✔ ☑ ✅
"""
_NO = """
false f no n off unchecked disabled nein non não nao nee nej nei nie нет ні ne nem hayır hayir
ei όχι לא لا いいえ 否 假 아니오 아니요 falsch faux falso onwaar falskt falsk epätosi fałsz
falsz nepravda yanlış yanliş yanlis hamis ложь ✗ ✘ ☐ ❌
"""
TRUE_WORDS, FALSE_WORDS = frozenset(_YES.split()), frozenset(_NO.split())
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:e[+-]?[0-9]{1,3})?")
LONGEST = 32
"""A longer text is no flag."""


def read_flag(text: str, *, is_count: bool = False) -> bool | None:
    """A boolean in any of the usual spellings; None for none of them.

    `is_count`: any number is one of how often it happened, and true when that is not never.
    """
    if len(text) > LONGEST:
        return None
    word = figures(text).strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    if not _NUMBER.fullmatch(word):
        return None
    number = float(word.replace(",", "."))
    if is_count:
        return number > 0
    return None if number not in (0, 1) else number == 1
