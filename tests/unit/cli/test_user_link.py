"""`dmp user link`: the address of what runs here, or that of a proxy in front."""

import socket
from pathlib import Path

import pytest

from dmp_assets.cli import service
from dmp_assets.home import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    return Home(tmp_path / "home").prepare("live")


@pytest.mark.parametrize("runs", [(), ("api",), ("webserver",), ("api", "webserver")])
def test_a_link_leads_to_the_api_where_that_alone_runs(
    home: Home, monkeypatch: pytest.MonkeyPatch, runs: tuple[str, ...]
) -> None:
    ports = {}
    listening = []
    for name in ("api", "webserver"):
        one = socket.create_server(("127.0.0.1", 0))
        ports[name] = one.getsockname()[1]
        monkeypatch.setenv(f"DMP_{name.upper()}_PORT", str(ports[name]))
        if name in runs:
            listening.append(one)
        else:
            one.close()
    wanted = ports["api"] if runs == ("api",) else ports["webserver"]
    assert service._address(home) == f"http://127.0.0.1:{wanted}"
    for one in listening:
        one.close()


def test_a_proxys_address_goes_before(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMP_PUBLIC_URL", "https://dmp.example.com/reports")
    assert service._address(home) == "https://dmp.example.com"
    monkeypatch.setenv("DMP_WEBSERVER_URL", "https://dagster.example.com/")
    assert service._address(home) == "https://dagster.example.com"
