"""The text of a PostgreSQL value by its type: what it means, not how a server prints it."""

from psycopg import sql

VERSION = 2
"""Goes up when a type's text changes, so that tables read before are read again."""

TIMES = ("date", "timestamp without time zone", "timestamp with time zone")
TEXTS = ("text", "character varying", "character", "citext")

BASE_TYPE = """
    WITH RECURSIVE base(oid, kind) AS (
      SELECT t.oid, t.oid FROM pg_type t WHERE t.typtype <> 'd'
      UNION ALL
      SELECT t.oid, b.kind FROM pg_type t JOIN base b ON t.typbasetype = b.oid WHERE t.typtype = 'd'
    )
    SELECT c.relname, a.attname, format_type(b.kind, NULL)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN base b ON b.oid = a.atttypid AND b.kind <> a.atttypid
    WHERE c.relname = ANY(%s) AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
"""
"""Table, column and underlying type of columns whose type is a domain."""

_PLAIN = "{0}::text"
_NUMBER = (
    "CASE WHEN {0}::text ~ '^-?[0-9]+[.][0-9]+$' THEN rtrim(rtrim({0}::text, '0'), '.') "
    "ELSE {0}::text END"
)
_FLOAT = "CASE WHEN {0} = floor({0}) AND abs({0}) < 9e15 THEN {0}::bigint::text ELSE {0}::text END"
_BY_TYPE = {
    "inet": "host({0})",
    "cidr": "CASE WHEN masklen({0}) = masklen(set_masklen({0}::inet, -1)) THEN host({0}) "
    "ELSE {0}::text END",
    "money": _NUMBER.replace("{0}", "({0}::numeric)"),
    "numeric": _NUMBER,
    "real": _FLOAT,
    "double precision": _FLOAT,
    "date": "CASE WHEN isfinite({0}) THEN to_char({0}, 'YYYY-MM-DD') END",
    "timestamp without time zone": "CASE WHEN isfinite({0}) THEN {0}::text END",
    # Whatever zone the reading session has.
    "timestamp with time zone": (
        "CASE WHEN isfinite({0}) THEN ({0} AT TIME ZONE 'UTC')::text || '+00' END"
    ),
    "time with time zone": "({0} AT TIME ZONE 'UTC')::text",
    "bytea": "'\\x' || encode({0}, 'hex')",
    "json": "{0} #>> '{{}}'",
    "jsonb": "{0} #>> '{{}}'",
}
_ARRAY = (
    "CASE WHEN array_ndims({0}) = 1 AND cardinality({0}) = 1 THEN {0}[array_lower({0}, 1)]::text "
    "ELSE array_to_json({0})::text END"
)


def as_text(column: str, kind: str) -> sql.Composable:
    """SQL for a column's text; `kind` is its type, of a domain the underlying one.

    A number has no zeros behind it, an address no mask, an amount no currency, a JSON text no
    quotes, an array of one element is that element. A time that never comes is NULL.
    """
    name = sql.Identifier(column)
    if kind == "text":
        return name
    pattern = _ARRAY if kind.endswith("[]") else _BY_TYPE.get(kind, _PLAIN)
    return sql.SQL(pattern).format(name)  # type: ignore[arg-type]  # our own patterns
