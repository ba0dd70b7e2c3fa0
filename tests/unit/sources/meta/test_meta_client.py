"""What Meta refuses, and what the client makes of it: real HTTP to the stand-in."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from dmp_assets.platform.connect.errors import (
    ConnectError,
    NeedsConsentError,
    StatusError,
    ThrottledError,
)
from dmp_assets.sources.meta import objects
from dmp_assets.sources.meta.client import FixedToken, MetaClient, appsecret_proof
from dmp_assets.sources.meta.connection import READING
from dmp_assets.sources.meta.errors import (
    AppSecretError,
    BadParameterError,
    DevelopmentAccessError,
    Fault,
    LimitError,
    LoginNeededError,
    MaybeTooMuchError,
    MetaError,
    ObjectGoneError,
    PermissionMissingError,
    TooMuchDataError,
    TooOldError,
    TransientError,
    UnknownError,
    VersionEndedError,
    WriteLimitError,
    error_of,
    fault,
)
from tests.support.meta import BERLIN, HONOLULU, QUICK, TOKYO, Meta, Waiting

ACCOUNT = f"act_{BERLIN}"
PATH = f"{ACCOUNT}/campaigns"
LIMIT = 2_446_079
REFUSED: list[tuple[int, int | None, int, type[ConnectError]]] = [
    (1, 99, 400, UnknownError),
    (1, None, 500, MaybeTooMuchError),
    (10, None, 403, PermissionMissingError),
    (200, None, 403, PermissionMissingError),
    (294, None, 400, PermissionMissingError),
    (17, 1_885_172, 400, WriteLimitError),
    (613, 1_487_632, 400, WriteLimitError),
    (100, None, 400, BadParameterError),
    (100, 33, 400, ObjectGoneError),
    (100, 1_487_534, 400, TooMuchDataError),
    (102, None, 400, LoginNeededError),
    *((190, subcode, status, LoginNeededError)
      for subcode in (None, 458, 459, 460, 463, 464, 467, 492) for status in (400, 401)),
    (101, None, 400, AppSecretError),
    (104, None, 400, AppSecretError),
    (270, None, 400, DevelopmentAccessError),
    (341, None, 400, WriteLimitError),
    (368, None, 400, WriteLimitError),
    (2_500, None, 400, BadParameterError),
    (2_635, None, 400, VersionEndedError),
    (2_654, 1_713_092, 400, MetaError),
    (3_018, None, 400, TooOldError),
]  # fmt: skip
TRANSIENT = [
    {"code": 2, "status": 503},
    {"code": 2, "status": 500},
    {"code": 2, "status": 400},
    {"code": 1, "status": 500},
    {"code": 1, "status": 400},
    {"code": 1, "subcode": 99, "status": 400},
    {"code": 960, "status": 400},
    {"code": -3, "status": 500},
    {"code": 12_345, "status": 400, "is_transient": True},
    {"status": 500, "html": True},
    {"status": 503, "html": True},
]
THROTTLED = [
    (4, None), (4, 1_504_022), (4, 1_504_039), (17, LIMIT), (32, None), (613, None),
    (613, 1_487_742), (613, 5_044_001), (613, 1_996), (-1, LIMIT),
    *((code, LIMIT) for code in (80_000, 80_001, 80_002, 80_003, 80_004, 80_005, 80_006, 80_008,
                                 80_009, 80_014)),
]  # fmt: skip


def listed(client: MetaClient) -> list[dict[str, Any]]:
    return list(client.listed(ACCOUNT, PATH, fields="id,name"))


# errors ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("code", "subcode", "status", "kind"), REFUSED)
def test_a_refusal_is_an_error_of_its_kind_and_is_not_asked_again(
    meta: Meta, token: str, code: int, subcode: int | None, status: int, kind: type[ConnectError]
) -> None:
    secret = "what Meta says of somebody"
    meta.refuse(path=PATH, times=9, code=code, subcode=subcode, status=status, message=secret)
    with meta.client(token) as client, pytest.raises(kind) as raised:
        listed(client)
    assert type(raised.value) is kind
    assert secret not in str(raised.value) and token not in str(raised.value)
    assert f"code {code}" in str(raised.value)
    once_more = kind in (UnknownError, MaybeTooMuchError)
    assert len(meta.calls(PATH)) == (2 if once_more else 1)


@pytest.mark.parametrize("refusal", TRANSIENT)
def test_what_may_pass_is_asked_again(meta: Meta, token: str, refusal: dict[str, Any]) -> None:
    meta.refuse(path=PATH, **refusal)
    with meta.client(token) as client:
        assert len(listed(client)) == 2
    assert len(meta.calls(PATH)) == 2


def test_what_does_not_pass_is_given_up(meta: Meta, token: str) -> None:
    meta.behave(refusals=[{"path": PATH, "times": 99, "code": 2, "status": 503}])
    with meta.client(token) as client, pytest.raises(TransientError):
        listed(client)
    assert len(meta.calls(PATH)) == QUICK.attempts
    meta.behave(refusals=[{"path": PATH, "times": 99, "status": 500, "html": True}])
    with meta.client(token) as client, pytest.raises(StatusError, match="500"):
        listed(client)


@pytest.mark.parametrize(("code", "subcode"), THROTTLED)
def test_a_throttle_is_waited_for_as_long_as_the_header_says(
    meta: Meta, token: str, code: int, subcode: int | None
) -> None:
    meta.refuse(path=PATH, code=code, subcode=subcode, minutes=5)
    time = Waiting(meta)
    with meta.client(token, governor=time.governor()) as client:
        assert len(listed(client)) == 2
    assert time.waits == [300]
    first, second = meta.calls(PATH)
    assert second["at"] - first["at"] == 300


def test_a_throttle_without_a_header_is_waited_for_longer_each_time(meta: Meta, token: str) -> None:
    meta.behave(headers=False, refusals=[{"path": PATH, "times": 2, "code": 613}])
    time = Waiting(meta)
    with meta.client(token, governor=time.governor()) as client:
        assert len(listed(client)) == 2
    assert time.waits == [60, 60]
    meta.behave(headers=False, refusals=[{"path": PATH, "times": 99, "code": 613}])
    with meta.client(token, governor=time.governor()) as client, pytest.raises(LimitError):
        listed(client)


@pytest.mark.parametrize("as_text", [False, True])
def test_the_parameters_that_are_wrong_are_named(meta: Meta, token: str, as_text: bool) -> None:
    meta.refuse(path=PATH, code=100, blames=("daily_budget", "name"), as_text=as_text)
    with meta.client(token) as client, pytest.raises(BadParameterError) as raised:
        listed(client)
    assert raised.value.fault.blames == ("daily_budget", "name")
    assert "daily_budget, name" in str(raised.value)


@pytest.mark.parametrize(
    "error",
    [{}, {"code": "x"}, {"code": True}, {"code": 10**30}, {"code": None, "error_data": "{"},
     {"code": 100, "error_data": {"blame_field_specs": "x"}}, {"code": [], "fbtrace_id": 7},
     {"code": 100, "error_data": {"blame_field_specs": [[1, "a b"], "c"]}}],
)  # fmt: skip
def test_an_error_that_is_none_as_documented_is_read_all_the_same(error: dict[str, Any]) -> None:
    assert isinstance(error_of(fault(error)), ConnectError)


def test_an_ended_version_that_is_answered_by_a_newer_one_is_warned_of_once(
    meta: Meta, token: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = meta.config()
    old = type(config)(**vars(config))
    monkeypatch.setattr(type(old), "api", property(lambda own: f"{own.url}/v24.0"))
    with MetaClient(
        old, FixedToken(SecretStr(token)), Waiting(meta).governor(), patience=QUICK
    ) as client:
        with pytest.raises(VersionEndedError):
            listed(client)
        meta.behave(ended_version="upgraded")
        with caplog.at_level(logging.WARNING):
            assert len(listed(client)) == len(listed(client)) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "update this program" in caplog.text


# tokens in transport -----------------------------------------------------------------------------
def test_every_call_proves_the_secret_and_no_token_is_in_an_address_a_log_or_an_error(
    meta: Meta, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    proof = appsecret_proof(meta.config().app_secret, token)
    with caplog.at_level(logging.DEBUG), meta.client(token) as client:
        assert "access_token" not in client.get(ACCOUNT, PATH, fields="id").get("paging", {})
        meta.behave(page=1)
        assert len(listed(client)) == 2
        with pytest.raises(ObjectGoneError) as raised:
            client.get(ACCOUNT, "999")
    assert all(secret not in caplog.text + str(raised.value) for secret in (token, proof))


def test_a_wrong_secret_is_told(meta: Meta, token: str) -> None:
    config = meta.config()
    wrong = type(config)(**{**vars(config), "app_secret": SecretStr("another")})
    with (
        MetaClient(wrong, FixedToken(SecretStr(token)), Waiting(meta).governor()) as client,
        pytest.raises(AppSecretError),
    ):
        listed(client)


def test_a_token_that_ends_in_the_middle_of_a_list_needs_a_login(meta: Meta) -> None:
    token = meta.token()
    meta.behave(page=1)
    with meta.client(token) as client:
        rows = client.listed(ACCOUNT, PATH, fields="id")
        assert next(rows)["id"] == f"{BERLIN}10"
        meta.post("end_tokens", {"subcode": 463, "token": token})
        with pytest.raises(LoginNeededError, match="the token has ended"):
            next(rows)
    assert issubclass(LoginNeededError, NeedsConsentError)
    assert len(meta.calls(PATH)) == 2


# pages and batches -------------------------------------------------------------------------------
@pytest.mark.parametrize("manner", [{"page": 1}, {"empty_pages": 2}, {"page": 1, "empty_pages": 3}])
def test_short_and_empty_pages_end_where_no_next_is(
    meta: Meta, token: str, manner: dict[str, Any]
) -> None:
    meta.behave(**manner)
    with meta.client(token) as client:
        assert [row["id"] for row in client.listed(ACCOUNT, f"{ACCOUNT}/ads", fields="id")] == [
            f"{BERLIN}30000{n}" for n in range(4)
        ]


def test_an_element_of_a_batch_that_was_not_answered_is_asked_for_alone(
    meta: Meta, token: str
) -> None:
    meta.behave(null_elements=1, refusals=[{"path": f"{BERLIN}11", "code": 2, "status": 500}])
    wanted = [f"{BERLIN}10", f"{BERLIN}11", f"{BERLIN}20"]
    with meta.client(token) as client:
        found = client.batch(ACCOUNT, [(one, {"fields": "id,name"}) for one in wanted])
    assert [row["id"] for row in found] == wanted


def test_a_large_batch_goes_in_parts_and_a_refused_element_is_an_error(
    meta: Meta, token: str
) -> None:
    with meta.client(token) as client:
        many = client.batch(ACCOUNT, [(f"{BERLIN}10", {"fields": "id"})] * 120)
        assert len(many) == 120
        assert len([call for call in meta.calls(method="POST") if call["path"] == ""]) == 3
        with pytest.raises(ObjectGoneError):
            client.batch(ACCOUNT, [("999", {})])


@pytest.mark.parametrize("kind", ["truncated", "drop"])
def test_an_answer_that_breaks_off_is_asked_for_again_or_told(
    meta: Meta, token: str, kind: str
) -> None:
    meta.faults({"method": "campaigns", "kind": kind})
    with meta.client(token) as client:
        assert len(listed(client)) == 2
        meta.faults({"method": "campaigns", "kind": kind, "times": 9})
        with pytest.raises(ConnectError, match=r"ends half-way|no answer"):
            listed(client)


# who may what ------------------------------------------------------------------------------------
def test_an_account_that_was_ticked_off_is_refused_while_others_go_on(meta: Meta) -> None:
    token = meta.token(accounts=(BERLIN, TOKYO))
    with meta.client(token) as client:
        found = [row["account_id"] for row in objects.accounts(client)]
        assert found == [BERLIN, TOKYO]
        with pytest.raises(PermissionMissingError) as raised:
            list(objects.objects(client, f"act_{HONOLULU}", "ads"))
        assert raised.value.account == f"act_{HONOLULU}"
        assert len(list(objects.objects(client, ACCOUNT, "ads"))) == 4


@pytest.mark.parametrize("guards", [True, False])
def test_accounts_are_listed_with_the_least_scope(meta: Meta, guards: bool) -> None:
    token = meta.token(scopes=READING)
    meta.behave(guards_business=guards)
    with meta.client(token) as client:
        found = objects.accounts(client)
    assert len(found) == 4 and all(("business" in row) is not guards for row in found)


@pytest.mark.parametrize(
    "given",
    [{"fields": "nothing"}, {"ids": "1,2"}, {"date_format": "U"}, {"method": "post"},
     {"pretty": "1"}, {"fields": "id.as(x)"}, {"limit": "0"}, {"filtering": "x"}],
)  # fmt: skip
def test_what_new_apps_may_not_ask_is_a_wrong_parameter(
    meta: Meta, token: str, given: dict[str, str]
) -> None:
    with meta.client(token) as client, pytest.raises(BadParameterError):
        client.get(ACCOUNT, PATH, **given)


# limits ------------------------------------------------------------------------------------------
def calls_of(meta: Meta, act: Callable[[], Any], times: int) -> list[float]:
    for _ in range(times):
        act()
    return [call["at"] for call in meta.calls(PATH)]


def test_calls_slow_from_75_percent_and_stop_at_90(meta: Meta, token: str) -> None:
    meta.behave(limits={"management": 100, "points": 1_000})
    time = Waiting(meta)
    with meta.client(token, governor=time.governor(unknown=3_600, longest=10_000)) as client:
        calls_of(meta, lambda: client.get(ACCOUNT, PATH), 75)
        assert time.waits == []
        calls_of(meta, lambda: client.get(ACCOUNT, PATH), 15)
        assert len(time.waits) == 14 and time.waits == sorted(time.waits)
        assert 0 < time.waits[0] < 1 and 10 < time.waits[-1] < 12
        client.get(ACCOUNT, PATH)  # the 91st: not before 90 percent are over
        assert time.waits[-1] == 3_600
    assert len(meta.calls(PATH)) == 91


def test_a_header_of_95_percent_without_an_error_stops_this_account_alone(
    meta: Meta, token: str
) -> None:
    meta.behave(limits={"management": 20})
    time = Waiting(meta)
    with meta.client(token, governor=time.governor(slowest=0, stop_at=95, longest=0)) as client:
        calls_of(meta, lambda: client.get(ACCOUNT, PATH), 19)
        with pytest.raises(ThrottledError):
            client.get(ACCOUNT, PATH)
        assert client.get(f"act_{TOKYO}", f"act_{TOKYO}/campaigns")["data"]
    assert len(meta.calls(PATH)) == 19


def test_points_that_are_used_up_block_the_account_until_they_decay(meta: Meta, token: str) -> None:
    meta.behave(limits={"tier": "development_access"})
    time = Waiting(meta)
    with meta.client(token, governor=time.governor(slow_from=101, stop_at=102)) as client:
        calls_of(meta, lambda: client.get(ACCOUNT, PATH), 61)
    assert time.waits == [300]


def test_a_wait_that_is_too_long_is_not_begun(meta: Meta, token: str) -> None:
    meta.refuse(path=PATH, code=80_004, subcode=LIMIT, minutes=60)
    time = Waiting(meta)
    with meta.client(token, governor=time.governor(longest=900)) as client:
        with pytest.raises(ThrottledError) as raised:
            listed(client)
        assert raised.value.seconds == 3_600 and time.waits == []
        assert client.get(f"act_{TOKYO}", f"act_{TOKYO}")["id"] == f"act_{TOKYO}"


def test_the_limit_of_the_app_stops_all_its_accounts(meta: Meta, token: str) -> None:
    meta.refuse(path=PATH, code=4, status=403)
    time = Waiting(meta)
    with meta.client(token, governor=time.governor(longest=10)) as client:
        for account in (ACCOUNT, f"act_{TOKYO}"):
            with pytest.raises(ThrottledError):
                client.get(account, f"{account}/campaigns")


def test_the_words_of_an_error_name_code_and_trace_alone() -> None:
    told = Fault(100, None, "OAuthException", False, ("budget",), "Abc")
    assert str(error_of(told)) == "Meta: a parameter is wrong: budget (code 100, trace Abc)"
