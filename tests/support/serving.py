"""A home with what the API scores with: tables, a trained model and a snapshot, without a JVM."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pytest
from deltalake import CommitProperties, write_deltalake

from dmp_assets.abuse.model import snapshot, view
from dmp_assets.abuse.tables import abuse_features, abuse_labels, abuse_scores, model_registry
from dmp_assets.abuse.tables import service_log as raw_abuse
from dmp_assets.demo.business import shop
from dmp_assets.home import Home
from dmp_assets.platform.config import secret_files
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import STAMP
from dmp_assets.platform.lake.window import Window
from tests.support import accounts


def simulated(folder: Path, users: int = 2_000, seed: int = 3) -> duckdb.DuckDBPyConnection:
    """Cleaned and modeled tables of a simulated shop, dirt included."""
    written = shop.generate(folder, users=users, seed=seed, end=date(2024, 3, 31), labelled=0.4)
    return accounts.shop(accounts.received(written.export))


def without(c: duckdb.DuckDBPyConnection, users: Sequence[str]) -> duckdb.DuckDBPyConnection:
    """The same shop before these users came."""
    gone = pa.table({"user_id": pa.array(users, pa.string())})
    left = duckdb.connect()
    left.execute("SET TimeZone = 'UTC'; CREATE SCHEMA cleaned; CREATE SCHEMA modeled;")
    left.register("zone_country", c.sql("FROM zone_country").to_arrow_table())
    left.register("gone", gone)
    for key in view.TABLES:
        if key == "modeled/account_clusters":
            continue
        table = key.replace("/", ".")
        left.register("rows_", c.sql(f"FROM {table}").to_arrow_table())
        has_user = "user_id" in left.sql("FROM rows_").columns
        anti = "ANTI JOIN gone USING (user_id)" if has_user else ""
        left.execute(f"CREATE TABLE {table} AS SELECT * FROM rows_ {anti}")
    accounts.link(left)
    return left


def write_tables(home: Home, c: duckdb.DuckDBPyConnection, version: str = "1") -> None:
    """Write the account view's tables to the home's lakehouse."""
    for key in view.TABLES:
        write_deltalake(
            str(home.lakehouse / key),
            c.sql(f"FROM {key.replace('/', '.')}").to_arrow_table(),
            mode="overwrite",
            schema_mode="overwrite",
            commit_properties=CommitProperties(
                custom_metadata={STAMP: json.dumps({"data_version": version})}
            ),
        )


def write_snapshot(home: Home, c: duckdb.DuckDBPyConnection, version: str = "v1") -> None:
    """Write the snapshot of these tables."""
    secret = secret_files.of(home, secret_files.INDEX_KEY)
    snapshot.write(home.serving, version, snapshot.rows(c, secret), datetime.now(UTC), secret)


def opened(home: Home) -> snapshot.Snapshot:
    """The home's current snapshot."""
    secret = secret_files.of(home, secret_files.INDEX_KEY)
    return snapshot.open_current(home.serving, secret)


def train(home: Home) -> None:
    """Materialize features, model and scores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DMP_HOME", str(home.root))
        done = dg.materialize(
            [
                raw_abuse.abuse_decisions,
                abuse_labels.abuse_labels,
                abuse_features.abuse_features,
                model_registry.model_registry,
                abuse_scores.abuse_scores,
            ],
            resources={"lakehouse": Lakehouse(), "window": Window()},
            instance=dg.DagsterInstance.ephemeral(),
        )
    assert done.success


def received(row: dict[str, Any]) -> dict[str, Any]:
    """A row of cleaned/users as a caller would describe a new account."""
    created = row["created_at"]
    given = {
        "account_ref": row["user_id"],
        "email": row["email_received"],
        "email_verified": row["is_email_verified"],
        "phone": row["phone_received"],
        "phone_verified": row["is_phone_verified"],
        "first_name": row["first_name"],
        "last_name": row["last_name"],
        "date_of_birth": row["date_of_birth"] and str(row["date_of_birth"]),
        "ip": row["ip"],
        "device_id": row["device_id"],
        "user_agent": row["user_agent_received"],
        "city": row["city"],
        "timezone": row["timezone_received"],
        "registered_at": (created if created.tzinfo else created.replace(tzinfo=UTC)).isoformat(),
    }
    return {name: value for name, value in given.items() if value is not None}
