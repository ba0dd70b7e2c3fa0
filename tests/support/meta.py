"""The sandbox's Meta, running over a small made-up world, and a client of it whose time we move."""

import json
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from pydantic import SecretStr

from dmp_assets.demo.sandbox.meta import MetaSandbox
from dmp_assets.demo.sandbox.meta_world import World
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.home import Home
from dmp_assets.platform.connect.http import Patience
from dmp_assets.platform.connect.oauth import OAuthClient
from dmp_assets.settings import Settings
from dmp_assets.sources.meta.client import FixedToken, MetaClient
from dmp_assets.sources.meta.config import MetaConfig
from dmp_assets.sources.meta.connection import WRITING, oauth_client
from dmp_assets.sources.meta.settings import MetaSettings
from dmp_assets.sources.meta.usage import Governor, Pace

QUICK = Patience(attempts=3, pause=0.001, longest_pause=0.01, total=5)
REDIRECT = "https://dmp.example/connect/callback"
NOW = datetime(2026, 11, 28, 15, 30, tzinfo=UTC)
"""What the stand-in's clock shows at first."""
BERLIN, TOKYO, HONOLULU, BUDAPEST = "101", "202", "303", "404"
"""Ids of the accounts: EUR, JPY (east), USD (west) and HUF; the last one is empty."""
ZONES = {
    BERLIN: ("EUR", "Europe/Berlin"),
    TOKYO: ("JPY", "Asia/Tokyo"),
    HONOLULU: ("USD", "Pacific/Honolulu"),
    BUDAPEST: ("HUF", "Europe/Budapest"),
}
DAYS = 70
"""Days up to the one of `NOW` with something in them."""


def fill(
    world: World,
    *,
    ads: int = 4,
    days: int = DAYS,
    accounts: Sequence[str] = (),
    now: datetime = NOW,
) -> None:
    """Accounts, each but the empty one with two campaigns, ad sets and `ads` ads.

    The same arguments give the same rows. The last ad of an account delivers on even days only.
    """
    unix = int(now.timestamp()) - 400 * 86_400
    world.add("business", [{"business_id": "501", "name": "A shop"}])
    wanted = accounts or tuple(ZONES)
    world.add("account", [
        {"account_id": one, "business_id": "501", "name": f"Account {one}",
         "currency": ZONES[one][0], "timezone_name": ZONES[one][1], "created_time": unix}
        for one in wanted
    ])  # fmt: skip
    for account in wanted:
        if account != BUDAPEST:
            _fill_account(world, account, ads, days, unix, now.date() + timedelta(days=1))


def _fill_account(world: World, account: str, ads: int, days: int, unix: int, last: date) -> None:
    made = {"created_time": unix, "updated_time": unix}
    world.add("campaign", [
        {"campaign_id": f"{account}1{c}", "account_id": account, "name": f"Campaign {c}",
         "objective": "OUTCOME_SALES", "daily_budget": 5_000 if c else None, "start_time": unix,
         **made} for c in range(2)
    ])  # fmt: skip
    world.add("adset", [
        {"adset_id": f"{account}2{c}", "campaign_id": f"{account}1{c}", "account_id": account,
         "name": f"Ad set {c}", "optimization_goal": "OFFSITE_CONVERSIONS",
         "daily_budget": None if c else 1_500, "start_time": unix, **made} for c in range(2)
    ])  # fmt: skip
    world.add("creative", [
        {"creative_id": f"{account}4", "account_id": account, "name": "Creative",
         "title": "Shoes", "body": "New shoes", "url_tags": "utm_source=meta&utm_campaign=shoes",
         "thumbnail_url": None}
    ])  # fmt: skip
    own = [
        {"ad_id": f"{account}3{n:05}", "adset_id": f"{account}2{n % 2}",
         "campaign_id": f"{account}1{n % 2}", "account_id": account,
         "creative_id": f"{account}4", "name": f"Ad {n}", **made} for n in range(ads)
    ]  # fmt: skip
    world.add("ad", own)
    delivered, bought = [], []
    for n, ad in enumerate(own):
        for back in range(days + 1):
            day = last - timedelta(days=back)
            if n == ads - 1 and day.toordinal() % 2:
                continue
            shown = 1_000 + 10 * n + day.day
            delivered.append({
                "ad_id": ad["ad_id"], "day": day.isoformat(), "impressions": shown,
                "reach": shown - 100, "clicks": 20 + n, "link_clicks": 15 + n,
                "spend_cents": 1_000 + 7 * n + day.day,
            })  # fmt: skip
            bought += [
                {"ad_id": ad["ad_id"], "day": day.isoformat(), "touch": touch, "after_days": after,
                 "lag_days": lag, "purchases": 1, "value_cents": 5_000 + n}
                for touch, after, lag in (("click", 0, 0), ("click", 0, 2), ("click", 4, 7),
                                          ("view", 0, 1), ("click", 20, 28))
            ]  # fmt: skip
    world.add("delivery", delivered)
    world.add("purchase", bought)
    world.add("audience", [
        {"ad_id": ad["ad_id"], "kind": "person", "share": share,
         "cell": json.dumps({"age": age, "gender": gender})}
        for ad in own
        for age, gender, share in (("18-24", "female", 0.5), ("18-24", "male", 0.2),
                                   ("25-34", "female", 0.3))
    ])  # fmt: skip


@dataclass
class Meta:
    """The running stand-in. `root`: of the sandbox; `world`: what it serves."""

    root: str
    settings: Mapping[str, Any]
    world: World

    @property
    def url(self) -> str:
        return f"{self.root}/meta"

    def config(self) -> MetaConfig:
        return MetaConfig(
            url=self.settings["meta_url"],
            login_url=self.settings["meta_login_url"],
            app_id=self.settings["meta_app_id"],
            app_secret=SecretStr(self.settings["meta_app_secret"]),
            loopback_only=True,
        )

    # how it behaves ------------------------------------------------------------------------------
    def behave(self, **manner: Any) -> None:
        """Set its manner; its counters and calls begin anew."""
        self.post("manner", manner)

    def refuse(self, **refusal: Any) -> None:
        """Refuse once, as `Refusal` says."""
        self.behave(refusals=[refusal])

    def set_clock(self, now: datetime) -> None:
        self.post("clock", {"at": now.timestamp()})

    def pass_(self, seconds: float) -> None:
        self.post("clock", {"advance": seconds})

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.world.now(), UTC)

    def faults(self, *faults: Mapping[str, Any]) -> None:
        _post(f"{self.root}/_sandbox/faults", list(faults))

    def calls(self, part: str = "", method: str = "") -> list[dict[str, Any]]:
        """Calls whose path holds `part`, in order."""
        with urllib.request.urlopen(f"{self.url}/_sandbox/calls") as answer:
            return [
                call for call in json.load(answer)
                if part in call["path"] and method in ("", call["method"])
            ]  # fmt: skip

    def post(self, what: str, body: Any) -> None:
        _post(f"{self.url}/_sandbox/{what}", body)

    # connecting ----------------------------------------------------------------------------------
    def oauth(self, scopes: tuple[str, ...] = WRITING) -> OAuthClient:
        return oauth_client(self.config(), scopes)

    def token(
        self, *, accounts: Sequence[str] = tuple(ZONES), scopes: tuple[str, ...] = WRITING
    ) -> str:
        """A long-lived token of a person who ticked these."""
        client = self.oauth(scopes)
        url, consent = client.consent("shop", REDIRECT)
        back = consent_at(url, accounts=accounts, scopes=scopes)
        return client.by_code(consent, back, self.now()).access

    def client(self, token: str | None = None, *, governor: Governor | None = None) -> MetaClient:
        """A client with a token; time that it waits passes at the stand-in alone."""
        return MetaClient(
            self.config(),
            FixedToken(SecretStr(token or self.token())),
            governor or Waiting(self).governor(),
            patience=QUICK,
        )


class Waiting:
    """Time that passes only when somebody waits, for us and for the stand-in alike."""

    def __init__(self, meta: Meta) -> None:
        self.meta, self.waits = meta, list[float]()
        self._now, self._lock = 0.0, threading.Lock()

    def clock(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.waits.append(seconds)
            self._now += seconds
            self.meta.pass_(seconds)

    def governor(self, **pace: float) -> Governor:
        return Governor(Pace(**pace), clock=self.clock, sleep=self.sleep)


def consent_at(
    url: str,
    *,
    accounts: Sequence[str] = tuple(ZONES),
    scopes: Sequence[str] = WRITING,
    answer: str = "yes",
) -> dict[str, str]:
    """What the browser brings back after a person ticked these on the page."""
    with httpx.Client(trust_env=False) as browser:
        page = browser.get(url)
        assert page.status_code == 200, page.text
        asked = dict(parse_qsl(urlsplit(url).query))
        form = {name: asked.get(name, "") for name in
                ("client_id", "redirect_uri", "state", "scope", "config_id")}  # fmt: skip
        assert all(f'value="{account}"' in page.text for account in accounts)
        sent = {**form, "granted": list(scopes), "account": list(accounts), "answer": answer}
        back = browser.post(url.partition("?")[0], data=sent)
    assert back.status_code == 303, back.text
    location = back.headers["location"]
    assert location.startswith(asked["redirect_uri"])
    return dict(parse_qsl(urlsplit(location).query))


def day(text: str) -> date:
    return date.fromisoformat(text)


def _post(url: str, body: Any) -> None:
    request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")
    urllib.request.urlopen(request).close()


@contextmanager
def running(folder: Path, *, ads: int = 4, accounts: Sequence[str] = ()) -> Iterator[Meta]:
    """The stand-in on a free port of loopback, over a filled world whose clock stands at `NOW`."""
    home = Home(folder / "home").prepare("sandbox")
    made: list[MetaSandbox] = []

    def make(root: Path) -> MetaSandbox:
        made.append(MetaSandbox(root))
        return made[0]

    with Sandbox(home, (make,)).running() as endpoint:
        world = made[0].world
        world.set_clock(NOW.timestamp(), runs=False)
        fill(world, ads=ads, accounts=accounts)
        yield Meta(endpoint.url, endpoint.settings, world)


# a home that reads it -----------------------------------------------------------------------------
def with_settings() -> type[Settings]:
    """The settings with those of Meta among them, whether or not a domain brings them yet."""
    if issubclass(Settings, MetaSettings):
        return Settings
    return type("WithMeta", (MetaSettings, Settings), {})


def environment(meta: Meta, home: Path, store_url: SecretStr) -> dict[str, str]:
    """The environment of a live home that reaches the stand-in."""
    return {
        "DMP_HOME": str(home),
        "DMP_PROJECT_DIR": str(home.parent),
        "DMP_STORE_URL": store_url.get_secret_value(),
        "DMP_META_HISTORY_DAYS": "60",
        **{
            f"DMP_{name.upper()}": str(value)
            for name, value in meta.settings.items()
            if name.startswith("meta_")
        },
    }
