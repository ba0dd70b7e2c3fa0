"""The source counted again by SQL in PostgreSQL, with nothing of the product's own code."""

from typing import Any

import psycopg

KEYS = {
    "users": ("user_id",),
    "promo_codes": ("promo_code",),
    "promo_usages": ("user_id", "promo_code", "used_at"),
}
_READ_TIME = r"""
SET TimeZone = 'UTC'; SET DateStyle = 'ISO, DMY';
CREATE FUNCTION pg_temp.read_time(t text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN t ~ '^[0-9]{9,11}$' THEN to_timestamp(t::numeric)
    WHEN pg_input_is_valid(t, 'timestamptz') THEN t::timestamptz END
$$;
CREATE FUNCTION pg_temp.said(r jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_object_agg(key, nullif(btrim(value), '')) FROM jsonb_each_text(r)
  WHERE key NOT LIKE '\_%'
$$;
"""
_JUDGED = """
CREATE TEMP TABLE judged_users AS SELECT *, array_remove(ARRAY[
    CASE WHEN user_id IS NULL THEN 'user_id_missing' END,
    CASE WHEN at IS NULL THEN 'created_at_unreadable' END], NULL) AS failed
FROM (SELECT _row_id, _received_at, nullif(btrim(user_id), '') AS user_id,
        pg_temp.read_time(btrim(created_at)) AS at,
        (pg_temp.said(to_jsonb(u)) - 'created_at')::text AS content FROM users u) AS read;
CREATE TEMP TABLE judged_promo_codes AS SELECT *, array_remove(ARRAY[
    CASE WHEN promo_code IS NULL THEN 'promo_code_missing' END], NULL) AS failed
FROM (SELECT _row_id, _received_at, nullif(btrim(promo_code), '') AS promo_code,
        pg_temp.said(to_jsonb(c))::text AS content, NULL::timestamptz AS at
      FROM promo_codes c) AS read;
CREATE TEMP TABLE judged_promo_usages AS SELECT *, at AS used_at, array_remove(ARRAY[
    CASE WHEN user_id IS NULL THEN 'user_id_missing' END,
    CASE WHEN promo_code IS NULL THEN 'promo_code_missing' END,
    CASE WHEN at IS NULL THEN 'used_at_unreadable' END,
    CASE WHEN user_id NOT IN (SELECT user_id FROM judged_users WHERE failed = '{}')
        THEN 'user_unknown' END,
    CASE WHEN promo_code NOT IN (SELECT promo_code FROM judged_promo_codes WHERE failed = '{}')
        THEN 'promo_code_unknown' END], NULL) AS failed
FROM (SELECT _row_id, _received_at, nullif(btrim(user_id), '') AS user_id,
        nullif(btrim(promo_code), '') AS promo_code, pg_temp.read_time(btrim(used_at)) AS at,
        (pg_temp.said(to_jsonb(u)) - 'used_at')::text AS content FROM promo_usages u) AS read;
"""
_RANKED = """
CREATE TEMP TABLE ranked_{table} AS
SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY latest DESC, _row_id) AS place,
    first_value(content || coalesce(at::text, ''))
      OVER (PARTITION BY {keys} ORDER BY latest DESC, _row_id) AS first_said
FROM (SELECT *, _received_at = max(_received_at) OVER (PARTITION BY {keys}) AS latest
      FROM judged_{table} WHERE failed = '{{}}') AS usable
"""


def recount(source: psycopg.Connection[tuple]) -> None:
    """Make temporary tables `judged_<table>` (every row) and `ranked_<table>` (usable rows)."""
    source.execute(_READ_TIME)
    source.execute(_JUDGED)
    for table, keys in KEYS.items():
        source.execute(_RANKED.format(table=table, keys=", ".join(keys)))  # type: ignore[arg-type]


def rows(source: psycopg.Connection[tuple], query: str) -> list[Any]:
    """All rows; single columns as plain values."""
    found = source.execute(query).fetchall()  # type: ignore[arg-type]
    return [row[0] if len(row) == 1 else row for row in found]


def tally(source: psycopg.Connection[tuple], table: str) -> dict[str, Any]:
    """Where the received rows of a table must end: kept, duplicates, quarantined per rule."""
    apart = "latest AND content || coalesce(at::text, '') <> first_said"
    (received,) = rows(source, f"SELECT count(*) FROM {table}")
    ((kept, contradictory),) = rows(
        source,
        f"""SELECT count(*) FILTER (WHERE place = 1), count(*) FILTER (WHERE place > 1 AND {apart})
        FROM ranked_{table}""",
    )
    (usable,) = rows(source, f"SELECT count(*) FROM ranked_{table}")
    rules = dict(
        rows(
            source,
            f"SELECT rule, count(*) FROM judged_{table}, unnest(failed) AS rule GROUP BY rule",
        )
    )
    return {
        "received": received,
        "kept": kept,
        "duplicates": usable - kept - contradictory,
        "quarantined": received - usable + contradictory,
        "rules": rules | ({"contradictory": contradictory} if contradictory else {}),
    }
