"""One reader of flags: yes and no as people, programs and spreadsheets of many languages write.

A lone `x` is a box that was ticked, `-1` what databases of offices have for true. `×` is in neither
list: it ticks a box here and says no there.
"""

import re
import unicodedata

from dmp_assets.platform.values.numerals import figures

_YES = """
true t yes y on x [x] (x) checked enabled ja j jawohl oui si sí sì sim s da да так tak ano igen evet
kyllä joo áno jes ναι כן نعم はい 是 真 예 네
wahr vrai verdadero verdadeiro vero waar sant sand tosi prawda pravda
doğru igaz истина істина adevărat αληθής
有 有り あり ある 对 對 正确 正確 있음 참 맞음 var हाँ हां सही
ใช่ จริง có đúng ya benar صحيح أجل بله ✓ ✔ √ ☑ ✅ ☒ ○ ◯ 〇 👍
"""
_NO = """
false f no n off unchecked disabled nein non não nao nee nej nei nie нет ні ne nem hayır hayir
ei όχι לא لا いいえ 否 假 아니오 아니요 falsch faux falso onwaar falskt falsk epätosi fałsz
falsz nepravda yanlış yanliş yanlis hamis ложь хибність fals ψευδής
无 無 無し なし ない 没有 沒有 不是 错 錯 错误 錯誤 없음 거짓 아님 yok नहीं गलत
ไม่ ไม่ใช่ เท็จ không sai tidak خطأ خاطئ خیر ✗ ✘ ☐ ❌ 👎
"""
TRUE_WORDS, FALSE_WORDS = (
    frozenset(unicodedata.normalize("NFKC", word) for word in listed.split())
    for listed in (_YES, _NO)
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:e[+-]?[0-9]{1,3})?")
LONGEST = 32
"""A longer text is no flag."""


def read_flag(text: str, *, is_count: bool = False) -> bool | None:
    """A boolean in any of the usual spellings; None for none of them.

    Of numbers 1 and -1 are true and 0 is false; others are none, since some count yes as 1 and no
    as 2. `is_count`: the column says how much or how often, and any number but 0 is true.
    """
    if len(text) > LONGEST:
        return None
    word = _word(text)
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    if not _NUMBER.fullmatch(word):
        return None
    number = float(word.replace(",", "."))
    return number != 0 if is_count or number in (0, 1, -1) else None


def _word(text: str) -> str:
    """In small letters of usual width."""
    if text.isascii():
        return text.strip().lower()
    word = figures(unicodedata.normalize("NFKC", text)).strip().lower()
    return word.replace("\u0307", "").replace("\ufe0f", "")
