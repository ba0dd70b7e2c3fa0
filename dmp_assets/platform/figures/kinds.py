"""What is said of a figure: its name, label, definition and unit, and of when it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Unit = Literal["accounts", "cases", "codes", "uses", "conversions", "money", "ratio", "time"]
AsOf = Literal["last scoring", "now", "period", "last reading"]

AS_OF: Mapping[AsOf, str] = MappingProxyType(
    {
        "last scoring": "as of the last run that scored",
        "now": "now, with every decision taken so far",
        "period": "of the days that are named beside it",
        "last reading": "as of the last reading of the source",
    }
)
"""As-of meaning → its words."""


@dataclass(frozen=True)
class CataloguedFigure:
    """One figure: `name` for programs, `label` and `definition` (a sentence) for people.

    `unit` `money` is in the currency of the settings; `ratio` has no unit. `as_of` says of when
    the figure is: a key of `AS_OF`.
    """

    name: str
    label: str
    definition: str
    unit: Unit
    as_of: AsOf

    @property
    def when(self) -> str:
        """Of when the figure is, in words."""
        return AS_OF[self.as_of]

    def titled(self, currency: str = "EUR") -> str:
        """The label with its unit where that is money: `Cost, EUR`."""
        return f"{self.label}, {currency}" if self.unit == "money" else self.label
