"""The received columns whose amounts and times may be written in several ways."""

from collections.abc import Iterator, Mapping

from dmp_assets.platform.text.spelling import meant
from dmp_assets.platform.values.readers import SETTINGS, SIDES, Kind

WRITTEN: Mapping[str, Mapping[str, Kind]] = {
    "users": {"created_at": "time", "dob": "time"},
    "promo_codes": {
        "discount_value": "amount", "min_purchase_amount": "amount", "max_uses_per_user": "amount",
        "valid_from": "time", "valid_until": "time",
    },
    "promo_usages": {"used_at": "time"},
    "web_sessions": {"event_date": "time", "event_time": "clock"},
    "web_conversions": {"conv_date": "time", "conv_time": "clock", "revenue": "amount"},
    "web_session_costs": {"cost": "amount"},
}  # fmt: skip
"""Table below raw/ → column → what it writes."""
DAYS: Mapping[str, str] = {"event_time": "event_date", "conv_time": "conv_date"}
"""Column of times of day → the column of their days."""
_AT_THE_SOURCE = {
    "session_sources": "web_sessions", "conversions": "web_conversions",
    "session_costs": "web_session_costs",
}  # fmt: skip


def named(column: str) -> str:
    """A column as `<table below raw/>.<column>`, or bare, where a person named it by its source.

    Raises ValueError for one that is not read, or is not there, with what was likely meant.
    """
    table, dot, name = column.rpartition(".")
    found = f"{_AT_THE_SOURCE.get(table, table)}{dot}{name}"
    known = set(_names())
    if found in known:
        return found
    raise ValueError(
        f"{column!r} is no column that is written in several ways{meant(found, known)}; there are "
        f"{', '.join(sorted(name for name in known if '.' in name))}"
    )


def fits(column: str, said: str) -> bool:
    """Whether a column, as `named` has it, can be written so."""
    table, _, name = column.rpartition(".")
    kinds = {WRITTEN[table][name]} if table else {of[name] for of in WRITTEN.values() if name in of}
    return SETTINGS[said] in {side for kind in kinds for side in SIDES[kind]}


def _names() -> Iterator[str]:
    for table, columns in WRITTEN.items():
        for name in columns:
            yield name
            yield f"{table}.{name}"
