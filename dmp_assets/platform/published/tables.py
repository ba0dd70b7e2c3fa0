"""published: tables that the API serves, swapped whole into the operational store.

Each is computed by DuckDB from the lakehouse and takes its predecessor's place in one transaction.
A home without an operational store publishes nothing, and says so.
"""

import dagster as dg

from dmp_assets.home import Home
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.published.assets import Published, made_of, published_asset
from dmp_assets.platform.published.publication import Publication
from dmp_assets.platform.store import where


def publish(lakehouse: Lakehouse, publication: Publication) -> Published | None:
    """Put the table into the store unless it is there as it would be; None without a store.

    Raises StoreError when the store does not answer or has another schema, TableError when an
    input was never made.
    """
    if not where.is_configured(lakehouse.home):
        return None
    from dmp_assets.platform.store import database
    from dmp_assets.platform.store import publish as swap

    version, tables = made_of(
        lakehouse.tables, publication.deps, __name__, publication.name, publication.sql
    )
    with database.opened(where.store_url(lakehouse.home), checked=False) as store:
        database.check(store, published=False)
        with store.connect() as connection:
            fits = publication.name not in swap.misfits(connection)
        if not fits:
            _make_room(lakehouse.home, publication.name)
        with store.begin() as connection:
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


def _make_room(home: Home, name: str) -> None:
    """Have a table of the store that a newer program publishes, or otherwise than before."""
    from dmp_assets.platform.store import database, rights
    from dmp_assets.platform.store import publish as swap

    with (
        database.opened(where.owner_url(home), checked=False) as store,
        store.begin() as owner,
    ):
        swap.make(owner, only=name)
        if role := where.service_role(home):
            rights.grant(owner, role)


def asset(publication: Publication) -> dg.AssetsDefinition:
    """The asset `published/<name>`."""
    return published_asset(
        publication.name,
        publication.about,
        lambda lakehouse: publish(lakehouse, publication),
        deps=publication.deps,
        owner=publication.owner,
        kinds={"duckdb", "postgres"},
    )
