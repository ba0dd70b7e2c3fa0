"""The sandbox's IHC service over real HTTP: as strict as its contract, with real credits."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.demo.sandbox.ihc import (
    CONVERSION_TYPE,
    MAX_BYTES,
    WEIGHTS,
    IhcSandbox,
    Rule,
    Rules,
    Session,
    credit,
)
from dmp_assets.demo.sandbox.server import Endpoint, Sandbox
from dmp_assets.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").prepare("sandbox")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    home = Home(tmp_path_factory.mktemp("ihc") / "home").prepare("sandbox")
    with Sandbox(home, (IhcSandbox,)).running() as endpoint:
        yield endpoint


def session(name: str = "c1", place: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "conversion_id": name,
        "session_id": f"s{place}",
        "timestamp": f"2024-03-18 {place % 24:02}:00:00",
        "channel_label": "Direct",
        "holder_engagement": 1,
        "closer_engagement": 1,
        "conversion": 1,
        "impression_interaction": 0,
    } | more


def ask(
    endpoint: Endpoint,
    sessions: Any,
    *,
    key: str | None = None,
    conversion_type: str = CONVERSION_TYPE,
    **more: Any,
) -> tuple[int, dict[str, Any]]:
    """Status and body of an answer."""
    request = urllib.request.Request(
        f"{endpoint.url}/ihc/v1/compute_ihc?conv_type_id={conversion_type}",
        data=json.dumps({"customer_journeys": sessions} | more).encode(),
        headers={"x-api-key": endpoint.settings["ihc_api_key"] if key is None else key},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def behave(endpoint: Endpoint, body: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"{endpoint.url}/ihc/_sandbox/behaviour", data=json.dumps(body).encode()
    )
    urllib.request.urlopen(request).close()


def calls(endpoint: Endpoint) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{endpoint.url}/ihc/_sandbox/calls") as answer:
        return list(json.load(answer))


def test_an_answer_has_the_shape_of_the_contract(endpoint: Endpoint) -> None:
    status, answer = ask(endpoint, [session(place=0), session(place=1), session("c2")])
    assert (status, answer["statusCode"], answer["partialFailureErrors"]) == (200, 200, [])
    assert [(r["conversion_id"], r["session_id"]) for r in answer["value"]] == [
        ("c1", "s0"), ("c1", "s1"), ("c2", "s0"),
    ]  # fmt: skip
    assert answer["value"][2] == {
        "conversion_id": "c2", "session_id": "s0",
        "initializer": 1.0, "holder": 0.0, "closer": 1.0, "ihc": 1.0,
    }  # fmt: skip


def test_a_call_without_the_right_key_is_refused(endpoint: Endpoint) -> None:
    assert ask(endpoint, [session()], key="")[0] == 403
    assert ask(endpoint, [session()], key="wrong")[0] == 403


@pytest.mark.parametrize(
    ("sessions", "problem"),
    [
        ([], "customer_journeys"),
        ([session(timestamp="18.03.2024")], "customer_journeys.0.timestamp"),
        ([session(timestamp="2024-03-18 25:00:00")], "c1: hour must be in"),
        ([session(), session("c2", closer_engagement=2)], "customer_journeys.1.closer_engagement"),
        ([session(user_id="u1")], "customer_journeys.0.user_id"),
        ([session(), session()], "c1 holds a session twice"),
        ([session(conversion=0)], "c1 has no session that converts"),
        ([session(f"c{i}") for i in range(101)], "101 journeys"),
    ],
)  # fmt: skip
def test_invalid_input_is_refused_and_named(
    endpoint: Endpoint, sessions: list[dict[str, Any]], problem: str
) -> None:
    status, answer = ask(endpoint, sessions)
    assert (status, answer["statusCode"]) == (400, 400)
    assert problem in answer["message"]


def test_an_unknown_conversion_type_and_wrong_redistribution_are_refused(
    endpoint: Endpoint,
) -> None:
    assert ask(endpoint, [session()], conversion_type="other")[0] == 400
    status, answer = ask(endpoint, [session()], redistribution_parameter={"holder": {}})
    assert status == 400 and "redistribution_parameter" in answer["message"]


def test_requests_beyond_the_limits_are_too_large(endpoint: Endpoint) -> None:
    many = [session(place=place) for place in range(3_001)]
    assert ask(endpoint, many)[0] == 413
    assert ask(endpoint, [session(channel_label="x" * MAX_BYTES)])[0] == 413


def test_calls_and_what_they_asked_about_stay_for_the_next_run(home: Home) -> None:
    for name in ("first", "second"):
        with Sandbox(home, (IhcSandbox,)).running() as endpoint:
            ask(endpoint, [session(name), session(name, 1)])
            ask(endpoint, [], key="wrong")
            found = calls(endpoint)
            page = urllib.request.urlopen(endpoint.url).read().decode()
    assert [(c["conversions"], c["sessions"], c["status"]) for c in found] == [
        (["first"], 2, 200), ([], 0, 403), (["second"], 2, 200), ([], 0, 403),
    ]  # fmt: skip
    assert IhcSandbox(home.sandbox).calls() == found
    assert "4 requests, 2 answered" in page


def test_it_misbehaves_as_often_as_it_is_told(endpoint: Endpoint) -> None:
    sessions = [session("c1"), session("c2")]

    def next_answer(kind: str) -> tuple[int, dict[str, Any]]:
        behave(endpoint, {"kind": kind, "times": 1})
        told = ask(endpoint, sessions)
        assert ask(endpoint, sessions)[0] == 200
        return told

    for kind in ("400", "401", "413", "429", "500"):
        assert next_answer(kind)[0] == int(kind)
    status, partial = next_answer("partial")
    assert (status, partial["statusCode"], len(partial["value"])) == (206, 206, 1)
    assert partial["partialFailureErrors"][0]["conversion_id"] == "c1"
    assert [r["conversion_id"] for r in next_answer("half")[1]["value"]] == ["c1"]
    assert next_answer("foreign")[1]["value"][0]["conversion_id"] == "another-c1"
    assert next_answer("sums")[1]["value"][0]["ihc"] == 0.98
    with pytest.raises(json.JSONDecodeError):
        next_answer("malformed")


def test_unknown_behaviour_is_refused(endpoint: Endpoint) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        behave(endpoint, {"kind": "gremlin"})
    assert caught.value.code == 422


# credits ----------------------------------------------------------------------------------------
@st.composite
def a_journey(draw: st.DrawFn) -> list[Session]:
    flag = st.integers(0, 1)
    return [
        Session(
            conversion_id="c",
            session_id=str(place),
            timestamp=f"2024-03-{draw(st.integers(1, 31)):02} 10:00:00",
            channel_label=draw(st.sampled_from("ABC")),
            holder_engagement=draw(flag),
            closer_engagement=draw(flag),
            conversion=1,
            impression_interaction=draw(flag),
        )
        for place in range(draw(st.integers(1, 12)))
    ]


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    names = ("earlier_sessions_only", "any_session", "later_sessions_only")
    return Rules(
        **{
            part: Rule(
                direction=draw(st.sampled_from(names)),
                receive_threshold=draw(st.floats(0, 1)),
                redistribution_channel_labels=draw(st.lists(st.sampled_from("ABC"))),
            )
            for part in ("initializer", "holder", "closer")
        }
    )


@settings(max_examples=150, deadline=None)
@given(sessions=a_journey(), redistribution=st.none() | rules())
def test_credits_sum_to_one_and_holder_to_one_or_nothing(
    sessions: list[Session], redistribution: Rules | None
) -> None:
    rows = credit(sessions, redistribution)
    sums = {
        name: round(sum(row[name] for row in rows), 9)
        for name in ("initializer", "holder", "closer", "ihc")
    }
    assert sums.pop("holder") in (0, 1)
    assert set(sums.values()) == {1}
    assert all(0 <= row[name] <= 1 for row in rows for name in sums)
    assert sorted(row["session_id"] for row in rows) == sorted(s.session_id for s in sessions)


def test_ihc_weighs_the_parts_and_leaves_out_a_holder_without_credit() -> None:
    def made(holder: int) -> list[Session]:
        return [
            Session(**session(place=0, holder_engagement=holder, closer_engagement=0)),
            Session(**session(place=1, holder_engagement=0)),
        ]

    initializer, holder, closer = WEIGHTS
    with_holder, without = credit(made(1))[0], credit(made(0))[0]
    assert (with_holder["holder"], with_holder["closer"]) == (1, 0)
    parts = initializer * with_holder["initializer"] + holder
    assert with_holder["ihc"] == pytest.approx(parts, abs=1e-4)
    alone = initializer * without["initializer"] / (initializer + closer)
    assert without["ihc"] == pytest.approx(alone, abs=1e-4)


def test_redistributed_credit_goes_in_the_given_direction_to_those_above_the_threshold() -> None:
    def closer_credit(direction: str, threshold: float) -> list[float]:
        rule = {"direction": direction, "receive_threshold": threshold}
        give = rule | {"redistribution_channel_labels": ["TV"]}
        keep = rule | {"redistribution_channel_labels": []}
        made = [
            Session(**session(place=place, channel_label=label))
            for place, label in enumerate(["Mail", "TV", "Mail", "Search"])
        ]
        redistribution = Rules.model_validate({"initializer": keep, "holder": keep, "closer": give})
        return [row["closer"] for row in credit(made, redistribution)]

    plain = closer_credit("any_session", 1.0)
    assert plain[1] > 0
    for direction, receivers in (
        ("earlier_sessions_only", {0}),
        ("later_sessions_only", {2, 3}),
        ("any_session", {0, 2, 3}),
    ):
        changed = closer_credit(direction, 0.0)
        assert changed[1] == 0
        grown = {place for place in range(4) if changed[place] > plain[place] + 1e-9}
        assert grown == receivers
