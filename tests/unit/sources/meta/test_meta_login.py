"""Connecting Meta: real HTTP to the stand-in's login, tokens in a real PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.demo.sandbox.meta_login import CONFIGURATION
from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import (
    ConnectError,
    MissingScopeError,
    NeedsConsentError,
    RefusedConsentError,
)
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import ConnectionCredentials, Connections, Health
from dmp_assets.platform.store import database
from dmp_assets.sources.meta import objects
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.connection import (
    READING,
    WRITING,
    earliest_end,
    explained,
    oauth_client,
)
from dmp_assets.sources.meta.errors import LoginNeededError, PermissionMissingError
from dmp_assets.sources.meta.resource import Stored
from tests.support.meta import (
    BERLIN,
    HONOLULU,
    NOW,
    QUICK,
    REDIRECT,
    TOKYO,
    Meta,
    Waiting,
    consent_at,
)

SHOP = "shop-1"


@pytest.fixture
def connections(home: Home, store_url: SecretStr, meta: Meta) -> Iterator[Connections]:
    store = database.engine(store_url)
    yield Connections(store, KeyRing.of(home), clock=meta.now)
    store.dispose()


def connect(
    connections: Connections, meta: Meta, scopes: tuple[str, ...] = WRITING, **ticked: Any
) -> Any:
    client = meta.oauth(scopes)
    begun = connections.begin(client, SHOP, REDIRECT)
    back = consent_at(begun.url, **{"scopes": scopes, **ticked})
    return connections.finish(client, begun.cookie, back)


def connected(connections: Connections, meta: Meta, one: Any) -> Stored:
    own = ConnectionCredentials(connections, meta.oauth(), one)
    client = MetaClient(meta.config(), own, Waiting(meta).governor(), patience=QUICK)
    return Stored(client, own)


def health(connections: Connections) -> Health:
    (found,) = connections.health()
    return found


# consent -----------------------------------------------------------------------------------------
def test_a_consent_gives_a_token_of_60_days_and_what_was_ticked(
    connections: Connections, meta: Meta
) -> None:
    one = connect(connections, meta, accounts=(BERLIN, TOKYO))
    tokens = connections.tokens(meta.oauth(), one)
    assert tokens.kind == "USER" and tokens.targets == (BERLIN, TOKYO)
    assert tokens.expires_at == NOW + timedelta(days=60) and tokens.refresh is None
    assert tokens.consent_ends_at == NOW + timedelta(days=90)
    assert earliest_end(tokens) == tokens.expires_at
    shown = health(connections)
    assert (shown.service, shown.account, shown.scopes) == ("Meta", SHOP, WRITING)
    assert shown.expires_at == tokens.expires_at
    assert shown.consent_ends_at == tokens.consent_ends_at
    with connected(connections, meta, one).noting() as client:
        assert [row["account_id"] for row in objects.accounts(client)] == [BERLIN, TOKYO]
    assert health(connections).last_success_at == NOW


def test_the_dialog_is_asked_for_the_least_and_for_nothing_secret(meta: Meta) -> None:
    url, _ = meta.oauth(READING).consent(SHOP, REDIRECT)
    assert "scope=ads_read&" in url and "/v27.0/dialog/oauth" in url
    assert meta.settings["meta_app_secret"] not in url


def test_a_scope_that_was_ticked_off_is_named(connections: Connections, meta: Meta) -> None:
    client = meta.oauth(WRITING)
    begun = connections.begin(client, SHOP, REDIRECT)
    back = consent_at(begun.url, scopes=("ads_read",))
    with pytest.raises(MissingScopeError) as raised:
        connections.finish(client, begun.cookie, back)
    assert raised.value.missing == ("ads_management", "business_management")
    assert list(connections.health()) == []


def test_a_refused_consent_a_forged_state_and_a_used_code_connect_nothing(
    connections: Connections, meta: Meta
) -> None:
    client = meta.oauth()
    begun = connections.begin(client, SHOP, REDIRECT)
    with pytest.raises(RefusedConsentError, match="access_denied"):
        connections.finish(client, begun.cookie, consent_at(begun.url, answer="no"))
    begun = connections.begin(client, SHOP, REDIRECT)
    back = consent_at(begun.url)
    with pytest.raises(RefusedConsentError):
        connections.finish(client, begun.cookie, back | {"state": "forged"})
    url, consent = client.consent(SHOP, REDIRECT)
    back = consent_at(url)
    client.by_code(consent, back, NOW)
    with pytest.raises(RefusedConsentError, match="was used"):
        client.by_code(consent, back, NOW)
    url, consent = client.consent(SHOP, REDIRECT)
    back = consent_at(url)
    other = consent.model_copy(update={"redirect_uri": "https://dmp.example/other"})
    with pytest.raises(RefusedConsentError):
        client.by_code(other, back, NOW)
    assert list(connections.health()) == []


@pytest.mark.parametrize(
    "change",
    [{"redirect_uri": "https://evil.example/x"}, {"redirect_uri": "http://["}, {"client_id": "1"}],
)
def test_the_dialog_sends_nobody_to_an_address_that_is_not_registered(
    meta: Meta, change: dict[str, str]
) -> None:
    url, _ = meta.oauth().consent(SHOP, REDIRECT)
    with httpx.Client(trust_env=False) as browser:
        answer = browser.get(httpx.URL(url).copy_merge_params(change))
    assert answer.status_code == 400 and "location" not in answer.headers


def test_a_login_for_business_gives_a_system_users_token_that_never_ends(
    connections: Connections, meta: Meta
) -> None:
    config = meta.config()
    client = oauth_client(
        type(config)(**{**vars(config), "login_configuration": CONFIGURATION}), WRITING
    )
    begun = connections.begin(client, SHOP, REDIRECT)
    one = connections.finish(client, begun.cookie, consent_at(begun.url, accounts=(TOKYO,)))
    tokens = connections.tokens(client, one)
    assert tokens.kind == "SYSTEM_USER" and tokens.targets == (TOKYO,)
    assert tokens.expires_at is None and earliest_end(tokens) is None


# tokens by hand ----------------------------------------------------------------------------------
def minted(meta: Meta, **more: str) -> SecretStr:
    """A system user's token, made by an admin's."""
    with meta.client() as admin:
        answer = admin.post(
            "",
            "77/access_tokens",
            business_app=meta.settings["meta_app_id"],
            scope=",".join(WRITING),
            **more,
        )
    return SecretStr(answer["access_token"])


@pytest.mark.parametrize("days", [None, 60])
def test_a_system_users_token_is_taken_by_hand_and_renewed_where_it_ends(
    connections: Connections, meta: Meta, days: int | None
) -> None:
    given = minted(meta, **({"set_token_expires_in_60_days": "true"} if days else {}))
    client = meta.oauth()
    one = connections.adopt(client, SHOP, given)
    tokens = connections.tokens(client, one)
    assert tokens.kind == "SYSTEM_USER" and tokens.access == given.get_secret_value()
    assert tokens.expires_at == (NOW + timedelta(days=days) if days else None)
    meta.pass_(35 * 86_400)
    later = connections.tokens(client, one)
    if days is None:
        assert later == tokens
    else:
        assert later.access != tokens.access and later.kind == "SYSTEM_USER"
        assert later.expires_at == NOW + timedelta(days=35 + 60)


@pytest.mark.parametrize("token", ["EAABnothing", "x"])
def test_a_token_by_hand_that_opens_nothing_is_refused(
    connections: Connections, meta: Meta, token: str
) -> None:
    with pytest.raises(NeedsConsentError) as raised:
        connections.adopt(meta.oauth(), SHOP, SecretStr(token))
    assert token not in str(raised.value) or token == "x"
    assert list(connections.health()) == []


# its life ----------------------------------------------------------------------------------------
def test_a_persons_token_is_exchanged_again_long_before_it_ends(
    connections: Connections, meta: Meta
) -> None:
    one = connect(connections, meta)
    client = meta.oauth()
    first = connections.tokens(client, one)
    meta.pass_(29 * 86_400)
    assert connections.tokens(client, one) == first
    meta.pass_(2 * 86_400)
    second = connections.tokens(client, one)
    assert second.access != first.access
    assert second.expires_at == NOW + timedelta(days=31 + 60)
    assert second.consent_ends_at == first.consent_ends_at  # only a person moves that
    assert second.targets == first.targets


def test_a_token_that_was_ended_there_needs_a_login_and_is_deleted_here(
    connections: Connections, meta: Meta
) -> None:
    one = connect(connections, meta)
    own = connected(connections, meta, one)
    token = connections.tokens(meta.oauth(), one).access
    meta.post("end_tokens", {"subcode": 458, "token": token})
    with pytest.raises(NeedsConsentError), own.noting() as client:
        objects.accounts(client)
    shown = health(connections)
    assert shown.state == "needs_consent" and shown.last_failure_kind is not None
    again = connect(connections, meta)
    assert again == one and health(connections).state == "active"


@pytest.mark.parametrize("status", [400, 401])
def test_190_ends_the_connection_by_whichever_status_it_comes(
    connections: Connections, meta: Meta, status: int
) -> None:
    one = connect(connections, meta)
    meta.behave(refusals=[{"path": "adaccounts", "code": 190, "subcode": 460, "status": status,
                           "times": 9}])  # fmt: skip
    with (
        pytest.raises(LoginNeededError, match="the password was changed"),
        connected(connections, meta, one).noting() as client,
    ):
        objects.accounts(client)
    assert health(connections).state == "needs_consent"


def test_an_account_that_is_ticked_off_later_is_named_and_the_connection_stays(
    connections: Connections, meta: Meta
) -> None:
    one = connect(connections, meta, accounts=(BERLIN, HONOLULU))
    with connected(connections, meta, one).noting() as client:
        assert len(list(objects.objects(client, f"act_{HONOLULU}", "ads"))) == 4
    meta.post("untick", {"account_id": HONOLULU})
    with (
        pytest.raises(PermissionMissingError, match=f"the account act_{HONOLULU}") as raised,
        connected(connections, meta, one).noting() as client,
    ):
        list(objects.objects(client, f"act_{HONOLULU}", "ads"))
    assert raised.value.account == f"act_{HONOLULU}"
    shown = health(connections)
    assert (shown.state, shown.last_failure_kind) == ("active", "permission missing")


def test_a_scope_that_a_write_needs_is_named(meta: Meta) -> None:
    token = meta.token(scopes=READING)
    with meta.client(token) as client, pytest.raises(PermissionMissingError) as raised:
        client.post(f"act_{BERLIN}", f"{BERLIN}20", daily_budget="2000")
    tokens = meta.oauth().by_token(SecretStr(token), NOW)
    told = explained(meta.config(), meta.oauth(WRITING), tokens, raised.value)
    assert told.scopes == ("ads_management", "business_management")
    assert "the permission ads_management" in str(told)


def test_forgetting_a_connection_revokes_its_token(connections: Connections, meta: Meta) -> None:
    one = connect(connections, meta)
    token = connections.tokens(meta.oauth(), one).access
    connections.forget(meta.oauth(), one)
    assert list(connections.health()) == []
    with meta.client(token) as client, pytest.raises(LoginNeededError):
        objects.accounts(client)


@pytest.mark.parametrize(
    ("wrong", "code"), [({"app_secret": SecretStr("x")}, "code-1"), ({"app_id": "7"}, "code-101")]
)
def test_a_wrong_app_or_secret_is_told_by_metas_code(
    meta: Meta, wrong: dict[str, Any], code: str
) -> None:
    url, consent = meta.oauth().consent(SHOP, REDIRECT)
    client = oauth_client(type(meta.config())(**{**vars(meta.config()), **wrong}), WRITING)
    with pytest.raises(ConnectError, match=rf"answers 400 \({code}\)"):
        client.by_code(consent, consent_at(url), NOW)


def test_a_token_of_another_app_and_a_lost_look_are_errors(
    connections: Connections, meta: Meta
) -> None:
    config = meta.config()
    wrong = type(config)(**{**vars(config), "app_secret": SecretStr("another")})
    with pytest.raises(ConnectError):
        connections.adopt(oauth_client(wrong, WRITING), SHOP, SecretStr(meta.token()))
    meta.behave(refusals=[{"path": "debug_token", "status": 503, "html": True, "times": 9}])
    client = meta.oauth()
    begun = connections.begin(client, SHOP, REDIRECT)
    with pytest.raises(ConnectError, match="503"):
        connections.finish(client, begun.cookie, consent_at(begun.url))
    assert list(connections.health()) == []


def test_tokens_are_sealed_in_the_store_and_hidden_when_shown(
    connections: Connections, meta: Meta, store_url: SecretStr
) -> None:
    one = connect(connections, meta)
    tokens = connections.tokens(meta.oauth(), one)
    assert tokens.access not in repr(tokens) + str(tokens) + repr(meta.config())
    store = database.engine(store_url)
    with store.connect() as connection:
        for table in ("service_token", "service_connection"):
            rows = connection.execute(sa.text(f"SELECT * FROM {table}")).all()
            assert rows and tokens.access not in str([tuple(map(bytes_of, row)) for row in rows])
    store.dispose()


def bytes_of(value: Any) -> Any:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else value


def test_the_moment_of_the_tests_is_the_stand_ins(meta: Meta) -> None:
    assert meta.now() == NOW and datetime.now(UTC) != NOW
