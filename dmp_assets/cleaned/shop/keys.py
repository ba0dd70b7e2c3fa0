"""Keys of the tables of the shop, as received and cleaned, for who reads them."""

from collections.abc import Mapping
from types import MappingProxyType

from dmp_assets.platform.faces.domain import Source

TABLES = ("users", "promo_codes", "promo_usages")
EVENTS: Mapping[str, str] = MappingProxyType(
    {"cleaned/users": "created_at", "cleaned/promo_usages": "used_at"}
)
"""Cleaned table of what happened → the column that says when."""
SOURCE = Source("shop", TABLES, EVENTS)
