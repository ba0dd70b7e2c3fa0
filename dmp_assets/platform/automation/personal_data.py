"""The map of personal data: which column of which table holds what of whom, as declared."""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from dmp_assets.platform.lake.table_metadata import FURTHER_PERSONAL, PERSONAL_TAG, SUBJECT_TAG

ANY_FURTHER = "*"


@dataclass(frozen=True)
class PersonalColumn:
    """A column of a table with its category (`columns.CATEGORIES`).

    subject: the kind of identifier, where it is one that the row hangs on. column: `*` for further
    columns of the source.
    """

    table: str
    column: str
    category: str
    subject: str | None


def personal_data(graph: AssetGraph) -> list[PersonalColumn]:
    """Every personal column of the graph's tables, by table, in the order of its columns."""
    keys = sorted(graph.get_all_asset_keys(), key=lambda key: tuple(key.path))
    return [found for key in keys for found in _of(graph, key)]


def _of(graph: AssetGraph, key: dg.AssetKey) -> Iterator[PersonalColumn]:
    table, metadata = "/".join(key.path), graph.get(key).metadata
    schema = metadata.get("dagster/column_schema")
    if not isinstance(schema, dg.TableSchema):
        return
    for column in schema.columns:
        if category := column.tags.get(PERSONAL_TAG):
            yield PersonalColumn(table, column.name, category, column.tags.get(SUBJECT_TAG))
    if category := metadata.get(FURTHER_PERSONAL):
        yield PersonalColumn(table, ANY_FURTHER, str(category), None)
