"""What followed by itself for experiments, as findings of which people are told."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from dmp_assets.ads.model.experiments.decide import MEANINGS
from dmp_assets.ads.model.notices.detect import Finding, Subject
from dmp_assets.ads.service.store import experiments
from dmp_assets.home import Home
from dmp_assets.platform.store import where

LOOKED_BACK = timedelta(days=7)
"""How far back verdicts are looked for, after runs that did not come."""


def verdicts(home: Home, now: datetime) -> Iterator[tuple[Finding, str]]:
    """Each verdict of the last days as a finding, with the experiment's name and what happened.

    The figure is that there is one, usual is none. Nothing without a store. Raises StoreError.
    """
    if not where.is_configured(home):
        return
    from dmp_assets.platform.store import database

    with database.opened(where.store_url(home), checked=False) as store:
        database.check(store, published=False)
        with store.connect() as connection:
            found = experiments.verdicts(connection, now - LOOKED_BACK)
    for one in found:
        subject = Subject(one.advertiser_id, f"experiment:{one.experiment}")
        day = one.at.date()
        name = f"{one.experiment}: {MEANINGS[one.cause]}"
        yield Finding(subject, "experiment_verdict", day, 1.0, None, 0.0, day), name
