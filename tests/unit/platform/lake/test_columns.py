"""Declared columns: their types, their categories, and how a schema differs from them."""

import pyarrow as pa
import pytest
from deltalake import Schema
from hypothesis import given
from hypothesis import strategies as st

from dmp_assets.platform.lake.columns import (
    Column,
    arrow_schema,
    arrow_type,
    differences,
    personal,
    type_of,
)

PRIMITIVES = st.sampled_from(
    ["string", "boolean", "integer", "long", "double", "date", "timestamp", "timestamp_ntz",
     "binary", "decimal(18,2)", "decimal(38,0)"]
)  # fmt: skip
TYPES = st.recursive(
    PRIMITIVES,
    lambda inner: st.one_of(
        inner.map("array<{}>".format),
        st.tuples(PRIMITIVES, inner).map(lambda pair: f"map<{pair[0]},{pair[1]}>"),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda kinds: f"struct<{','.join(f'n{i}:{kind}' for i, kind in enumerate(kinds))}>"
        ),
    ),
    max_leaves=6,
)


@given(TYPES)
def test_a_type_is_read_and_written_alike_and_delta_stores_it_as_that(text: str) -> None:
    assert type_of(arrow_type(text)) == text
    stored = pa.schema(Schema.from_arrow(pa.schema([("c", arrow_type(text))])))
    assert type_of(stored.field("c").type) == text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (pa.large_string(), "string"),
        (pa.string_view(), "string"),
        (pa.dictionary(pa.int8(), pa.string()), "string"),
        (pa.large_list(pa.string_view()), "array<string>"),
        (pa.timestamp("us", tz="Etc/UTC"), "timestamp"),
        (pa.timestamp("ns"), "timestamp_ntz"),
    ],
)
def test_what_engines_hand_over_counts_as_what_delta_stores(kind: pa.DataType, text: str) -> None:
    assert type_of(kind) == text


@pytest.mark.parametrize(
    "text", ["bigint", "text", "array<>", "array<string", "map<string>", "decimal(x)", ""]
)
def test_a_type_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"type of a column|invalid literal"):
        Column(text, "What.")


def test_an_unknown_category_and_a_subject_that_is_not_personal_are_refused() -> None:
    with pytest.raises(ValueError, match="'secret' is not one of identifier, contact"):
        Column("string", "What.", "secret")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="say which personal data it is"):
        Column("string", "What.", subject="user_id")


def test_a_schema_is_compared_by_name_and_type_whatever_the_order() -> None:
    columns = {"id": Column("long", "Id.", "identifier", "user_id"), "n": Column("double", "N.")}
    assert personal(columns) == ["id"]
    found = arrow_schema(columns)
    assert differences(columns, pa.schema(list(reversed(list(found))))) == []
    other = pa.schema([("id", pa.string()), ("m", pa.int64())])
    assert differences(columns, other) == [
        "n is missing", "id is string and was declared long", "m (long) is not declared",
    ]  # fmt: skip
    assert differences(columns, other, Column("long", "Further.")) == [
        "id is string and was declared long"
    ]
