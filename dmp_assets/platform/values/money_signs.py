"""How currencies are written beside amounts, and which ones the amounts of a column name."""

from collections.abc import Iterable, Mapping

from dmp_assets.platform.values.currencies import CURRENCIES

_SYMBOL = "[a-z]{0,3}[$]|[$] ?(?:us|ca|hk|au|nz|can)|[£¤¥؋৳৲฿៛\u20a0-\u20cf﷼%]"
_WORDS = (
    "euros?|dollars?|rmb|rs[.]?|rm|rp[.]?|kr[.]?|kč|kc|ft[.]?|zł|zl[.]?|лв[.]?|руб[.]?|грн[.]?"
    "|ден[.]?|din[.]?|lei|tl|s?fr[.]?|円|圓|圆|元|원|đ|د[.]إ|ر[.]س|د[.]ك|ج[.]م"
)
_CODES = "|".join(CURRENCIES)
BEFORE = f"{_SYMBOL}|{_CODES}|{_WORDS}|r|s/[.]?"
AFTER = f"{_SYMBOL}|{_CODES}|{_WORDS}|р[.]?"
"""Patterns, in small letters or capitals: what stands before a number, and after it."""

_OF: Mapping[str, str] = {
    "€": "EUR", "EURO": "EUR", "EUROS": "EUR", "£": "GBP", "US$": "USD", "U$": "USD", "$US": "USD",
    "$CA": "CAD", "$CAN": "CAD", "$AU": "AUD", "R$": "BRL",
    "HK$": "HKD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "NZ$": "NZD", "NT$": "TWD",
    "S$": "SGD", "SG$": "SGD", "MX$": "MXN", "RS": "INR", "₹": "INR", "RM": "MYR", "RP": "IDR",
    "KČ": "CZK", "KC": "CZK", "FT": "HUF", "ZŁ": "PLN", "ZL": "PLN", "ЛВ": "BGN", "РУБ": "RUB",
    "Р": "RUB", "₽": "RUB", "ГРН": "UAH", "₴": "UAH", "TL": "TRY", "₺": "TRY", "FR": "CHF",
    "SFR": "CHF", "円": "JPY", "元": "CNY", "圆": "CNY", "RMB": "CNY", "₩": "KRW", "원": "KRW",
    "₫": "VND", "Đ": "VND", "₪": "ILS", "₱": "PHP", "฿": "THB", "₦": "NGN", "LEI": "RON",
    "R": "ZAR", "DOLLAR": "$", "DOLLARS": "$", "圓": "¥",
}  # fmt: skip
_ANY_OF: Mapping[str, frozenset[str]] = {
    "$": frozenset({"USD", "AUD", "CAD", "HKD", "NZD", "SGD", "TWD", "MXN", "ARS", "CLP", "COP"}),
    "¥": frozenset({"JPY", "CNY"}),
    "KR": frozenset({"SEK", "NOK", "DKK", "ISK"}),
}
"""Signs of several currencies."""


def different(written: Iterable[str | None]) -> list[str]:
    """The currencies that these signs, words and codes name, if they are several; else none."""
    signs = (sign.upper().rstrip(".").replace(" ", "") for sign in written if sign)
    names = {_OF.get(sign, sign) for sign in signs if sign not in "%¤"}
    for sign, currencies in _ANY_OF.items():
        if names & currencies:
            names.discard(sign)
    return sorted(names) if len(names) > 1 else []
