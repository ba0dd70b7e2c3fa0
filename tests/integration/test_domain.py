"""The steps of docs/domain.md, done: a domain is a folder and a line, and then it is there.

Its files are added to a copy of the program, which then really runs: stand-in, OAuth, tables,
report, message, API, page and command. Nothing else of the copy may change.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
import sqlalchemy as sa

from dmp_assets.cli.service import migrate_home
from dmp_assets.demo.sandbox.slack import SlackSandbox
from dmp_assets.home import Home
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres
from dmp_assets.platform.store import database, where
from tests.support.dmp import PROGRAM
from tests.support.docs import ROOT, blocks, files
from tests.support.service import free_port

PAGE = ROOT / "docs" / "domain.md"
_REVISION = f"{int(database.head()) + 1:04}"
"""Of the migration that the page brings."""
FILES = dict(files(PAGE))
NAME = "refunds"
NEW = f"dmp_assets/{NAME}"
GENERATED = {"docs/assets.md": (), "docs/access.md": ("--access",), ".env.example": ("--settings",)}
COPIED = (
    "dmp_assets", "reports", "docs", "tests", "benchmarks", "notebooks", "pyproject.toml",
    "setup.cfg", "uv.lock", "workspace.yaml", "Dockerfile", "compose.yaml", "README.md", "Makefile",
    ".env.example",
)  # fmt: skip
HOUSE = [
    f"tests/unit/house/test_{name}.py"
    for name in ("docs", "domains", "house", "rooms", "setting_values", "settings")
]
"""What a domain can break in seconds. Of the reports' homes, which take minutes, its own ones."""
_NOT = shutil.ignore_patterns("__pycache__")


@dataclass(frozen=True)
class Copy:
    """A copy of the program with the page's domain, and a sandbox home for it."""

    folder: Path
    home: Home
    before: Mapping[str, str]
    port: int

    @property
    def tables(self) -> Tables:
        return Tables(str(self.home.lakehouse))

    def stored(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the operational store."""
        with (
            database.opened(where.owner_url(self.home), checked=False) as store,
            store.connect() as connection,
        ):
            return [tuple(row) for row in connection.execute(sa.text(query))]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PYTHONPATH": str(self.folder),
            "DMP_PROJECT_DIR": str(self.folder),
            "DMP_HOME": str(self.home.root),
            "DMP_API_PORT": str(self.port),
            "COLUMNS": "200",
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A program of the environment's, with the copy on its path."""
        return subprocess.Popen(
            [str(PROGRAM.parent / words[0]), *words[1:]],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ran(self, *words: str) -> str:
        """What a program said that went well."""
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, f"{words}: {out[-3000:]}\n{err[-3000:]}"
        return out

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The copy's API, up; its address."""
        process = self.start("dmp", "api")
        url = f"http://127.0.0.1:{self.port}"
        try:
            for _ in range(600):
                assert process.poll() is None, process.communicate()
                try:
                    if httpx.get(f"{url}/health/live", trust_env=False).is_success:
                        break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.communicate(timeout=60)


def hashes(folder: Path) -> dict[str, str]:
    """Path → hash of every file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def add_lines(folder: Path) -> None:
    """What the page's two diffs say: one line of code, and rows of the page of the API."""
    line, rows = [block.text.splitlines() for block in blocks(PAGE) if block.language == "diff"]
    assert sum(one.startswith("+") for one in line) == 1
    for name, diff in (("dmp_assets/domains.py", line), ("docs/api.md", rows)):
        assert not [one for one in diff if one.startswith("-")]
        old = "\n".join(one[1:] for one in diff if not one.startswith("+"))
        path = folder / name
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, "\n".join(one[1:] for one in diff)))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """The copy with the domain, and a home that the program without it has made."""
    folder = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        place = folder / name
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place, ignore=_NOT)
        else:
            shutil.copy(ROOT / name, place)
    before = hashes(folder)
    home = Home(tmp_path_factory.mktemp("domain") / "home").prepare("sandbox")
    with EmbeddedPostgres(home).running():
        assert migrate_home(home)[1] == database.head()
        for path, text in FILES.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            if path.startswith(NEW) and path.endswith(".py"):
                (file.parent / "__init__.py").touch()
        (folder / NEW / "service" / "__init__.py").touch()
        add_lines(folder)
        yield Copy(folder, home, before, free_port())


def key(copy: Copy, name: str, *scopes: str) -> dict[str, str]:
    """A header that opens these scopes."""
    words = [word for scope in scopes for word in ("--scope", scope)]
    secret = copy.ran("dmp", "client", "add", name, *words).split()[-1]
    return {"Authorization": f"Bearer {secret}"}


def test_a_domain_is_a_folder_and_a_line(copy: Copy) -> None:
    with copy.serving() as url, httpx.Client(base_url=url, trust_env=False) as api:
        made = json.loads(copy.ran("dmp", "run", "--select", f"tag:domain={NAME}", "--json"))
        assert made["success"], made
        rows = {table["key"]: table["rows"] for table in made["tables"]}
        assert rows == {
            "raw/returned_orders": 25,
            "cleaned/returned_orders": 23,  # one came twice
            "quarantine/returned_orders": 1,  # one has no id
            "modeled/refunds_daily": 23,
            "marts/refunds_by_reason": 4,
            "published/refunds_daily": 23,
            "reports/refunds": None,
            "delivery/refunds": None,
        }
        again = json.loads(copy.ran("dmp", "refunds", "--json"))
        assert again["success"] and all(table["unchanged"] for table in again["tables"])
        reader = key(copy, "reader", "refunds:read", "refunds:write")
        served(api, reader, key(copy, "other", "reports:read"))
    told(copy)


def served(api: httpx.Client, reader: dict[str, str], other: dict[str, str]) -> None:
    """What the API gives of it, to whom, and what its pages show."""
    assert api.get("/v1/refunds").status_code == 401
    for method, path, scope in (
        ("GET", "/v1/refunds", "read"),
        ("GET", "/refunds", "read"),
        ("PUT", "/v1/refunds/notes/broken", "write"),
    ):
        refused = api.request(method, path, headers=other, json={"note": "no"})
        assert refused.status_code == 403
        assert refused.json()["detail"] == f"the scope refunds:{scope} is needed"
    assert api.put("/v1/refunds/notes/broken", headers=reader, json={"note": "<b>box"}).is_success
    listed = api.get("/v1/refunds", headers=reader).json()["items"]
    assert listed[0] == {"reason": "broken", "orders": 6, "refund": 75.0, "note": "<b>box"}
    assert sum(row["orders"] for row in listed) == 23
    page = api.get("/refunds", headers=reader).text
    assert "<td>broken</td><td>6</td><td>75.0</td><td>&lt;b&gt;box</td>" in page
    assert '<h2>Refunds</h2>\n<p><a href="/refunds">' in api.get("/", headers=reader).text
    assert 'href="/refunds"' not in api.get("/", headers=other).text
    ready = api.get("/health/ready").json()
    assert {"name": "carrier/sandbox-client", "ok": True, "detail": "answers"} in ready["checks"]
    assert "/v1/refunds" in api.get("/v1/openapi.json").json()["paths"]


def told(copy: Copy) -> None:
    """What the run left for people, and that it asked with a token of its own."""
    (bad,) = copy.tables.sql("FROM quarantine.returned_orders").to_pylist()
    assert (bad["order_id"], bad["failed_rules"]) == ("o0", ["return_id_missing"])
    with duckdb.connect(str(copy.home.warehouse), read_only=True) as marts:
        found = marts.execute("SELECT sum(orders), sum(refund) FROM refunds_by_reason").fetchall()
    assert [tuple(map(float, row)) for row in found] == [(23.0, 306.5)]
    report = (copy.home.reports / "refunds.html").read_text()
    assert "Returned orders" in report and "306.5" in report
    (message,) = [
        post
        for post in SlackSandbox(copy.home.sandbox).messages()
        if post["text"].startswith("Refunds") and "thread_ts" not in post
    ]
    assert "Returned orders" in json.dumps(message)
    assert copy.stored("SELECT version_num FROM alembic_version") == [(_REVISION,)]
    assert copy.stored(
        "SELECT service, state, scopes, last_success_at IS NOT NULL FROM service_connection "
        "JOIN service_token USING (connection_id)"
    ) == [("Carrier", "active", ["items:read"], True)]


def test_nothing_else_of_the_program_changes(copy: Copy) -> None:
    for page, options in GENERATED.items():
        (copy.folder / page).write_text(copy.ran("dmp", "catalogue", *options))
    after = hashes(copy.folder)
    changed = {path for path, was in copy.before.items() if after.get(path) != was}
    assert changed == {"dmp_assets/domains.py", "docs/api.md", *GENERATED}
    added = {path for path in after if path not in copy.before}
    assert {path for path in added if not path.endswith("/__init__.py")} == set(FILES)
    assert {path for path in added if not path.startswith(f"{NEW}/")} == {f"reports/{NAME}.qmd"}
    assets = (copy.folder / "docs" / "assets.md").read_text()
    assert "### cleaned/returned_orders" in assets and "| `daily_refunds` |" in assets
    assert "`refunds:write`" in (copy.folder / "docs" / "access.md").read_text()
    assert "#DMP_REFUNDS_CLIENT_SECRET=\n" in (copy.folder / ".env.example").read_text()
    assert " refunds " in copy.ran("dmp", "--help")


def test_the_rules_of_the_house_hold_for_it(copy: Copy) -> None:
    copy.ran("ruff", "check", NEW)
    copy.ran("ruff", "format", "--check", NEW)
    copy.ran("lint-imports")
    given = ROOT.parent / "shared"
    if given.is_dir():  # which the findings recount
        (copy.folder.parent / "shared").symlink_to(given)
    copy.ran("pytest", "-q", *HOUSE[:4], HOUSE[5])
    copy.ran("pytest", "-q", HOUSE[4], "-k", f"checked or {NAME}")
    own = "tests/unit/house/test_degenerate.py", "tests/unit/house/test_degenerate_messages.py"
    copy.ran("pytest", "-q", *own, "-k", f"{NAME} or every_table")
