"""Whether spend varied enough to learn from.

Spend that is always the same tells nothing of what another would do, nor does spend that follows
weekdays, the seasons or another line: their effects cannot be told apart. What counts is what is
left when these are taken out by least squares, as a share of the mean.
"""

import numpy as np

from dmp_assets.ads.model.budgets.response import adstock, decay
from dmp_assets.ads.model.budgets.series import WEEK, Floats, Series
from dmp_assets.ads.model.budgets.terms import Flexibility, Terms

LEAST_VARIATION = 0.1
"""A tenth of the mean; below, a line is not moved."""
_HARMONICS = 2


def variation(series: Series, member: Floats) -> Floats:
    """Standard deviation of each line's own spend as a share of its mean, (lines,).

    `member` (lines, campaigns) is positive where a campaign is of a line. Spend is smoothed by a
    half-life of a week: what goes up today and down tomorrow is no other budget. 0 without spend.
    """
    spend = series.spend @ (member > 0).T
    share = decay(WEEK, series.step)
    stock = adstock(spend, share, spend[: 4 * WEEK // series.step].mean(axis=0))
    calendar = Terms(
        series.dates[0], series.dates[-1], series.step, Flexibility(harmonics=_HARMONICS), {}
    )
    columns = calendar.columns(series.dates)
    level = np.flatnonzero(~calendar.seasonal)[2:]
    fixed = np.delete(columns, level, axis=1)
    found = np.zeros(spend.shape[1])
    for line in range(spend.shape[1]):
        mean = float(stock[:, line].mean())
        if mean <= 0:
            continue
        known = np.hstack([fixed, np.delete(stock, line, axis=1)])
        fitted, *_ = np.linalg.lstsq(known, stock[:, line], rcond=None)
        left = stock[:, line] - known @ fitted
        found[line] = float(np.sqrt((left**2).sum() / max(len(left) - known.shape[1], 1))) / mean
    return found
