"""marts: DuckDB tables shaped for people, in one file that is replaced as a whole.

`$DMP_HOME/warehouse.duckdb` is built beside the old file and takes its place in one atomic step,
so an open notebook or BI tool keeps the file it has opened and never blocks a run, nor a run it.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource

from dmp_assets.platform.lake import fingerprint as fingerprints
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables, named_tables
from dmp_assets.platform.marts.inputs import COLUMNS, empty
from dmp_assets.platform.run.executor import ALONE_TAG


@dataclass(frozen=True)
class Mart:
    """One table for people: what it holds, its columns, and the SQL over `layer.table` names."""

    name: str
    about: str
    columns: Mapping[str, str]
    sql: str


CHANNEL_MARTS = (
    Mart(
        "channel_performance",
        "What each channel cost on each day (UTC) and what it earned by each attribution model. "
        "One row per channel, day and model; filter on one model before you add up.",
        {
            "channel_name": "the channel",
            "date": "day of the sessions (UTC) that cost and earned",
            "model": "attribution model that shared the conversions out",
            "cost": "cost of the channel's sessions of the day; the same by every model",
            "conversions": "conversions credited to them",
            "revenue": "revenue credited to them",
            "cpo": "cost per order: cost / conversions; null without conversions",
            "roas": "return on ad spend: revenue / cost; null without cost",
            "is_open": "later conversions will add to the day",
        },
        """
        SELECT channel_name, date, model, cost, conversions, revenue, cpo, roas, is_open
        FROM modeled.channel_reporting ORDER BY date, channel_name, model
        """,
    ),
    Mart(
        "channel_totals",
        "The same over all days. One row per channel and model.",
        {
            "channel_name": "the channel",
            "model": "attribution model that shared the conversions out",
            "cost": "cost of the channel's sessions",
            "conversions": "conversions credited to them",
            "revenue": "revenue credited to them",
            "cpo": "cost per order: cost / conversions; null without conversions or cost",
            "roas": "return on ad spend: revenue / cost; null without cost",
            "first_date": "first day (UTC) with cost or credit",
            "last_date": "last such day",
        },
        """
        SELECT channel_name, model, sum(cost) AS cost, sum(conversions) AS conversions,
               sum(revenue) AS revenue,
               CASE WHEN sum(conversions) > 0 AND sum(cost) > 0
                    THEN sum(cost)::DOUBLE / sum(conversions) END AS cpo,
               CASE WHEN sum(cost) > 0 THEN sum(revenue) / sum(cost)::DOUBLE END AS roas,
               min(date) AS first_date, max(date) AS last_date
        FROM modeled.channel_reporting GROUP BY ALL ORDER BY channel_name, model
        """,
    ),
)
"""Marts of the web's data."""

MARTS = (
    Mart(
        "promo_abuse_accounts",
        "Every scored account: how likely it abuses promo codes, and why. One row per user.",
        {
            "user_id": "id of the user in the shop",
            "registered_at": "time of registration (UTC)",
            "decision": "allow, review or block, by the cost of either mistake",
            "probability": "estimated probability that the account abuses promo codes, 0 to 1",
            "reasons": "why, in words, the weightiest first",
            "usages": "redemptions of promo codes",
            "codes": "different promo codes redeemed",
            "first_used_at": "time of the first redemption (UTC)",
            "cluster_id": "the cluster of linked accounts (its earliest member); null: no links",
            "cluster_size": "accounts in that cluster; 1: no links",
            "labelled_abuser": "the reviewer's decision, else the shop's label; null: neither",
            "model_version": "model that scored the account",
            "scored_at": "time of scoring (UTC)",
        },
        """
        SELECT s.user_id, u.created_at AS registered_at, s.decision, s.probability,
               array_to_string(list_transform(s.reasons, lambda r: r.text), '; ') AS reasons,
               coalesce(b.usages, 0) AS usages, coalesce(b.codes, 0) AS codes, b.first_used_at,
               c.cluster_id, coalesce(c.cluster_size, 1) AS cluster_size,
               l.is_abuser AS labelled_abuser, s.model_version, s.scored_at
        FROM ml.abuse_scores s
        JOIN cleaned.users u USING (user_id)
        LEFT JOIN modeled.abuse_labels l USING (user_id)
        LEFT JOIN modeled.promo_usage_by_user b USING (user_id)
        LEFT JOIN modeled.account_clusters c USING (user_id)
        ORDER BY s.probability DESC, s.user_id
        """,
    ),
    Mart(
        "promo_code_performance",
        "Every promo code: its terms and how it is used, by whom. One row per code.",
        {
            "promo_code": "the code",
            "discount_type": "percentage or fixed_amount; null: unknown or disputed",
            "discount_value": "per cent, or money",
            "min_purchase_amount": "least amount of the order",
            "usages": "redemptions",
            "users": "different users who redeemed it",
            "flagged_usages": "redemptions by accounts that are to be reviewed or blocked",
            "first_used_at": "first redemption (UTC)",
            "last_used_at": "last redemption (UTC)",
        },
        """
        SELECT c.promo_code, c.discount_type, c.discount_value, c.min_purchase_amount,
               coalesce(b.usages, 0) AS usages, coalesce(b.users, 0) AS users,
               coalesce(f.flagged, 0) AS flagged_usages, b.first_used_at, b.last_used_at
        FROM cleaned.promo_codes c
        LEFT JOIN modeled.promo_usage_by_code b USING (promo_code)
        LEFT JOIN (
            SELECT promo_code, count(*) AS flagged
            FROM cleaned.promo_usages JOIN ml.abuse_scores USING (user_id)
            WHERE decision <> 'allow' GROUP BY promo_code
        ) f USING (promo_code)
        ORDER BY usages DESC, c.promo_code
        """,
    ),
    Mart(
        "daily_activity",
        "Registrations and redemptions per day (UTC), days without any included.",
        {
            "date": "the day (UTC)",
            "registrations": "accounts registered",
            "verified_email": "of these with a verified e-mail address",
            "verified_phone": "of these with a verified phone number",
            "usages": "redemptions of promo codes",
            "users": "different users who redeemed",
            "first_usages": "redemptions that were a user's first",
        },
        """
        WITH days AS (
            SELECT unnest(generate_series(min(date), max(date), INTERVAL 1 DAY))::DATE AS date
            FROM (SELECT date FROM modeled.registrations_daily
                  UNION ALL SELECT date FROM modeled.promo_usage_daily)
        )
        SELECT date, coalesce(r.registrations, 0) AS registrations,
               coalesce(r.verified_email, 0) AS verified_email,
               coalesce(r.verified_phone, 0) AS verified_phone,
               coalesce(p.usages, 0) AS usages, coalesce(p.users, 0) AS users,
               coalesce(p.first_usages, 0) AS first_usages
        FROM days
        LEFT JOIN modeled.registrations_daily r USING (date)
        LEFT JOIN modeled.promo_usage_daily p USING (date)
        ORDER BY date
        """,
    ),
    Mart(
        "top_users",
        "The users with the most redemptions, with rank; ties share a rank (100 rows).",
        {
            "rank": "place by usages; ties share it",
            "user_id": "id of the user in the shop",
            "usages": "redemptions",
            "codes": "different promo codes",
            "first_used_at": "first redemption (UTC)",
            "last_used_at": "last redemption (UTC)",
            "decision": "allow, review or block; null: not scored",
            "probability": "estimated probability of abuse",
        },
        """
        SELECT rank() OVER (ORDER BY b.usages DESC) AS rank, b.user_id, b.usages, b.codes,
               b.first_used_at, b.last_used_at, s.decision, s.probability
        FROM modeled.promo_usage_by_user b LEFT JOIN ml.abuse_scores s USING (user_id)
        ORDER BY rank, b.user_id LIMIT 100
        """,
    ),
    Mart(
        "top_codes",
        "The promo codes with the most redemptions, with rank; ties share a rank (100 rows).",
        {
            "rank": "place by usages; ties share it",
            "promo_code": "the code",
            "usages": "redemptions",
            "users": "different users",
            "discount_type": "percentage or fixed_amount",
            "discount_value": "per cent, or money",
            "first_used_at": "first redemption (UTC)",
            "last_used_at": "last redemption (UTC)",
        },
        """
        SELECT rank() OVER (ORDER BY usages DESC) AS rank, promo_code, usages, users,
               discount_type, discount_value, first_used_at, last_used_at
        FROM modeled.promo_usage_by_code ORDER BY rank, promo_code LIMIT 100
        """,
    ),
    Mart(
        "abuse_by_signal",
        "How many accounts each signal of abuse was a reason for. One row per signal.",
        {
            "signal": "code of the signal",
            "accounts": "accounts that have it among their reasons",
            "flagged": "of these to be reviewed or blocked",
            "usages": "redemptions by the flagged ones",
            "labelled_abusers": "of all these, labelled as abusers",
        },
        """
        WITH reasons AS (
            SELECT DISTINCT user_id, decision,
                   unnest(list_transform(reasons, lambda r: r.code)) AS signal
            FROM ml.abuse_scores
        )
        SELECT signal, count(*) AS accounts, count(*) FILTER (decision <> 'allow') AS flagged,
               coalesce(sum(b.usages) FILTER (decision <> 'allow'), 0)::BIGINT AS usages,
               count(*) FILTER (l.is_abuser) AS labelled_abusers
        FROM reasons
        LEFT JOIN modeled.promo_usage_by_user b USING (user_id)
        LEFT JOIN modeled.abuse_labels l USING (user_id)
        GROUP BY signal ORDER BY flagged DESC, accounts DESC, signal
        """,
    ),
    Mart(
        "risky_clusters",
        "Clusters of linked accounts, those with the most flagged members first.",
        {
            "cluster_id": "the earliest-registered member's user id",
            "accounts": "members",
            "flagged": "members to be reviewed or blocked",
            "mean_probability": "mean estimated probability of abuse",
            "usages": "redemptions of all members",
            "links": "pairs of members that share a rare attribute",
            "first_registered_at": "earliest registration (UTC)",
            "last_registered_at": "latest registration (UTC)",
        },
        """
        SELECT c.cluster_id, count(*) AS accounts,
               count(*) FILTER (s.decision <> 'allow') AS flagged,
               avg(s.probability) AS mean_probability,
               coalesce(sum(b.usages), 0)::BIGINT AS usages, (sum(c.links) / 2)::BIGINT AS links,
               min(u.created_at) AS first_registered_at, max(u.created_at) AS last_registered_at
        FROM modeled.account_clusters c
        JOIN cleaned.users u USING (user_id)
        LEFT JOIN ml.abuse_scores s USING (user_id)
        LEFT JOIN modeled.promo_usage_by_user b USING (user_id)
        GROUP BY c.cluster_id ORDER BY flagged DESC, mean_probability DESC, c.cluster_id
        """,
    ),
    Mart(
        "data_quality",
        "Rows that could not be used, by table and the rule that they broke.",
        {
            "table": "the table that the rows did not enter",
            "rule": "the rule that they broke (a row may break several)",
            "rows": "quarantined rows that broke it",
        },
        " UNION ALL ".join(
            f"""SELECT '{name}' AS "table", rule, count(*) AS "rows"
            FROM (SELECT unnest(failed_rules) AS rule FROM quarantine.{name}) GROUP BY rule"""
            for name in ("users", "promo_codes", "promo_usages")
        )
        + ' ORDER BY "table", "rows" DESC, rule',
    ),
    *CHANNEL_MARTS,
)
INPUTS = tuple(sorted({key for mart in MARTS for key in named_tables(mart.sql)}))


@dataclass(frozen=True)
class Built:
    """The warehouse as it stands: rows per mart, and whether an earlier run left it so."""

    rows: Mapping[str, int]
    unchanged: bool


def build(tables: Tables, file: Path, *, fingerprint: str, run_id: str = "") -> Built:
    """Make the warehouse anew beside `file` and put it in its place; nothing if already built.

    A table that does not exist yet counts as empty, so every mart is always there. A failure
    leaves the old file. Raises TableError when an input lacks a column that a mart needs.
    """
    if (known := _known(file, fingerprint, run_id)) is not None:
        return known
    part = file.with_suffix(".duckdb.part")
    part.unlink(missing_ok=True)
    config = {
        "memory_limit": tables.memory,
        "temp_directory": str(file.parent / "duckdb-tmp"),
    }
    resource = DuckDBResource(database=str(part), connection_config=config)
    with resource.get_connection() as opened, closing(opened) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        _show_inputs(connection, tables)
        rows = {mart.name: _create(connection, mart) for mart in MARTS}
        for layer in {key.partition("/")[0] for key in INPUTS}:
            connection.execute(f"DROP SCHEMA {layer} CASCADE")
        connection.execute(
            "CREATE TABLE about_this_file AS "
            "SELECT ? AS fingerprint, ? AS run_id, now() AS built_at",
            [fingerprint, run_id],
        )
        connection.execute("CHECKPOINT")
    file.with_name(file.name + ".wal").unlink(missing_ok=True)
    os.replace(part, file)
    return Built(rows, unchanged=False)


def _known(file: Path, fingerprint: str, run_id: str) -> Built | None:
    """The warehouse if `file` was built from this fingerprint and can be read, else None."""
    if not file.exists():
        return None
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            noted = connection.sql("SELECT fingerprint, run_id FROM about_this_file").fetchall()
            if [found for found, _ in noted] != [fingerprint]:
                return None
            rows = {mart.name: _count(connection, mart.name) for mart in MARTS}
            return Built(rows, unchanged=noted[0][1] != run_id or not run_id)
    except duckdb.Error:  # held by a writer, or no file of ours: then it is simply built again
        return None


def _show_inputs(connection: duckdb.DuckDBPyConnection, tables: Tables) -> None:
    """Views `layer.table` of all inputs; a table not written yet is an empty one."""
    for layer in {key.partition("/")[0] for key in INPUTS}:
        connection.execute(f"CREATE SCHEMA {layer}")
    for key in INPUTS:
        layer, _, name = key.partition("/")
        source: Any = tables.dataset(key) if tables.exists(key) else empty(key)
        connection.register(f"_{layer}_{name}", source)
        chosen = ", ".join(f'"{column}"' for column in COLUMNS[key])
        connection.execute(f"CREATE VIEW {layer}.{name} AS SELECT {chosen} FROM _{layer}_{name}")


def _create(connection: duckdb.DuckDBPyConnection, mart: Mart) -> int:
    connection.execute(f"CREATE TABLE {mart.name} AS {mart.sql}")
    connection.execute(f"COMMENT ON TABLE {mart.name} IS {_quoted(mart.about)}")
    for column, about in mart.columns.items():
        connection.execute(f'COMMENT ON COLUMN {mart.name}."{column}" IS {_quoted(about)}')
    return _count(connection, mart.name)


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    (count,) = connection.sql(f"SELECT count(*) FROM {name}").fetchall()[0]
    return int(count)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def made_of(tables: Tables) -> str:
    """What the warehouse is built from: this code, and every input's data version."""
    code = fingerprints.code(__name__)
    inputs = {key: tables.stamp(key).get("data_version") for key in INPUTS}
    text = json.dumps([code, inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _step(step: str, members: tuple[Mart, ...]) -> dg.AssetsDefinition:
    """The assets of some marts, which one step makes: the file is built with all of them."""

    @dg.multi_asset(
        name=step,
        op_tags={ALONE_TAG: "warehouse"},
        specs=[
            dg.AssetSpec(
                ["marts", mart.name],
                deps=[dg.AssetKey(key.split("/")) for key in named_tables(mart.sql)],
                description=mart.about,
                group_name="marts",
                owners=["team:data-platform"],
                kinds={"duckdb"},
                metadata={
                    "dagster/column_schema": dg.TableSchema(
                        [dg.TableColumn(name, description=d) for name, d in mart.columns.items()]
                    )
                },
            )
            for mart in members
        ],
    )
    def made(lakehouse: Lakehouse) -> Iterator[dg.MaterializeResult[Any]]:
        """All marts at once: they are one file."""
        tables, file = lakehouse.tables, lakehouse.home.warehouse
        state = made_of(tables)
        built = build(tables, file, fingerprint=state, run_id=lakehouse.run_id)
        with duckdb.connect(str(file), read_only=True) as connection:
            for mart in members:
                described = connection.sql(f"DESCRIBE {mart.name}").fetchall()
                yield dg.MaterializeResult(
                    asset_key=["marts", mart.name],
                    metadata={
                        "dagster/row_count": built.rows[mart.name],
                        "unchanged": built.unchanged,
                        "path": dg.MetadataValue.path(str(file)),
                        "dagster/column_schema": dg.TableSchema(
                            [
                                dg.TableColumn(name, type=kind, description=mart.columns[name])
                                for name, kind, *_ in described
                            ]
                        ),
                    },
                    data_version=dg.DataVersion(f"{state}-{mart.name}"),
                )

    return made


marts = _step("marts", tuple(mart for mart in MARTS if mart not in CHANNEL_MARTS))
# Apart, so that what fails on the web's way does not hold up the shop's marts.
channel_marts = _step("marts__attribution", CHANNEL_MARTS)
