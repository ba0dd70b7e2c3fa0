"""The demo, run once for all tests that look at it, in an environment full of real-looking keys."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
import pytest

from dmp_assets.demo.sandbox.slack import SlackSandbox
from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres
from tests.support.dmp import Dmp, Ran, workplace

USERS = 3_000
OUTSIDE_WORLD = {
    "DMP_SHOP_DATABASE_URL": "postgresql://shop:Real-Looking-1@db.shop.invalid:5432/production",
    "DMP_WEB_DATABASE": "postgresql://web:Real-Looking-1@db.shop.invalid:5432/analytics",
    "DMP_STORE_URL": "postgresql://store:Real-Looking-1@db.shop.invalid:5432/store",
    "DMP_IHC_URL": "https://ihc.shop.invalid",
    "DMP_IHC_API_KEY": "Real-Looking-1",
    "DMP_SLACK_TOKEN": "xoxb-904861734209-5830178492217-bT7kYq2LwZr9XcVnEs4HuJdP",
    "DMP_SLACK_BASE_URL": "https://slack.com/api/",
    "DMP_SLACK_CHANNEL": "C0PRODUCTION",
    "DMP_PUBLIC_URL": "https://reports.shop.invalid",
    "DMP_LAKEHOUSE_ROOT": "s3a://production/lakehouse",
    "DMP_SPARK_REMOTE": "sc://cluster.shop.invalid:15002",
    "PGHOST": "db.shop.invalid",
    "PGHOSTADDR": "203.0.113.77",
    "HTTP_PROXY": "http://203.0.113.78:3128",
    "HTTPS_PROXY": "http://203.0.113.78:3128",
    "http_proxy": "http://203.0.113.78:3128",
    "https_proxy": "http://203.0.113.78:3128",
}


@dataclass(frozen=True)
class Demo:
    """The demo's home and its first run."""

    dmp: Dmp
    first: Ran

    @property
    def shop(self) -> Path:
        """What the simulator wrote: export, late rows, truth."""
        return next(self.dmp.home.sandbox.glob("shop-*"))

    def slack(self) -> SlackSandbox:
        """The sandbox's Slack with all that it received."""
        return SlackSandbox(self.dmp.home.sandbox)

    def source(self) -> psycopg.Connection[tuple]:
        """A connection to the shop's database, which runs while tests do."""
        return psycopg.connect(source_url(self.dmp.home))


@contextmanager
def running_service(dmp: Dmp) -> Iterator[str]:
    """URL of `dmp up --only api` on the home; stopped as by Ctrl-C."""
    env = {"DMP_API_PORT": "0", "PYTHONUNBUFFERED": "1"}
    process = dmp.start(
        "up", "--only", "api", env=env,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout
    url = ""
    while not url and (line := process.stdout.readline()):
        if found := re.search(r"API: +(http://127\.0\.0\.1:\d+)", line):
            url = found[1]
    assert url, process.communicate(timeout=60)
    wait = (
        f"for i in $(seq 120); do curl -s -o /dev/null {url}/health/live && exit; sleep 0.5; done"
    )
    subprocess.run(["bash", "-c", f"{wait}; exit 1"], check=True)
    yield url
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0


def source_url(home: Home) -> str:
    """URL of the home's embedded shop."""
    return EmbeddedPostgres(home).endpoint().url("shop").get_secret_value()


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Where the homes of this session lie; `project` inside is their DMP_PROJECT_DIR."""
    with workplace() as place:
        yield place


@pytest.fixture(scope="session")
def demo(folder: Path) -> Demo:
    """`dmp demo` of a new home; its database goes on running for the tests."""
    dmp = Dmp(folder / "demo", folder / "project", {"DMP_DEMO_USERS": str(USERS)})
    first = dmp("demo", "--json", env=OUTSIDE_WORLD)
    dmp.postgres.start()
    return Demo(dmp, first)
