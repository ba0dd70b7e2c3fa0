"""published: tables that the API serves, swapped whole into the operational store.

Each is computed by DuckDB from the lakehouse and takes its predecessor's place in one transaction.
A home without an operational store publishes nothing, and says so.
"""

from dataclasses import dataclass

import dagster as dg

from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import named_tables
from dmp_assets.platform.marts.warehouse import MARTS
from dmp_assets.platform.published.assets import Published, made_of, published_asset
from dmp_assets.platform.store import where


@dataclass(frozen=True)
class Publication:
    """One table of `published` in the store (columns: `store/schema.py`) and the SQL it is from."""

    name: str
    about: str
    sql: str
    domain: str
    owner: str = "team:data-platform"

    @property
    def deps(self) -> tuple[str, ...]:
        return named_tables(self.sql)


def _mart(name: str) -> str:
    """The SQL of a mart, which people see as the API's callers do."""
    return next(mart.sql for mart in MARTS if mart.name == name)


PUBLICATIONS = (
    Publication(
        "user_usage",
        "How each user uses promo codes, with what the model advises. One row per user with a "
        "usage. Key: user_id.",
        """
        SELECT b.user_id, rank() OVER (ORDER BY b.usages DESC) AS rank, b.usages, b.codes,
               b.first_used_at, b.last_used_at, s.decision, s.probability
        FROM modeled.promo_usage_by_user b LEFT JOIN ml.abuse_scores s USING (user_id)
        """,
        domain="abuse",
    ),
    Publication(
        "account_score",
        "What the model says of each known account, and how many abusers it expects in its "
        "cluster. One row per user. Key: user_id.",
        """
        SELECT s.user_id, u.created_at AS registered_at, s.probability,
               s.decision, to_json(s.reasons)::VARCHAR AS reasons, c.cluster_id,
               coalesce(c.cluster_size, 1) AS cluster_size,
               sum(s.probability) OVER (PARTITION BY coalesce(c.cluster_id, s.user_id))
                   AS expected_abusers,
               s.model_version, s.scored_at
        FROM ml.abuse_scores s JOIN cleaned.users u USING (user_id)
        LEFT JOIN modeled.account_clusters c USING (user_id)
        """,
        owner="team:risk",
        domain="abuse",
    ),
    Publication(
        "code_usage",
        "How each promo code is used. One row per code. Key: promo_code.",
        f"SELECT *, rank() OVER (ORDER BY usages DESC) AS rank "
        f"FROM ({_mart('promo_code_performance')})",
        domain="abuse",
    ),
    Publication(
        "daily_activity",
        "Registrations and redemptions per day (UTC), days without any included. Key: date.",
        _mart("daily_activity"),
        domain="abuse",
    ),
    Publication(
        "channel_reporting",
        "Cost and credit by day of the sessions (UTC), channel and attribution model. "
        "Key: date, channel_name, model.",
        "SELECT date, channel_name, model, cost, conversions, revenue, conversions_without_abuse, "
        "revenue_without_abuse, is_open FROM modeled.channel_reporting",
        owner="team:marketing",
        domain="attribution",
    ),
)


def publish(lakehouse: Lakehouse, publication: Publication) -> Published | None:
    """Put the table into the store unless it is there as it would be; None without a store.

    Raises StoreError when the store does not answer or has another schema, TableError when an
    input was never made.
    """
    if not where.is_configured(lakehouse.home):
        return None
    from dmp_assets.platform.store import database
    from dmp_assets.platform.store import publish as swap

    tables = lakehouse.tables
    version = made_of(tables, publication.deps, __name__, publication.name, publication.sql)
    with database.opened(where.store_url(lakehouse.home)) as store, store.begin() as connection:
        unchanged = swap.versions(connection).get(publication.name) == version
        if unchanged:
            rows = swap.confirm(connection, publication.name, run_id=lakehouse.run_id)
        else:
            with tables.connect(*publication.deps) as duck:
                found = duck.sql(publication.sql).to_arrow_reader(10_000)
                rows = swap.replace(
                    connection, publication.name, found, data_version=version,
                    run_id=lakehouse.run_id,
                )  # fmt: skip
    return Published(rows, version, unchanged)


def _asset(publication: Publication) -> dg.AssetsDefinition:
    return published_asset(
        publication.name,
        publication.about,
        lambda lakehouse: publish(lakehouse, publication),
        deps=publication.deps,
        owner=publication.owner,
        kinds={"duckdb", "postgres"},
    )


ASSETS = {
    domain: [_asset(publication) for publication in PUBLICATIONS if publication.domain == domain]
    for domain in {publication.domain for publication in PUBLICATIONS}
}
"""Domain → what is published of it."""
