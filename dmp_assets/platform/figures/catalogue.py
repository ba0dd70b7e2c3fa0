"""The figures that people read: each with one name, one label and one definition for all places.

Dashboard, messages, API, review pages and run summary take label and definition from here, so that
a label never stands for two numbers. Two things that deserve two numbers have two names.

    from dmp_assets.platform.figures.catalogue import figure

    figure("flagged_accounts").label  # "Flagged accounts"
"""

from collections.abc import Mapping
from types import MappingProxyType

from dmp_assets import domains
from dmp_assets.platform.figures.kinds import CataloguedFigure


def _catalogue(*figures: CataloguedFigure) -> Mapping[str, CataloguedFigure]:
    assert len({f.name for f in figures}) == len({f.label for f in figures}) == len(figures)
    return MappingProxyType({f.name: f for f in figures})


CATALOGUE = _catalogue(
    *(figure for module in domains.rooms("figures").values() for figure in module.FIGURES)
)
"""Name → figure. A name is never given to another figure."""


def figure(name: str) -> CataloguedFigure:
    """The figure of that name. Raises KeyError for a name that the catalogue does not have."""
    return CATALOGUE[name]
