"""Received columns as tables hold them: text as received, and whose data it is."""

from dmp_assets.platform.cleaning.received import ReceivedColumns
from dmp_assets.platform.lake.columns import Column

FURTHER = Column("string", "Any further column of the source, as received.", "free text")
"""What a source has beyond the columns that are read of it: nobody said that it is harmless."""


def columns_of(received: ReceivedColumns) -> dict[str, Column]:
    """The columns of a table of received rows. Raises ValueError for an unknown category."""
    return {
        name: Column("string", "As received.", column.personal, column.subject)
        for name, column in received.items()
    }
