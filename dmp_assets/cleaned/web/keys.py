"""Keys of the tables of the web, as received and cleaned, for who reads them."""

from collections.abc import Mapping
from types import MappingProxyType

TABLES = ("web_sessions", "web_conversions", "web_session_costs")
KEYS = tuple(f"{layer}/{table}" for layer in ("raw", "cleaned", "quarantine") for table in TABLES)
EVENTS: Mapping[str, str] = MappingProxyType(
    {"cleaned/web_sessions": "event_at", "cleaned/web_conversions": "converted_at"}
)
"""Cleaned table of what happened → the column that says when."""
