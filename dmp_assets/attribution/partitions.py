"""Which daily partitions a run makes."""

from datetime import UTC, date, datetime

from dmp_assets.home import Home
from dmp_assets.platform.lake.date_range import RangeError
from dmp_assets.sources.web.settings import WebSettings


def partition_tags(home: Home, start: str = "", end: str = "") -> dict[str, str]:
    """Tags by which a run makes the daily partitions of START–END, or of all conversions.

    Raises RangeError for a range without a day that can be selected.
    """
    from dmp_assets.platform.lake.table_asset import WHOLE_TAG
    from dmp_assets.sources.web import resource as web

    settings = home.settings()
    whole = not start
    if whole:
        source = web.web_source(home)
        days = web.conversion_days(source) if source else None
    else:
        days = date.fromisoformat(start), date.fromisoformat(end)
    opening, today = settings.of(WebSettings).web_first_day, datetime.now(UTC).date()
    first, last = days or (opening, opening)
    if whole:  # conversions of days that cannot be selected are made all the same
        first, last = min(max(first, opening), today), min(max(last, opening), today)
    else:
        first, last = max(first, opening), min(last, today)
    if first > last:
        raise RangeError(
            f"{start} to {end} has no day between DMP_WEB_FIRST_DAY ({opening}) and today"
        )
    return {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
        **({WHOLE_TAG: "true"} if whole else {}),
    }
