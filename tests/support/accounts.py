"""Cleaned tables in DuckDB made from received CSV rows by the product's own normal forms, no Spark.

Enough for the model's tests: one row per user id, usages of known users and codes, usage figures
per user, links and clusters of accounts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from dmp_assets.abuse.model import features
from dmp_assets.abuse.model.view import VIEW, account_view_sql
from dmp_assets.abuse.tables import account_clusters
from dmp_assets.abuse.tables.account_links import links_sql
from dmp_assets.cleaned.shop import users
from dmp_assets.cleaned.shop.normal_batches import derived
from dmp_assets.platform.values.words import STANDARD

_TIME = """coalesce(try_cast({0} AS TIMESTAMP), try_strptime({0}, [
    '%Y-%m-%d %H:%M:%S', '%Y-%m-%d %-H:%M:%S', '%d.%m.%Y %H:%M:%S', '%d.%m.%Y %H:%M',
    '%m/%d/%Y %H:%M:%S', '%m/%d/%Y %H:%M', '%m/%d/%Y %I:%M %p', '%d/%m/%Y %H:%M:%S']))"""


def received(folder: Path) -> Mapping[str, pa.Table]:
    """The CSV exports of a folder, all text, empty as null."""
    with duckdb.connect() as c:
        return {
            name: c.sql(
                f"SELECT * FROM read_csv('{folder / name}.csv', all_varchar=true, header=true)"
            ).to_arrow_table()
            for name in ("users", "promo_codes", "promo_usages")
        }


def shop(tables: Mapping[str, pa.Table], region: str = "US") -> duckdb.DuckDBPyConnection:
    """A DuckDB with the cleaned and modeled tables that the account view reads."""
    c = duckdb.connect()
    c.execute("SET TimeZone = 'UTC'; CREATE SCHEMA cleaned; CREATE SCHEMA modeled;")
    zones = features.zone_countries()
    zone_country = pa.table({"timezone": list(zones), "country": list(zones.values())})
    c.register("zone_country", zone_country)
    for name, table in tables.items():
        c.register(f"received_{name}", table)
    users = c.sql(
        f"""SELECT user_id, {_TIME.format("created_at")} AS created_at, email AS email_received,
            phone AS phone_received, nullif(trim(first_name), '') AS first_name,
            nullif(trim(last_name), '') AS last_name, ip_address AS ip_received,
            nullif(trim(device_id), '') AS device_id, user_agent AS user_agent_received,
            nullif(trim(city), '') AS city, dob AS date_of_birth_received,
            timezone AS timezone_received,
            is_email_verified AS email_verified_received,
            is_phone_verified AS phone_verified_received, is_abuser AS label_received
        FROM received_users
        WHERE nullif(trim(user_id), '') IS NOT NULL AND {_TIME.format("created_at")} IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY created_at, email) = 1"""
    ).to_arrow_table()
    complete = pa.Table.from_batches(
        [derived(b, region) for b in users.combine_chunks().to_batches()]
    )
    c.register("normal_users", complete)
    birth = "try_cast(date_of_birth_received AS DATE)"
    plausible = f"{birth} <= created_at::DATE AND year({birth}) >= 1900"
    c.execute(
        f"""CREATE TABLE cleaned.users AS SELECT *,
            CASE WHEN {plausible} THEN {birth} END AS date_of_birth,
            {plausible} AS is_date_of_birth_valid
        FROM normal_users"""
    )
    known = {row[0] for row in c.sql("DESCRIBE received_promo_codes").fetchall()}
    limit = (
        "max(try_cast(max_uses_per_user AS INT))" if "max_uses_per_user" in known else "NULL::INT"
    )
    c.execute(
        f"""CREATE TABLE cleaned.promo_codes AS SELECT promo_code,
            CASE WHEN count(DISTINCT discount_type) = 1 THEN any_value(discount_type) END
                AS discount_type,
            CASE WHEN count(DISTINCT discount_value) = 1
                THEN any_value(try_cast(discount_value AS DECIMAL(12, 2))) END AS discount_value,
            {limit} AS max_uses_per_user
        FROM received_promo_codes WHERE promo_code IS NOT NULL GROUP BY promo_code"""
    )
    c.execute(
        f"""CREATE TABLE cleaned.promo_usages AS SELECT DISTINCT user_id, promo_code,
            {_TIME.format("used_at")} AS used_at FROM received_promo_usages
        SEMI JOIN cleaned.users USING (user_id) SEMI JOIN cleaned.promo_codes USING (promo_code)
        WHERE {_TIME.format("used_at")} IS NOT NULL"""
    )
    c.execute(
        """CREATE TABLE modeled.promo_usage_by_user AS SELECT user_id, count(*) AS usages,
            count(DISTINCT promo_code) AS codes,
            min(used_at) AS first_used_at, max(used_at) AS last_used_at,
            date_diff('second', any_value(created_at), min(used_at)) / 60.0 AS minutes_to_first_use,
            count(*) FILTER (used_at < created_at + INTERVAL 1 DAY) AS usages_first_day,
            count(*) FILTER (used_at < created_at + INTERVAL 7 DAY) AS usages_first_week
        FROM cleaned.promo_usages JOIN cleaned.users USING (user_id) GROUP BY user_id"""
    )
    link(c)
    return c


def nothing() -> dict[str, pa.Table]:
    """Received tables whose only row says nothing."""
    columns = {
        "users": ("user_id", "created_at", "email", "phone", "first_name", "last_name",
                  "ip_address", "device_id", "user_agent", "city", "dob", "timezone",
                  "is_email_verified", "is_phone_verified", "is_abuser"),
        "promo_codes": ("promo_code", "discount_type", "discount_value"),
        "promo_usages": ("user_id", "promo_code", "used_at"),
    }  # fmt: skip
    return {
        table: pa.table({name: pa.array([None], pa.string()) for name in names})
        for table, names in columns.items()
    }


def empty() -> duckdb.DuckDBPyConnection:
    """A shop with all tables and nobody in them."""
    tables, one = nothing(), pa.array(["2024-01-01"])
    for place, name in enumerate(("user_id", "created_at")):
        tables["users"] = tables["users"].set_column(place, name, one)
    c = shop(tables)
    c.execute("DELETE FROM cleaned.users")
    return c


def normal_forms(received: Mapping[str, str], region: str) -> dict[str, Any]:
    """What cleaned/users makes of the attributes of one user, as far as Python does."""
    names = {"email": "email_received", "phone": "phone_received", "ip_address": "ip_received",
             "user_agent": "user_agent_received", "timezone": "timezone_received"}  # fmt: skip
    kinds = users.KINDS
    given = {to: STANDARD.given(kinds[name], received.get(name)) for name, to in names.items()}
    rest = ("email_verified_received", "phone_verified_received", "label_received")
    row = pa.RecordBatch.from_pylist(
        [given | dict.fromkeys(rest)],
        schema=pa.schema([(name, pa.string()) for name in (*given, *rest)]),
    )
    return {k: v[0] for k, v in derived(row, region).to_pydict().items() if not k.startswith("is_")}


def add(c: duckdb.DuckDBPyConnection, people: Sequence[Mapping[str, Any]]) -> None:
    """Put accounts in normal form (as `received.normal_form` makes them) into cleaned.users."""
    rows = [{**row, "created_at": row["created_at"].replace(tzinfo=None)} for row in people]
    c.register("people", pa.Table.from_pylist(rows))
    c.execute("INSERT INTO cleaned.users BY NAME FROM people")


def link(c: duckdb.DuckDBPyConnection) -> None:
    """Make the links and clusters as the lakehouse's assets do."""
    c.execute(f"CREATE OR REPLACE TABLE modeled.account_links AS {links_sql()}")
    found = account_clusters.clusters(
        c.sql(account_clusters.MEMBERS).to_arrow_table(),
        c.sql(account_clusters.EDGES).to_arrow_table(),
    )
    c.register("found_clusters", found)
    c.execute("CREATE OR REPLACE TABLE modeled.account_clusters AS FROM found_clusters")


def account_view(c: duckdb.DuckDBPyConnection) -> pa.Table:
    """The account view of all users, ordered by user id."""
    return (
        c.sql(f"SELECT * FROM ({account_view_sql()}) ORDER BY user_id").to_arrow_table().cast(VIEW)
    )


def labels(c: duckdb.DuckDBPyConnection) -> tuple[np.ndarray, np.ndarray]:
    """Label (1, 0, NaN unknown) and cluster (else the user itself) of all users by user id."""
    rows = c.sql(
        """SELECT is_abuser::DOUBLE AS label, coalesce(cluster_id, user_id) AS grp
        FROM cleaned.users LEFT JOIN modeled.account_clusters USING (user_id) ORDER BY user_id"""
    ).to_arrow_table()
    return (
        rows["label"].to_numpy(zero_copy_only=False).astype(float),
        np.asarray(rows["grp"].to_pylist(), dtype=object).astype(str),
    )
