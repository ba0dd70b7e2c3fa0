"""Pooled insights from consent to the API: who withdraws is in nothing of the next run."""

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.ads.model.pooled.measures import TERMS_VERSION, belief
from dmp_assets.ads.service.store import pooled
from dmp_assets.ads.service.store.schema_pooled import ads_pool_consent, ads_pool_group
from dmp_assets.ads.tables.ad_roi_daily import COLUMNS
from dmp_assets.ads.tables.pooled_insights import months, pooled_insights
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import arrow_schema
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access, advertisers, database
from dmp_assets.platform.store.roles import ROLES
from tests.support import lakehouse
from tests.support.ads_rows import ads_rows
from tests.support.materialized import failed_checks, materialized
from tests.support.postgres import fresh_database
from tests.support.service import Api, fill, now, running_api

NOW = datetime(2026, 6, 10, 8, tzinfo=UTC)
NEWEST = date(2026, 4, 1)
"""The last month that nothing restates any more then."""


class Pool:
    """A home, what its advertisers earned, and who agreed. Its clock stands at `now`."""

    def __init__(self, home: Home, store: sa.Engine) -> None:
        self.home, self.store, self.now = home, store, NOW
        self.rows: list[dict[str, Any]] = []

    def earn(self, advertiser: str, mer: float, *, month: date = NEWEST, spend: int = 100) -> None:
        """Two days of a month with this revenue for what was spent."""
        for day in (2, 20):
            self.rows.append({
                "advertiser_id": advertiser, "date": month.replace(day=day), "campaign_id": "",
                "spend": Decimal(spend), "revenue": Decimal(round(spend * mer, 4)),
                "platform_value": Decimal(2 * spend), "modelled_revenue": Decimal(spend),
                "modelled_contribution": Decimal(spend), "orders": 10, "new_customers": 4,
                "known_customers": 8, "is_open": False,
            })  # fmt: skip

    def agree(self, *names: str, industry: str = "fashion", size: str = "small",
              version: str = TERMS_VERSION) -> None:  # fmt: skip
        with self.store.begin() as connection:
            for name in names:
                assert pooled.give(
                    connection, name, terms_version=version, industry=industry, size=size,
                    by="ann", now=self.now - timedelta(days=1), request_id=None,
                )  # fmt: skip

    def withdraw(self, name: str) -> None:
        with self.store.begin() as connection:
            assert pooled.withdraw(connection, name, by="ann", now=self.now, request_id=None)

    def run(self) -> list[dict[str, Any]]:
        """Its rows after a run."""
        table = pa.Table.from_pylist(self.rows, arrow_schema(COLUMNS))
        lakehouse.write(self.home, "modeled/ad_roi_daily", table, stamp=str(len(self.rows)))
        assert failed_checks(materialized(pooled_insights)) == {}
        found = Tables.of(self.home).sql("SELECT * FROM modeled.pooled_insights ORDER BY ALL")
        return list(found.to_pylist())

    def shown(self, measure: str = "mer") -> dict[tuple[str, str], dict[str, Any]]:
        """Cell → what is shown of the newest month."""
        return {
            (row["industry"], row["size"]): row
            for row in self.run()
            if row["measure"] == measure and row["period"] == NEWEST
        }


@pytest.fixture
def pool(tmp_path: Path, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_STORE_URL", store_url.get_secret_value())
    store = database.engine(store_url)
    made = Pool(Home(tmp_path / "home").prepare("live"), store)
    monkeypatch.setattr(Home, "now", lambda own: made.now)
    yield made
    store.dispose()


def shops(many: int, first: int = 0) -> list[str]:
    return [f"shop-{n:02}" for n in range(first, first + many)]


def test_a_cell_shows_ten_at_least_and_of_these_the_mean_of_clipped_values(pool: Pool) -> None:
    mers = {name: 2.0 + n / 4 for n, name in enumerate(shops(10))}
    mers["shop-09"] = 10_000.0
    for name, mer in mers.items():
        pool.earn(name, mer)
    pool.agree(*shops(9))
    assert pool.run() == []
    pool.agree("shop-09")
    held = np.log([min(mer, 50.0) for mer in mers.values()])
    found = pool.shown()
    assert set(found) == {("", ""), ("fashion", ""), ("fashion", "small")}
    for row in found.values():
        assert row["advertisers"] == 10
        assert row["centre"] == float(f"{math.exp(held.mean()):.1e}")
        assert row["spread"] == float(f"{math.exp(held.std()):.1e}")


def test_who_has_no_data_is_in_no_group_and_a_narrow_cell_of_few_counts_in_the_wider(
    pool: Pool,
) -> None:
    for name in shops(11):
        pool.earn(name, 3.0 + int(name[-2:]) / 10)
    pool.agree(*shops(6))
    pool.agree(*shops(4, 6), size="large")
    pool.agree("new")
    assert set(pool.shown()) == {("", ""), ("fashion", "")}
    assert pool.shown()["fashion", ""]["advertisers"] == 10
    with pool.store.connect() as connection:
        members = connection.scalars(sa.select(ads_pool_group.c.members)).all()
    assert [sorted(one) for one in members] == [shops(10)]


def test_who_withdraws_is_in_nothing_of_the_next_run_of_no_month(pool: Pool) -> None:
    for name in shops(10):
        for month in months(NOW.date())[-3:]:
            pool.earn(name, 2.0 + int(name[-2:]), month=month)
    pool.agree(*shops(10))
    before = pool.run()
    assert len({row["period"] for row in before}) == 3
    pool.withdraw("shop-03")
    assert pool.run() == [], "nine are left, and a figure of them would give the tenth away"
    pool.earn("shop-10", 4.0)
    pool.agree("shop-10")
    assert pool.run() == [], "one new shop would be the difference to what was shown"
    for name in shops(9, 11):
        pool.earn(name, 4.0 + int(name[-2:]))
    pool.agree(*shops(9, 11))
    held = [name for name in shops(20) if name != "shop-03"]
    values = [math.log(min(mer, 50.0)) for mer in (
        *(2.0 + int(name[-2:]) for name in held[:9]), 4.0,
        *(4.0 + int(name[-2:]) for name in held[10:]),
    )]  # fmt: skip
    row = pool.shown()["", ""]
    assert row["advertisers"] == 15
    assert row["centre"] == float(f"{math.exp(np.mean(values)):.1e}")
    with pool.store.connect() as connection:
        groups = connection.execute(
            sa.select(ads_pool_group).order_by(ads_pool_group.c.number)
        ).all()
    assert [one.dissolved_on for one in groups] == [NOW.date(), None]
    assert "shop-03" not in groups[1].members
    pool.agree("shop-03")
    pool.withdraw("shop-03")
    pool.agree("shop-03")
    assert pool.shown()["", ""] == row, "who comes back waits for another group"


def test_consent_to_other_terms_does_not_count(pool: Pool) -> None:
    for name in shops(10):
        pool.earn(name, 3.0)
    pool.agree(*shops(10), version="2020-01")
    assert pool.run() == []


def test_a_run_that_is_repeated_forms_no_further_group(pool: Pool) -> None:
    for name in shops(10):
        pool.earn(name, 2.0 + int(name[-2:]))
    pool.agree(*shops(10))
    assert pool.run() == pool.run()
    pool.earn("other", 3.0)
    again = pool.run()
    with pool.store.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(ads_pool_group)) == 1
    assert {row["advertisers"] for row in again} == {10}


def test_months_that_are_shown_are_closed() -> None:
    assert months(NOW.date())[-1] == NEWEST and len(months(NOW.date())) == 12
    assert months(date(2026, 5, 28))[-1] == date(2026, 3, 1)
    assert months(date(2026, 5, 29))[-1] == date(2026, 4, 1)


def test_a_pooled_return_is_a_prior_of_the_same_mean_and_deviation() -> None:
    draws = np.exp(np.random.default_rng(1).normal(math.log(2.0), math.log(1.8), 400_000))
    found = belief(2.0, 1.8)
    assert found.mean == pytest.approx(draws.mean(), rel=0.01)
    assert found.deviation == pytest.approx(draws.std(), rel=0.02)


# the API -----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def _api(postgres: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = Home(tmp_path_factory.mktemp("ads") / "home").prepare("live")
    with fresh_database(postgres) as url, running_api(home, url) as api:
        fill(api.store, ads_rows(("acme", "bolt")), "v2")
        with api.store.begin() as store:
            for name, whose, role in (
                ("m", "acme", "manager"), ("r", "acme", "reader"), ("o", "bolt", "manager"),
            ):  # fmt: skip
                scopes = list(ROLES["marketer"])
                api.keys[name] = access.add_client(store, name, scopes, now=now())
                advertisers.let_in(store, whose, f"client:{name}", role, now=now())
        yield api


@pytest.fixture
def api(_api: Api) -> Api:
    _api.forget()
    with _api.store.begin() as store:
        store.execute(ads_pool_consent.delete())
    return _api


CONSENT = {"terms_version": TERMS_VERSION, "industry": "fashion", "size": "small"}


def ask(client: httpx.Client, method: str, path: str = "/consent", **json: Any) -> httpx.Response:
    return client.request(method, f"/v1/ads/pooled{path}", json=json or None)


def test_consent_is_given_once_seen_and_withdrawn_by_its_own_advertiser_alone(api: Api) -> None:
    with api.client(api.keys["m"]) as own, api.client(api.keys["o"]) as other:
        assert ask(own, "GET").json()["is_given"] is False
        assert ask(own, "DELETE").json()["is_given"] is False
        given = ask(own, "POST", **CONSENT)
        assert given.status_code == 201 and given.json()["industry"] == "fashion"
        assert ask(own, "POST", **CONSENT).status_code == 409
        assert ask(other, "GET").json()["is_given"] is False
        assert ask(other, "DELETE").json()["is_given"] is False
        assert ask(own, "GET").json()["is_given"] is True
        with api.client(api.keys["r"]) as reader:
            assert ask(reader, "DELETE").status_code == 403
        assert ask(own, "DELETE").json()["is_given"] is False
        assert ask(own, "POST", **CONSENT).status_code == 201
    with api.store.connect() as store:
        rows = store.execute(
            sa.select(ads_pool_consent).order_by(ads_pool_consent.c.consent_id)
        ).all()
    assert [one.withdrawn_at is None for one in rows] == [False, True]
    assert {one.advertiser_id for one in rows} == {"acme"}


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"terms_version": "2020-01"}, "body.terms_version"),
        ({"industry": "warfare"}, "body.industry"),
        ({"size": "huge"}, "body.size"),
        ({"more": 1}, "body.more"),
    ],
)
def test_a_consent_that_cannot_be_is_refused(api: Api, other: dict[str, Any], field: str) -> None:
    with api.client(api.keys["m"]) as client:
        answer = ask(client, "POST", **CONSENT | other)
    assert answer.status_code == 422 and field in answer.json()["detail"]


def test_insights_are_shown_with_their_formula_and_whose_cells_are_yours(api: Api) -> None:
    with api.client(api.keys["m"]) as client:
        ask(client, "POST", **CONSENT)
        rows = ask(client, "GET", "").json()["items"]
        assert len(client.get("/v1/ads/pooled", headers={"Accept": "text/csv"}).text.split()) > 3
    assert {(row["industry"], row["size"]): row["is_yours"] for row in rows} == {
        ("", ""): True, ("fashion", ""): True, ("food", "small"): False,
    }  # fmt: skip
    assert {row["formula"] for row in rows} == {"revenue of the shop / spend"}
    with api.client(api.keys["o"]) as client:
        assert {row["is_yours"] for row in ask(client, "GET", "").json()["items"]} == {False}
