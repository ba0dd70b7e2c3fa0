"""Keys of the tables of the web, as received and cleaned, for who reads them."""

from collections.abc import Mapping
from types import MappingProxyType

from dmp_assets.platform.faces.domain import Source

TABLES = ("web_sessions", "web_conversions", "web_session_costs")
EVENTS: Mapping[str, str] = MappingProxyType(
    {"cleaned/web_sessions": "event_at", "cleaned/web_conversions": "converted_at"}
)
"""Cleaned table of what happened → the column that says when."""
SOURCE = Source("web", TABLES, EVENTS)
