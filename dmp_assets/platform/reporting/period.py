"""Some days: of a run, a report or a message."""

from dataclasses import dataclass
from datetime import date, timedelta

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Period:
    """Days, both included. `whole`: everything that is stored, also what lies outside of them."""

    first: date
    last: date
    whole: bool = False

    @property
    def bounds(self) -> tuple[date, date]:
        """First and last day that count."""
        return (date(1, 1, 1), date(9999, 12, 31)) if self.whole else (self.first, self.last)

    @property
    def length(self) -> int:
        return (self.last - self.first).days + 1

    def days(self) -> list[date]:
        return [self.first + DAY * i for i in range(self.length)]

    def before(self) -> "Period":
        """As many days, just before."""
        return Period(self.first - DAY * self.length, self.first - DAY)

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"
