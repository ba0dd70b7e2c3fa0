"""Where links to Dagster's UI lead."""

from pathlib import Path

import pytest

from dmp_assets.home import Home
from dmp_assets.platform.automation.telling import run_url


@pytest.mark.parametrize(
    ("given", "leads_to"),
    [
        ({}, "http://127.0.0.1:3000/runs/r1"),
        ({"DMP_PUBLIC_URL": "https://dmp.example.com/"}, "https://dmp.example.com/runs/r1"),
        (
            {
                "DMP_PUBLIC_URL": "https://dmp.example.com/reports",
                "DMP_WEBSERVER_URL": "https://dagster.example.com/",
            },
            "https://dagster.example.com/runs/r1",
        ),
    ],
)
def test_a_run_is_linked_where_people_reach_dagster(
    given: dict[str, str], leads_to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert run_url(Home(tmp_path).prepare("live"), "r1") == leads_to
