"""What the review reads beside the store: a small live index over accounts that a test makes up."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from dmp_assets.abuse.model import registry
from dmp_assets.abuse.model.clusters import Cluster, Link
from dmp_assets.abuse.model.money import Thresholds
from dmp_assets.abuse.model.store import Model

SHARED = ("device_id", "phone_received")


@dataclass(frozen=True)
class Judgement:
    """What a model says of an account."""

    probability: float
    decision: str
    reasons: list[dict[str, Any]]
    cluster_size: int
    expected_abusers: float
    model_version: str


@dataclass
class Live:
    """Accounts by id with their attributes; those that share a device or phone are linked."""

    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    judgements: dict[str, Judgement] = field(default_factory=dict)
    is_loaded: bool = True
    problems: tuple[str, ...] = ("a stand-in scores",)
    model: Model = field(
        default_factory=lambda: registry.rule_list("rules", Thresholds(0.15, 0.95))
    )

    def attributes(self, account_id: str) -> dict[str, Any] | None:
        return self.given.get(account_id)

    def search(self, text: str) -> list[str]:
        wanted = text.strip().lower()
        return [
            name
            for name, given in sorted(self.given.items())
            if wanted in (name.lower(), *(str(value).lower() for value in given.values()))
        ][:50]

    def links(self) -> list[Link]:
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        names = sorted(self.given)
        for n, a in enumerate(names):
            for b in names[n + 1 :]:
                for key in SHARED:
                    value = self.given[a].get(key)
                    if value is not None and value == self.given[b].get(key):
                        found[a, b].append(key.partition("_")[0])
        return [Link(a, b, 2.0 * len(shared), tuple(shared)) for (a, b), shared in found.items()]

    def cluster(self, account_id: str, at_most: int = 60) -> Cluster:
        links, members = self.links(), [account_id]
        for member in members:  # grows while it is walked
            for link in links:
                if member in (link.a, link.b):
                    other = link.b if link.a == member else link.a
                    if other not in members:
                        members.append(other)
        shown = tuple(members[:at_most])
        drawn = tuple(link for link in links if link.a in shown and link.b in shown)
        return Cluster(shown, drawn, len(members))

    snapshot = None

    @property
    def accounts(self) -> "Live":
        return self

    def codes(self, account_id: str) -> list[str]:
        return ["SPRING10", "gone"] if account_id in self.given else []

    def judge(self, account_id: str) -> Judgement | None:
        return self.judgements.get(account_id)


def live() -> Live:
    """Users 20 to 24 have one device and two of them a phone too; user 15 has nobody."""
    accounts: dict[str, dict[str, Any]] = {
        f"user-{n:06}": {
            "email_received": f"u{n}@mail.example", "phone_received": f"+4915112345{n:03}",
            "ip": "203.0.113.9", "device_id": "device-ring", "first_name": "Ada",
            "last_name": f"Ring{n}", "city": "Berlin", "timezone": "Europe/Berlin",
            "user_agent_received": "Mozilla/5.0", "created_at": "2024-03-01 12:00",
            "is_new": False,
        }
        for n in range(20, 25)
    }  # fmt: skip
    accounts["user-000021"]["phone_received"] = accounts["user-000020"]["phone_received"]
    accounts["user-000015"] = accounts["user-000020"] | {
        "device_id": "device-alone", "phone_received": "+493012345678",
        "email_received": "alone@mail.example",
    }  # fmt: skip
    return Live(accounts)
