"""How fast the service's log goes by Kafka: store → Kafka, and Kafka → Delta in batches.

    .venv/bin/python benchmarks/kafka.py [--scores 400000]

A broker and a PostgreSQL of its own on loopback, rows as scoring logs them. The second number is
that of rounds after the first, which starts Spark; it is said too.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import psutil
import sqlalchemy as sa
import structlog

from dmp_assets.abuse.service.store.schema import abuse_prediction
from dmp_assets.abuse.service.streams import PREDICTIONS
from dmp_assets.home import Home
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.store import database
from dmp_assets.platform.stream import continuous
from dmp_assets.platform.stream.sender import Sender
from tests.support.abuse_log import predict
from tests.support.kafka import kafka_server
from tests.support.postgres import fresh_database, postgres_server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=2, help="rounds after the first")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="dmp-benchmark-") as folder,
        kafka_server() as broker,
        postgres_server() as endpoint,
        fresh_database(endpoint) as url,
    ):
        os.environ |= broker.environment(
            DMP_HOME=f"{folder}/home", DMP_PROJECT_DIR=folder,
            DMP_STORE_URL=url.get_secret_value(),
        )  # fmt: skip
        home = Home(Path(folder) / "home").prepare("live")
        store = database.engine(url)
        database.migrate(store)
        broker.make(PREDICTIONS.topic("dmp."))
        lakehouse = Lakehouse()
        sender = Sender(home.settings(), store, [PREDICTIONS])
        lakehouse.expect(asked.scores)
        for number in range(1 + asked.rounds):
            log(store, asked.scores)
            began = clocks()
            sent = sender.send(PREDICTIONS)
            told("sent", sent, began)
            began = clocks()
            landed = continuous.land(lakehouse, PREDICTIONS, log=structlog.get_logger())
            told(f"landed{' (Spark starts)' if number == 0 else ''}", landed.rows, began)
        rows = lakehouse.tables.scalar(
            "SELECT count(DISTINCT prediction_id) FROM raw.abuse_predictions"
        )
        assert rows == asked.scores * (1 + asked.rounds)
        lakehouse.spark.stop()
        store.dispose()


def log(store: sa.Engine, scores: int) -> None:
    """Log so many scores as the service would."""
    account = uuid4().hex
    predict(store, [account])
    columns = [
        column.name
        for column in abuse_prediction.columns
        if column.name not in ("prediction_id", "score_id", "account_id")
    ]
    with store.begin() as connection:
        connection.execute(
            sa.text(
                f"INSERT INTO abuse_prediction (score_id, account_id, {', '.join(columns)}) "
                f"SELECT gen_random_uuid(), account_id || n, {', '.join(columns)} "
                "FROM abuse_prediction, generate_series(2, :scores) n WHERE account_id = :account"
            ),
            {"scores": scores, "account": account},
        )


def told(what: str, rows: int, began: tuple[float, float]) -> None:
    seconds, busy = (now - then for now, then in zip(clocks(), began, strict=True))
    print(
        f"{what}: {rows:,} in {seconds:.1f} s, {rows / seconds:,.0f}/s; "
        f"{busy:.1f} s of a processor, {rows / busy:,.0f} for each",
        flush=True,
    )


def clocks() -> tuple[float, float]:
    """The time, and what this process and its JVM have used of processors; in seconds."""
    own = psutil.Process()
    return time.monotonic(), sum(used(each) for each in (own, *own.children(recursive=True)))


def used(process: psutil.Process) -> float:
    """What it used, if it is this one or its Spark; else 0, as for a broker."""
    try:
        if process.pid != os.getpid() and "pyspark" not in " ".join(process.cmdline()):
            return 0
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # it has just ended
        return 0
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
