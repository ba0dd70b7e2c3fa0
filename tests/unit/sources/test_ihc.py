"""The client of the IHC service over real HTTP: nothing lost, nothing paid for twice."""

import json
import math
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from dmp_assets.demo.sandbox.ihc import IhcSandbox
from dmp_assets.demo.sandbox.server import Endpoint, Sandbox
from dmp_assets.home import Home
from dmp_assets.sources.ihc.answers import (
    CREDITS,
    Answer,
    AnswerError,
    AnswerStore,
    Row,
    check_sums,
    judge,
    parse,
    unnamed,
)
from dmp_assets.sources.ihc.client import Attribution, IhcConfig, compute
from dmp_assets.sources.ihc.journeys import (
    IhcError,
    Journey,
    Redistribute,
    Redistribution,
    batches,
    export_training,
    split_journeys,
)

ROOT = Path(__file__).resolve().parents[3]
RECORDED = ROOT.parent / "shared/data/ihc"
START = datetime(2024, 3, 18, 8, tzinfo=UTC)
CHANNELS = ("Brand search", "Newsletter", "Direct, Größe XL")
Behave = Callable[..., None]
Calls = Callable[[], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    home = Home(tmp_path_factory.mktemp("ihc") / "home").prepare("sandbox")
    with Sandbox(home, (IhcSandbox,)).running() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(server: Endpoint) -> Endpoint:
    """The sandbox, behaving well."""
    post(f"{server.url}/ihc/_sandbox/behaviour", {})
    post(f"{server.url}/_sandbox/faults", [])
    return server


@pytest.fixture
def config(endpoint: Endpoint) -> IhcConfig:
    return IhcConfig(
        url=endpoint.settings["ihc_url"],
        api_key=SecretStr(endpoint.settings["ihc_api_key"]),
        conversion_type=endpoint.settings["ihc_conversion_type"],
        max_journeys=10,
        pause=0.001,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnswerStore]:
    with AnswerStore(tmp_path / "answers") as store:
        yield store


@pytest.fixture
def behave(endpoint: Endpoint) -> Behave:
    def set_behaviour(kind: str, **more: Any) -> None:
        post(f"{endpoint.url}/ihc/_sandbox/behaviour", {"kind": kind} | more)

    return set_behaviour


@pytest.fixture
def faulty(endpoint: Endpoint) -> Behave:
    def set_faults(*faults: dict[str, Any]) -> None:
        post(f"{endpoint.url}/_sandbox/faults", faults)

    return set_faults


@pytest.fixture
def calls(endpoint: Endpoint) -> Calls:
    """The requests that the sandbox received during the test."""

    def received() -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{endpoint.url}/ihc/_sandbox/calls") as answer:
            return list(json.load(answer))

    before = len(received())
    return lambda: received()[before:]


def post(url: str, body: Any) -> None:
    request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")
    urllib.request.urlopen(request).close()


def journeys(sizes: Sequence[int], first: int = 0) -> pa.Table:
    """Journeys of these sizes; sessions are an hour apart and shared by neighbouring journeys."""
    rows = [
        {
            "conv_id": f"c{first + number:04}",
            "session_id": f"s{first + number + place}",
            "timestamp": START + timedelta(hours=place),
            "channel_name": CHANNELS[(number + place) % 3],
            "holder_engagement": place % 2 == 1,
            "closer_engagement": place == size - 1,
            "impression_interaction": place == 0,
        }
        for number, size in enumerate(sizes)
        for place in range(size)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


SCHEMA = pa.schema(
    [
        ("conv_id", pa.string()),
        ("session_id", pa.string()),
        ("timestamp", pa.timestamp("us", "UTC")),
        ("channel_name", pa.string()),
        ("holder_engagement", pa.bool_()),
        ("closer_engagement", pa.bool_()),
        ("impression_interaction", pa.bool_()),
    ]
)


def credited(result: Attribution) -> set[str]:
    return set(result.credits["conv_id"].to_pylist())


def assert_nothing_is_lost(table: pa.Table, result: Attribution) -> None:
    """Every conversion is in one place, and what has credits has them whole."""
    parts = [credited(result), set(result.failed), set(result.oversized)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert set.union(*parts) == set(table["conv_id"].to_pylist())
    whole = table.filter(pc.is_in(table["conv_id"], pa.array(sorted(parts[0]), pa.string())))
    ids = ["conv_id", "session_id"]
    assert result.credits.select(ids).equals(whole.select(ids))
    named = result.credits.rename_columns(["conversion_id", "session_id", *CREDITS])
    assert check_sums(Row(**row) for row in named.to_pylist()) == {}


# recordings of the real service -----------------------------------------------------------------
def recorded() -> list[dict[str, Any]]:
    return list(json.loads((RECORDED / "recorded_responses.json").read_text()))


@pytest.mark.given_data
def test_recorded_answers_are_read_unchanged() -> None:
    rows = 0
    for answer in recorded():
        read = parse(json.dumps(answer).encode())
        assert read.model_dump() == answer
        rows += len(read.rows)
    assert rows == 3_709


@pytest.mark.given_data
def test_recorded_journeys_that_were_split_over_requests_are_found_by_their_sums() -> None:
    answers = [parse(json.dumps(answer).encode()).rows for answer in recorded()]
    requests: dict[str, set[int]] = {}
    for number, rows in enumerate(answers):
        for row in rows:
            requests.setdefault(row.conversion_id, set()).add(number)
    split = {conv_id: len(numbers) for conv_id, numbers in requests.items() if len(numbers) > 1}
    off = check_sums(row for rows in answers for row in rows)
    assert len(split) == 21 and len(requests) == 1_946
    assert {conv_id: round(total, 9) for conv_id, total in off.items()} == split
    assert all(check_sums(rows) == {} for rows in answers)


@pytest.mark.given_data
def test_a_recorded_request_is_answered_by_the_sandbox(
    config: IhcConfig, store: AnswerStore
) -> None:
    sessions = json.loads((RECORDED / "customer_journeys_request.json").read_text())[:1_500]
    rows = [
        {
            "conv_id": row["conversion_id"],
            "session_id": row["session_id"],
            "timestamp": datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC),
            "channel_name": row["channel_label"],
            "holder_engagement": row["holder_engagement"] == 1,
            "closer_engagement": row["closer_engagement"] == 1,
            "impression_interaction": False,
        }
        for row in sessions
    ]
    table = pa.Table.from_pylist(rows, SCHEMA).sort_by(
        [("conv_id", "ascending"), ("timestamp", "ascending")]
    )
    result = compute(table, replace(config, max_journeys=100, max_sessions=200), store)
    assert not result.failed and not result.oversized
    assert_nothing_is_lost(table, result)


# what is sent -----------------------------------------------------------------------------------
def test_sessions_carry_the_fields_of_the_contract_in_utc() -> None:
    table = journeys([2])
    berlin = table["timestamp"].cast(pa.timestamp("ms", "Europe/Berlin"))
    table = table.set_column(2, "timestamp", berlin)
    (journey,) = split_journeys(table)
    assert json.loads(f"[{journey.content}]")[1] == {
        "conversion_id": "c0000",
        "session_id": "s1",
        "timestamp": "2024-03-18 09:00:00",
        "channel_label": "Newsletter",
        "holder_engagement": 1,
        "closer_engagement": 1,
        "conversion": 1,
        "impression_interaction": 0,
    }


def conversions_of(table: pa.Table) -> list[list[int]]:
    return [
        [session["conversion"] for session in json.loads(f"[{journey.content}]")]
        for journey in split_journeys(table)
    ]


def test_a_journey_without_a_conversion_converts_in_its_last_session() -> None:
    table = journeys([3, 2, 1])
    assert conversions_of(table) == [[0, 0, 1], [0, 1], [1]]
    given_values = pa.array([0, 1, 0, 0, 0, None])
    given_table = table.append_column("conversion", given_values)
    assert conversions_of(given_table) == [[0, 1, 0], [0, 1], [1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["channel_name"]), "journeys lack channel_name"),
        (lambda t: pa.concat_tables([t, journeys([1], first=1)]), "not sorted"),
        (lambda t: t.sort_by([("conv_id", "ascending"), ("timestamp", "descending")]), "not sort"),
        (lambda t: t.set_column(1, "session_id", pa.array(["s"] * 6)), "holds a session twice"),
        (lambda t: t.set_column(3, "channel_name", pa.nulls(6, pa.string())), "nulls in channel"),
        (lambda t: t.set_column(2, "timestamp", pa.array(["noon"] * 6)), "timestamp must be"),
        (lambda t: t.append_column("conversion", pa.array([2] * 6)), "conversion must be 0 or 1"),
    ],
)  # fmt: skip
def test_journeys_that_are_not_in_order_are_refused(
    change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    with pytest.raises(IhcError, match=message):
        list(split_journeys(change(journeys([2, 2, 2]))))


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), max_size=60), limit=st.integers(1, 6))
def test_batches_hold_whole_journeys_in_order_within_both_limits(
    sizes: list[int], limit: int
) -> None:
    everything = [Journey(str(i), 0, ("s",) * size, "") for i, size in enumerate(sizes)]
    made = list(batches(everything, max_journeys=limit, max_sessions=9))
    assert [journey for batch in made for journey in batch] == everything
    assert all(0 < len(batch) <= limit and sum(map(len, batch)) <= 9 for batch in made)
    for batch, following in pairwise(made):
        assert len(batch) == limit or sum(map(len, batch)) + len(following[0]) > 9


def test_a_journey_beyond_the_limit_of_a_request_cannot_be_batched() -> None:
    with pytest.raises(IhcError, match="journey big has 4 sessions"):
        list(batches([Journey("big", 0, ("s",) * 4, "")], max_sessions=3))


def test_the_training_file_is_a_flat_list_that_keeps_who_did_not_convert(tmp_path: Path) -> None:
    table = journeys([2] * 700).append_column("conversion", pa.array([0, 1, 0, 0] * 350))
    assert export_training(table, tmp_path / "training.json") == 1_400
    assert export_training(table, tmp_path / "training.csv") == 1_400
    rows = json.loads((tmp_path / "training.json").read_text())
    assert [row["conversion"] for row in rows] == [0, 1, 0, 0] * 350
    assert pyarrow.csv.read_csv(tmp_path / "training.csv").drop(["timestamp"]).to_pylist() == [
        {name: value for name, value in row.items() if name != "timestamp"} for row in rows
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["training.csv", "training.json"]
    export_training(journeys([2]), tmp_path / "all.json")
    assert [r["conversion"] for r in json.loads((tmp_path / "all.json").read_text())] == [0, 1]
    assert export_training(journeys([]), tmp_path / "none.json") == 0
    assert json.loads((tmp_path / "none.json").read_text()) == []
    with pytest.raises(IhcError, match="neither"):
        export_training(table, tmp_path / "training.xml")


@pytest.mark.parametrize(
    "wrong",
    [
        {"direction": "backwards"},
        {"receive_threshold": 1.1},
        {"receive_threshold": math.nan},
        {"redistribution_channel_labels": [""]},
        {"labels": ["Direct"]},
    ],
)
def test_redistribution_outside_the_contract_is_refused(wrong: dict[str, Any]) -> None:
    right = {
        "direction": "any_session",
        "receive_threshold": 0,
        "redistribution_channel_labels": ["Direct"],
    }
    with pytest.raises(ValidationError):
        Redistribute.model_validate(right | wrong)
    with pytest.raises(ValidationError):
        Redistribution.model_validate({"initializer": right, "holder": right})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"url": "http://ihc.example.com"}, "https"),
        ({"url": "ihc.example.com"}, "must be a URL"),
        ({"api_key": SecretStr("")}, "the IHC key is empty"),
        ({"api_key": SecretStr("key\n")}, "no header can carry"),
        ({"conversion_type": ""}, "conversion type"),
        ({"concurrency": 0}, "at least 1"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(wrong: dict[str, Any], message: str) -> None:
    right = {"url": "https://x.test", "api_key": SecretStr("key"), "conversion_type": "orders"}
    with pytest.raises(IhcError, match=message):
        IhcConfig(**right | wrong)


# asking -----------------------------------------------------------------------------------------
def test_credits_come_in_the_order_of_the_journeys_and_each_is_asked_once(
    config: IhcConfig, store: AnswerStore, calls: Calls
) -> None:
    table = journeys([1, 2, 3, 4, 5] * 9)
    result = compute(table, config, store)
    assert not result.failed
    assert_nothing_is_lost(table, result)
    assert result.calls.sent == len(calls()) == 5
    asked = [name for call in calls() for name in call["conversions"]]
    assert sorted(asked) == sorted(set(table["conv_id"].to_pylist()))


def test_batching_and_concurrency_do_not_change_credits(
    config: IhcConfig, store: AnswerStore, tmp_path: Path
) -> None:
    table = journeys([1, 2, 3, 4, 5] * 5)
    first = compute(table, config, store)
    with AnswerStore(tmp_path / "other") as other:
        second = compute(table, replace(config, max_journeys=3, concurrency=1), other)
    assert first.credits.equals(second.credits)


def test_no_journeys_cost_no_request(config: IhcConfig, store: AnswerStore) -> None:
    result = compute(journeys([]), config, store)
    assert (result.credits.num_rows, result.failed, result.calls.sent) == (0, {}, 0)


def test_a_journey_too_long_for_a_request_is_named_and_not_asked(
    config: IhcConfig, store: AnswerStore, calls: Calls
) -> None:
    table = journeys([2, 6, 2])
    result = compute(table, replace(config, max_sessions=5), store)
    assert result.oversized == ("c0001",)
    assert_nothing_is_lost(table, result)
    assert calls()[0]["conversions"] == ["c0000", "c0002"]
    compute(table, config, store)
    again = compute(table, replace(config, max_sessions=5), store)
    assert (again.oversized, again.calls.reused) == (("c0001",), 2)
    assert_nothing_is_lost(table, again)


def test_redistribution_reaches_the_service_and_is_another_question(
    config: IhcConfig, store: AnswerStore, calls: Calls
) -> None:
    table = journeys([3])
    plain = compute(table, config, store)
    rule = Redistribute(
        direction="later_sessions_only",
        receive_threshold=0.0,
        redistribution_channel_labels=(CHANNELS[1],),
    )
    rules = Redistribution(initializer=rule, holder=rule, closer=rule)
    changed = compute(table, replace(config, redistribution=rules), store)
    assert changed.calls.sent == 1
    assert changed.credits["initializer"][1].as_py() == 0.0
    assert plain.credits["initializer"][1].as_py() > 0
    assert compute(table, config, store).calls.reused == 1


# misbehaviour -----------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["429", "500", "malformed", "foreign"])
def test_a_failure_that_passes_is_repeated(
    config: IhcConfig, store: AnswerStore, calls: Calls, behave: Behave, kind: str
) -> None:
    table = journeys([2] * 20)
    behave(kind, times=3)
    result = compute(table, config, store)
    assert not result.failed
    assert_nothing_is_lost(table, result)
    assert (result.calls.sent, result.calls.repeated) == (5, 3)
    assert len(calls()) == 5


def test_broken_connections_cut_off_answers_and_late_ones_are_repeated(
    config: IhcConfig, store: AnswerStore, calls: Calls, faulty: Behave
) -> None:
    table = journeys([2] * 30)
    faulty(
        {"kind": "drop", "method": "compute_ihc"},
        {"kind": "truncated", "method": "compute_ihc"},
        {"kind": "slow", "method": "compute_ihc", "seconds": 4, "after": True},
        {"kind": "500", "method": "compute_ihc"},
    )
    result = compute(table, replace(config, timeout=2), store)
    assert not result.failed
    assert_nothing_is_lost(table, result)
    assert (result.calls.sent, result.calls.repeated) == (7, 4)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("429", "the service answers 429: the sandbox was told to answer 429"),
        ("500", "the service answers 500"),
        ("malformed", "unreadable answer"),
        ("foreign", "rows of sessions that were not asked for"),
    ],
)
def test_a_failure_that_stays_ends_the_run_and_names_every_conversion(
    config: IhcConfig, store: AnswerStore, behave: Behave, kind: str, reason: str
) -> None:
    good = journeys([2] * 10)
    compute(good, config, store)
    table = journeys([2] * 110)
    behave(kind)
    result = compute(table, replace(config, attempts=3, concurrency=1), store)
    assert credited(result) == credited(compute(good, config, store))
    assert_nothing_is_lost(table, result)
    assert result.calls.sent == 3 * 3
    assert reason in result.failed["c0010"]
    assert result.failed["c0109"].startswith("not asked after 3 lost batches in a row; the last: ")
    behave("well")
    assert not compute(table, config, store).failed


def test_a_wait_longer_than_the_patience_is_not_waited_for(
    config: IhcConfig, store: AnswerStore, faulty: Behave
) -> None:
    faulty({"kind": "429", "method": "compute_ihc", "retry_after": 3_600, "times": 9})
    result = compute(journeys([2]), replace(config, patience=5), store)
    assert result.calls.sent == 1
    assert "429" in result.failed["c0000"]


def test_one_bad_journey_does_not_cost_the_others_of_its_batch(
    config: IhcConfig, store: AnswerStore, calls: Calls, behave: Behave
) -> None:
    table = journeys([2] * 100)
    behave("400", conversions=["c0000", "c0077"])
    result = compute(table, replace(config, max_journeys=100), store)
    assert set(result.failed) == {"c0000", "c0077"}
    assert "the service answers 400: the sandbox was told to" in result.failed["c0077"]
    assert_nothing_is_lost(table, result)
    assert result.calls.sent == len(calls()) < 30
    again = compute(table, replace(config, max_journeys=100), store)
    assert again.calls.reused == 98


def test_a_request_that_is_too_large_is_halved(
    config: IhcConfig, store: AnswerStore, behave: Behave
) -> None:
    table = journeys([2] * 10)
    behave("413", times=2)
    result = compute(table, replace(config, concurrency=1), store)
    assert not result.failed
    assert_nothing_is_lost(table, result)
    assert (result.calls.sent, result.calls.halved) == (5, 2)


@pytest.mark.parametrize("size", [1, 100])
def test_a_service_that_refuses_everything_is_not_asked_about_each_journey(
    config: IhcConfig, store: AnswerStore, size: int
) -> None:
    table = journeys([2] * 1_000)
    wrong = replace(config, conversion_type="other", max_journeys=size, concurrency=1)
    result = compute(table, wrong, store)
    assert_nothing_is_lost(table, result)
    assert "is no trained conversion type" in result.failed["c0999"]
    assert result.calls.sent == 25


@pytest.mark.parametrize("status", ["401", "403"])
def test_a_refused_key_ends_the_run_at_once_and_is_told_to_nobody(
    config: IhcConfig, store: AnswerStore, behave: Behave, status: str
) -> None:
    key = config.api_key.get_secret_value()
    if status == "401":
        behave("401")
    else:
        config = replace(config, api_key=SecretStr(f"{key}x"))
    table = journeys([2] * 50)
    result = compute(table, replace(config, concurrency=1), store)
    assert result.calls.sent == 1
    assert_nothing_is_lost(table, result)
    reason = f"the service refuses the key ({status}); set the right one"
    assert set(result.failed.values()) == {reason}
    assert key not in repr((result, config))


def test_a_wrong_address_ends_the_run_at_once(config: IhcConfig, store: AnswerStore) -> None:
    result = compute(
        journeys([2] * 50), replace(config, url=f"{config.url}/nowhere", concurrency=1), store
    )
    assert result.calls.sent == 1
    assert "answers 404" in result.failed["c0049"] and "check" in result.failed["c0049"]


def test_a_partial_failure_keeps_the_good_and_names_the_failed(
    config: IhcConfig, store: AnswerStore, behave: Behave
) -> None:
    table = journeys([2] * 30)
    behave("partial", conversions=["c0003", "c0014"])
    result = compute(table, config, store)
    assert set(result.failed) == {"c0003", "c0014"}
    assert "journey not understood" in result.failed["c0014"]
    assert "c0003" not in result.failed["c0014"]
    assert_nothing_is_lost(table, result)
    behave("well")
    again = compute(table, config, store)
    assert (again.failed, again.calls.sent, again.calls.reused) == ({}, 1, 28)


def test_conversions_that_an_answer_leaves_out_are_named(
    config: IhcConfig, store: AnswerStore, behave: Behave
) -> None:
    table = journeys([2] * 10)
    behave("half")
    result = compute(table, config, store)
    assert set(result.failed) == {f"c000{i}" for i in range(5, 10)}
    assert set(result.failed.values()) == {"the answer leaves it out without a reason"}
    assert_nothing_is_lost(table, result)


def test_credits_that_do_not_sum_to_one_are_refused_with_their_sum(
    config: IhcConfig, store: AnswerStore, behave: Behave
) -> None:
    behave("sums")
    table = journeys([1, 3] * 50)
    result = compute(table, replace(config, concurrency=1), store)
    reason = "credits sum to 0.9800, not to 1"
    assert [result.failed[f"c{i:04}"] for i in range(30)] == [reason] * 30
    assert result.failed["c0030"] == f"not asked after 3 lost batches in a row; the last: {reason}"
    assert_nothing_is_lost(table, result)
    assert (result.calls.sent, len(store)) == (3, 0)


# judging ----------------------------------------------------------------------------------------
def answer_of(*rows: tuple[str, str, float], errors: Sequence[Any] = ()) -> Answer:
    value = [
        {"conversion_id": c, "session_id": s, "initializer": 1.0, "holder": 0.0, "closer": 1.0}
        | {"ihc": ihc}
        for c, s, ihc in rows
    ]
    body = {"statusCode": 200, "value": value, "partialFailureErrors": list(errors)}
    return parse(json.dumps(body).encode())


ONE = Journey("1", 0, ("a", "b"), "")
TEN = Journey("10", 2, ("a",), "")


def test_sums_may_be_off_by_the_rounding_of_their_rows_and_no_more() -> None:
    def rows(last: float) -> list[tuple[str, str, float]]:
        return [("1", "a", 0.5), ("1", "b", last)]

    assert judge([ONE], answer_of(*rows(0.5001))).credits
    assert judge([ONE], answer_of(*rows(0.5002))).failed == {"1": "credits sum to 1.0002, not to 1"}


def test_a_conversion_with_missing_doubled_or_impossible_rows_is_refused() -> None:
    missing = judge([ONE], answer_of(("1", "a", 1.0)))
    assert "1 rows of 1 sessions, the journey has 2" in missing.failed["1"]
    doubled = judge([TEN], answer_of(("10", "a", 0.5), ("10", "a", 0.5)))
    assert "2 rows of 1 sessions" in doubled.failed["10"]
    beyond = judge([ONE], answer_of(("1", "a", 1.5), ("1", "b", -0.5)))
    assert "outside 0 to 1" in beyond.failed["1"]


def test_rows_of_other_sessions_spoil_the_whole_answer() -> None:
    with pytest.raises(AnswerError, match="holds 1 rows"):
        judge([TEN], answer_of(("10", "a", 1.0), ("10", "b", 0.0)))


@pytest.mark.parametrize(
    "said",
    ["journey {c} of session {s} is wrong.", '{{"conversion_id": "{c}", "sessions": ["{s}"]}}',
     "({c}) and '{s}'"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("conv_id", "session_id"), [("c-7", "s-9.1"), ("7", "9"), ("a b, c", "s:x")]
)
def test_a_reason_names_no_conversion_and_no_session(
    said: str, conv_id: str, session_id: str
) -> None:
    journey = replace(ONE, conv_id=conv_id, session_ids=(session_id,))
    told = unnamed(said.format(c=conv_id, s=session_id), [journey])
    assert not re.search(rf"(?<!\w)({re.escape(conv_id)}|{re.escape(session_id)})(?!\w)", told)
    assert told.count("…") == 2


@pytest.mark.parametrize("shape", [str, lambda text: [text], lambda text: {"x": {"y": [text]}}])
def test_a_partial_failure_of_any_shape_gives_the_reason_of_its_own_conversion(
    shape: Callable[[str], Any],
) -> None:
    errors = [shape("conversion 10: no closer"), shape("conversion 1: bad clock")]
    failed = judge([ONE, TEN], answer_of(errors=errors)).failed
    assert "bad clock" in failed["1"] and "no closer" not in failed["1"]
    assert "no closer" in failed["10"] and "bad clock" not in failed["10"]
    unnamed = judge([TEN], answer_of(errors=[shape("something"), 7])).failed
    assert "something" in unnamed["10"] and "7" in unnamed["10"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"value": [{}]}', b'{"value": [{"conv', b'{"statusCode": "200", "value": []}'],
)
def test_an_answer_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerError, match="unreadable answer"):
        parse(body)


# the answer store -------------------------------------------------------------------------------
def test_answers_are_not_paid_for_again_and_changed_journeys_are_asked_again(
    config: IhcConfig, store: AnswerStore, calls: Calls
) -> None:
    table = journeys([2] * 20)
    first = compute(table, config, store)
    again = compute(table, config, store)
    assert (again.calls.sent, again.calls.reused) == (0, 20)
    assert again.credits.equals(first.credits)
    channels = table["channel_name"].to_pylist()
    changed = table.set_column(3, "channel_name", pa.array(["TV", *channels[1:]]))
    result = compute(changed, config, store)
    assert (result.calls.sent, result.calls.reused) == (1, 19)
    assert calls()[-1]["conversions"] == ["c0000"]


def test_answers_stay_good_when_a_service_on_this_machine_changes_its_port(
    config: IhcConfig, store: AnswerStore
) -> None:
    table = journeys([2] * 20)
    compute(table, config, store)
    moved = replace(config, url="http://127.0.0.1:9/ihc/")
    assert compute(table, moved, store).calls.reused == 20
    elsewhere = replace(config, url="http://127.0.0.1:9/other/", attempts=1)
    assert compute(table, elsewhere, store).calls.reused == 0


CHILD = """
import json, os, signal, sys
from pathlib import Path
import pyarrow as pa, pyarrow.feather
from pydantic import SecretStr
from dmp_assets.sources.ihc.client import IhcConfig, compute
from dmp_assets.sources.ihc.answers import AnswerStore

class Dying(AnswerStore):
    kept = 0
    def keep(self, answers):
        super().keep(answers)
        self.kept += 1
        if self.kept == 2:
            os.kill(os.getpid(), signal.SIGKILL)

url, key, kind, folder, table = json.loads(sys.stdin.read())
config = IhcConfig(url, SecretStr(key), kind, max_journeys=10, concurrency=1)
compute(pyarrow.feather.read_table(table), config, Dying(Path(folder)))
"""


def test_a_run_killed_between_two_batches_is_taken_up_where_it_stopped(
    config: IhcConfig, calls: Calls, tmp_path: Path
) -> None:
    table = journeys([2] * 50)
    pyarrow.feather.write_feather(table, tmp_path / "journeys.feather")
    url, key, kind = config.url, config.api_key.get_secret_value(), config.conversion_type
    arguments = [url, key, kind, str(tmp_path / "s"), str(tmp_path / "journeys.feather")]
    child = subprocess.run(
        [sys.executable, "-c", CHILD], input=json.dumps(arguments), text=True, cwd=ROOT, check=False
    )
    assert child.returncode == -9
    paid = [name for call in calls() for name in call["conversions"]]
    assert len(paid) == 20
    with AnswerStore(tmp_path / "s") as store:
        result = compute(table, config, store)
    assert not result.failed
    assert_nothing_is_lost(table, result)
    assert (result.calls.sent, result.calls.reused) == (3, 20)
    asked = [name for call in calls() for name in call["conversions"]]
    assert sorted(asked) == sorted(set(table["conv_id"].to_pylist()))


def test_an_append_cut_off_half_way_loses_only_itself(store: AnswerStore, tmp_path: Path) -> None:
    store.keep({"k1": ("c1", [(1.0, 0.0, 1.0, 1.0)])})
    torn = tmp_path / "torn"
    torn.mkdir()
    log = store.path.with_name("answers.db-wal")
    before = log.stat().st_size
    store.keep({"k2": ("c2", [(1.0, 0.0, 1.0, 1.0)])})
    shutil.copy(store.path, torn)
    (torn / log.name).write_bytes(log.read_bytes()[: (before + log.stat().st_size) // 2])
    with AnswerStore(torn) as reopened:
        assert reopened.find(["k1", "k2"]) == {"k1": [[1.0, 0.0, 1.0, 1.0]]}
        reopened.keep({"k2": ("c2", [(1.0, 0.0, 1.0, 1.0)])})
        assert len(reopened) == 2


def test_forgotten_conversions_leave_neither_answer_nor_trace(store: AnswerStore) -> None:
    store.keep({f"k{i}": (f"person-{i}", [(1.0, 0.0, 1.0, 1.0)]) for i in range(3)})
    assert store.forget(["person-1", "person-7"]) == 1
    assert set(store.find(["k0", "k1", "k2"])) == {"k0", "k2"}
    assert all(b"person-1" not in path.read_bytes() for path in store.path.parent.iterdir())


def test_a_store_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "answers.db").write_text("not a database, but long enough to look like a file" * 9)
    with pytest.raises(IhcError, match=r"answers\.db fails"):
        AnswerStore(tmp_path)


def test_a_store_that_fails_during_a_run_ends_the_run(
    config: IhcConfig, store: AnswerStore, calls: Calls
) -> None:
    class Full(AnswerStore):
        def keep(self, answers: Any) -> None:
            raise IhcError("the disk is full")

    with Full(store.path.parent) as full, pytest.raises(IhcError, match="disk is full"):
        compute(journeys([2] * 500), replace(config, concurrency=2), full)
    assert len(calls()) <= 3
