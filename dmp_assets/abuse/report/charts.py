"""The chart of the weekly message."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from dmp_assets.platform.reporting.charts import BLUE, ORANGE, Panel, daily_chart


def usage_chart(
    days: Sequence[date], usages: Sequence[int], registrations: Sequence[int], path: Path
) -> Path:
    """Promo codes used and accounts registered per day; see `daily_chart`."""
    upper = Panel("Promo codes used per day", usages, BLUE)
    return daily_chart(
        days, (upper, Panel("Accounts registered per day", registrations, ORANGE)), path
    )
