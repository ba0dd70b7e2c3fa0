"""The kinds of exports that are read."""

from collections.abc import Mapping

from dmp_assets.platform.text.spelling import meant
from dmp_assets.sources.exports.columns import Export, Kind
from dmp_assets.sources.exports.meta import META
from dmp_assets.sources.exports.shopify import SHOPIFY

KINDS: Mapping[Kind, Export] = {one.kind: one for one in (META, SHOPIFY)}


def known_column(name: str) -> str:
    """The name of a column of some export. Raises ValueError for anything else."""
    names = {column: None for one in KINDS.values() for column in one.columns}
    if name not in names:
        raise ValueError(f"{name!r} is no column of an export{meant(name, names)}")
    return name
