"""The table of contents: one line a domain, each a folder `dmp_assets/<name>`.

`<name>/domain.py` says what anybody may know of it (`DOMAIN`), `<name>/report/reports.py` has its
reports (`REPORTS`), `<name>/lake.py` is what it gives to the lakehouse (`LAKE`). Machinery asks
here and names none.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, cast

from dmp_assets.platform.faces.domain import Domain

if TYPE_CHECKING:
    from dmp_assets.platform.faces.lake import Lake
    from dmp_assets.platform.faces.service import ServiceFace
    from dmp_assets.platform.figures.kinds import CataloguedFigure
    from dmp_assets.platform.reporting.report_spec import ReportSpec

DOMAINS = ("abuse", "attribution")


def known() -> tuple[Domain, ...]:
    """Every domain, as anybody may know it."""
    return tuple(import_module(f"dmp_assets.{name}.domain").DOMAIN for name in DOMAINS)


def reports() -> "Mapping[str, Sequence[ReportSpec]]":
    """Domain → its reports."""
    return {name: import_module(f"dmp_assets.{name}.report.reports").REPORTS for name in DOMAINS}


def load_schemas() -> None:
    """Have every domain's tables of the operational store in the store's metadata."""
    for name in DOMAINS:
        import_module(f"dmp_assets.{name}.service.store.schema")


def figures() -> "Mapping[str, Sequence[CataloguedFigure]]":
    """Domain → the figures that it tells."""
    return {name: import_module(f"dmp_assets.{name}.figures").FIGURES for name in DOMAINS}


def services() -> "Mapping[str, ServiceFace]":
    """Domain → what it gives to the service; imports a web framework."""
    return {name: import_module(f"dmp_assets.{name}.service.face").FACE for name in DOMAINS}


def lakes() -> "Mapping[str, Lake]":
    """Domain → what it gives to the lakehouse; imports Dagster and Spark."""
    return {name: cast("Lake", import_module(f"dmp_assets.{name}.lake").LAKE) for name in DOMAINS}
