"""What the columns of a table are, said once beside it: type, meaning, and whose data they hold.

From a declaration follow the schema that Dagster shows, the test of what is written, empty tables,
what previews leave out, the catalogue and the map of personal data. It decides no value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import pyarrow as pa

Category = Literal[
    "identifier", "contact", "name", "demographic", "network", "device", "location", "behaviour",
    "profile", "free text",
]  # fmt: skip
CATEGORIES: Mapping[Category, str] = {
    "identifier": "Leads to one person, here or in the source: the id of an account, a visitor, a "
    "reviewer; the id of one session, conversion or score (GDPR art. 4(1), 4(5)).",
    "contact": "Reaches a person: e-mail address, phone number, and their parts.",
    "name": "A person's name.",
    "demographic": "Age, gender and the like.",
    "network": "Address of a person's connection (GDPR recital 30).",
    "device": "A person's machine and program: device id, user agent (GDPR recital 30).",
    "location": "Where a person is: city, country, time zone.",
    "behaviour": "What one person did, when and for how much: registration, visit, redemption, "
    "purchase.",
    "profile": "What was worked out or decided about one person: figures, probability, label, "
    "verdict (GDPR art. 4(4), 22).",
    "free text": "Text or JSON in which any of the others can stand.",
}
"""Kinds of personal data, as a record of processing names them (GDPR art. 30(1)(c))."""


class SchemaError(ValueError):
    """What is about to be written is not what was declared; names columns and types, no value."""


@dataclass(frozen=True)
class Column:
    """One column.

    type: Delta's name of a primitive type (`string`, `long`, `timestamp`, `decimal(18,2)`), or
    `array<…>`, `map<…,…>`, `struct<name:…>` of them, as Spark writes these.
    about: what it holds; for people, in one line.
    personal: which personal data it holds; None: it leads to nobody and tells of nobody.
    subject: the kind of identifier, where the column is one that the row hangs on: who asks for a
    person's data, or has it deleted, finds the rows by these columns.
    optional: the table may be without it, and is until rows come that have it.

    Raises ValueError for an unknown type or category, and for a subject that is not personal.
    """

    type: str
    about: str
    personal: Category | None = None
    subject: str | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if type_of(arrow_type(self.type)) != self.type:
            raise ValueError(f"{self.type!r} is not written as {type_of(arrow_type(self.type))!r}")
        if self.personal is not None and self.personal not in get_args(Category):
            raise ValueError(f"{self.personal!r} is not one of {', '.join(CATEGORIES)}")
        if self.subject is not None and self.personal is None:
            raise ValueError(f"a {self.subject} leads to a person: say which personal data it is")


Columns = Mapping[str, Column]
"""Name → column, in the order of the table."""


def personal(columns: Columns) -> list[str]:
    """Names of the columns that hold personal data."""
    return [name for name, column in columns.items() if column.personal]


def arrow_schema(columns: Columns) -> pa.Schema:
    """The Arrow schema of a table with these columns."""
    return pa.schema([(name, arrow_type(column.type)) for name, column in columns.items()])


def differences(columns: Columns, found: pa.Schema, further: Column | None = None) -> list[str]:
    """How a schema differs from the declared columns, as phrases; none when it does not.

    further: what other columns are, where a table keeps those that its source has beyond the
    declared ones; such a source may also lack some.
    """
    types = {field.name: type_of(field.type) for field in found}
    wanted = [name for name, column in columns.items() if not column.optional]
    lacking = [name for name in wanted if name not in types and further is None]
    told = [f"{name} is missing" for name in lacking]
    for name, kind in types.items():
        declared = columns.get(name, further)
        if declared is None:
            told.append(f"{name} ({kind}) is not declared")
        elif declared.type != kind:
            told.append(f"{name} is {kind} and was declared {declared.type}")
    return told


_PRIMITIVES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "byte": pa.int8(),
    "short": pa.int16(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "binary": pa.binary(),
    "void": pa.null(),
}
_NAMES = {kind: name for name, kind in _PRIMITIVES.items()} | {
    pa.large_string(): "string", pa.string_view(): "string",
    pa.large_binary(): "binary", pa.binary_view(): "binary",
    pa.uint8(): "byte", pa.uint16(): "short", pa.uint32(): "integer", pa.uint64(): "long",
    pa.date64(): "date",
}  # fmt: skip


def arrow_type(text: str) -> pa.DataType:
    """The Arrow type of a declared one; raises ValueError for a text that names none."""
    outer, _, rest = text.partition("<")
    if not rest:
        if text.startswith("decimal(") and text.endswith(")"):
            precision, _, scale = text[8:-1].partition(",")
            return pa.decimal128(int(precision), int(scale or 0))
        if text in _PRIMITIVES:
            return _PRIMITIVES[text]
    elif rest.endswith(">"):
        parts = list(_parts(rest[:-1]))
        if outer == "struct":
            fields = [part.partition(":") for part in parts]
            return pa.struct([(name.strip(), arrow_type(kind.strip())) for name, _, kind in fields])
        kinds = [arrow_type(part.strip()) for part in parts]
        if outer == "array" and len(kinds) == 1:
            return pa.list_(kinds[0])
        if outer == "map" and len(kinds) == 2:
            return pa.map_(*kinds)
    raise ValueError(f"{text!r} is no type of a column")


def type_of(kind: pa.DataType) -> str:
    """An Arrow type as Delta stores it, in the words of `Column.type`."""
    if kind in _NAMES:
        return _NAMES[kind]
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_dictionary(kind):
        return type_of(kind.value_type)
    if pa.types.is_map(kind):
        return f"map<{type_of(kind.key_type)},{type_of(kind.item_type)}>"
    if pa.types.is_struct(kind):
        fields = (kind.field(place) for place in range(kind.num_fields))
        return f"struct<{','.join(f'{field.name}:{type_of(field.type)}' for field in fields)}>"
    if pa.types.is_nested(kind):
        return f"array<{type_of(kind.value_type)}>"
    return str(kind)


def _parts(text: str) -> Iterator[str]:
    """What stands between the commas that no bracket encloses."""
    depth, begin = 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "<(") - (letter in ">)")
        if letter == "," and depth == 0:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]
