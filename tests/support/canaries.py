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
from tests.support.marked_values import filled, markers
from tests.support.web import conversion, cost, session, write_database

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

    def special(self) -> dict[str, str]:
        """What must be just so: to reach a normal form, or to be shared."""
        n = self.number
        return {
            "user_id": self.user_id,
            "created_at": str(REGISTERED + timedelta(days=n)),
            "email": f"Zqmail{n:02}+tag@zqhost{n:02}.example",
            "phone": f"+1415867{5300 + n}",
            "device_id": f"zqdevice{n // 2:02}",
            "timezone": "Antarctica/Troll",
            "is_abuser": "true" if n % 4 == 0 else "false",
        }

    def row(self, **other: str) -> dict[str, str]:
        """The row of the shop's users, with a column that nobody declared."""
        n = self.number
        return {**filled("users", n, self.special()), "favourite": f"zqfurther{n:02}", **other}

    def own(self) -> dict[str, str]:
        """The values that no other person has, but for the time of registration."""
        others = [Person(n).row() for n in range(PEOPLE) if n != self.number]
        return {
            name: said
            for name, said in self.row().items()
            if name != "created_at" and all(other[name] != said for other in others)
        }


def _usage(person: Person, code: str, hours: int) -> dict[str, str]:
    return {
        "user_id": person.user_id,
        "promo_code": code,
        "used_at": str(REDEEMED + timedelta(days=person.number, hours=hours)),
        "used_promo": "true",
    }


def _code(code: str) -> dict[str, str]:
    return {
        "promo_code": code, "discount_type": "percentage", "discount_value": "20",
        "min_purchase_amount": "30", "valid_from": "2023-01-01", "valid_until": "2025-01-01",
        "max_uses_per_user": "1",
    }  # fmt: skip


_SPECIAL: Mapping[str, Category] = {
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
    "zqdevice": "device",
    "antarctica/troll": "location",
    "592647": "behaviour",
    "739481": "behaviour",
    "zqmoment": "behaviour",
    "zqamount": "behaviour",
    "zqcomment": "free text",
    "zqevidence": "free text",
    "zqfurther": "free text",
}
_GIVEN: Mapping[str, Mapping[str, Any]] = {
    "users": Person(0).special(),
    "promo_codes": _code(""),
    "promo_usages": _usage(Person(0), "", 0),
    "session_sources": session(""),
    "conversions": conversion(""),
    "session_costs": cost(""),
}
MARKERS: Mapping[str, Category] = {**_SPECIAL, **dict(markers(_GIVEN))}
"""Marker, in small letters → the kind of personal data that it is."""


def write_shop(folder: Path) -> Path:
    """The shop's export: the people, what they redeemed, and rows that cannot be used."""
    people = [Person(n) for n in range(PEOPLE)]
    users = [person.row() for person in people]
    users.append(people[0].row(city=Person(17).row()["city"]))  # contradicts
    users.append(Person(PEOPLE).row(created_at="zqmoment"))
    users.append(Person(PEOPLE + 1).row(user_id=""))
    usages = [
        filled("promo_usages", person.number, _usage(person, code, hours))
        for person in people
        for hours, code in enumerate(CODES)
    ]
    # The newest moment of all is told as the one through which the data goes: it is no person's.
    usages.append(usages[0] | {"used_at": "2024-02-20 10:00:00"})
    usages.append(usages[0] | {"user_id": "zqid99"})
    usages.append(usages[0] | {"used_at": "zqmoment"})
    usages.append(usages[0] | {"used_promo": "false"})  # contradicts
    codes = [filled("promo_codes", n, _code(code)) for n, code in enumerate(CODES)]
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
            visit = session(name, user_id=whose, event_time=f"0{step + 7}:13:{n + 10}",
                            channel_name=("seo", "ads")[(n + step) % 2])  # fmt: skip
            sessions.append(filled("session_sources", n, visit))
            costs.append(filled("session_costs", n, cost(name, "0.5")))
        bought = conversion(f"zqconv{n:02}", user_id=whose)
        conversions.append(filled("conversions", n, bought))
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
            "category": None, "comment": f"zqcomment: called {Person(3).row()['first_name']}.",
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
