"""People whose every value is unmistakable, in a shop, a web database and the service's log.

A marker is a text that stands in one kind of value only and survives cleaning, so that wherever
it turns up it is known whose data that is. Bad rows, contradictions and a further column of the
source carry markers, too.
"""

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from dmp_assets.abuse.model.features import NAMES
from dmp_assets.abuse.service.store.schema import abuse_decision, abuse_prediction
from dmp_assets.platform.lake.columns import Category
from tests.support.web import conversion, cost, session, write_database

MARKERS: Mapping[str, Category] = {
    "zqid": "identifier",
    "zqsession": "identifier",
    "zqconv": "identifier",
    "zqcaller": "identifier",
    "zqrequest": "identifier",
    "5eed5eed": "identifier",
    "zqreviewer": "identifier",
    "zqmail": "contact",
    "zqhost": "contact",
    "41586753": "contact",
    "zqfirst": "name",
    "zqlast": "name",
    "81.97.113": "network",
    "zqdevice": "device",
    "zqagent": "device",
    "zqcity": "location",
    "antarctica/troll": "location",
    "zqgender": "demographic",
    "1961-07-": "demographic",
    "592647": "behaviour",
    "739481": "behaviour",
    "zqmoment": "behaviour",
    "zqamount": "behaviour",
    "zqcomment": "free text",
    "zqevidence": "free text",
    "zqfurther": "free text",
}
"""Marker, in small letters → the kind of personal data that it is."""

PEOPLE = 12
REGISTERED = datetime(2024, 1, 8, 9, 17, 43, 592647)
REDEEMED = datetime(2024, 1, 9, 11, 23, 37, 739481)
CODES = ("WELCOME", "SPRING", "SUMMER")


@dataclass(frozen=True)
class Person:
    """One of the people: two of them share a device."""

    number: int

    @property
    def user_id(self) -> str:
        return f"zqid{self.number:02}"

    def row(self, **other: str) -> dict[str, str]:
        """The row of the shop's users."""
        n = self.number
        return {
            "user_id": self.user_id,
            "created_at": str(REGISTERED + timedelta(days=n)),
            "email": f"Zqmail{n:02}+tag@zqhost{n:02}.example",
            "is_email_verified": "true",
            "phone": f"+1415867{5300 + n}",
            "is_phone_verified": "true",
            "first_name": f"Zqfirst{n:02}",
            "last_name": f"Zqlast{n:02}",
            "ip_address": f"81.97.113.{n + 10}",
            "device_id": f"zqdevice{n // 2:02}",
            "user_agent": f"zqagent{n:02}/1.0",
            "city": f"Zqcity{n:02}",
            "gender": f"zqgender{n:02}",
            "dob": f"1961-07-{n + 10}",
            "timezone": "Antarctica/Troll",
            "is_abuser": "true" if n % 4 == 0 else "false",
            "favourite": f"zqfurther{n:02}",
            **other,
        }


def write_shop(folder: Path) -> Path:
    """The shop's export: the people, what they redeemed, and rows that cannot be used."""
    people = [Person(n) for n in range(PEOPLE)]
    users = [person.row() for person in people]
    users.append(people[0].row(city="Zqcity77", first_name="Zqfirst77"))  # contradicts
    users.append(Person(PEOPLE).row(created_at="zqmoment"))
    users.append(Person(PEOPLE + 1).row(user_id=""))
    usages = [
        {
            "user_id": person.user_id,
            "promo_code": code,
            "used_at": str(REDEEMED + timedelta(days=person.number, hours=hours)),
            "used_promo": "true",
        }
        for person in people
        for hours, code in enumerate(CODES)
    ]
    # The newest moment of all is told as the one through which the data goes: it is no person's.
    usages.append(usages[0] | {"used_at": "2024-02-20 10:00:00"})
    usages.append(usages[0] | {"user_id": "zqid99"})
    usages.append(usages[0] | {"used_at": "zqmoment"})
    usages.append(usages[0] | {"used_promo": "false"})  # contradicts
    codes = [{"promo_code": code, "discount_type": "percentage", "discount_value": "20",
              "min_purchase_amount": "30", "valid_from": "2023-01-01", "valid_until": "2025-01-01",
              "max_uses_per_user": "1"} for code in CODES]  # fmt: skip
    folder.mkdir(parents=True)
    for name, rows in (("users", users), ("promo_codes", codes), ("promo_usages", usages)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


def write_web(path: Path) -> Path:
    """The web database: visits and conversions of the people, and rows that cannot be used."""
    sessions: list[dict[str, Any]] = []
    conversions: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    for n in range(PEOPLE):
        whose = Person(n).user_id
        for step in range(2):
            name = f"zqsession{n:02}x{step}"
            sessions.append(session(name, user_id=whose, event_time=f"0{step + 7}:13:{n + 10}",
                                    channel_name=("seo", "ads")[(n + step) % 2]))  # fmt: skip
            costs.append(cost(name, "0.5"))
        conversions.append(conversion(f"zqconv{n:02}", user_id=whose))
    sessions.append(session("zqsession77", user_id="zqid77", event_time="zqmoment"))
    conversions.append(conversion("zqconv77", user_id="zqid77", revenue="zqamount"))
    conversions.append(conversion("zqconv78", user_id="zqid78", conv_time="zqmoment"))
    conversions.append(conversion("zqconv00", user_id=Person(1).user_id))  # contradicts
    costs.append(cost("zqsession99", "0.5"))
    costs.append(cost("zqsession00x0", "zqamount"))
    return write_database(
        path, session_sources=sessions, conversions=conversions, session_costs=costs
    )


def log_scores(store: sa.Engine, at: datetime) -> None:
    """What the service answered of a new account and of a known one, and what people decided."""
    given = Person(30).row()
    given.pop("favourite")
    scores = [
        {
            "predicted_at": at, "account_id": whose, "is_new": is_new,
            "attributes": given if is_new else None, "probability": 0.25,
            "model_decision": "review", "decision": "review", "decided_by": "model",
            "reasons": [{"code": "SHARED_DEVICE", "text": "shares a device", "weight": 1.5}],
            "linked_accounts": [Person(1).user_id], "cluster_id": Person(0).user_id,
            "cluster_size": 3, "expected_abusers": 0.75, "model_version": "m-1",
            "features": [None, *[1.0] * (len(NAMES) - 1)], "live_links": True,
            "caller": "zqcaller", "request_id": f"zqrequest{n}",
            "score_id": UUID(int=(0x5EED5EED << 96) + n),
        }
        for n, (whose, is_new) in enumerate([("zqid30", True), (Person(2).user_id, False)])
    ]  # fmt: skip
    decisions = [
        {
            "decided_at": at, "account_id": Person(3).user_id, "verdict": "block",
            "category": None, "comment": "zqcomment: called zqfirst03.",
            "decided_by": "zqreviewer@shop.example", "group_id": UUID(int=1),
            "evidence": {"note": "zqevidence"},
        }
    ]  # fmt: skip
    with store.begin() as connection:
        connection.execute(abuse_prediction.insert(), scores)
        connection.execute(abuse_decision.insert(), decisions)


def found(text: str, markers: Collection[str] = MARKERS.keys()) -> set[str]:
    """The markers that stand in a text."""
    small = text.lower()
    return {marker for marker in markers if marker in small}
