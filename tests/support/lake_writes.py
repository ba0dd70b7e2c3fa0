"""Tables as a run of the house would have written them, so that who reads them sees news."""

import json
import uuid

import pyarrow as pa
from deltalake import CommitProperties, write_deltalake

from dmp_assets.platform.lake.tables import STAMP, Tables


def overwrite(tables: Tables, key: str, rows: pa.Table) -> None:
    """Replace a table, with a new data version in its stamp."""
    stamp = json.dumps({"data_version": uuid.uuid4().hex})
    write_deltalake(
        tables.path(key),
        rows,
        mode="overwrite",
        commit_properties=CommitProperties(custom_metadata={STAMP: stamp}),
    )
