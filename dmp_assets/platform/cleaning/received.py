"""Columns of received rows as the tables hold them: text as received, and whose data it is."""

from collections.abc import Iterable, Mapping

from dmp_assets.platform.lake.columns import Category, Column

_PERSONAL: Mapping[str, tuple[Category, str | None]] = {
    "user_id": ("identifier", "user_id"),
    "session_id": ("identifier", "session_id"),
    "conv_id": ("identifier", "conv_id"),
    "email": ("contact", None),
    "phone": ("contact", None),
    "first_name": ("name", None),
    "last_name": ("name", None),
    "ip_address": ("network", None),
    "device_id": ("device", None),
    "user_agent": ("device", None),
    "city": ("location", None),
    "timezone": ("location", None),
    "gender": ("demographic", None),
    "dob": ("demographic", None),
    "is_abuser": ("profile", None),
    "created_at": ("behaviour", None),
    "used_at": ("behaviour", None),
    "used_promo": ("behaviour", None),
    "event_date": ("behaviour", None),
    "event_time": ("behaviour", None),
    "holder_engagement": ("behaviour", None),
    "closer_engagement": ("behaviour", None),
    "impression_interaction": ("behaviour", None),
    "conv_date": ("behaviour", None),
    "conv_time": ("behaviour", None),
    "revenue": ("behaviour", None),
    "cost": ("behaviour", None),
}
FURTHER = Column("string", "Any further column of the source, as received.", "free text")
"""What a source has beyond the columns that are read of it: nobody said that it is harmless."""


def received(names: Iterable[str]) -> dict[str, Column]:
    """The columns of these names of a table of received rows."""
    return {
        name: Column("string", "As received.", *_PERSONAL.get(name, (None, None)))
        for name in names
    }  # fmt: skip
