"""The face of a domain towards the lakehouse: what it gives to machinery that knows no domain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

TAG = "domain"
"""Tag of every asset: the name of its domain."""
PLATFORM = "platform"
"""What is of no domain: the reports on all of them."""


def of(name: str) -> dg.AssetSelection:
    """All assets of a domain, reports and deliveries included."""
    return dg.AssetSelection.tag(TAG, name)


@dataclass(frozen=True, kw_only=True)
class Lake:
    """What a domain gives to the lakehouse.

    `assets`: tables, marts, publications, exports; reports and deliveries come of themselves.
    `in_shared_jobs`: whether `daily_refresh` and `weekly_report` make them. A domain with daily
    partitions has schedules of its own: a job would make a run a day of a backfill.
    `schedules` are made anew for each home.
    """

    assets: Sequence[Any]
    in_shared_jobs: bool
    jobs: Sequence[Any] = ()
    schedules: Callable[[], Sequence[Any]] = tuple
    sensors: Sequence[Any] = ()
