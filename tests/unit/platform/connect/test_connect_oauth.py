"""Connections by OAuth 2.0: real HTTP to the stand-in, tokens in a real PostgreSQL."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.demo.sandbox.oauth import CLIENT_ID, CLIENT_SECRET, REDIRECTS
from dmp_assets.home import Home, HomeError
from dmp_assets.platform.connect import rotation
from dmp_assets.platform.connect.answer import HttpAnswer
from dmp_assets.platform.connect.errors import (
    AddressError,
    ConnectError,
    MissingScopeError,
    NeedsConsentError,
    RefusedConsentError,
    UnreadableAnswerError,
)
from dmp_assets.platform.connect.http import HttpClient, HttpService
from dmp_assets.platform.connect.keys import KeyRing, SealError, TokenKeys
from dmp_assets.platform.connect.oauth import (
    CLIENT_CREDENTIALS,
    OAuthClient,
    Renewal,
    TokenAnswer,
    Tokens,
    read_tokens,
)
from dmp_assets.platform.connect.paging import by_cursor
from dmp_assets.platform.connect.rotation import rotate
from dmp_assets.platform.connect.tokens import ConnectionCredentials, Connections
from dmp_assets.platform.store import database
from dmp_assets.platform.store.schema import consent_request, service_connection, service_token
from tests.support.docs import ROOT, blocks
from tests.support.oauth import QUICK, Service, browse, running

ACCOUNT = "shop-1"


class Clock:
    """The time, which a test moves."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def pass_(self, **time: float) -> None:
        self.ahead += timedelta(**time)


@pytest.fixture(scope="module")
def _service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("oauth")) as service:
        yield service


@pytest.fixture
def service(_service: Service) -> Service:
    """The stand-in, behaving well."""
    _service.behave()
    _service.faults()
    return _service


@pytest.fixture
def store(store_url: SecretStr) -> Iterator[sa.Engine]:
    engine = database.engine(store_url)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(home: Home) -> KeyRing:
    return KeyRing.of(home)


@pytest.fixture
def connections(store: sa.Engine, ring: KeyRing, clock: Clock) -> Connections:
    return Connections(store, ring, clock=clock)


def consented(connections: Connections, client: OAuthClient, account: str = ACCOUNT) -> Any:
    begun = connections.begin(client, account, REDIRECTS[0])
    return connections.finish(client, begun.cookie, browse(begun.url))


def items(connections: Connections, client: OAuthClient, connection: Any, url: str) -> HttpClient:
    return HttpClient(
        HttpService(
            url=url,
            credentials=ConnectionCredentials(connections, client, connection),
            patience=QUICK,
            timeout=2,
            pace=lambda answer: float(answer.headers.get("x-budget-seconds", 0)),
            loopback_only=True,
        )
    )


def listed(http: HttpClient) -> list[str]:
    def page_at(cursor: str | None) -> dict[str, Any]:
        query = {"after": cursor} if cursor else {}
        return http.get("items", params=query).checked().object()

    pages = by_cursor(page_at, lambda page: page.get("paging", {}).get("after"), most=100)
    return [row["id"] for page in pages for row in page["data"]]


def state_of(store: sa.Engine) -> Any:
    with store.connect() as connection:
        return connection.execute(sa.select(service_connection)).one()


# consent -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("auth", ["basic", "body"])
@pytest.mark.parametrize("pkce", [True, False])
def test_a_consent_gives_tokens_that_open_the_list(
    connections: Connections, service: Service, auth: str, pkce: bool
) -> None:
    client = service.client(client_auth=auth, pkce=pkce, authorize_parameters={"prompt": "x"})
    connection = consented(connections, client)
    with items(connections, client, connection, service.url) as http:
        assert listed(http) == [str(number) for number in range(25)]
    (health,) = connections.health()
    assert (health.service, health.account, health.state) == ("Sandbox", ACCOUNT, "active")
    assert health.scopes == ("items:read",) and health.expires_at is not None


def test_the_consent_page_is_asked_for_the_least_with_state_and_challenge(
    connections: Connections, service: Service
) -> None:
    client = service.client(scopes=("items:read", "items:write"), scope_separator=",")
    urls = [connections.begin(client, ACCOUNT, REDIRECTS[0]).url for _ in range(2)]
    asked = [parse_qs(urlsplit(url).query) for url in urls]
    assert asked[0]["scope"] == ["items:read,items:write"]
    assert asked[0]["redirect_uri"] == [REDIRECTS[0]]
    assert asked[0]["code_challenge_method"] == ["S256"]
    for name in ("state", "code_challenge"):
        assert asked[0][name] != asked[1][name]


def test_an_answer_is_good_once(connections: Connections, service: Service) -> None:
    client = service.client()
    begun = connections.begin(client, ACCOUNT, REDIRECTS[0])
    back = browse(begun.url)
    connections.finish(client, begun.cookie, back)
    with pytest.raises(RefusedConsentError, match="was used"):
        connections.finish(client, begun.cookie, back)


def test_an_answer_opens_nothing_in_another_browser(
    connections: Connections, service: Service, store: sa.Engine
) -> None:
    client = service.client()
    mine, theirs = (connections.begin(client, ACCOUNT, REDIRECTS[0]) for _ in range(2))
    back = browse(theirs.url)
    with pytest.raises(RefusedConsentError, match="not to our question"):
        connections.finish(client, mine.cookie, back)
    for cookie in ("", "nonsense", theirs.cookie[:-4] + "AAAA"):
        with pytest.raises(RefusedConsentError, match="this browser did not begin it"):
            connections.finish(client, cookie, back)
    assert connections.health() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "other"}, "not to our question"),
        ({"state": ""}, "not to our question"),
        ({"state": "ä"}, "not to our question"),
        ({"code": ""}, "no code"),
        ({"code": "made-up"}, "does not take its code"),
        ({"error": "access_denied"}, "access_denied"),
        ({"error": "<script>alert(1)</script>"}, "no reason"),
    ],
)
def test_an_answer_that_is_not_right_connects_nothing(
    connections: Connections, service: Service, change: dict[str, str], said: str
) -> None:
    client = service.client()
    begun = connections.begin(client, ACCOUNT, REDIRECTS[0])
    with pytest.raises(RefusedConsentError, match=said):
        connections.finish(client, begun.cookie, browse(begun.url) | change)
    assert connections.health() == []


def test_an_answer_that_comes_too_late_connects_nothing(
    connections: Connections, service: Service, clock: Clock, store: sa.Engine
) -> None:
    client = service.client()
    begun = connections.begin(client, ACCOUNT, REDIRECTS[0])
    back = browse(begun.url)
    clock.pass_(minutes=11)
    with pytest.raises(RefusedConsentError, match="too old"):
        connections.finish(client, begun.cookie, back)
    connections.begin(client, ACCOUNT, REDIRECTS[0])
    clock.pass_(minutes=11)
    connections.begin(client, ACCOUNT, REDIRECTS[0])
    with store.connect() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(consent_request))
    assert count == 1  # those that are over are swept


def test_a_consent_for_one_account_connects_no_other(
    connections: Connections, service: Service
) -> None:
    client = service.client()
    begun = connections.begin(client, ACCOUNT, REDIRECTS[0])
    before = len(service.calls("token"))
    with pytest.raises(RefusedConsentError, match="for another account"):
        connections.finish(client, begun.cookie, browse(begun.url), account="shop-2")
    assert connections.health() == [] and len(service.calls("token")) == before
    begun = connections.begin(client, ACCOUNT, REDIRECTS[0])
    connections.finish(client, begun.cookie, browse(begun.url), account=ACCOUNT)
    assert connections.health()[0].account == ACCOUNT


def test_a_consent_for_one_service_connects_no_other(
    connections: Connections, service: Service
) -> None:
    begun = connections.begin(service.client(), ACCOUNT, REDIRECTS[0])
    with pytest.raises(RefusedConsentError, match="another service"):
        connections.finish(service.client(name="Other"), begun.cookie, browse(begun.url))


def test_a_person_who_refuses_connects_nothing(connections: Connections, service: Service) -> None:
    service.behave(refuses=True)
    with pytest.raises(RefusedConsentError, match="access_denied"):
        consented(connections, service.client())


def test_a_scope_that_was_not_granted_is_named_and_nothing_is_stored(
    connections: Connections, service: Service
) -> None:
    service.behave(withheld=["items:write"])
    client = service.client(scopes=("items:read", "items:write"))
    with pytest.raises(MissingScopeError, match="without items:write") as error:
        consented(connections, client)
    assert error.value.missing == ("items:write",)
    assert connections.health() == []


def test_an_answer_that_names_no_scopes_granted_what_was_asked(
    connections: Connections, service: Service
) -> None:
    service.behave(silent_scopes=True)
    consented(connections, service.client())
    assert connections.health()[0].scopes == ("items:read",)


@pytest.mark.parametrize(
    "address",
    ["http://dmp.example/callback", "https://dmp.example/callback#x", "https://*.example/", "/c",
     "https://[::1"],
)  # fmt: skip
def test_a_redirect_address_that_others_could_read_is_refused(
    connections: Connections, service: Service, address: str
) -> None:
    with pytest.raises(AddressError, match="redirect address"):
        connections.begin(service.client(), ACCOUNT, address)


def test_a_redirect_address_that_differs_at_the_exchange_is_refused(
    connections: Connections, service: Service, ring: KeyRing
) -> None:
    client = service.client()
    begun = connections.begin(client, ACCOUNT, REDIRECTS[0])
    sealed = ring.load().open("consent", begun.cookie.encode())
    other = sealed.replace(REDIRECTS[0].encode(), REDIRECTS[1].encode())
    forged = ring.load().seal("consent", other).decode()
    with pytest.raises(RefusedConsentError, match="does not take its code"):
        connections.finish(client, forged, browse(begun.url))


def test_connecting_again_is_the_same_connection(
    connections: Connections, service: Service
) -> None:
    client = service.client()
    first, again = (consented(connections, client) for _ in range(2))
    other = consented(connections, client, "shop-2")
    assert first == again != other
    assert len(connections.health()) == 2


# other grants ------------------------------------------------------------------------------------
def test_our_own_credentials_connect_without_a_person(
    connections: Connections, service: Service, clock: Clock
) -> None:
    client = service.client(renewal=CLIENT_CREDENTIALS, client_auth="body")
    connection = connections.connect(client, ACCOUNT)
    first = connections.tokens(client, connection)
    assert first.refresh is None
    clock.pass_(hours=2)
    assert connections.tokens(client, connection).access != first.access


def test_a_client_that_the_service_does_not_know_is_told_so(
    connections: Connections, service: Service
) -> None:
    known = service.client(renewal=CLIENT_CREDENTIALS)
    for wrong in (replace(known, client_id="x"), replace(known, client_secret=SecretStr("y"))):
        with pytest.raises(ConnectError, match="invalid_client") as error:
            connections.connect(wrong, ACCOUNT)
        assert error.value.kind == "invalid_client"


def test_a_short_token_is_exchanged_at_once_by_get(
    connections: Connections, service: Service, clock: Clock
) -> None:
    client = service.client(
        renewal=Renewal("exchange", "token", "access"), renews_at_once=True, exchanges_by="GET",
        rotates=False,
    )  # fmt: skip
    before = len(service.calls("token"))
    connection = consented(connections, client)
    grants = [call["grant"] for call in service.calls("token")[before:]]
    assert grants == ["authorization_code", "exchange"]
    old = connections.tokens(client, connection)
    clock.pass_(minutes=59)
    assert connections.tokens(client, connection).access != old.access


# renewing ----------------------------------------------------------------------------------------
def told(service: Service) -> Callable[[OAuthClient, Tokens], Tokens]:
    """What RFC 7662 tells of a token."""

    def introspect(client: OAuthClient, tokens: Tokens) -> Tokens:
        form = {
            "token": tokens.access,
            "client_id": client.client_id,
            "client_secret": client.client_secret.get_secret_value(),
        }
        with client.http(f"{service.url}/introspect") as http:
            found = http.post(form=form).checked().object()
        if not found["active"]:
            raise NeedsConsentError("the token opens nothing")
        return tokens.model_copy(
            update={
                "scopes": tuple(found["scope"].split()),
                "expires_at": datetime.fromtimestamp(found["exp"], UTC),
                "kind": "person",
                "targets": ("one",),
            }
        )

    return introspect


def test_what_was_granted_is_asked_of_the_service_and_stays_with_renewed_tokens(
    connections: Connections, service: Service, clock: Clock
) -> None:
    service.behave(silent_scopes=True, withheld=["items:write"])
    asked = ("items:read", "items:write")
    with pytest.raises(MissingScopeError) as raised:
        consented(connections, service.client(scopes=asked, introspect=told(service)))
    assert raised.value.missing == ("items:write",)
    client = service.client(introspect=told(service))
    connection = consented(connections, client)
    first = connections.tokens(client, connection)
    assert (first.kind, first.targets, first.scopes) == ("person", ("one",), ("items:read",))
    clock.pass_(minutes=59)
    second = connections.tokens(client, connection)
    assert second.access != first.access
    assert (second.kind, second.targets, second.scopes) == (first.kind, first.targets, first.scopes)


def test_a_token_that_a_person_was_given_is_taken_if_the_service_knows_it(
    connections: Connections, service: Service, clock: Clock
) -> None:
    given = service.client().by_credentials(clock()).access
    client = service.client(introspect=told(service))
    connection = connections.adopt(client, ACCOUNT, SecretStr(given))
    with items(connections, client, connection, service.url) as http:
        assert len(listed(http)) == 25
    assert connections.tokens(client, connection).renew_at is not None
    with pytest.raises(NeedsConsentError):
        connections.adopt(client, "another", SecretStr("unknown"))
    with pytest.raises(MissingScopeError):
        connections.adopt(
            service.client(introspect=told(service), scopes=("items:write",)),
            "another", SecretStr(given),
        )  # fmt: skip
    with pytest.raises(ConnectError, match="takes no token by hand"):
        connections.adopt(service.client(), "another", SecretStr(given))
    assert [one.account for one in connections.health()] == [ACCOUNT]


def test_a_grant_is_given_back_as_the_service_wants_it(
    connections: Connections, service: Service
) -> None:
    gone: list[str] = []
    client = service.client(revoke=lambda own, tokens: gone.append(tokens.access))
    connection = consented(connections, client)
    access = connections.tokens(client, connection).access
    connections.forget(client, connection)
    assert gone == [access] and list(connections.health()) == []


def test_a_token_is_renewed_before_its_end_and_not_before_it_must(
    connections: Connections, service: Service, clock: Clock
) -> None:
    client = service.client(margin=120)
    connection = consented(connections, client)
    first = connections.tokens(client, connection)
    clock.pass_(minutes=57)
    assert connections.tokens(client, connection).access == first.access
    clock.pass_(minutes=1.1)
    second = connections.tokens(client, connection)
    assert second.access != first.access and second.refresh != first.refresh


def test_a_token_without_a_lifetime_is_not_taken_to_last_for_ever(
    connections: Connections, service: Service, clock: Clock
) -> None:
    service.behave(lifetime=None)
    client = service.client(lifetime=600.0)
    connection = consented(connections, client)
    first = connections.tokens(client, connection)
    clock.pass_(minutes=11)
    assert connections.tokens(client, connection).access != first.access


def test_many_at_once_renew_once(
    connections: Connections, service: Service, clock: Clock, store: sa.Engine, ring: KeyRing
) -> None:
    client = service.client()
    connection = consented(connections, client)
    clock.pass_(hours=2)
    service.faults({"kind": "slow", "method": "token", "seconds": 0.3})
    before = len(service.calls("token"))
    others = Connections(store, ring, clock=clock)  # as another process would
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda it: it.tokens(client, connection).access, [connections, others] * 4)
        )
    assert len(set(found)) == 1
    assert len(service.calls("token")) == before + 1


def test_new_tokens_that_could_not_be_stored_are_used_by_nobody(
    connections: Connections, service: Service, clock: Clock, store: sa.Engine
) -> None:
    service.behave(grace=True)
    client = service.client()
    connection = consented(connections, client)
    old = connections.tokens(client, connection)
    clock.pass_(hours=2)
    before, asked = _sealed(store), len(service.calls("token"))

    def refuse(_: sa.Connection) -> None:
        raise ConnectionAbortedError("the disk is full")

    sa.event.listen(store, "commit", refuse)
    with pytest.raises(ConnectionAbortedError):
        connections.tokens(client, connection)
    sa.event.remove(store, "commit", refuse)
    assert len(service.calls("token")) == asked + 1
    assert _sealed(store) == before
    new = connections.tokens(client, connection)  # the old one is still good for it
    assert new.refresh != old.refresh


def _sealed(store: sa.Engine) -> bytes:
    with store.connect() as connection:
        return bytes(connection.scalar(sa.select(service_token.c.sealed)))


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop"},
        {"kind": "truncated"},
        {"kind": "slow", "seconds": 3.0, "after": True},
    ],
    ids=["drop", "truncated", "slow"],
)
def test_a_lost_answer_leaves_the_old_token_usable(
    connections: Connections, service: Service, clock: Clock, store: sa.Engine, fault: dict
) -> None:
    service.behave(grace=True)
    client = service.client(timeout=0.5)
    connection = consented(connections, client)
    old = connections.tokens(client, connection)
    clock.pass_(hours=2)
    service.faults({"method": "token"} | fault)
    before = len(service.calls("token"))
    with pytest.raises(ConnectError) as error:
        connections.tokens(client, connection)
    assert not isinstance(error.value, NeedsConsentError)
    assert len(service.calls("token")) == before + 1  # not asked for blindly again
    row = state_of(store)
    assert (row.state, row.last_failure_kind) == ("active", error.value.kind)
    service.faults()
    new = connections.tokens(client, connection)
    assert new.access != old.access and new.refresh != old.refresh


def test_while_a_renewal_fails_a_token_that_is_still_good_is_used(
    connections: Connections, service: Service, clock: Clock, store: sa.Engine
) -> None:
    client = service.client(margin=600)
    connection = consented(connections, client)
    old = connections.tokens(client, connection)
    clock.pass_(minutes=55)
    service.faults({"kind": "500", "method": "token", "times": 9})
    assert connections.tokens(client, connection).access == old.access
    assert state_of(store).last_failure_kind == "status 500"
    clock.pass_(minutes=6)
    with pytest.raises(ConnectError, match="answers 500"):
        connections.tokens(client, connection)


def test_a_refresh_token_that_somebody_else_used_ends_the_consent(
    connections: Connections, service: Service, clock: Clock, store: sa.Engine
) -> None:
    client = service.client()
    connection = consented(connections, client)
    stolen = connections.tokens(client, connection)
    client.renewed(stolen, clock())
    clock.pass_(hours=2)
    with pytest.raises(NeedsConsentError, match="connect it anew"):
        connections.tokens(client, connection)
    row = state_of(store)
    assert (row.state, row.last_failure_kind) == ("needs_consent", "invalid_grant")
    before = len(service.calls("token"))
    with pytest.raises(NeedsConsentError):
        connections.tokens(client, connection)
    assert len(service.calls("token")) == before  # nobody is asked for nothing
    assert consented(connections, client) == connection
    assert state_of(store).state == "active" and state_of(store).last_failure_kind is None


def test_a_connector_tells_health_and_when_only_a_person_can_help(
    connections: Connections, service: Service, store: sa.Engine
) -> None:
    client = service.client()
    connection = consented(connections, client)
    connections.note_success(connection)
    assert state_of(store).last_success_at is not None
    connections.note_failure(connection, UnreadableAnswerError("not for the store"))
    row = state_of(store)
    assert (row.state, row.last_failure_kind) == ("active", "unreadable")
    assert connections.tokens(client, connection).access
    connections.note_failure(connection, NeedsConsentError("taken back", "code 190"))
    row = state_of(store)
    assert (row.state, row.last_failure_kind) == ("needs_consent", "code 190")
    with pytest.raises(NeedsConsentError):
        connections.tokens(client, connection)


def test_a_failure_of_a_token_that_was_replaced_meanwhile_ends_nothing(
    connections: Connections, service: Service, store: sa.Engine
) -> None:
    client = service.client()
    old = connections.tokens(client, consented(connections, client)).access
    connection = consented(connections, client)
    new = connections.tokens(client, connection).access
    assert new != old
    error = NeedsConsentError("taken back", "code 190")
    connections.note_failure(connection, error, refused=old)
    assert connections.tokens(client, connection).access == new
    connections.note_failure(connection, error, refused=new)
    assert state_of(store).state == "needs_consent"


def test_a_consent_and_a_renewal_at_once_wait_for_each_other(
    connections: Connections, service: Service, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both lock the token first, then its connection: neither has what the other waits for."""
    client = service.client()
    connection = consented(connections, client)
    clock.pass_(hours=2)
    renewing, go_on = threading.Event(), threading.Event()
    renewed = OAuthClient.renewed

    def slowly(self: OAuthClient, *given: Any) -> Tokens:
        renewing.set()
        assert go_on.wait(30)
        return renewed(self, *given)

    monkeypatch.setattr(OAuthClient, "renewed", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(connections.tokens, client, connection)
        assert renewing.wait(30)
        second = pool.submit(consented, connections, client)
        with pytest.raises(TimeoutError):
            second.result(1)
        go_on.set()
        assert first.result(30).access
        assert second.result(30) == connection


def test_a_service_says_itself_what_a_dead_grant_is(
    connections: Connections, service: Service, clock: Clock
) -> None:
    def refused(answer: HttpAnswer) -> bool:
        return answer.status in (400, 401)

    client = service.client(is_dead=refused)
    connection = consented(connections, client)
    clock.pass_(hours=2)
    with pytest.raises(NeedsConsentError):
        connections.tokens(replace(client, client_secret=SecretStr("x")), connection)


def test_a_scope_that_was_taken_back_is_named(
    connections: Connections, service: Service, clock: Clock, store: sa.Engine
) -> None:
    client = service.client()
    connection = consented(connections, client)
    service.behave(withheld=["items:read"])
    clock.pass_(hours=2)
    with pytest.raises(MissingScopeError, match="items:read"):
        connections.tokens(client, connection)
    assert state_of(store).last_failure_kind == "scope missing"


def test_a_refresh_token_that_stays_is_kept(
    connections: Connections, service: Service, clock: Clock
) -> None:
    service.behave(rotates=False)
    client = service.client(rotates=False)
    connection = consented(connections, client)
    first = connections.tokens(client, connection)
    clock.pass_(hours=2)
    service.faults({"kind": "drop", "method": "token"})  # may be asked again
    second = connections.tokens(client, connection)
    assert second.refresh == first.refresh and second.access != first.access


def test_forgetting_revokes_and_deletes(
    connections: Connections, service: Service, clock: Clock, store: sa.Engine
) -> None:
    client = service.client()
    connection = consented(connections, client)
    tokens = connections.tokens(client, connection)
    connections.forget(client, connection)
    assert connections.health() == []
    with pytest.raises(NeedsConsentError):
        client.renewed(tokens, clock())
    again = consented(connections, client)
    service.faults({"kind": "500", "method": "revoke", "times": 9})
    with pytest.raises(ConnectError):
        connections.forget(client, again)
    assert connections.health() == []


# the list, with all that goes wrong --------------------------------------------------------------
@pytest.mark.parametrize("kind", ["429", "500", "slow", "truncated", "drop", "token_expired"])
@pytest.mark.parametrize("manner", [{}, {"empty_page": True}])
def test_a_list_is_read_whole_whatever_goes_wrong_once(
    connections: Connections, service: Service, kind: str, manner: dict[str, Any]
) -> None:
    client = service.client()
    connection = consented(connections, client)
    service.behave(**manner)
    wait = {"seconds": 2.5} if kind == "slow" else {"retry_after": 0}
    with items(connections, client, connection, service.url) as http:
        http.get("items")
        service.faults({"kind": kind, "method": "items"} | wait)
        try:
            found = listed(http)
        except UnreadableAnswerError:
            assert kind == "truncated"  # whole by HTTP's word: who reads says what it is
            found = listed(http)
    left_out = range(10, 20) if manner.get("empty_page") else ()
    assert found == [str(number) for number in range(25) if number not in left_out]


@pytest.mark.parametrize("cursor", ["repeats", "never"])
def test_a_list_that_does_not_end_is_given_up(
    connections: Connections, service: Service, cursor: str
) -> None:
    client = service.client()
    connection = consented(connections, client)
    service.behave(cursor=cursor)
    with (
        items(connections, client, connection, service.url) as http,
        pytest.raises(ConnectError, match=r"same cursor|more than 100 pages"),
    ):
        listed(http)


def test_a_writing_request_with_a_token_that_has_ended_is_done_once(
    connections: Connections, service: Service
) -> None:
    client = service.client()
    connection = consented(connections, client)
    with items(connections, client, connection, service.url) as http:
        before = http.post("items", json={"id": "a"}).checked().object()["id"]
        service.faults({"kind": "token_expired", "method": "items"})
        assert http.post("items", json={"id": "b"}).checked().object()["id"] == before + 1


def test_the_connector_of_the_page_reads_everything(
    connections: Connections, service: Service
) -> None:
    """The code of "A source behind OAuth" in docs/extending.md, as it stands there."""
    code = next(
        block.text for block in blocks(ROOT / "docs" / "extending.md")
        if "ConnectionCredentials" in block.text
    )  # fmt: skip
    connector: dict[str, Any] = {}
    exec(compile(code, "extending.md", "exec"), connector)
    client = replace(service.client(), service=connector["oauth"](service.url))
    connection = consented(connections, client)
    credentials = ConnectionCredentials(connections, client, connection)
    service.faults({"kind": "token_expired", "method": "items"}, {"kind": "500", "method": "items"})
    rows = list(connector["invoices"](service.url, credentials))
    assert [row["id"] for row in rows] == [str(number) for number in range(25)]
    late = HttpAnswer(200, httpx.Headers(), b'{"code": "THROTTLED"}', "", "")
    assert connector["_throttled"](late) == 1.0


# what is stored ----------------------------------------------------------------------------------
def test_nothing_stored_shown_or_said_holds_a_token(
    connections: Connections, service: Service, clock: Clock, store: sa.Engine
) -> None:
    client = service.client()
    begun = connections.begin(client, ACCOUNT, REDIRECTS[0])
    connection = connections.finish(client, begun.cookie, browse(begun.url))
    tokens = connections.tokens(client, connection)
    told = [repr(tokens), str(tokens), f"{tokens}", repr(client), repr(connections.health())]
    told.append(repr(TokenAnswer(SecretStr(tokens.access), SecretStr(str(tokens.refresh)))))
    for table in (service_connection, service_token, consent_request):
        with store.connect() as rows:
            told += [repr(row) for row in rows.execute(sa.select(table))]
    clock.pass_(hours=2)
    service.faults({"kind": "500", "method": "token", "times": 9})
    with pytest.raises(ConnectError) as error:
        connections.tokens(client, connection)
    told += [str(error.value), repr(error.value)]
    for secret in (tokens.access, str(tokens.refresh), CLIENT_SECRET, begun.cookie):
        assert secret not in "".join(told)


def test_a_ciphertext_in_another_row_opens_nothing(
    connections: Connections, service: Service, store: sa.Engine
) -> None:
    client = service.client()
    mine, theirs = (consented(connections, client, name) for name in ("a", "b"))
    with store.begin() as connection:
        sealed = sa.select(service_token.c.sealed).where(service_token.c.connection_id == theirs)
        connection.execute(
            service_token.update()
            .where(service_token.c.connection_id == mine)
            .values(sealed=sealed.scalar_subquery())
        )
    with pytest.raises(SealError, match="belongs to something else"):
        connections.tokens(client, mine)
    assert connections.tokens(client, theirs).access


@pytest.mark.parametrize("purpose", ["consent", "connection x", ""])
def test_what_is_sealed_for_one_purpose_opens_for_no_other(ring: KeyRing, purpose: str) -> None:
    keys = ring.load()
    sealed = keys.seal("connection y", b"token")
    assert keys.open("connection y", sealed) == b"token"
    with pytest.raises(SealError):
        keys.open(purpose, sealed)
    with pytest.raises(SealError):
        keys.open("connection y", sealed[:-2])


# keys --------------------------------------------------------------------------------------------
def test_a_generated_key_is_made_once_and_for_its_owner_alone(home: Home) -> None:
    first, again = KeyRing.of(home).load(), KeyRing.of(home).load()
    assert first.ids == again.ids
    assert oct((home.secrets / "token_keys").stat().st_mode)[-3:] == "600"


def test_of_two_who_make_the_key_at_once_one_is_kept(home: Home) -> None:
    for _ in range(20):
        ring, together = KeyRing.of(home), threading.Barrier(4)

        def load(_: int, ring: KeyRing = ring, together: threading.Barrier = together) -> TokenKeys:
            together.wait()
            return ring.load()

        with ThreadPoolExecutor(4) as pool:
            found = {keys.ids for keys in pool.map(load, range(4))}
        assert len(found) == 1
        assert [path.name for path in home.secrets.iterdir()] == ["token_keys"]
        ring.path.unlink()


def test_a_generated_key_does_not_do_for_a_home_that_others_reach(home: Home) -> None:
    served = replace(KeyRing.of(home), served=("0.0.0.0",))
    with pytest.raises(HomeError, match="set DMP_TOKEN_KEYS"):
        served.load()
    assert not served.path.exists()


def test_a_file_that_holds_no_keys_is_named_and_not_quoted(home: Home) -> None:
    ring = KeyRing.of(home)
    ring.load()
    ring.path.write_text("hunter2")
    with pytest.raises(HomeError) as error:
        ring.load()
    assert "token_keys" in str(error.value) and "hunter2" not in str(error.value)


def test_rotation_seals_everything_anew_and_drops_the_old_key(
    connections: Connections, service: Service, store: sa.Engine, ring: KeyRing
) -> None:
    client = service.client()
    found = [consented(connections, client, f"shop-{n}") for n in range(5)]
    before = [connections.tokens(client, one).access for one in found]
    (old,) = ring.load().ids
    assert rotate(store, ring) == 5
    (new,) = ring.load().ids
    assert new != old
    assert [connections.tokens(client, one).access for one in found] == before
    with store.connect() as rows:
        assert set(rows.scalars(sa.select(service_token.c.key_id))) == {new}


def test_a_rotation_that_was_stopped_is_finished_by_the_next(
    connections: Connections, service: Service, store: sa.Engine, ring: KeyRing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    client = service.client()
    found = [consented(connections, client, f"shop-{n}") for n in range(4)]
    real, calls = rotation._rotate_next, []

    def stopped(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(rotation, "_rotate_next", stopped)
        with pytest.raises(KeyboardInterrupt):
            rotate(store, ring)
    assert len(ring.load().ids) == 2
    for one in found:
        assert connections.tokens(client, one).access
    assert rotate(store, ring) == 2
    assert len(ring.load().ids) == 1
    for one in found:
        assert connections.tokens(client, one).access


def test_who_reads_and_renews_during_rotations_never_fails(
    connections: Connections, service: Service, store: sa.Engine, ring: KeyRing, clock: Clock,
    store_url: SecretStr,
) -> None:  # fmt: skip
    client = service.client()
    found = [consented(connections, client, f"shop-{n}") for n in range(3)]
    over = threading.Event()
    count = [0]

    def use() -> None:
        while not over.is_set():
            for one in found:
                connections.tokens(client, one)
                count[0] += 1
            clock.pass_(hours=2)

    other = database.engine(store_url)
    with ThreadPoolExecutor(2) as pool:
        users = [pool.submit(use) for _ in range(2)]
        end = time.monotonic() + 4
        rounds = 0
        while time.monotonic() < end:
            rotate(other, ring)
            rounds += 1
        over.set()
        for user in users:
            user.result()
    other.dispose()
    assert rounds > 3 and count[0] > 10
    assert len(ring.load().ids) == 1


@dataclass(frozen=True)
class SlowRing(KeyRing):
    """Lets others go on between reading and writing its file."""

    seconds: float = 0.0

    def _write(self, keys: Sequence[str]) -> None:
        time.sleep(self.seconds)
        super()._write(keys)


def test_two_rotations_at_once_lose_no_key(
    connections: Connections, service: Service, store: sa.Engine, ring: KeyRing
) -> None:
    client = service.client()
    found = [consented(connections, client, f"shop-{n}") for n in range(3)]
    before = [connections.tokens(client, one).access for one in found]
    with ThreadPoolExecutor(2) as pool:
        rings = [SlowRing(ring.path, seconds=seconds) for seconds in (0.2, 0.8)]
        for done in [pool.submit(rotate, store, slow) for slow in rings]:
            done.result()
    assert [connections.tokens(client, one).access for one in found] == before
    assert len(ring.load().ids) == 1


@dataclass(frozen=True)
class OvertakenRing(KeyRing):
    """Another process rotates whenever this one is about to read its keys, so many times."""

    rotations: list[Callable[[], object]] = field(default_factory=list)

    def load(self) -> TokenKeys:
        if self.rotations:
            self.rotations.pop()()
        return super().load()


@pytest.mark.parametrize("times", [1, 2])
def test_a_rotation_between_row_and_keys_is_read_again(
    connections: Connections, service: Service, store: sa.Engine, ring: KeyRing, times: int
) -> None:
    client = service.client()
    connection = consented(connections, client)
    overtaken = OvertakenRing(ring.path, rotations=[lambda: rotate(store, ring)] * times)
    assert Connections(store, overtaken).tokens(client, connection).access
    assert overtaken.rotations == []


def test_keys_of_a_setting_are_rotated_by_putting_a_new_one_first(
    service: Service, store: sa.Engine, ring: KeyRing, clock: Clock
) -> None:
    old, new = ("YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=",
                "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=")  # fmt: skip
    client = service.client()
    rings = [replace(ring, configured=SecretStr(text)) for text in (old, f"{new},{old}", new)]
    users = [Connections(store, one, clock=clock) for one in rings]
    connection = consented(users[0], client)
    with pytest.raises(SealError, match="DMP_TOKEN_KEYS"):
        users[2].tokens(client, connection)
    with pytest.raises(SealError, match="1 connections have tokens that no key opens"):
        rotate(store, rings[2])
    assert users[1].tokens(client, connection).access
    assert rotate(store, rings[1]) == 1
    assert rotate(store, rings[1]) == 0
    assert users[2].tokens(client, connection).access
    assert TokenKeys([new]).newest != TokenKeys([old]).newest


# reading answers ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": "a\nb"},
        {"access_token": "a", "token_type": "mac"},
        {"access_token": "a", "expires_in": "soon"},
        {"access_token": "a", "expires_in": -1},
        {"access_token": "a", "expires_in": True},
        {"access_token": "a", "expires_in": "nan"},
        {"access_token": "a", "refresh_token": ["r"]},
        {"access_token": "a", "scope": ["x"]},
    ],
)
def test_a_token_answer_that_makes_no_sense_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no |not ") as error:
        read_tokens(answer)
    assert "a\nb" not in str(error.value)


def test_a_token_answer_is_read_as_services_write_it() -> None:
    found = read_tokens(
        {"access_token": "a", "scope": "x,y z", "expires_in": "3600", "token_type": "BEARER",
         "refresh_token": "r", "refresh_token_expires_in": 7776000}
    )  # fmt: skip
    assert found.scopes == ("x", "y", "z") and found.expires_in == 3600
    assert found.refresh_expires_in == 7776000 and "SecretStr('**********')" in repr(found)


def test_a_sandbox_home_asks_no_service_outside(connections: Connections, service: Service) -> None:
    outside = service.client(token_endpoint="https://api.example.com/token")
    with pytest.raises(AddressError, match="a sandbox home does not reach"):
        connections.connect(outside, ACCOUNT)


def test_tokens_are_kept_whole_by_the_store(clock: Clock) -> None:
    now = clock()
    tokens = Tokens(
        access="a", refresh=None, renew_at=None, expires_at=now, consent_ends_at=None, scopes=("x",)
    )
    assert Tokens.model_validate_json(tokens.model_dump_json()) == tokens
    assert tokens.is_fresh(now) and not tokens.is_valid(now)
    assert CLIENT_ID not in repr(tokens)
