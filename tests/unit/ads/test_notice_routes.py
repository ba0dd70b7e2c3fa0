"""The routes of notices: what was found, each person's own preferences and mutes."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from dmp_assets.ads.service.store import notices
from dmp_assets.ads.service.store.schema_notices import (
    ad_notice,
    ad_notice_mute,
    ad_notice_preference,
)
from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access, advertisers
from dmp_assets.platform.store.schema import (
    advertiser,
    advertiser_member,
    person,
)
from tests.support.postgres import fresh_database
from tests.support.service import Api, email, now, running_api

DAY = date(2026, 6, 1)
URL = "/v1/ads/notices"


def row(advertiser_id: str, n: int, **given: Any) -> dict[str, Any]:
    day = DAY + timedelta(days=n)
    return {
        "advertiser_id": advertiser_id, "subject": f"campaign:{n}", "kind": "spend_spike",
        "day": day, "subject_name": f"Campaign {n} of {advertiser_id}", "account_id": "1",
        "figure": Decimal(300 + n), "low": Decimal(50), "high": Decimal(200), "unit": "money",
        "currency": "EUR", "since": day, "link": "/ads/notices",
        "found_at": datetime(2026, 6, 2, tzinfo=UTC) + timedelta(days=n),
    } | given  # fmt: skip


@pytest.fixture(scope="module")
def _api(postgres: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = Home(tmp_path_factory.mktemp("notices") / "home").prepare("live")
    with fresh_database(postgres) as url, running_api(home, url) as api:
        with api.store.begin() as store:
            notices.record(store, [row("acme", n) for n in range(5)] + [row("bolt", 9)])
            notices.record(store, [row("acme", 5, kind="tracking_broken", unit="count",
                                       figure=Decimal(0), high=None, currency=None)])  # fmt: skip
        yield api


@pytest.fixture
def api(_api: Api) -> Iterator[Api]:
    """The marketer manages acme, the analyst reads it; bolt is for a client alone."""
    _api.forget()
    with _api.store.begin() as store:
        for role, may in (("marketer", "manager"), ("analyst", "reader")):
            one = store.scalar(sa.select(person.c.person_id).where(person.c.email == email(role)))
            advertisers.let_in(store, "acme", f"person:{one}", may, now=now())  # type: ignore[arg-type]
        advertisers.let_in(store, "bolt", "client:key-marketer", "manager", now=now())
    yield _api
    with _api.store.begin() as store:
        for table in (ad_notice_mute, ad_notice_preference, advertiser_member, advertiser):
            store.execute(table.delete())


def listed(client: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    answer = client.get(URL, params={"start": str(DAY), **params})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


@contextmanager
def browser(api: Api, role: str) -> Iterator[httpx.Client]:
    """A person's browser that sends what our own pages send."""
    with api.logged_in(role) as client:
        page = client.get("/").text
        token = page.split('name="csrf_token" value="')[1].split('"')[0]
        client.headers.update({"X-CSRF-Token": token})
        yield client


# the list ----------------------------------------------------------------------------------------
def test_notices_are_listed_the_newest_first_and_by_kind_and_subject(api: Api) -> None:
    with browser(api, "analyst") as client:
        found = listed(client)
        assert [one["day"] for one in found] == [
            str(DAY + timedelta(days=n)) for n in range(5, -1, -1)
        ]
        assert found[0]["figure"] == "0.0000" and found[0]["high"] is None
        assert found[1]["meaning"] == "more was spent than is usual for the weekday"
        assert [one["kind"] for one in listed(client, kind="tracking_broken")] == [
            "tracking_broken"
        ]
        assert [one["subject"] for one in listed(client, subject="campaign:2")] == ["campaign:2"]
        assert len(listed(client, end=str(DAY + timedelta(days=2)))) == 3
        pages, cursor = [], None
        while True:
            answer = client.get(URL, params={"start": str(DAY), "limit": 4, "sort": "found_at"} | (
                {"cursor": cursor} if cursor else {})).json()  # fmt: skip
            pages += answer["items"]
            if (cursor := answer["next"]) is None:
                break
        assert [one["notice_id"] for one in pages] == [one["notice_id"] for one in found[::-1]]
        for wrong in ({"kind": "nothing"}, {"sort": "figure"}, {"limit": 0}):
            assert client.get(URL, params=wrong).status_code == 422


def test_as_csv_no_name_runs_in_a_spreadsheet(api: Api) -> None:
    with api.store.begin() as store:
        notices.record(store, [row("acme", 6, subject_name="=1+1")])
    with browser(api, "analyst") as client:
        answer = client.get(URL, params={"kind": "spend_spike"}, headers={"Accept": "text/csv"})
    assert "'=1+1" in answer.text
    with api.store.begin() as store:
        store.execute(ad_notice.delete().where(ad_notice.c.subject_name == "=1+1"))


# preferences -------------------------------------------------------------------------------------
def test_a_person_says_how_to_be_told_and_reads_it_back(api: Api) -> None:
    said = {
        "channel": "email", "zone": "Europe/Berlin", "quiet_from": "22:00:00",
        "quiet_to": "07:00:00", "digest_at": "08:30:00",
        "kinds": {"pacing": {"channel": "none", "is_digest": False}},
    }  # fmt: skip
    with browser(api, "analyst") as client:
        before = client.get(f"{URL}/preferences").json()
        assert (before["channel"], before["digest_at"], before["mutes"]) == ("slack", None, [])
        assert client.put(f"{URL}/preferences", json=said).status_code == 204
        assert client.get(f"{URL}/preferences").json() == said | {"mutes": []}
        assert client.put(f"{URL}/preferences", json={"zone": "UTC"}).status_code == 204
        assert client.get(f"{URL}/preferences").json()["kinds"] == {}
    with browser(api, "marketer") as client:
        assert client.get(f"{URL}/preferences").json()["zone"] == "UTC"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"zone": "Berlin"}, "body.zone"),
        ({"zone": "UTC", "quiet_from": "22:00"}, "body.quiet_to"),
        ({"zone": "UTC", "quiet_to": "22:00"}, "body.quiet_from"),
        ({"zone": "UTC", "quiet_from": "22:00", "quiet_to": "22:00"}, "body.quiet_to"),
        ({"zone": "UTC", "digest_at": "08:00+02:00"}, "body.digest_at"),
        ({"zone": "UTC", "digest_at": "25:00"}, "body.digest_at"),
        ({"zone": "UTC", "channel": "fax"}, "body.channel"),
        ({"zone": "UTC", "kinds": {"fire": {"channel": "email"}}}, "body.kinds"),
        ({"zone": "UTC", "kinds": {"pacing": {"channel": "fax"}}}, "body.kinds"),
        ({"zone": "UTC", "other": 1}, "body.other"),
        ({}, "body.zone"),
        ({"zone": "x\x00"}, "body.zone"),
    ],
)
def test_wrong_preferences_are_refused_by_their_field(
    api: Api, said: dict[str, Any], field: str
) -> None:
    with browser(api, "analyst") as client:
        answer = client.put(f"{URL}/preferences", json=said)
        assert answer.status_code == 422, answer.text
        assert any(one["field"].startswith(field) for one in answer.json()["errors"])
        assert client.get(f"{URL}/preferences").json()["channel"] == "slack"


def test_a_client_is_told_of_nothing_and_so_has_no_preferences(api: Api) -> None:
    with api.as_role("marketer") as client:
        notice_id = listed(client)[0]["notice_id"]
        until = (now() + timedelta(days=1)).isoformat()
        for answer in (
            client.get(f"{URL}/preferences"),
            client.put(f"{URL}/preferences", json={"zone": "UTC"}),
            client.post(f"{URL}/{notice_id}/mute", json={"until": until}),
            client.delete(f"{URL}/mutes/1"),
        ):
            assert answer.status_code == 403 and "log in as one" in answer.text


# mutes -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("what", "kind", "subject"),
    [("notice", "spend_spike", "campaign:2"), ("kind", "spend_spike", None),
     ("subject", None, "campaign:2")],
)  # fmt: skip
def test_a_notice_is_muted_until_a_time_and_heard_of_again(
    api: Api, what: str, kind: str | None, subject: str | None
) -> None:
    until = (now() + timedelta(days=3)).replace(microsecond=0)
    with browser(api, "marketer") as client:
        [one] = listed(client, subject="campaign:2")
        for _ in range(2):  # the same again takes its place
            answer = client.post(
                f"{URL}/{one['notice_id']}/mute", json={"until": until.isoformat(), "what": what}
            )
            assert answer.status_code == 201, answer.text
        [muted] = client.get(f"{URL}/preferences").json()["mutes"]
        assert (muted["kind"], muted["subject"]) == (kind, subject)
        assert datetime.fromisoformat(muted["ends_at"]) == until
        assert muted["mute_id"] == answer.json()["mute_id"]
        with browser(api, "analyst") as other:
            assert other.get(f"{URL}/preferences").json()["mutes"] == []
            assert other.delete(f"{URL}/mutes/{muted['mute_id']}").status_code == 403
        assert client.delete(f"{URL}/mutes/{muted['mute_id']}").status_code == 204
        assert client.delete(f"{URL}/mutes/{muted['mute_id']}").status_code == 404
        assert client.get(f"{URL}/preferences").json()["mutes"] == []


@pytest.mark.parametrize(
    "until", ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "2027-01-01T00:00:00", "soon"]
)
def test_a_mute_ends_within_a_year(api: Api, until: str) -> None:
    with browser(api, "marketer") as client:
        notice_id = listed(client)[0]["notice_id"]
        answer = client.post(f"{URL}/{notice_id}/mute", json={"until": until})
        assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "body.until"


def test_a_notice_of_another_advertiser_is_as_one_that_is_not_there(api: Api) -> None:
    with api.store.connect() as store:
        theirs = store.scalar(
            sa.select(ad_notice.c.notice_id).where(ad_notice.c.advertiser_id == "bolt")
        )
    until = {"until": (now() + timedelta(days=1)).isoformat()}
    with browser(api, "marketer") as client:
        said = []
        for notice_id in (theirs, "0" * 20):
            answer = client.post(f"{URL}/{notice_id}/mute", json=until)
            assert answer.status_code == 404
            said.append({k: v for k, v in answer.json().items() if k != "request_id"})
        assert said[0] == said[1]
        assert all("bolt" not in one["subject_name"] for one in listed(client))


def test_a_reader_mutes_nothing(api: Api) -> None:
    with browser(api, "analyst") as client:
        notice_id = listed(client)[0]["notice_id"]
        until = (now() + timedelta(days=1)).isoformat()
        answer = client.post(f"{URL}/{notice_id}/mute", json={"until": until})
    assert answer.status_code == 403


def test_preferences_go_with_the_person(api: Api) -> None:
    with api.store.begin() as store:
        one = access.add_person(
            store, f"{uuid.uuid4().hex}@shop.example", "marketer", None, now=now()
        )
        store.execute(
            ad_notice_preference.insert().values(
                advertiser_id="acme", person_id=one, channel="email", zone="UTC", changed_at=now()
            )
        )
        store.execute(person.delete().where(person.c.person_id == one))
        left = store.scalar(sa.select(sa.func.count()).select_from(ad_notice_preference))
    assert left == 0
