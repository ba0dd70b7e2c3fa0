"""In a sandbox experiments live in the time of the simulated business, the audit log in the true."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from dmp_assets.ads.service.part import part_of
from dmp_assets.ads.service.store.schema_experiments import (
    ads_experiment,
    ads_experiment_exposure,
)
from dmp_assets.platform.store.schema import audit_event
from tests.support.experiments import body
from tests.support.service import Api


def test_what_is_started_in_a_sandbox_begins_the_day_after_its_business_ends(api: Api) -> None:
    today = api.home.now()
    assert today < datetime.now(UTC) - timedelta(days=100)
    with api.as_role("admin") as client:
        client.post("/v1/ads/experiments", json={"experiment": "clock", **body()})
        begun = client.post("/v1/ads/experiments/clock/start").json()
        client.post("/v1/experiments/clock/assign", json={"unit": "u-1"})
    assert begun["definition"]["starts_on"] == str(today.date() + timedelta(days=1))
    part_of(api.app.state.service).exposures.flush()
    with api.store.begin() as store:
        (met,) = store.scalars(sa.select(ads_experiment_exposure.c.exposed_at))
        audited = store.scalar(
            sa.select(audit_event.c.at).where(audit_event.c.action == "start experiment")
        )
        store.execute(ads_experiment.delete())
        store.execute(ads_experiment_exposure.delete())
    assert met == today and audited is not None
    assert datetime.now(UTC) - audited < timedelta(hours=1)
