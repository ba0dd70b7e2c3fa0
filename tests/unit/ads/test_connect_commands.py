"""`dmp connect`: a person consents in a browser and pastes where it was sent to."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.sources.shopify.webhooks import SUBSCRIBED
from tests.support.dmp import PROGRAM
from tests.support.meta import BERLIN, REDIRECT, TOKYO, Meta, consent_at, environment, running
from tests.support.shopify import REDIRECT as SHOP_REDIRECT
from tests.support.shopify import SHOP, browse
from tests.support.shopify import Service as Shopify
from tests.support.shopify import running as shopify_running


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


def test_an_account_that_another_advertiser_has_is_left_out_and_said(
    env: Mapping[str, str],
) -> None:
    said = {}
    for advertiser, accounts in (("acme", (BERLIN,)), ("bolt", (BERLIN, TOKYO))):
        child = dmp(env, "connect", "meta", "--advertiser", advertiser, "--redirect", REDIRECT)
        back = consent_at(address_of(child), accounts=accounts, scopes=("ads_read",))
        said[advertiser], err = child.communicate(f"{REDIRECT}?{urlencode(back)}\n", timeout=60)
        assert child.returncode == 0, err
    assert "Left out" not in said["acme"]
    assert f"keeps it: {BERLIN}." in " ".join(said["bolt"].split())


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


# Shopify -----------------------------------------------------------------------------------------
@pytest.fixture
def shops(tmp_path: Path) -> Iterator[Shopify]:
    with shopify_running(tmp_path / "shopify") as service:
        yield service


@pytest.fixture
def shop_env(shops: Shopify, tmp_path: Path, store_url: SecretStr) -> Mapping[str, str]:
    root = tmp_path / "live"
    Home(root).prepare("live")
    secret = shops.settings.shopify_client_secret
    assert secret is not None
    return {
        **os.environ,
        "COLUMNS": "200",
        "DMP_HOME": str(root),
        "DMP_PROJECT_DIR": str(root.parent),
        "DMP_STORE_URL": store_url.get_secret_value(),
        "DMP_SHOPIFY_URL": shops.settings.shopify_url,
        "DMP_SHOPIFY_CLIENT_ID": shops.settings.shopify_client_id,
        "DMP_SHOPIFY_CLIENT_SECRET": secret.get_secret_value(),
        "DMP_SHOPIFY_ACCESS": "consent",
    }


def connected(env: Mapping[str, str], *words: str) -> tuple[int, str, str]:
    """(code, what it says, what it says is wrong) of connecting the small shop."""
    child = dmp(env, "connect", "shopify", SHOP, *words)
    back = browse(address_of(child))
    out, err = child.communicate(f"{SHOP_REDIRECT}?{urlencode(back)}\n", timeout=60)
    assert back["code"] not in out + err
    return child.returncode, out, err


def test_a_shop_is_connected_and_tells_what_changes_where_it_can_reach_us(
    shops: Shopify, shop_env: Mapping[str, str]
) -> None:
    env = {**shop_env, "DMP_PUBLIC_URL": "https://dmp.example/"}
    code, out, err = connected(env, "--redirect", SHOP_REDIRECT)
    assert code == 0, err
    assert f"{SHOP} is connected" in out
    with shops.grants.opened() as db:
        told = {tuple(row) for row in db.execute("SELECT shop, topic, uri FROM subscription")}
    assert told == {(SHOP, topic, "https://dmp.example/webhooks/shopify") for topic in SUBSCRIBED}
    listed, _ = dmp(env, "connect", "list").communicate(timeout=60)
    assert listed.startswith(f"Shopify\t{SHOP}\tactive")


def test_a_shop_that_cannot_reach_us_is_connected_all_the_same(
    shops: Shopify, shop_env: Mapping[str, str]
) -> None:
    code, out, err = connected(shop_env, "--redirect", SHOP_REDIRECT)
    assert code == 0, err
    assert "DMP_PUBLIC_URL" in out
    with shops.grants.opened() as db:
        assert db.execute("SELECT count(*) FROM subscription").fetchone()[0] == 0
