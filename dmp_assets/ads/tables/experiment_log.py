"""raw/experiments, raw/experiment_exposures, raw/experiment_reach: what was tried, and who met it.

The first two are of the operational store: experiments as they stand, and the log of exposures from
the last id on that is in the lakehouse, or by Kafka where that is configured. The third is asked of
Meta for its split tests. Nothing here stops a run: what cannot be read stays as it was, and a check
says why.
"""

import hashlib
import json
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dmp_assets.ads.service import streams
from dmp_assets.ads.service.store import experiments as stored
from dmp_assets.ads.service.store import exposures
from dmp_assets.ads.service.store.experiments import Experiment
from dmp_assets.home import Home
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.postgres.embedded import PostgresError
from dmp_assets.platform.store import where
from dmp_assets.platform.store.errors import StoreError
from dmp_assets.platform.stream import log_landing
from dmp_assets.platform.stream.stream import COLUMNS, dead_letter_columns
from dmp_assets.sources.meta.config import is_connected
from dmp_assets.sources.meta.days import Days
from dmp_assets.sources.meta.reach import reach
from dmp_assets.sources.meta.resource import advertisers

if TYPE_CHECKING:
    import sqlalchemy as sa

ADVERTISER = Column("string", "Whose experiment it is.")
EXPERIMENT = Column("string", "Its name.")
VARIANT = Column("string", "The variant.")
EXPERIMENTS = {
    "advertiser_id": ADVERTISER,
    "experiment": EXPERIMENT,
    "kind": Column("string", "own: assigned by us; meta_split: a split test of Meta's."),
    "unit": Column("string", "By what orders of its units are found; null of a split test."),
    "window_days": Column("integer", "Days after its exposure in which a unit's orders count."),
    "study": Column("string", "Account and cells of a split test (JSON)."),
    "definition": Column("string", "What it tries (JSON), fixed at its start."),
    "digest": Column("string", "SHA-256 of that at its start."),
    "study_id": Column("string", "The split test at Meta, once it is made."),
    "keyed_by": Column("string", "By which secret its units are hashed."),
    "state": Column("string", "running, paused, proposed, stopped, promoted or ended."),
    "started_at": Column("timestamp", "When it was started (UTC)."),
    "ended_at": Column("timestamp", "When it ended (UTC); null while it goes on."),
}
EXPOSURES = {
    "exposure_id": Column("long", "Number of the exposure, growing."),
    "advertiser_id": ADVERTISER,
    "experiment": EXPERIMENT,
    "unit": Column("string", "Who met it, by a keyed hash.", "identifier", "user_id"),
    "variant": Column("string", "What it met.", "behaviour"),
    "is_bot": Column("boolean", "Its user agent was no person's."),
    "exposed_at": Column("timestamp", "When it met it first (UTC).", "behaviour"),
}
REACH = {
    "advertiser_id": ADVERTISER,
    "experiment": EXPERIMENT,
    "variant": VARIANT,
    "first_day": Column("date", "First day, of the account's time zone."),
    "last_day": Column("date", "Last day."),
    "reach": Column("long", "People whom its cell reached in these days, as Meta estimates."),
    "read_at": Column("timestamp", "When Meta said so (UTC)."),
}
STORE_READ = (
    Check(
        "store_was_read",
        None,
        "The operational store could be read; otherwise what is known of experiments stays.",
    ),
)
META_READ = (
    Check(
        "meta_was_read",
        None,
        "The reach of every split test could be read; that of others stays as it was.",
    ),
)


def last_full_day(home: Home) -> date:
    """The last day (UTC) that is over."""
    return home.now().date() - timedelta(days=1)


def day_state(lakehouse: Lakehouse, window: Window) -> dict[str, str]:
    """The last full day: with each there is more to be counted."""
    return {"last_day": last_full_day(lakehouse.home).isoformat()}


# experiments ------------------------------------------------------------------------------------
def _started(home: Home) -> list[Experiment]:
    from dmp_assets.platform.store import database

    with database.opened(where.store_url(home), checked=False) as store:
        database.check(store, published=False)
        with store.connect() as connection:
            return stored.started(connection)


def _row(one: Experiment) -> dict[str, Any]:
    from dmp_assets.ads.model.experiments.written import definition_json

    values = {name: getattr(one, name) for name in EXPERIMENTS}
    return values | {
        "study": None if one.study is None else json.dumps(one.study, sort_keys=True),
        "definition": json.dumps(definition_json(one.definition), sort_keys=True),
    }


def _experiments_state(lakehouse: Lakehouse, window: Window) -> dict[str, str] | None:
    if not where.is_configured(lakehouse.home):
        return None
    try:
        rows = [_row(one) for one in _started(lakehouse.home)]
    except (StoreError, PostgresError) as error:
        return {"problem": str(error)}
    said = json.dumps(rows, sort_keys=True, default=str)
    return {"experiments": hashlib.sha256(said.encode()).hexdigest()}


@table_asset(
    "raw",
    owner="team:marketing",
    kinds=("postgres", "delta"),
    probe=_experiments_state,
    columns=EXPERIMENTS,
    key=("advertiser_id", "experiment"),
    checks=STORE_READ,
)
def experiments(run: TableRun) -> None:
    """Experiments that were started, as they stand now.

    Grain: an experiment. Key: advertiser_id, experiment. Source: ads_experiment of the operational
    store.
    """
    schema = arrow_schema(EXPERIMENTS)
    problem = (run.probe or {}).get("problem")
    if problem:
        run.log.error(problem)
        run.metadata["problem"] = problem
        if run.exists(run.key):
            run.keep()
            return
    rows = [] if problem or run.probe is None else [_row(o) for o in _started(run.lakehouse.home)]
    run.overwrite(pa.Table.from_pylist(rows, schema))


# exposures --------------------------------------------------------------------------------------
def _exposures_state(lakehouse: Lakehouse, window: Window) -> dict[str, Any] | None:
    def have_ended(connection: "sa.Connection") -> bool:
        return exposures.has_ended(connection)

    state = log_landing.state(lakehouse.home, streams.EXPOSURES, have_ended)
    if state and state.get("expired"):  # of interest in every run until it is gone
        state["expired"] = lakehouse.run_id
    return state


@table_asset(
    "raw",
    owner="team:marketing",
    kinds=("postgres", "delta"),
    probe=_exposures_state,
    columns={**EXPOSURES, **COLUMNS},
    at_need={streams.EXPOSURES.dead_letters: dead_letter_columns(EXPOSURES)},
    key=("exposure_id",),
    checks=log_landing.CHECKS,
)
def experiment_exposures(run: TableRun) -> None:
    """Who met which variant, also after the store has forgotten it.

    Grain: a unit that met a variant, as a person or as a bot. Key: exposure_id. Source:
    ads_experiment_exposure of the operational store, read there or by Kafka; its rows of
    experiments that are over are deleted once they are here.
    """
    landed = log_landing.land(run, streams.EXPOSURES, EXPOSURES)
    if run.probe and run.probe.get("expired"):
        from dmp_assets.platform.store import database

        with (
            database.opened(where.store_url(run.lakehouse.home)) as store,
            store.begin() as connection,
        ):
            deleted = exposures.delete_ended(connection, landed=landed)
        run.log.info(f"{deleted} exposures of experiments that are over deleted from the store")


# reach ------------------------------------------------------------------------------------------
_SPLIT = """
SELECT advertiser_id, experiment, study, definition FROM raw.experiments
WHERE kind = 'meta_split' AND state IN ('running', 'paused', 'proposed') AND study_id IS NOT NULL
ORDER BY advertiser_id, experiment
"""


def _reach_state(lakehouse: Lakehouse, window: Window) -> dict[str, str] | None:
    return {"run": lakehouse.run_id} if is_connected(lakehouse.home) else None


@table_asset(
    "raw",
    deps=["raw/experiments"],
    owner="team:marketing",
    kinds=("delta",),
    probe=_reach_state,
    columns=REACH,
    key=("advertiser_id", "experiment", "variant"),
    checks=META_READ,
)
def experiment_reach(run: TableRun) -> None:
    """How many people each cell of a split test at Meta has reached so far.

    Grain: a variant of an experiment. Key: advertiser_id, experiment, variant. Source: Meta's API.
    """
    known: dict[tuple[str, str], list[dict[str, Any]]] = {}
    if run.exists(run.key):
        for row in run.sql("SELECT * FROM raw.experiment_reach").to_pylist():
            known.setdefault((row["advertiser_id"], row["experiment"]), []).append(row)
    split = run.sql(_SPLIT).to_pylist() if _says_made(run) else []
    if not split and run.exists(run.key):
        run.keep()
        return
    problems: list[str] = []
    now, last = run.lakehouse.home.now(), last_full_day(run.lakehouse.home)
    if split:
        try:
            with advertisers(run.lakehouse.home) as connections:
                for one in split:
                    key = (one["advertiser_id"], one["experiment"])
                    if one["advertiser_id"] not in connections:
                        problems.append(f"{' '.join(key)}: Meta is not connected")
                        continue
                    try:
                        with connections[one["advertiser_id"]].noting() as client:
                            known[key] = _reach(client, one, last, now)
                    except UserError as error:
                        problems.append(f"{' '.join(key)}: {error}")
        except UserError as error:  # the store is not there, or its keys
            problems.append(str(error))
    for problem in problems:
        run.log.error(problem)
    if problems:
        run.metadata["problem"] = "; ".join(dict.fromkeys(problems))
    rows = [row for listed in known.values() for row in listed]
    run.overwrite(pa.Table.from_pylist(rows, arrow_schema(REACH)))


def _says_made(run: TableRun) -> bool:
    """Whether the experiments say which test was made; not while they are of an older program."""
    return "study_id" in run.lakehouse.tables.columns("raw/experiments")


def _reach(client: Any, one: dict[str, Any], last: date, now: datetime) -> list[dict[str, Any]]:
    study, definition = json.loads(one["study"]), json.loads(one["definition"])
    first = date.fromisoformat(definition["starts_on"])
    if last < first:
        return []
    days = Days(first, last)
    account = f"act_{study['account_id']}"
    return [
        {
            "advertiser_id": one["advertiser_id"],
            "experiment": one["experiment"],
            "variant": variant,
            "first_day": first,
            "last_day": last,
            "reach": sum(reach(client, account, entity, days) for entity in entities),
            "read_at": now,
        }
        for variant, entities in sorted(study["cells"].items())
    ]
