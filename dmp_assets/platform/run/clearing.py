"""Removing what runs made: of another shop's data, or the home itself."""

import shutil

from dmp_assets.home import Home
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.lake import leases, maintenance, remembered
from dmp_assets.platform.lake.tables import Tables, folders
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres
from dmp_assets.platform.run.outside import outside_systems
from dmp_assets.platform.store import where


def _publish_nothing(home: Home) -> None:
    """The API must not go on serving another shop's figures, nor know its simulated people."""
    from dmp_assets.platform.store import database, publish

    with (
        outside_systems(home, shop=False),
        database.opened(where.store_url(home)) as store,
        store.begin() as connection,
    ):
        publish.clear(connection)
        if home.profile == "sandbox":
            for domain in known_domains():
                domain.forget_people(connection)


def _clear_tables(home: Home, *, everything: bool) -> None:
    tables = Tables.of(home)
    if everything and not remembered.is_own(home):
        return
    logs = {key for domain in known_domains() for key in domain.logs if home.profile == "live"}
    for key in folders(tables):
        if everything or key not in logs:
            maintenance.remove(tables, key)
    if everything:
        remembered.forget(home, "shop")


def clear(home: Home, *, everything: bool = False) -> None:
    """Remove what runs made of the shop's data; `everything` removes the home itself.

    The outbox, Dagster's history, the sandbox and the embedded PostgreSQL stay unless
    `everything`; so do, in a live home, the logs of the service. A lakehouse outside the home goes
    with `everything` where the home's runs have used it. Raises StorageError where that
    cannot be reached, and the home stays.
    """
    with leases.taken(home, "clear", None):
        if where.is_configured(home) and not everything:
            _publish_nothing(home)
        _clear_tables(home, everything=everything)
        for path in (home.reports, home.exports, home.models):
            if path.exists():
                shutil.rmtree(path)
        for path in home.serving.glob("*"):
            if path != home.spool or home.profile == "sandbox":  # a live shop's scores are kept
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        home.warehouse.unlink(missing_ok=True)
        if not everything:
            remembered.forget(home, "shop")
    if everything:
        EmbeddedPostgres(home).destroy()
        shutil.rmtree(home.root)
