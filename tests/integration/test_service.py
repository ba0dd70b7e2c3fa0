"""The service from the command line, on the demo's home: its documented commands, as they stand."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.demo import Demo, running_service
from tests.support.dmp import PROGRAM, ROOT

BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def api(demo: Demo) -> Iterator[str]:
    with running_service(demo.dmp) as url:
        yield url


def read(url: str, key: str = "") -> dict:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    with DIRECT.open(request) as answer:
        return dict(json.load(answer))


def test_every_command_of_the_page_works_as_it_stands(api: str, demo: Demo, folder: Path) -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    blocks = BLOCK.findall(text)
    assert [kind for kind, _ in blocks].count("python") == 3
    script = "set -euo pipefail\nexport NO_PROXY=127.0.0.1\n"
    for number, (kind, code) in enumerate(blocks):
        if kind == "python":
            call = folder / f"call-{number}.py"
            call.write_text(code)
            code = f"{PROGRAM.with_name('python')} {call}\n"
        script += f"{code}\necho\n"
    script = script.replace("http://127.0.0.1:8000", api).replace(".venv/bin/dmp", str(PROGRAM))
    ran = subprocess.run(
        ["bash", "-c", script], env=demo.dmp.env(), cwd=demo.dmp.project,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = ran.stdout
    users, channels = json.loads(said.split("\n")[0].split("}{")[0] + "}"), said
    assert len(users["items"]) == 3
    assert '"channel_name"' in channels
    assert "date,registrations,verified_email,verified_phone" in said
    assert re.search(r"^\d+ users to block$", said, re.MULTILINE)
    scores = [json.loads(line) for line in said.splitlines() if '"results"' in line]
    assert [len(answer["results"]) for answer in scores] == [1, 2]
    assert [answer["dry_run"] for answer in scores] == [False, True]
    assert [row["is_known"] for row in scores[1]["results"]] == [True, False]
    assert scores[1]["results"][1]["linked_accounts"] == ["u-900001"]
    assert re.search(r"^u-900003: (allow|review|block)$", said, re.MULTILINE)
    assert "read up to decision 0" in said
    assert "first-try has no access any more" in said
    assert "ann@shop.example is not let in any more" in said


def test_the_service_gives_the_numbers_of_the_lakehouse(api: str, demo: Demo) -> None:
    ran = demo.dmp("client", "add", "numbers", "--scope", "promo:read", "--scope", "runs:read")
    assert ran.code == 0, ran.text
    key, tables = ran.out.strip(), demo.dmp.tables
    days = read(f"{api}/v1/promo/usage?start=2019-01-01&end=2024-12-31", key)["items"]
    assert sum(day["usages"] for day in days) == tables.scalar(
        "SELECT count(*) FROM cleaned.promo_usages"
    )
    runs = {row["key"]: row for row in read(f"{api}/v1/runs", key)["items"]}
    written = {table: tables.written_at(table) for table in tables.written()}
    assert {k for k in runs if not k.startswith("published/")} == set(written)
    assert runs["cleaned/users"]["rows"] == tables.scalar("SELECT count(*) FROM cleaned.users")
    assert runs["published/user_usage"]["is_fresh"]


def test_all_is_ready_after_the_demo(api: str) -> None:
    assert read(f"{api}/health/ready")["ready"]


def test_what_cannot_be_done_is_said(demo: Demo) -> None:
    for arguments, said in (
        (("client", "add", "x", "--scope", "everything"), "'everything' is not a scope"),
        (("client", "revoke", "nobody"), "there is no client 'nobody'"),
        (("client", "rotate", "nobody"), "there is no client 'nobody'"),
        (("client", "add", "x", "--scope", "promo:read", "--expires", "soon"), "is no period"),
        (("user", "disable", "nobody@shop.example"), "there is no person with this address"),
        (("migrate", "--to", "0042", "--yes"), "there is no schema 0042"),
    ):
        ran = demo.dmp(*arguments)
        assert ran.code != 0
        assert said in ran.text
        assert "Traceback" not in ran.text


def test_a_home_without_a_store_says_how_to_make_one(demo: Demo, folder: Path) -> None:
    bare = type(demo.dmp)(folder / "bare", demo.dmp.project)
    ran = bare("client", "list")
    assert ran.code == 1
    assert "no operational store yet; `" in ran.text and "dmp migrate` makes it" in ran.text


def test_a_store_that_does_not_answer_is_named_without_its_password(
    demo: Demo, folder: Path
) -> None:
    url = {"DMP_STORE_URL": "postgresql://dmp:Secret-1@127.0.0.1:9/store"}
    bare = type(demo.dmp)(folder / "unreachable", demo.dmp.project, url)
    for arguments in (["client", "list"], ["migrate"], ["doctor"], ["up", "--only", "api"]):
        ran = bare(*arguments, env={"DMP_API_PORT": "0"})
        assert ran.code == 1
        assert "no PostgreSQL serves the operational store at 127.0.0.1:9" in ran.text
        assert "Traceback" not in ran.text
        assert "Secret-1" not in ran.text
