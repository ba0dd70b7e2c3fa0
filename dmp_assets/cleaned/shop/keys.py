"""Keys of the tables of the shop, as received and cleaned, for who reads them."""

from collections.abc import Mapping
from types import MappingProxyType

TABLES = ("users", "promo_codes", "promo_usages")
KEYS = tuple(f"{layer}/{table}" for layer in ("raw", "cleaned", "quarantine") for table in TABLES)
EVENTS: Mapping[str, str] = MappingProxyType(
    {"cleaned/users": "created_at", "cleaned/promo_usages": "used_at"}
)
"""Cleaned table of what happened → the column that says when."""
