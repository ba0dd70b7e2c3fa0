"""published/account_snapshot: all known accounts as files from which the API scores.

Grain: one account. Sources: cleaned/*, modeled/promo_usage_by_user, modeled/account_clusters.
What the files hold is in `dmp_assets.abuse.model.snapshot`.
"""

from datetime import UTC, datetime

from dmp_assets.abuse.model import snapshot, view
from dmp_assets.abuse.tables.abuse_features import with_zones
from dmp_assets.platform.config import secret_files
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.published.assets import Published, made_of, published_asset
from dmp_assets.platform.store import where


def publish(lakehouse: Lakehouse) -> Published | None:
    """Write the snapshot unless it is there as it would be; None without a store.

    Raises TableError when an input was never made.
    """
    if not where.is_configured(lakehouse.home):
        return None
    folder = lakehouse.home.serving
    wanted, tables = made_of(lakehouse.tables, view.TABLES, __name__)
    secret = secret_files.of(lakehouse.home, secret_files.INDEX_KEY)
    if snapshot.current(folder) == wanted and snapshot.is_keyed(folder):
        try:
            known = snapshot.open_current(folder, secret).size
        except snapshot.SnapshotError:
            pass  # it is damaged, and written again
        else:
            return Published(known, wanted, unchanged=True)
    with tables.connect(*view.TABLES) as connection:
        with_zones(connection)
        rows = snapshot.rows(connection, secret)
        written = snapshot.write(folder, wanted, rows, datetime.now(UTC), secret)
    return Published(written, wanted, unchanged=False)


account_snapshot = published_asset(
    "account_snapshot",
    "All known accounts as files from which the API scores in milliseconds. One row per account.",
    publish,
    deps=view.TABLES,
    owner="team:risk",
    kinds={"duckdb", "arrow"},
)
