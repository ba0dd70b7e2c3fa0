"""Meta's money: budgets and caps in minor units by Meta's own offsets, insights in main units.

The offset is not that of ISO 4217: HUF and CLP are counted in whole units, KWD in hundredths.
"""

from decimal import Decimal

from dmp_assets.platform.base.errors import GivenError

WHOLE_UNITS = frozenset(
    ("CLP", "COP", "CRC", "HUF", "ISK", "IDR", "JPY", "KRW", "PYG", "TWD", "VND")
)
"""Currencies that Meta counts in whole units; all others in hundredths."""


class AmountError(GivenError):
    """An amount that Meta cannot be told."""


def offset(currency: str) -> int:
    """How many of Meta's minor units are one main unit of the currency (ISO 4217 code)."""
    return 1 if currency.upper() in WHOLE_UNITS else 100


def to_minor(amount: Decimal, currency: str) -> int:
    """An amount in Meta's minor units. Raises AmountError for a part of one, or below 0."""
    minor = amount * offset(currency)
    if not amount.is_finite() or minor != minor.to_integral_value() or minor < 0:
        raise AmountError(
            f"{amount} {currency} is no whole number of Meta's smallest units of {currency} "
            f"(1 {currency} = {offset(currency)})"
        )
    return int(minor)


def from_minor(minor: str | int, currency: str) -> Decimal:
    """An amount of Meta's minor units in main units. Raises AmountError for no whole number."""
    text = str(minor).strip()
    if not text.removeprefix("-").isdecimal():
        raise AmountError("Meta gives an amount that is no whole number")
    return Decimal(int(text)) / offset(currency)
