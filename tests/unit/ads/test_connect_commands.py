"""`dmp connect`: a person consents in a browser and pastes where it was sent to."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.store import database
from dmp_assets.platform.store.schema import advertiser, audit_event
from dmp_assets.sources.meta import objects
from dmp_assets.sources.meta.resource import advertisers
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
    assert "connected for acme: ads_read, until 20" in out
    assert f"1 ad account: {BERLIN} (Account {BERLIN})" in out, out
    listed, _ = dmp(env, "connect", "list").communicate(timeout=60)
    assert listed.startswith(f"Meta\tacme\tactive\tad accounts: {BERLIN}\tuntil: 20")
    told, _ = dmp(env, "connect", "list", "--json").communicate(timeout=60)
    [one] = json.loads(told)
    assert (one["service"], one["advertiser"], one["ad_accounts"]) == ("Meta", "acme", [BERLIN])
    assert one["ends_at"] > one["consented_at"] and one["last_failure_kind"] is None
    assert back["code"] not in out + err + listed + told
    assert told_in_audit(env) == [("ads connect", {"advertiser": "acme", "service": "Meta"})]


def told_in_audit(env: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    with database.opened(SecretStr(env["DMP_STORE_URL"])) as store, store.connect() as rows:
        found = rows.execute(sa.select(audit_event.c.action, audit_event.c.detail))
        return [(row.action, row.detail) for row in found]


def known(env: Mapping[str, str]) -> list[str]:
    """The advertisers that the service knows."""
    with database.opened(SecretStr(env["DMP_STORE_URL"])) as store, store.connect() as rows:
        return list(rows.scalars(sa.select(advertiser.c.advertiser_id)))


def test_a_consent_without_an_account_is_a_warning_that_stays(env: Mapping[str, str]) -> None:
    child = dmp(env, "connect", "meta", "--advertiser", "acme", "--redirect", REDIRECT)
    back = consent_at(address_of(child), accounts=(), scopes=("ads_read",))
    out, err = child.communicate(f"{REDIRECT}?{urlencode(back)}\n", timeout=60)
    assert child.returncode == 0 and "no ad account was ticked" in err, out + err
    assert "reads it" not in out
    listed, _ = dmp(env, "connect", "list").communicate(timeout=60)
    assert "none was ticked" in listed and "(no ad account)" in listed, listed
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        with advertisers(Home(Path(env["DMP_HOME"]))) as found, found["acme"].noting() as client:
            assert objects.accounts(client) == []
    again, _ = dmp(env, "connect", "list").communicate(timeout=60)
    assert "worked: never" in again and "(no ad account)" in again, again


def test_who_breaks_off_leaves_no_advertiser_behind(env: Mapping[str, str]) -> None:
    child = dmp(env, "connect", "meta", "--advertiser", "gamma", "--redirect", REDIRECT)
    address_of(child)
    child.communicate("", timeout=60)
    assert child.returncode != 0 and known(env) == []
    child = dmp(env, "connect", "meta", "--advertiser", "../x", "--redirect", REDIRECT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 1 and "no id of an advertiser" in err and "http" not in out


def test_a_file_that_is_not_taken_leaves_no_advertiser_behind(
    env: Mapping[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("a,b\n1,2\n")
    child = dmp(env, "ads", "import", str(file), "--advertiser", "gamma")
    assert child.communicate(timeout=60) and child.returncode != 0
    assert known(env) == []


def connect_acme(env: Mapping[str, str]) -> None:
    child = dmp(env, "connect", "meta", "--advertiser", "acme", "--redirect", REDIRECT)
    back = consent_at(address_of(child), accounts=(BERLIN,), scopes=("ads_read",))
    _, err = child.communicate(f"{REDIRECT}?{urlencode(back)}\n", timeout=60)
    assert child.returncode == 0, err


@pytest.mark.parametrize("answers", [True, False])
def test_a_connection_is_given_back(env: Mapping[str, str], meta: Meta, answers: bool) -> None:
    connect_acme(env)
    if not answers:
        meta.faults({"method": "revoke", "kind": "500", "times": 99})
    child = dmp(env, "connect", "disconnect", "meta", "--advertiser", "acme", "--yes")
    out, err = child.communicate(timeout=60)
    assert child.returncode == (0 if answers else 1), out + err
    assert ("it was told" in out) is answers and ("on its own pages" in err) is not answers
    assert "What was read stays" in out + err
    listed, said = dmp(env, "connect", "list").communicate(timeout=60)
    assert "nothing is connected" in listed + said
    assert told_in_audit(env)[-1] == (
        "ads disconnect", {"advertiser": "acme", "service": "Meta"})  # fmt: skip


def test_nothing_is_given_back_that_is_not_meant(env: Mapping[str, str]) -> None:
    connect_acme(env)
    for words, told in (
        (("meta", "--advertiser", "bolt", "--yes"), "no such connection of bolt"),
        (("shopify", "--advertiser", "acme", "--yes"), "no such connection of acme"),
        (("meta", "--advertiser", "acme", "--shop", SHOP, "--yes"), "--shop is of Shopify"),
    ):
        child = dmp(env, "connect", "disconnect", *words)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 2 and told in err, err
    child = dmp(env, "connect", "disconnect", "meta", "--advertiser", "acme")
    child.communicate("n\n", timeout=60)
    assert child.returncode == 1
    listed, _ = dmp(env, "connect", "list").communicate(timeout=60)
    assert listed.startswith("Meta\tacme\tactive")


def test_an_account_that_another_advertiser_has_is_left_out_and_said(
    env: Mapping[str, str],
) -> None:
    said = {}
    for whose, accounts in (("acme", (BERLIN,)), ("bolt", (BERLIN, TOKYO))):
        child = dmp(env, "connect", "meta", "--advertiser", whose, "--redirect", REDIRECT)
        back = consent_at(address_of(child), accounts=accounts, scopes=("ads_read",))
        said[whose], err = child.communicate(f"{REDIRECT}?{urlencode(back)}\n", timeout=60)
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
    for gone, there in (("ID", "SECRET"), ("SECRET", "ID")):
        half = {name: value for name, value in env.items() if name != f"DMP_META_APP_{gone}"}
        _, err = dmp(half, "connect", "meta", "--advertiser", "acme").communicate(timeout=60)
        assert f"set DMP_META_APP_{gone} first" in err and f"APP_{there}" not in err, err
    _, err = dmp(env, "connect", "meta", "--advertiser", "acme").communicate(timeout=60)
    assert "--redirect" in err and "DMP_PUBLIC_URL" in err


def test_of_the_app_at_shopify_the_missing_setting_is_said(env: Mapping[str, str]) -> None:
    half = {**env, "DMP_SHOPIFY_CLIENT_ID": "an-app"}
    _, err = dmp(half, "connect", "shopify", SHOP).communicate(timeout=60)
    assert "set DMP_SHOPIFY_CLIENT_SECRET first" in err and "CLIENT_ID" not in err, err


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
    assert "DMP_PUBLIC_URL" in out and "DMP_SHOPIFY_SHOPS names its advertiser" in err
    with shops.grants.opened() as db:
        assert db.execute("SELECT count(*) FROM subscription").fetchone()[0] == 0


def test_a_shop_whose_advertiser_is_named_is_connected_for_it_and_given_back(
    shops: Shopify, shop_env: Mapping[str, str]
) -> None:
    env = {**shop_env, "DMP_SHOPIFY_SHOPS": f"{SHOP}=acme"}
    code, out, err = connected(env, "--redirect", SHOP_REDIRECT)
    assert code == 0 and f"{SHOP} is connected for acme" in out, out + err
    assert "DMP_SHOPIFY_SHOPS" not in out + err and known(env) == ["acme"]
    listed, _ = dmp(env, "connect", "list").communicate(timeout=60)
    assert listed.startswith(f"Shopify\t{SHOP}\tactive\tof: acme\tuntil: ")
    child = dmp(env, "connect", "disconnect", "shopify", "--advertiser", "bolt", "--shop", SHOP,
                "--yes")  # fmt: skip
    _, err = child.communicate(timeout=60)
    assert child.returncode == 2 and "is not bolt's" in err
    child = dmp(env, "connect", "disconnect", "shopify", "--advertiser", "acme", "--yes")
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0 and f"{SHOP} is disconnected from acme" in out, out + err
    assert told_in_audit(env)[-1] == (
        "ads disconnect", {"advertiser": "acme", "service": "Shopify", "shop": SHOP})  # fmt: skip


def test_a_shop_of_the_own_organisation_needs_no_consent(shop_env: Mapping[str, str]) -> None:
    env = {**shop_env, "DMP_SHOPIFY_ACCESS": "credentials", "DMP_SHOPIFY_SHOPS": f"{SHOP}=acme"}
    child = dmp(env, "connect", "shopify", SHOP.upper())
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0 and f"{SHOP} is connected for acme" in out, out + err
