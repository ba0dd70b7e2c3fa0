"""Removing what runs made: of another shop's data, or the home itself."""

import shutil

from dmp_assets.home import Home
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.lake import beside, leases, maintenance, remembered
from dmp_assets.platform.lake.files import CHECKPOINTS
from dmp_assets.platform.lake.leases import Lease
from dmp_assets.platform.lake.tables import Tables, folders
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres
from dmp_assets.platform.run.outside import outside_systems
from dmp_assets.platform.store import where


def _publish_nothing(home: Home) -> None:
    """The API must not go on serving another shop's figures, nor know its simulated people."""
    from dmp_assets.platform.store import database, publish

    with (
        outside_systems(home, sources=False),
        database.opened(where.store_url(home)) as store,
        store.begin() as connection,
    ):
        publish.clear(connection)
        if home.profile == "sandbox":
            for domain in known_domains():
                domain.forget_people(connection)


def _clear_tables(home: Home, lease: Lease, *, everything: bool) -> None:
    tables = Tables.of(home)
    if everything and not remembered.is_own(home):
        remembered.leave(home)
        return
    logs = {key for domain in known_domains() for key in domain.logs if home.profile == "live"}
    for key in folders(tables):
        if everything or key not in logs:
            if lease.beyond is not None:
                lease.beyond.confirm()  # no log can refuse what is deleted
            maintenance.remove(tables, key)
    if everything:
        beside.remove(tables, CHECKPOINTS)
        remembered.forget(home, "shop")
        remembered.leave(home)


def clear(home: Home, *, everything: bool = False) -> None:
    """Remove what runs made of the shop's data; `everything` removes the home itself.

    The outbox, Dagster's history, the sandbox and the embedded PostgreSQL stay unless
    `everything`; so do, in a live home, the logs of the service. A lakehouse outside the home goes
    with `everything` where the home's runs have used it and no other home does. Raises StorageError
    where that cannot be reached, LeaseLostError where another home may write it by now; the home
    stays then.
    """
    with leases.taken(home, "clear", None) as lease:
        if where.is_configured(home) and not everything:
            _publish_nothing(home)
        _clear_tables(home, lease, everything=everything)
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
