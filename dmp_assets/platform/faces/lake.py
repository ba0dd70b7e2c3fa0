"""The face of a domain towards the lakehouse: what it gives to machinery that knows no domain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from dmp_assets import domains
from dmp_assets.platform.lake.columns import Columns
from dmp_assets.platform.lake.table_metadata import columns_of
from dmp_assets.platform.marts.mart import Mart
from dmp_assets.platform.published.publication import Publication
from dmp_assets.platform.stream.stream import Stream

TAG = "domain"
"""Tag of every asset: the name of its domain."""


def of(name: str) -> dg.AssetSelection:
    """All assets of a domain, reports and deliveries included."""
    return dg.AssetSelection.tag(TAG, name)


def reports_of(name: str) -> dg.AssetSelection:
    """The reports of a domain and their messages, as its `REPORTS` list them."""
    return of(name) & dg.AssetSelection.key_prefixes("reports", "delivery")


@dataclass(frozen=True, kw_only=True)
class Lake:
    """What a domain gives to the lakehouse.

    `assets`: group of Dagster's → its tables and exports; the group is a source's name for what is
    received and cleaned, the domain's for what it makes of that. `marts` and `publications` become
    assets of the domain's group, and so do its reports and their deliveries.
    `in_shared_jobs`: whether `daily_refresh` and `weekly_report` make them. A domain with daily
    partitions has schedules of its own: a job would make a run a day of a backfill.
    `schedules` are made anew for each home. `streams`: logs of the service that its tables take.
    """

    assets: Mapping[str, Sequence[Any]]
    in_shared_jobs: bool
    marts: Sequence[Mart] = ()
    publications: Sequence[Publication] = ()
    jobs: Sequence[Any] = ()
    schedules: Callable[[], Sequence[Any]] = tuple
    sensors: Sequence[Any] = ()
    streams: Sequence[Stream] = ()


def lakes() -> Mapping[str, Lake]:
    """Domain → what it gives to the lakehouse; imports Dagster and Spark."""
    return {name: module.LAKE for name, module in domains.rooms("lake").items()}


def declared() -> Mapping[str, Columns]:
    """Key of a table that a domain makes → its columns."""
    found: dict[str, Columns] = {}
    for given in lakes().values():
        for asset in (asset for made in given.assets.values() for asset in made):
            for spec in asset.specs:
                schema = spec.metadata.get("dagster/column_schema")
                if isinstance(schema, dg.TableSchema):
                    found["/".join(spec.key.path)] = columns_of(schema)
    return found
