"""No value of one account fails others: every attribute, every strange value, both ways in."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest

from dmp_assets.abuse.model import features, view
from dmp_assets.abuse.model.index import AccountIndex
from dmp_assets.abuse.model.received import normal_form
from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import Endpoint
from tests.support import accounts, serving
from tests.support.postgres import fresh_database
from tests.support.service import Api, running_api
from tests.support.strange import ATTRIBUTES, HUGE, NO_TEXTS, RAW_JSON, TEXTS

SCORE = "/v1/abuse/score"
COLUMN = {
    "ip": "ip_address", "date_of_birth": "dob", "email_verified": "is_email_verified",
    "phone_verified": "is_phone_verified", "registered_at": "created_at",
}  # fmt: skip
"""Attribute of the service → the shop's column, where they differ."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, postgres: Endpoint) -> Iterator[Api]:
    home = Home(tmp_path_factory.mktemp("strange") / "home").prepare("sandbox")
    with fresh_database(postgres) as url, running_api(home, url) as api:
        yield api


@pytest.fixture
def risk(api: Api) -> Iterator[httpx.Client]:
    with api.as_role("risk") as client:
        yield client


def test_a_batch_with_every_strange_value_of_every_attribute_has_features_of_all(
    tmp_path: Path,
) -> None:
    whole = {
        "created_at": "2024-01-05 10:00:00", "email": "ann@example.org", "phone": "+12025550143",
        "first_name": "Ann", "last_name": "Lee", "ip_address": "84.1.2.3", "device_id": "d",
        "user_agent": "Mozilla/5.0", "city": "Rome", "dob": "1990-01-01", "timezone": "UTC",
        "is_email_verified": "true", "is_phone_verified": "0", "is_abuser": "0",
    }  # fmt: skip
    rows = [
        whole | {"user_id": f"{name}-{n}", COLUMN.get(name, name): text}
        for name in ATTRIBUTES
        if COLUMN.get(name, name) in whole and name != "registered_at"  # times: see test_readers
        for n, text in enumerate((*TEXTS, *HUGE))
    ]
    received = pa.Table.from_pylist(rows, schema=pa.schema([(c, pa.string()) for c in rows[0]]))
    shop = accounts.shop(
        {"users": received}
        | {name: table for name, table in accounts.nothing().items() if name != "users"}
    )
    accounts.link(shop)
    made = shop.sql(view.account_view_sql()).to_arrow_table().cast(view.VIEW)
    assert set(made["user_id"].to_pylist()) == {row["user_id"] for row in rows}
    together = features.matrix(made)
    assert np.isfinite(together[~np.isnan(together)]).all()
    for n in range(0, len(made), 97):
        alone = features.matrix(made.slice(n, 1).to_pydict())
        np.testing.assert_allclose(
            alone[0], together[n], rtol=0, atol=1e-12, equal_nan=True, err_msg=str(rows[n])[:200]
        )
    home = Home(tmp_path / "home").prepare("sandbox")
    serving.write_snapshot(home, shop)
    index = AccountIndex(serving.opened(home))
    assert len(index) == len(made)
    assert index.view_of(len(index) - 1)["accounts"] == len(made)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_the_service_answers_every_strange_value_of_an_attribute(
    api: Api, risk: httpx.Client, name: str
) -> None:
    given = [*TEXTS, *HUGE[:1], *NO_TEXTS]
    bodies = [json.dumps(value) for value in given] + list(RAW_JSON)
    taken = []
    for n, value in enumerate(bodies):
        if n % 20 == 0:
            api.forget()  # how often one caller may ask is not what is tried here
        account = f'{{"account_ref": "{name}-{n}", "{name}": {value}}}'
        answer = risk.post(
            SCORE,
            content=f'{{"accounts": [{account}], "dry_run": true}}',
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in (200, 422), (value[:80], answer.text[:300])
        if answer.status_code == 200:
            taken.append(account)
    batches = [taken[start : start + 400] for start in range(0, len(taken), 400)]
    api.forget()
    for batch in batches:  # logged and linked, beside each other
        answer = risk.post(
            SCORE,
            content=f'{{"accounts": [{", ".join(batch)}]}}',
            headers={"Content-Type": "application/json"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text[:300]
        assert all(0 <= one["probability"] <= 1 for one in answer.json()["results"])


def test_normal_forms_in_the_batch_and_of_one_account_are_the_same() -> None:
    texts = [*TEXTS, *HUGE]
    for name in ("email", "phone", "ip", "user_agent", "timezone"):
        for text in texts:
            at = datetime(2024, 1, 5, tzinfo=UTC)
            one = normal_form("a", {name: text}, at, "US")
            many = accounts.normal_forms({COLUMN.get(name, name): text}, "US")
            assert {k: one[k] for k in one if k in many} == {
                k: many[k] for k in one if k in many
            }, text[:80]
