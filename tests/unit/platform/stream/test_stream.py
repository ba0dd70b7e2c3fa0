"""Streams without a broker: records, settings, the outbox, and what is said when Kafka is away."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from pydantic import SecretStr, ValidationError
from typer.testing import CliRunner

from dmp_assets.abuse.service.streams import DECISIONS, PREDICTIONS
from dmp_assets.abuse.tables.service_log import DECISIONS as DECIDED
from dmp_assets.abuse.tables.service_log import PREDICTIONS as PREDICTED
from dmp_assets.cli.main import app
from dmp_assets.home import Home
from dmp_assets.platform.lake import java
from dmp_assets.platform.lake.columns import Columns, arrow_schema, differences
from dmp_assets.platform.store import database
from dmp_assets.platform.stream import kafka, landing, outbox
from dmp_assets.platform.stream.kafka import Extent, StreamError
from dmp_assets.platform.stream.sender import Sender, SenderThread, StreamMetrics
from dmp_assets.platform.stream.settings import KafkaSettings
from dmp_assets.platform.stream.stream import COLUMNS, Stream, dead_letter_columns
from tests.support.abuse_log import ATTRIBUTES, decide, predict

NOBODY = "127.0.0.1:9"


def told(**given: object) -> KafkaSettings:
    """These settings, the others by default."""
    return KafkaSettings.model_validate(given)


AWAY = told(kafka_bootstrap_servers=NOBODY)


@pytest.fixture
def store(store_url: SecretStr) -> Iterator[sa.Engine]:
    engine = database.engine(store_url)
    yield engine
    engine.dispose()


# records and columns -----------------------------------------------------------------------------
def test_a_record_is_a_cloud_event_that_names_nobody_outside_of_its_row(store: sa.Engine) -> None:
    predict(store, ["Secret Person"])
    with store.connect() as connection:
        ((number, row),) = outbox.rows_after(connection, PREDICTIONS, 0, 10)
    event = json.loads(PREDICTIONS.record(number, row))
    data = event.pop("data")
    assert event == {
        "specversion": "1.0", "id": "1", "source": "dmp_assets", "type": "dmp.abuse_prediction.v1",
        "datacontenttype": "application/json",
    }  # fmt: skip
    assert data["account_id"] == "Secret Person"
    assert json.loads(data["attributes"]) == ATTRIBUTES, "JSON is text, as it lands from the store"


@pytest.mark.parametrize(("stream", "columns"), [(PREDICTIONS, PREDICTED), (DECISIONS, DECIDED)])
def test_a_row_has_every_column_that_its_table_has(
    stream: Stream, columns: Columns, store: sa.Engine
) -> None:
    predict(store, ["u-1"])
    decide(store, [("u-1", "block")])
    with store.connect() as connection:
        ((_, row),) = outbox.rows_after(connection, stream, 0, 10)
    assert list(json.loads(row)) == list(columns)


def test_rows_may_lack_what_only_kafka_tells_of_them_and_nothing_else() -> None:
    declared = {**PREDICTED, **COLUMNS}
    assert differences(declared, arrow_schema(PREDICTED)) == []
    assert differences(declared, arrow_schema(declared)) == []
    lacking = arrow_schema({n: c for n, c in PREDICTED.items() if n != "account_id"})
    assert differences(declared, lacking) == ["account_id is missing"]


def test_a_dead_letter_is_found_by_whom_its_row_would_be() -> None:
    found = {n: c.subject for n, c in dead_letter_columns(PREDICTED).items() if c.subject}
    assert found == {n: c.subject for n, c in PREDICTED.items() if c.subject and c.type == "string"}
    assert dead_letter_columns(PREDICTED)["value"].personal == "free text"


# how far it is -----------------------------------------------------------------------------------
def test_lag_counts_what_kafka_keeps_and_lost_what_it_does_not() -> None:
    extent = Extent({0: 10, 1: 0, 2: 5}, {0: 30, 1: 7, 2: 5})
    assert (landing.lag(extent, {}), landing.lost(extent, {})) == (27, 0)
    assert landing.lag(extent, {0: 30, 1: 7, 2: 5}) == 0
    assert (landing.lag(extent, {0: 4, 1: 7, 2: 5}), landing.lost(extent, {0: 4, 1: 7})) == (20, 6)


def test_the_outbox_moves_with_what_was_acknowledged(store: sa.Engine) -> None:
    predict(store, [f"u-{n}" for n in range(5)])
    with store.begin() as connection:
        assert outbox.waiting(connection, PREDICTIONS, "t") == outbox.Waiting(5, 0, 5)
        assert outbox.hold(connection, PREDICTIONS, "t") == 0
        first = outbox.rows_after(connection, PREDICTIONS, 0, 3)
        assert [number for number, _ in first] == [1, 2, 3]
        outbox.advance(connection, PREDICTIONS, "t", 3)
    with store.begin() as connection:
        assert outbox.waiting(connection, PREDICTIONS, "t") == outbox.Waiting(5, 3, 2)
        assert outbox.waiting(connection, PREDICTIONS, "made anew").rows == 5
        assert outbox.waiting(connection, PREDICTIONS, None).rows == 2
        assert outbox.rewind(connection, PREDICTIONS, "t") == 5
        assert outbox.acknowledged(connection, PREDICTIONS, "t") == 0


def test_one_sender_at_a_time_sends_a_stream_and_a_dead_one_lets_go(store: sa.Engine) -> None:
    predict(store, ["u-1"])
    with store.connect() as first, store.connect() as second:
        transaction = first.begin()
        assert outbox.hold(first, PREDICTIONS, "t") == 0
        outbox.advance(first, PREDICTIONS, "t", 1)
        transaction.commit()
        transaction = first.begin()
        assert outbox.hold(first, PREDICTIONS, "t") == 1
        with second.begin():
            assert outbox.hold(second, PREDICTIONS, "t") is None
            assert outbox.hold(second, DECISIONS, "t") == 0, "another stream is free"
        outbox.advance(first, PREDICTIONS, "t", 99)
        transaction.rollback()  # as the store does when the connection is gone
        with second.begin():
            assert outbox.hold(second, PREDICTIONS, "t") == 1


def test_an_older_copy_of_the_store_is_told_with_what_to_do(store: sa.Engine) -> None:
    predict(store, ["u-1", "u-2", "u-3"])
    with store.begin() as connection:
        outbox.hold(connection, PREDICTIONS, "t")
        outbox.advance(connection, PREDICTIONS, "t", 3)
        connection.execute(sa.text("DELETE FROM abuse_prediction WHERE prediction_id > 1"))
    with store.begin() as connection, pytest.raises(StreamError) as raised:
        outbox.hold(connection, PREDICTIONS, "t")
    assert "ends with 1, and 3 was sent to Kafka before" in str(raised.value)
    with store.begin() as connection:
        connection.execute(sa.text(str(raised.value).partition("count on: ")[2]))
    predict(store, ["u-4"])
    with store.begin() as connection:
        assert outbox.hold(connection, PREDICTIONS, "t") == 3
        assert [n for n, _ in outbox.rows_after(connection, PREDICTIONS, 3, 9)] == [4]


# Kafka is away -----------------------------------------------------------------------------------
def test_while_no_broker_answers_rows_wait_and_it_is_told(store: sa.Engine) -> None:
    predict(store, ["u-1", "u-2"])
    began = time.monotonic()
    with pytest.raises(StreamError, match=f"no Kafka answers at {NOBODY}.*BOOTSTRAP_SERVERS"):
        Sender(AWAY, store, [PREDICTIONS]).send(PREDICTIONS)
    assert time.monotonic() - began < 3 * kafka.PATIENCE_SECONDS
    registry = CollectorRegistry()
    thread = SenderThread(Sender(AWAY, store, [PREDICTIONS]), StreamMetrics(registry))
    assert set(thread.once()) == {"abuse_prediction"}
    waiting = registry.get_sample_value("dmp_stream_waiting_rows", {"stream": "abuse_prediction"})
    assert waiting == 2


def test_the_thread_lives_on_and_ends_when_it_is_told_to(store: sa.Engine) -> None:
    thread = SenderThread(Sender(AWAY, store, [PREDICTIONS]), StreamMetrics(CollectorRegistry()))
    thread.start()
    began = time.monotonic()
    thread.stop()
    assert time.monotonic() - began < kafka.DELIVERY_SECONDS


def test_a_store_that_is_gone_stops_no_sender(store: sa.Engine) -> None:
    gone = database.engine(SecretStr("postgresql://dmp:Secret-1@127.0.0.1:9/store"))
    thread = SenderThread(Sender(AWAY, gone, [PREDICTIONS]), StreamMetrics(CollectorRegistry()))
    assert thread.once() == {
        "abuse_prediction": "the store does not answer (OperationalError)"
    }  # fmt: skip


def test_a_fault_of_ours_stops_no_sender_and_is_told(store: sa.Engine) -> None:
    unknown = Stream("no_such_log", "raw/no_such_logs", "id")
    thread = SenderThread(
        Sender(AWAY, store, [unknown, PREDICTIONS]), StreamMetrics(CollectorRegistry())
    )
    problems = thread.once()
    assert problems["no_such_log"] == "KeyError"
    assert "no Kafka answers" in problems["abuse_prediction"], "the next one has its turn"


# settings ----------------------------------------------------------------------------------------
def test_a_login_is_told_to_both_clients_and_to_nobody_else() -> None:
    settings = told(
        kafka_bootstrap_servers="k:9093", kafka_security_protocol="SASL_SSL",
        kafka_sasl_username="dmp", kafka_sasl_password=SecretStr('se"cr\\et'),
        kafka_ca_file=Path("/ca.pem"),
    )  # fmt: skip
    conf = kafka.producer_conf(settings)
    assert (conf["sasl.username"], conf["sasl.password"]) == ("dmp", 'se"cr\\et')
    assert (conf["acks"], conf["enable.idempotence"]) == ("all", True)
    options = kafka.spark_options(settings)
    assert options["kafka.sasl.jaas.config"] == (
        "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="dmp" password="se\\"cr\\\\et";'
    )
    assert options["kafka.ssl.truststore.location"] == conf["ssl.ca.location"] == "/ca.pem"
    half = settings.model_copy(update={"kafka_sasl_username": None})
    for made in (kafka.client_conf, kafka.spark_options):
        with pytest.raises(StreamError, match="needs DMP_KAFKA_SASL_USERNAME") as raised:
            made(half)
        assert "cr" not in str(raised.value).partition("needs")[0]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("kafka_bootstrap_servers", "http://kafka:9092"),
        ("kafka_bootstrap_servers", "kafka"),
        ("kafka_bootstrap_servers", "kafka:9092,"),
        ("kafka_topic_prefix", "a/b"),
        ("kafka_security_protocol", "TLS"),
        ("kafka_sasl_mechanism", "GSSAPI"),
    ],
)
def test_a_wrong_setting_is_refused(name: str, wrong: str) -> None:
    with pytest.raises(ValidationError):
        told(**{name: wrong})


def test_several_brokers_may_be_named() -> None:
    named = told(kafka_bootstrap_servers="a-1.example:9092, [::1]:9093")
    assert named.kafka_bootstrap_servers == "a-1.example:9092,[::1]:9093"


def test_a_sandbox_home_reaches_no_kafka(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMP_KAFKA_BOOTSTRAP_SERVERS", NOBODY)
    assert not kafka.is_configured(home.settings())
    monkeypatch.setenv("DMP_HOME", str(home.root))
    ran = CliRunner().invoke(app, ["stream", "status"])
    assert ran.exit_code == 1 and "a sandbox home reaches nothing outside" in ran.output


# what is missing ---------------------------------------------------------------------------------
def test_a_client_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(StreamError, match="--extra kafka"):
        kafka.library()


def test_jars_that_were_not_fetched_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for jar in java.wanted_jars():
        (tmp_path / jar.name).touch()
    monkeypatch.setenv("DMP_JARS_DIR", str(tmp_path))
    assert len(java.jar_paths()) == len(java.wanted_jars())
    with pytest.raises(java.PrerequisiteError, match="run `dmp setup --kafka`"):
        [path for which in java.sets_of(AWAY) for path in java.jar_paths(which)]
