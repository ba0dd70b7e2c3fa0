"""Kafka as the transport of the service's logs, with a real broker: once each, whatever dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.abuse.service.streams import DECISIONS, PREDICTIONS
from dmp_assets.abuse.tables import service_log as abuse
from dmp_assets.home import Home
from dmp_assets.platform.lake.files import CHECKPOINTS
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.privacy import suppression
from dmp_assets.platform.store import database
from dmp_assets.platform.stream import continuous, kafka, outbox
from dmp_assets.platform.stream.kafka import StreamError
from dmp_assets.platform.stream.sender import Sender
from tests.support import s3
from tests.support.abuse_log import decide, predict
from tests.support.kafka import KafkaServer, free_port, kafka_server
from tests.support.materialized import failed_checks, materialized
from tests.support.postgres import fresh_database, postgres_server

LOGS = [abuse.abuse_predictions, abuse.abuse_decisions]
STREAMS = (PREDICTIONS, DECISIONS)


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    with kafka_server() as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Endpoint]:
    with postgres_server() as endpoint:
        yield endpoint


@pytest.fixture
def store_url(postgres: Endpoint) -> Iterator[SecretStr]:
    with fresh_database(postgres) as url:
        engine = database.engine(url)
        database.migrate(engine)
        engine.dispose()
        yield url


@pytest.fixture
def home(
    tmp_path: Path, broker: KafkaServer, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> Home:
    """A live home with a store and topics of this test's own."""
    prefix = f"{tmp_path.name}-"
    named = broker.environment(
        DMP_HOME=str(tmp_path / "home"), DMP_PROJECT_DIR=str(tmp_path), DMP_SPARK_MEMORY="1g",
        DMP_STORE_URL=store_url.get_secret_value(), DMP_KAFKA_TOPIC_PREFIX=prefix,
    )  # fmt: skip
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    for stream in STREAMS:
        broker.make(stream.topic(prefix))
    return Home(tmp_path / "home").prepare("live")


@pytest.fixture
def store(home: Home, store_url: SecretStr) -> Iterator[sa.Engine]:
    engine = database.engine(store_url)
    yield engine
    engine.dispose()


def run(*assets: Any, succeeds: bool = True) -> dg.ExecuteInProcessResult:
    return materialized(*(assets or LOGS), succeeds=succeeds)


def send(home: Home, store: sa.Engine) -> int:
    sender = Sender(home.settings(), store, STREAMS)
    return sum(sender.send(stream) for stream in STREAMS)


def tables(home: Home) -> Tables:
    return Tables(str(home.lakehouse))


def ids(home: Home) -> list[int]:
    found = tables(home).sql("SELECT prediction_id FROM raw.abuse_predictions ORDER BY 1")
    return list(found.column(0).to_pylist())


def topic(home: Home) -> str:
    return PREDICTIONS.topic(home.settings().kafka_topic_prefix)


OWN = ", ".join(abuse.PREDICTIONS)


def test_rows_are_the_same_by_kafka_as_from_the_store(
    home: Home, store: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = [[None, float("nan"), float("inf"), -float("inf"), 0.1 + 0.2, 5e-324]]
    predict(store, ['ünï-1 "quoted" \\ \n'], features=odd)
    predict(store, ["u-2"], is_new=False)
    decide(store, [("u-1", "block")])
    assert send(home, store) == 3
    result = run()
    assert failed_checks(result) == {}
    by_kafka = tables(home).sql(f"SELECT {OWN} FROM raw.abuse_predictions ORDER BY 1").to_pylist()
    decided = tables(home).sql("SELECT * FROM raw.abuse_decisions").to_pylist()
    places = tables(home).sql("SELECT kafka_topic, kafka_offset FROM raw.abuse_predictions")
    assert set(places.column(0).to_pylist()) == {topic(home)}
    assert None not in places.column(1).to_pylist()
    monkeypatch.setenv("DMP_HOME", str(home.root / "other"))
    monkeypatch.delenv("DMP_KAFKA_BOOTSTRAP_SERVERS")
    Home(home.root / "other").prepare("live")
    run()
    other = tables(Home(home.root / "other"))
    from_store = other.sql(f"SELECT {OWN} FROM raw.abuse_predictions ORDER BY 1").to_pylist()
    assert repr(by_kafka) == repr(from_store)  # NaN is not itself
    assert [{n: v for n, v in decided[0].items() if not n.startswith("kafka_")}] == other.sql(
        "SELECT * FROM raw.abuse_decisions"
    ).to_pylist()


def test_only_what_is_new_is_read_and_a_rerun_starts_no_query(home: Home, store: sa.Engine) -> None:
    predict(store, ["u-1", "u-2"])
    send(home, store)
    run()
    before = {key: tables(home).version(key) for key in tables(home).written()}
    run()
    assert before == {key: tables(home).version(key) for key in tables(home).written()}
    assert tables(home).written() == ["raw/abuse_decisions", "raw/abuse_predictions"]
    predict(store, ["u-3"])
    assert send(home, store) == 1
    result = run()
    assert ids(home) == [1, 2, 3]
    (made,) = [
        event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[-1] == "abuse_predictions"
    ]
    told = {name: made[name].value for name in ("records_landed", "dead_letters", "kafka_lag")}
    assert told == {"records_landed": 1, "dead_letters": 0, "kafka_lag": 0}


def test_what_is_sent_again_and_a_topic_made_anew_change_nothing(
    home: Home, store: sa.Engine, broker: KafkaServer
) -> None:
    predict(store, [f"u-{n}" for n in range(50)])
    send(home, store)
    run()
    known = kafka.Broker(home.settings()).topic(topic(home))
    with store.begin() as connection:
        assert outbox.rewind(connection, PREDICTIONS, known.id) == 50
    predict(store, ["u-50"])
    assert send(home, store) == 51
    run()
    assert ids(home) == list(range(1, 52))
    broker.drop(topic(home))
    time.sleep(1)
    broker.make(topic(home), 2)
    predict(store, ["u-51"])
    assert send(home, store) == 52, "what a topic that is new lacks is sent to it"
    run()
    assert ids(home) == list(range(1, 53))


def test_records_that_cannot_be_used_become_dead_letters_with_their_reason(
    home: Home, store: sa.Engine, broker: KafkaServer
) -> None:
    predict(store, ["u-1"])
    send(home, store)
    good = json.loads(PREDICTIONS.record(9, '{"prediction_id":9}'))
    later = {**good, "type": "dmp.abuse_prediction.v2", "data": {"account_id": "u-7"}}
    typed = {**good, "data": {"prediction_id": 9, "probability": "high"}}
    broker.produce(
        topic(home),
        [
            None, b"no json", b"[1, 2]", b"\xff\xfe", b'"text"', b"{}", b"12",
            json.dumps(later).encode(), json.dumps(typed).encode(),
            json.dumps({**good, "data": {}}).encode(), json.dumps({**good, "data": 7}).encode(),
        ],
    )  # fmt: skip
    result = run(abuse.abuse_predictions)
    assert failed_checks(result) == {} and ids(home) == [1]
    found = tables(home).sql(
        "SELECT reason, count(*) AS n FROM quarantine.abuse_predictions GROUP BY 1"
    )
    assert {row["reason"]: row["n"] for row in found.to_pylist()} == {
        "no_value": 1, "not_json": 6, "schema_unknown": 1, "field_unreadable": 2, "id_missing": 1
    }  # fmt: skip
    (unknown,) = (
        tables(home)
        .sql(
            "SELECT record_type, account_id, value FROM quarantine.abuse_predictions "
            "WHERE reason = 'schema_unknown'"
        )
        .to_pylist()
    )
    assert (unknown["record_type"], unknown["account_id"]) == (later["type"], "u-7")
    assert json.loads(unknown["value"]) == later, "nothing of it is lost"
    run(abuse.abuse_predictions)
    count = "SELECT count(*) FROM quarantine.abuse_predictions"
    assert tables(home).scalar(count) == 11


def test_nobody_who_was_forgotten_comes_back_by_kafka(home: Home, store: sa.Engine) -> None:
    predict(store, ["u-1", "u-2"])
    with store.begin() as connection:
        connection.execute(
            sa.text("UPDATE abuse_prediction SET linked_accounts = '{gone}' WHERE prediction_id=1")
        )
    predict(store, ["gone", "u-4"])
    send(home, store)
    suppression.add(home, "user_id", ["gone"])
    run()
    assert ids(home) == [2, 4]


def test_a_home_may_go_back_to_the_store_and_lacks_nothing(
    home: Home, store: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(store, [f"u-{n}" for n in range(5)])
    send(home, store)
    run()
    # Of the next rows Kafka brings only a later one before it is given up.
    predict(store, [f"u-{n}" for n in range(5, 8)])
    send_one(home, store, 7)
    run()
    assert ids(home) == [1, 2, 3, 4, 5, 7]
    monkeypatch.delenv("DMP_KAFKA_BOOTSTRAP_SERVERS")
    run()
    assert ids(home) == [1, 2, 3, 4, 5, 6, 7, 8]
    predict(store, ["u-8"])
    run()
    assert ids(home) == list(range(1, 10))


def send_one(home: Home, store: sa.Engine, number: int) -> None:
    """Put one row of the log into Kafka and no other."""
    from confluent_kafka import Producer

    with store.connect() as connection:
        ((_, row),) = outbox.rows_after(connection, PREDICTIONS, number - 1, 1)
    producer = Producer(kafka.producer_conf(home.settings()))
    producer.produce(topic(home), PREDICTIONS.record(number, row))
    assert producer.flush(20) == 0


# faults ------------------------------------------------------------------------------------------
def test_a_topic_that_is_not_there_is_told_and_stops_nothing(
    home: Home, store: sa.Engine, broker: KafkaServer
) -> None:
    broker.drop(topic(home))
    predict(store, ["u-1"])
    with pytest.raises(StreamError, match=r"there is no topic .* make it with `dmp stream topics`"):
        Sender(home.settings(), store, STREAMS).send(PREDICTIONS)
    causes = failed_checks(run())
    assert "there is no topic" in causes["abuse_predictions store_was_read"]
    assert "abuse_decisions store_was_read" not in causes
    broker.make(topic(home))
    assert send(home, store) == 1
    assert failed_checks(run()) == {} and ids(home) == [1]


def test_a_broker_that_is_gone_is_told_and_all_waits_for_it(
    home: Home, store: sa.Engine, broker: KafkaServer
) -> None:
    predict(store, ["u-1"])
    send(home, store)
    run()
    broker.stop()
    try:
        predict(store, ["u-2"])
        with pytest.raises(StreamError, match="no Kafka answers at"):
            send(home, store)
        cause = failed_checks(run())["abuse_predictions store_was_read"]
        assert "no Kafka answers at" in cause and "Connection refused" in cause
        assert ids(home) == [1]
    finally:
        broker.start()
    assert send(home, store) == 1
    assert failed_checks(run()) == {} and ids(home) == [1, 2]


def test_records_deleted_before_they_landed_are_told_with_what_to_do(
    home: Home, store: sa.Engine, broker: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(store, ["u-1"])
    send(home, store)
    run(abuse.abuse_predictions)
    predict(store, ["u-2", "u-3", "u-4"])
    send(home, store)
    delete_records(broker, home)
    cause = failed_checks(run(abuse.abuse_predictions))["abuse_predictions store_was_read"]
    assert "Kafka has deleted 3 records" in cause and ids(home) == [1]
    assert "dmp stream resend abuse_prediction" in cause and "--accept-loss" in cause
    known = kafka.Broker(home.settings()).topic(topic(home))
    with store.begin() as connection:
        outbox.rewind(connection, PREDICTIONS, known.id)
    send(home, store)
    continuous.land(Lakehouse(), PREDICTIONS, log=None, accept_loss=True)
    assert ids(home) == [1, 2, 3, 4]
    predict(store, ["u-5"])
    send(home, store)
    assert failed_checks(run(abuse.abuse_predictions)) == {} and ids(home) == [1, 2, 3, 4, 5]


def delete_records(broker: KafkaServer, home: Home) -> None:
    """What retention does, at once."""
    from confluent_kafka import TopicPartition

    known, extent = kafka.topic_of(home.settings(), topic(home))
    admin = broker.admin()
    ends = [TopicPartition(known.name, part, at) for part, at in extent.next.items()]
    for answer in admin.delete_records(ends).values():
        answer.result(20)


# kill -9 -----------------------------------------------------------------------------------------
SCORES = 100_000


def log_many(store: sa.Engine, rows: int) -> None:
    """Log so many scores, each of an id of its own."""
    predict(store, ["u-1"])
    own = [name for name in abuse.PREDICTIONS if name not in ("prediction_id", "score_id")]
    with store.begin() as connection:
        connection.execute(
            sa.text(
                f"INSERT INTO abuse_prediction (score_id, {', '.join(own)}) "
                f"SELECT gen_random_uuid(), {', '.join(own)} FROM abuse_prediction, "
                f"generate_series(2, {rows})"
            )
        )


def begun(*words: str) -> subprocess.Popen[bytes]:
    """A command of `dmp`, with all that it starts a group of its own."""
    program = Path(sys.executable).with_name("dmp")
    return subprocess.Popen([program, *words], start_new_session=True)


def killed(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of a command and of all that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def until(
    is_so: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 240
) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_scores_are_in_the_lakehouse_once_each_though_service_and_consumer_are_killed(
    home: Home, store: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_many(store, SCORES)
    monkeypatch.setenv("DMP_API_PORT", str(free_port()))
    known = kafka.Broker(home.settings()).topic(topic(home))

    def sent() -> int:
        with store.connect() as connection:
            return outbox.acknowledged(connection, PREDICTIONS, known.id)

    service = begun("api")
    until(lambda: sent() > SCORES // 10, service)
    killed(service)
    assert 0 < sent() < SCORES, "in the middle of it"
    service = begun("api")
    until(lambda: sent() == SCORES, service)
    service.terminate()
    service.wait(60)
    _, extent = kafka.topic_of(home.settings(), topic(home))
    assert sum(extent.next.values()) >= SCORES

    consumer = begun("stream", "--once")
    until(lambda: any((home.lakehouse / "_checkpoints").rglob("offsets/0")), consumer)
    killed(consumer)  # before the batch was written
    consumer = begun("stream", "--once")
    until(lambda: bool(ids(home)) if tables(home).exists(PREDICTIONS.table) else False, consumer)
    killed(consumer)  # as soon as it was
    assert begun("stream", "--once").wait(240) == 0

    assert ids(home) == list(range(1, SCORES + 1))
    with store.connect() as connection:
        logged = connection.scalar(
            sa.text("SELECT md5(string_agg(score_id::text, ',' ORDER BY prediction_id)) "
                    "FROM abuse_prediction")
        )  # fmt: skip
    landed = (
        "SELECT md5(string_agg(score_id, ',' ORDER BY prediction_id)) FROM raw.abuse_predictions"
    )
    assert tables(home).scalar(landed) == logged
    assert failed_checks(run(abuse.abuse_predictions)) == {}


def test_dmp_stream_tells_how_it_stands(home: Home, store: sa.Engine, broker: KafkaServer) -> None:
    predict(store, ["u-1", "u-2"])
    first = said("stream", "status")
    assert "abuse_prediction" in first and "2 rows wait to be sent, 0 records wait" in first
    broker.drop(topic(home))
    time.sleep(1)
    assert f"{topic(home)}: made" in said("stream", "topics")
    assert "abuse_prediction: 2 records sent" in said("stream", "send")
    assert "0 rows wait to be sent, 2 records wait to land" in said("stream", "status")
    assert "abuse_prediction: 2 records, 2 new rows" in said("stream", "--once")
    assert "abuse_prediction: 2 rows are sent again" in said("stream", "resend", "abuse_prediction")
    assert "2 rows wait to be sent, 0 records wait to land" in said("stream", "status")
    assert "Kafka: abuse_prediction" in said("doctor", code=None)
    predict(store, ["u-3"])
    assert "abuse_prediction: 3 records sent" in said("stream", "send")
    said("run", "--select", 'key:"raw/abuse_predictions"')
    assert ids(home) == [1, 2, 3]
    assert "0 records wait to land" in said("stream", "status")


def test_on_s3_where_several_homes_write_rows_land_once_under_the_lease(
    home: Home, store: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3.moto() as bucket:
        for name, value in bucket.settings("lake").items():
            monkeypatch.setenv(name, value)
        predict(store, ["u-1", "u-2"])
        assert "abuse_prediction: 2 records sent" in said("stream", "send")
        assert "abuse_prediction: 2 records, 2 new rows" in said("stream", "--once")
        said("stream", "resend", "abuse_prediction")
        predict(store, ["u-3"])
        assert "abuse_prediction: 3 records sent" in said("stream", "send")
        assert "abuse_prediction: 3 records, 1 new rows" in said("stream", "--once")
        assert "0 records wait to land" in said("stream", "status")
        lake = bucket.tables("lake")
        found = lake.sql("SELECT prediction_id FROM raw.abuse_predictions ORDER BY 1")
        assert found.column(0).to_pylist() == [1, 2, 3]
        log = lake.files.below(f"{lake.path(PREDICTIONS.table)}/_delta_log")
        for path in (one for one in log if one.endswith(".json")):
            assert '"appId":"dmp.lease"' in (lake.files.read(path) or b"").decode()
        assert any("/offsets/" in path for path in lake.files.below(f"{lake.root}/{CHECKPOINTS}"))


def said(*words: str, code: int | None = 0) -> str:
    """What a command of `dmp` prints."""
    program = Path(sys.executable).with_name("dmp")
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=300)
    assert code is None or done.returncode == code, done.stderr
    return " ".join(done.stdout.split())
