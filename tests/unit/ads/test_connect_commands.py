"""`dmp connect`: a person consents in a browser and pastes where it was sent to."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr

from dmp_assets.home import Home
from tests.support.dmp import PROGRAM
from tests.support.meta import BERLIN, REDIRECT, Meta, consent_at, environment, running


@pytest.fixture
def meta(tmp_path: Path) -> Iterator[Meta]:
    with running(tmp_path / "meta") as meta:
        yield meta


@pytest.fixture
def env(meta: Meta, tmp_path: Path, store_url: SecretStr) -> Mapping[str, str]:
    Home(tmp_path / "live").prepare("live")
    return {**os.environ, "COLUMNS": "200", **environment(meta, tmp_path / "live", store_url)}


def dmp(env: Mapping[str, str], *words: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [str(PROGRAM), *words], env=dict(env), stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def address_of(child: "subprocess.Popen[str]") -> str:
    """The address that the command says to open."""
    assert child.stdout
    for line in child.stdout:
        if line.startswith("http"):
            return line.strip()
    raise AssertionError(child.communicate()[1])


def test_an_advertisers_accounts_are_connected_by_what_a_person_pastes(
    env: Mapping[str, str],
) -> None:
    child = dmp(env, "connect", "meta", "--advertiser", "acme", "--redirect", REDIRECT)
    back = consent_at(address_of(child), accounts=(BERLIN,), scopes=("ads_read",))
    out, err = child.communicate(f"{REDIRECT}?{urlencode(back)}\n", timeout=60)
    assert child.returncode == 0, err
    assert "connected for acme" in out
    listed, _ = dmp(env, "connect", "list").communicate(timeout=60)
    assert listed.startswith("Meta\tacme\tactive")
    assert back["code"] not in out + err + listed


def test_an_address_of_another_page_connects_nothing(env: Mapping[str, str]) -> None:
    child = dmp(env, "connect", "meta", "--advertiser", "acme", "--redirect", REDIRECT)
    address_of(child)
    _, err = child.communicate("https://elsewhere.example/?code=x&state=y\n", timeout=60)
    assert child.returncode == 2 and "must begin with" in err
    listed, said = dmp(env, "connect", "list").communicate(timeout=60)
    assert "nothing is connected" in listed + said


def test_a_state_that_somebody_made_up_connects_nothing(env: Mapping[str, str]) -> None:
    child = dmp(env, "connect", "meta", "--advertiser", "acme", "--redirect", REDIRECT)
    back = consent_at(address_of(child), accounts=(BERLIN,), scopes=("ads_read",))
    forged = urlencode({**back, "state": "made-up"})
    _, err = child.communicate(f"{REDIRECT}?{forged}\n", timeout=60)
    assert child.returncode == 1 and "Traceback" not in err, err


def test_what_is_missing_is_said(env: Mapping[str, str]) -> None:
    without = {name: value for name, value in env.items() if name != "DMP_META_APP_ID"}
    _, err = dmp(without, "connect", "meta", "--advertiser", "acme").communicate(timeout=60)
    assert "DMP_META_APP_ID" in err
    _, err = dmp(env, "connect", "meta", "--advertiser", "acme").communicate(timeout=60)
    assert "--redirect" in err and "DMP_PUBLIC_URL" in err
