"""Landing outside of a run: what `dmp stream` does again and again."""

from typing import TYPE_CHECKING, Any

from dmp_assets.platform.faces.lake import declared
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.stream import landing
from dmp_assets.platform.stream.landing import Landed
from dmp_assets.platform.stream.stream import COLUMNS, Stream
from dmp_assets.platform.text.engine_errors import values_left_out

if TYPE_CHECKING:
    from dmp_assets.platform.lake.lakehouse import Lakehouse


def land(lakehouse: "Lakehouse", stream: Stream, *, log: Any, accept_loss: bool = False) -> Landed:
    """Land what a topic holds, under the lease of its tables, and note how far it has landed.

    The next run finds new data in the table, and makes what is made of it. Raises what
    `landing.land` raises.
    """
    columns = {n: c for n, c in declared()[stream.table].items() if n not in COLUMNS}
    with values_left_out(), in_words(lakehouse.tables.root):
        landed = landing.land(lakehouse, stream, columns, log=log, accept_loss=accept_loss)
    if landed.records:
        stamp = {n: v for n, v in lakehouse.tables.stamp(stream.table).items()
                 if n != "delta_version"}  # fmt: skip
        stamp |= {"fingerprint": None, landing.NOTED: landed.noted()}
        lakehouse.note(stream.table, stamp=stamp)
    return landed
