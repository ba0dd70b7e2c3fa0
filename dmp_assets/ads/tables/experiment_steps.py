"""published/experiment_readings: each new reading goes into the store, and what follows is done.

A reading is judged once (`model/experiments/decide.py`): the state, the step and the audit row are
of one transaction with it. Split tests that are over are then ended at Meta, those that were
started are made there. What cannot be judged is told when all else is done, and done by the next
run; what Meta refuses is of one advertiser alone: its experiment and a check say so.
"""

import json

from dmp_assets.ads.model.experiments.written import definition_of, reading_of
from dmp_assets.ads.service import split_tests
from dmp_assets.ads.service.store import experiments
from dmp_assets.ads.settings import AdsSettings
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.published.assets import Published, made_of, published_asset
from dmp_assets.platform.store import where

NAME = "experiment_readings"
ABOUT = (
    "Readings of experiments in the store, each judged once: experiments stop, pause, propose or "
    "promote a winner, and end. Split tests that are over are ended at Meta."
)
DEPS = ("modeled/experiment_readings", "raw/experiments")
SETTLED = (
    "split_tests_were_settled",
    "Every split test that is due was made or ended at Meta; the next run tries again.",
)
_READINGS = """
SELECT r.advertiser_id, r.experiment, r.version, r.reading, e.definition
FROM modeled.experiment_readings r JOIN raw.experiments e USING (advertiser_id, experiment)
ORDER BY advertiser_id, experiment, version
"""


class ExperimentsError(UserError):
    """Some experiments could not be judged; the message says which and why."""


def judge(lakehouse: Lakehouse) -> Published | None:
    """Judge every reading that was not; None without a store.

    Raises StoreError; ExperimentsError when all others are done.
    """
    home = lakehouse.home
    if not where.is_configured(home):
        return None
    from dmp_assets.platform.store import database

    version, tables = made_of(lakehouse.tables, DEPS, __name__)
    is_automatic = home.settings().of(AdsSettings).ads_promotes_by_itself
    judged, problems, waiting = 0, list[str](), list[str]()
    store = database.engine(where.store_url(home), pool_size=3)
    try:
        database.check(store, published=False)
        with store.connect() as connection:
            known = {
                (one.advertiser_id, one.experiment): one.version
                for one in experiments.started(connection)
            }
        for row in tables.sql(_READINGS).to_pylist():
            if row["version"] <= known.get((row["advertiser_id"], row["experiment"]), 0):
                continue
            of = f"{row['advertiser_id']} {row['experiment']}"
            try:
                reading = reading_of(
                    json.loads(row["reading"]), definition_of(json.loads(row["definition"]))
                )
                with store.begin() as connection:
                    step = experiments.judge(
                        connection, row["advertiser_id"], row["experiment"], reading,
                        is_automatic=is_automatic, now=home.now(),
                    )  # fmt: skip
            except UserError as error:
                problems.append(f"{of}: {error}")
                continue
            judged += step is not None
        for settled in split_tests.settle(home, store):
            if settled.problem:
                waiting.append(f"{settled.advertiser_id} {settled.experiment}: {settled.problem}")
    finally:
        store.dispose()
    if problems:
        raise ExperimentsError("; ".join(dict.fromkeys(problems)))
    return Published(judged, version, judged == 0, waiting)


experiment_readings = published_asset(
    NAME, ABOUT, judge, deps=DEPS, owner="team:marketing", kinds={"postgres"}, check=SETTLED
)
