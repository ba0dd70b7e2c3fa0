"""Telling notices: a real PostgreSQL, and stand-ins for Slack and the mail server on loopback."""

import json
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from slack_sdk import WebClient

from dmp_assets.ads.domain import DOMAIN
from dmp_assets.ads.model.notices.words import figure
from dmp_assets.ads.report.notice_delivery import tell
from dmp_assets.ads.service.store import notices, preferences
from dmp_assets.ads.service.store.experiments import MACHINE
from dmp_assets.ads.service.store.preferences import Chosen, Told
from dmp_assets.ads.service.store.schema_experiments import (
    ads_experiment,
    ads_experiment_step,
)
from dmp_assets.ads.service.store.schema_notices import (
    ad_notice,
    ad_notice_day,
    ad_notice_due,
    ad_notice_message,
)
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.demo.sandbox.slack import SlackSandbox
from dmp_assets.demo.sandbox.smtp import Manner, SmtpSandbox
from dmp_assets.home import Home
from dmp_assets.platform.reporting.slack import build_client
from dmp_assets.platform.store import access, advertisers, database

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
DAY = date(2026, 6, 9)


def row(**given: Any) -> dict[str, Any]:
    """A finding as ml/ad_notices has it."""
    return {
        "advertiser_id": "acme", "subject": "campaign:c1", "kind": "spend_spike", "day": DAY,
        "subject_name": "Spring <b>&", "account_id": "1", "figure": Decimal("300.0000"),
        "low": Decimal("50.0000"), "high": Decimal("200.0000"), "unit": "money",
        "currency": "EUR", "since": DAY, "link": "/ads/notices", "found_at": NOON,
    } | given  # fmt: skip


BROKEN = row(kind="tracking_broken", subject="account:1", subject_name="Acme", unit="count",
             figure=Decimal(0), low=Decimal(5), high=None, currency=None)  # fmt: skip


@dataclass
class Place:
    """A home whose store, Slack and mail server are real, with people in it."""

    home: Home
    url: SecretStr
    slack: SlackSandbox
    smtp: SmtpSandbox
    store: sa.Engine

    def tell(self, *rows: dict[str, Any], at: datetime = NOON) -> dict[str, int]:
        return dict(tell(self.home, self.client, rows, at))

    @property
    def client(self) -> WebClient:
        client = build_client(self.home.settings(), pause=0.01)
        assert client is not None
        return client

    def person(self, name: str, *of: str, **chosen: Any) -> uuid.UUID:
        """A member of advertisers, who has said what they want of the first where any is given."""
        with self.store.begin() as store:
            one = access.add_person(store, f"{name}@shop.example", "marketer", None, now=NOON)
            for advertiser in of:
                advertisers.let_in(store, advertiser, f"person:{one}", "manager", now=NOON)
            if chosen:
                said = Chosen(**{"zone": "UTC", "channel": "email", **chosen})
                preferences.write(store, of[0], one, said, NOON)
        return one

    def mails(self) -> list[tuple[str, str]]:
        return [(str(mail["X-RcptTo"]), str(mail["Subject"])) for mail in self.smtp.mails()]

    def posts(self) -> list[dict[str, Any]]:
        return self.slack.messages()


@pytest.fixture
def place(tmp_path: Path, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made: dict[str, Any] = {}

    def slack(root: Path) -> SlackSandbox:
        made["slack"] = SlackSandbox(root)
        return made["slack"]

    def smtp(root: Path) -> SmtpSandbox:
        made["smtp"] = SmtpSandbox(root)
        return made["smtp"]

    sandbox = Home(tmp_path / "sandbox").prepare("sandbox")
    with Sandbox(sandbox, (slack, smtp)).running() as endpoint:
        given = endpoint.settings | {
            "home": tmp_path / "home", "store_url": store_url.get_secret_value(),
            "public_url": "https://dmp.example.com", "smtp_timeout": 5,
        }  # fmt: skip
        for name, value in given.items():
            monkeypatch.setenv(f"DMP_{name.upper()}", str(value))
        home = Home(tmp_path / "home").prepare("live")
        with database.opened(store_url) as store:
            yield Place(home, store_url, made["slack"], made["smtp"], store)


# whom --------------------------------------------------------------------------------------------
def test_without_members_the_channel_is_told_once(place: Place) -> None:
    assert place.tell(row(), BROKEN) == {"sent": 1}
    assert place.tell(row(), BROKEN) == {}
    [post] = place.posts()
    assert post["channel"] == "C_ALERTS"
    text = json.dumps(post["blocks"])
    assert "campaign Spring &lt;b&gt;&amp;: 300.00 EUR (usual is 50.00 EUR to 200.00 EUR)" in text
    assert "usual is at least 5" in text and "https://dmp.example.com/ads/notices" in text
    assert place.mails() == []


def test_of_a_home_whose_clock_stands_in_the_past_notices_are_told_and_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = NOON - timedelta(days=900)
    monkeypatch.setattr(Home, "now", lambda own: then)
    old = row(day=then.date(), since=then.date(), found_at=then)
    assert dict(tell(place.home, place.client, [old])) == {"sent": 1}
    [post] = place.posts()
    assert "300.00 EUR" in json.dumps(post["blocks"])
    with place.store.connect() as store:
        assert store.scalar(sa.select(sa.func.count()).select_from(ad_notice)) == 1


def test_a_message_of_nothing_is_not_sent(place: Place) -> None:
    with place.store.begin() as store:
        store.execute(ad_notice_message.insert().values(
            message_id=uuid.uuid4(), advertiser_id="acme", recipient=preferences.EVERYONE,
            channel="slack", is_digest=False, made_at=NOON, state="kept", state_at=NOON,
        ))  # fmt: skip
    assert place.tell() == {} and place.posts() == []
    with place.store.connect() as store:
        [one] = store.execute(sa.select(ad_notice_message)).all()
    assert (one.state, one.reason) == ("nobody", "nothing to tell")


def test_each_is_told_as_they_want_it_and_nobody_of_another_advertiser(place: Place) -> None:
    place.person("ann", "acme", channel="email")
    place.person("bob", "acme", channel="none", kinds={"tracking_broken": Told("email", False)})
    place.person("eve", "bolt", channel="email")
    place.person("gus", "acme")
    place.tell(row(), BROKEN)
    assert sorted(place.mails()) == [
        ("ann@shop.example", "acme: 2 notices"),
        ("bob@shop.example", "acme: clicks were paid for and no conversion was recorded"),
    ]
    [post] = place.posts()  # gus has said nothing
    assert post["text"] == "acme: 2 notices"
    place.tell(row(advertiser_id="bolt"))
    assert place.mails()[2:] == [
        ("eve@shop.example", "bolt: more was spent than is usual for the weekday")
    ]
    assert len(place.posts()) == 1


def test_a_mail_names_the_figure_its_range_since_when_and_the_page(place: Place) -> None:
    place.person("ann", "acme", channel="email")
    place.tell(row(), row(day=DAY + timedelta(1), figure=Decimal(900)))
    [mail] = place.smtp.mails()
    body, html = (part.get_content() for part in mail.iter_parts())
    for text in (body, html):
        assert "300.00 EUR (usual is 50.00 EUR to 200.00 EUR), since 2026-06-09" in text
        assert "https://dmp.example.com/ads/notices" in text
    assert "Spring <b>&" in body and "Spring &lt;b&gt;&amp;" in html
    assert mail["List-Unsubscribe"] == "<https://dmp.example.com/ads/notices?advertiser=acme>"


def test_who_may_not_see_it_any_more_gets_nothing_not_even_what_waited(place: Place) -> None:
    ann = place.person("ann", "acme", channel="email")
    place.person("gus", "acme", channel="none")
    place.smtp.manner = Manner(drop="greeting", drop_times=2)
    assert place.tell(row()) == {"kept": 1}
    with place.store.begin() as store:
        advertisers.shut_out(store, "acme", f"person:{ann}")
    assert place.tell(at=NOON + timedelta(hours=1)) == {"nobody": 1}
    assert place.tell(BROKEN, at=NOON + timedelta(hours=2)) == {} and place.mails() == []
    waiting = list((place.home.outbox / "mail").glob("*.json"))
    assert waiting and all("ann@" not in one.read_text() for one in waiting)


def test_a_person_who_is_disabled_gets_nothing(place: Place) -> None:
    place.person("ann", "acme", channel="email")
    with place.store.begin() as store:
        access.disable_person(store, "ann@shop.example", now=NOON)
    place.tell(row())
    assert place.mails() == []


def test_people_who_share_a_channel_see_each_notice_there_once(place: Place) -> None:
    place.person("ann", "acme")
    place.person("bob", "acme")
    place.person("cat", "acme", channel="slack", digest_at=time(18))
    place.tell(row())
    assert len(place.posts()) == 1
    evening = NOON.replace(hour=18)
    assert place.tell(at=evening) == {} and len(place.posts()) == 1  # cat has seen it there
    place.tell(BROKEN, at=evening)
    assert len(place.posts()) == 2


# when --------------------------------------------------------------------------------------------
def test_a_digest_waits_and_what_is_urgent_does_not(place: Place) -> None:
    place.person("ann", "acme", channel="email", digest_at=time(8), zone="Europe/Berlin")
    place.tell(row(), row(subject="campaign:c2"), BROKEN)
    assert [subject for _, subject in place.mails()] == [
        "acme: clicks were paid for and no conversion was recorded"
    ]
    morning = datetime(2026, 6, 11, 6, tzinfo=UTC)  # 8:00 in Berlin
    assert place.tell(at=morning - timedelta(minutes=1)) == {}
    assert place.tell(at=morning) == {"sent": 1}
    assert place.mails()[1:] == [("ann@shop.example", "acme: 2 notices of the day")]


def test_in_quiet_hours_nothing_is_told_and_after_them_it_is(place: Place) -> None:
    place.person("ann", "acme", channel="email", quiet_from=time(11), quiet_to=time(15))
    assert place.tell(BROKEN) == {} and place.mails() == []
    assert place.tell(at=NOON.replace(hour=15)) == {"sent": 1}


@pytest.mark.parametrize(
    ("kind", "subject", "heard"),
    [("spend_spike", None, 1), (None, "campaign:c1", 1), ("spend_spike", "account:1", 2),
     (None, None, 0)],
)  # fmt: skip
def test_what_is_muted_is_not_told_until_it_ends(
    place: Place, kind: Any, subject: str | None, heard: int
) -> None:
    ann = place.person("ann", "acme", channel="email")
    ends = NOON + timedelta(days=2)
    with place.store.begin() as store:
        preferences.mute(store, "acme", ann, kind=kind, subject=subject, ends_at=ends, now=NOON)
    place.tell(row(), BROKEN)
    sent = place.smtp.mails()
    told = "".join(str(next(mail.iter_parts()).get_content()) for mail in sent)
    assert told.count("since") == heard
    later = DAY + timedelta(days=2)
    place.tell(row(day=later), row(**BROKEN | {"day": later}), at=ends)
    told = "".join(str(next(mail.iter_parts()).get_content()) for mail in place.smtp.mails())
    assert told.count("since") == 2


def test_what_is_muted_while_it_waits_is_not_sent(place: Place) -> None:
    ann = place.person("ann", "acme", channel="email", quiet_from=time(11), quiet_to=time(15))
    place.tell(row())
    with place.store.begin() as store:
        ends = NOON + timedelta(days=2)
        preferences.mute(store, "acme", ann, kind=None, subject=None, ends_at=ends, now=NOON)
    assert place.tell(at=NOON.replace(hour=16)) == {} and place.mails() == []
    with place.store.connect() as store:
        assert store.scalar(sa.select(ad_notice_due.c.dropped_at)) == NOON.replace(hour=16)


def test_what_goes_on_is_one_notice_told_again_when_worse_or_after_a_week(place: Place) -> None:
    place.person("ann", "acme", channel="email")
    figures = {0: 300, 1: 310, 2: 410, 3: 420, 9: 420}
    heard = []
    for day in range(12):
        found = row(day=DAY + timedelta(day), figure=Decimal(figures.get(day, 420)))
        if place.tell(found, at=NOON + timedelta(days=day)):
            heard.append(day)
    assert heard == [0, 2, 9]
    with place.store.connect() as store:
        [one] = store.execute(sa.select(ad_notice)).all()
        assert (one.since, one.day, one.figure) == (DAY, DAY + timedelta(11), Decimal(420))
        assert store.scalar(sa.select(sa.func.count()).select_from(ad_notice_day)) == 12
    later = DAY + timedelta(days=20)
    assert place.tell(row(day=later, since=later), at=NOON + timedelta(days=20)) == {"sent": 1}
    with place.store.connect() as store:
        assert store.scalar(sa.select(sa.func.count()).select_from(ad_notice)) == 2


def test_what_an_experiment_came_to_is_told_once_and_what_people_did_is_not(place: Place) -> None:
    place.person("ann", "acme", channel="email")
    step = {"advertiser_id": "acme", "experiment": "shipping", "version": 1, "subjects": [],
            "state_before": "running"}  # fmt: skip
    with place.store.begin() as store:
        store.execute(
            ads_experiment.insert().values(
                advertiser_id="acme", experiment="shipping", kind="own", hypothesis="", unit="user",
                definition={}, state="draft", created_at=NOON, created_by="person:1",
            )
        )  # fmt: skip
        for actor, action, cause, after, winner in (
            (MACHINE, "judge", "winner", "proposed", "free"),
            ("person:1", "approve", "person", "promoted", "free"),
            (MACHINE, "judge", "sample_ratio_mismatch", "stopped", None),
        ):
            store.execute(
                ads_experiment_step.insert().values(
                    **step, at=NOON, actor=actor, action=action, cause=cause, state_after=after,
                    winner=winner,
                )
            )  # fmt: skip
    assert place.tell() == {"sent": 1} and place.tell() == {}
    [mail] = place.smtp.mails()
    text = next(mail.iter_parts()).get_content()
    assert "experiment shipping: units are not spread over the variants" in text
    assert "experiment shipping, free:" in text and text.count("since 2026-06-10") == 2


# outages -----------------------------------------------------------------------------------------
def test_an_outage_of_slack_keeps_the_message_and_not_the_mails(place: Place) -> None:
    place.person("ann", "acme", channel="email")
    place.person("gus", "acme")
    url = f"{place.home.settings().slack_base_url.rsplit('/api', 1)[0]}/_sandbox/faults"
    fault = json.dumps([{"method": "chat.postMessage", "kind": "500", "times": 4}])
    urllib.request.urlopen(urllib.request.Request(url, fault.encode(), method="POST"))
    assert place.tell(row()) == {"sent": 1, "kept": 1}
    assert len(place.mails()) == 1 and place.posts() == []
    assert place.tell(at=NOON + timedelta(minutes=5)) == {"sent": 1}
    assert len(place.posts()) == 1 and len(place.mails()) == 1


@pytest.mark.parametrize(
    ("manner", "state", "then", "mails"),
    [
        (Manner(refused=("ann@shop.example",)), "refused", None, 0),
        (Manner(greylist=0), "kept", "sent", 1),
        (Manner(drop="recipient"), "kept", "sent", 1),
        (Manner(drop="message"), "unsure", None, 0),
        (Manner(drop="answer"), "unsure", None, 1),
        (Manner(refuses_content=True), "refused", None, 0),
    ],
)
def test_each_failure_of_mail_ends_in_a_state_and_none_is_sent_twice(
    place: Place,
    manner: Manner,
    state: str,
    then: str | None,
    mails: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place.person("ann", "acme", channel="email")
    place.smtp.manner = manner.model_copy()
    assert place.tell(row()) == {state: 1}
    with place.store.connect() as store:
        [reason] = store.scalars(sa.select(ad_notice_message.c.reason))
    assert reason and "ann@" not in reason
    place.smtp.manner = Manner(greylist=manner.greylist)
    for path in (place.home.outbox / "mail").glob("*.json"):
        kept = json.loads(path.read_text())
        kept["next_try_at"] = kept["next_try_at"] and NOON.isoformat()
        path.write_text(json.dumps(kept))
    again = place.tell(at=NOON + timedelta(hours=1))
    assert again == ({then: 1} if then else {})
    assert place.tell(at=NOON + timedelta(hours=2)) == {} and len(place.mails()) == mails


def test_a_kill_between_sending_and_noting_sends_nothing_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.person("ann", "acme", channel="email")
    place.person("gus", "acme")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(notices, "became", killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                place.tell(row())
    assert place.tell(row()) == {"sent": 2}
    assert len(place.mails()) == 1 and len(place.posts()) == 1


def test_without_slack_and_mail_server_all_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.person("ann", "acme", channel="email")
    place.person("gus", "acme")
    monkeypatch.delenv("DMP_SMTP_HOST")
    assert dict(tell(place.home, None, [row()], NOON)) == {"kept": 2}
    monkeypatch.setenv("DMP_SMTP_HOST", "127.0.0.1")
    assert place.tell(at=NOON + timedelta(minutes=5)) == {"sent": 2}


def test_a_home_without_a_mail_server_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_SHOPIFY_SHOPS", '{"some-shop.myshopify.com": "acme"}')
    assert not any("SMTP" in one for one in DOMAIN.lacks(place.home))
    monkeypatch.delenv("DMP_SMTP_HOST")
    assert any("DMP_SMTP_HOST" in one for one in DOMAIN.lacks(place.home))


def test_old_notices_are_forgotten_with_what_was_sent(place: Place) -> None:
    place.tell(row())
    place.tell(at=NOON + timedelta(days=401))
    with place.store.connect() as store:
        for table in (ad_notice, ad_notice_day, ad_notice_due, ad_notice_message):
            assert store.scalar(sa.select(sa.func.count()).select_from(table)) == 0, table.name


# words -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "unit", "currency", "text"),
    [
        ("1234.5", "money", "EUR", "1,234.50 EUR"), ("2.3149", "ratio", None, "2.31"),
        ("1", "days", None, "1 day"), ("3", "days", None, "3 days"),
        ("12000", "seconds", None, "3 h 20 min"), ("600", "seconds", None, "10 min"),
        ("0.6", "share of the day", None, "14:24"), ("1200", "count", None, "1,200"),
    ],
)  # fmt: skip
def test_a_figure_is_said_with_what_it_is_counted_in(
    value: str, unit: str, currency: str | None, text: str
) -> None:
    assert figure(Decimal(value), unit, currency) == text
