"""The code location: what the domains give, and what the platform adds for all of them."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from dmp_assets import domains
from dmp_assets.home import Home
from dmp_assets.platform.automation import jobs, schedules, sensors
from dmp_assets.platform.faces.lake import TAG, declared, lakes
from dmp_assets.platform.lake.code_places import code_at
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.marts import warehouse
from dmp_assets.platform.published import tables as published
from dmp_assets.platform.reporting import report_assets
from dmp_assets.platform.reporting.slack import SlackResource
from dmp_assets.platform.run.executor import threads_executor
from dmp_assets.platform.text.foreign_text import guard_logs

guard_logs()  # whichever process of Dagster's loads this

_FRESH = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=Home.current().settings().freshness_hours)
)


def _assets() -> Iterator[Any]:
    """Every asset in its group, with its domain as a tag."""
    given_by = lakes()
    marts = warehouse.assets({name: given.marts for name, given in given_by.items()}, declared())
    for name, given in given_by.items():
        for group, made in given.assets.items():
            yield from dg.map_asset_specs(partial(_placed, name, group, {}), made)
        shown = [(_MARTS, [marts[name]] if name in marts else [])]
        shown += [(_PUBLICATIONS, [published.asset(told) for told in given.publications])]
        for room, made in shown:
            place = partial(_placed, name, name, code_at(_file(name, room)))
            yield from dg.map_asset_specs(place, made)
    yield from report_assets.build()


def _placed(domain: str, group: str, code: Mapping[str, Any], spec: dg.AssetSpec) -> dg.AssetSpec:
    placed = spec.replace_attributes(group_name=group, metadata={**spec.metadata, **code})
    return placed.merge_attributes(tags={TAG: domain})


_MARTS, _PUBLICATIONS = "tables.marts", "tables.publications"


def _file(domain: str, room: str) -> Path:
    """Where a domain says what it shows; its face where that is no room of its own."""
    module = domains.rooms(room).get(domain) or domains.rooms("lake")[domain]
    return Path(str(module.__file__))


defs = dg.Definitions(
    assets=dg.map_asset_specs(
        lambda spec: spec.replace_attributes(freshness_policy=_FRESH), list(_assets())
    ),
    jobs=jobs.build_jobs(),
    schedules=schedules.build_schedules(),
    sensors=[
        *(sensor for given in lakes().values() for sensor in given.sensors),
        *sensors.SENSORS,
    ],
    resources={"lakehouse": Lakehouse(), "slack": SlackResource(), "window": Window()},
    executor=threads_executor,
)
