"""The date range of a run: which days are read again and replaced."""

from datetime import date

import dagster as dg

from dmp_assets.platform.lake.date_range import parse_range


class Window(dg.ConfigurableResource[None]):
    """START–END of a run, both days included, UTC; empty: everything new.

    In Dagster's launchpad: `resources: {window: {config: {start: 2024-01-01, end: 2024-01-31}}}`.
    """

    start: str = ""
    end: str = ""

    def days(self) -> tuple[date, date] | None:
        """(first day, day after the last), or None without a range; raises RangeError."""
        return parse_range(self.start, self.end)
