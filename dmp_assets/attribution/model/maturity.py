"""How long a day goes on earning: the measured delay from a touchpoint to its conversion.

A session earns credit when its visitor converts, which may be weeks later. A day counts as closed
when nine in ten of the touchpoints that ever led to a conversion would have done so by now.
"""

SHARE = 0.9
DEFAULT_DAYS = 30
"""Days after which a day counts as closed where no conversion tells and no lookback is set."""

DELAY = f"""
SELECT ceil(quantile_cont(hours_before, {SHARE}) / 24)::INTEGER AS days
FROM modeled.customer_journeys
"""
"""SQL: the delay in days within which `SHARE` of all touchpoints had their conversion; null
without a touchpoint."""


def open_days(measured: int | None, lookback_days: int | None) -> int:
    """Days (at least 1) after which a day is closed, by the measured delay and the lookback window.

    Nothing older than the window can earn any more, however long conversions take.
    """
    if measured is None:
        return lookback_days or DEFAULT_DAYS
    return max(min(measured, lookback_days or measured), 1)
