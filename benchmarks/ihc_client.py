"""Prints how long the IHC client takes for 100 full batches of a service that answers in 200 ms.

    python -m benchmarks.ihc_client

The sandbox answers, in a process of its own; 10 requests at a time. Then the same again, from the
answers on disk.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import SecretStr

from dmp_assets.sources.ihc.answers import AnswerStore
from dmp_assets.sources.ihc.client import IhcConfig, compute

JOURNEYS = 10_000
SERVER = """
import json, sys
from pathlib import Path
from dmp_assets.demo.sandbox.ihc import IhcSandbox
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.home import Home
with Sandbox(Home(Path(sys.argv[1])).prepare("sandbox"), (IhcSandbox,)).running() as endpoint:
    print(json.dumps({"url": endpoint.url} | endpoint.settings), flush=True)
    sys.stdin.read()
"""


def _journeys() -> pa.Table:
    """Two sessions each, so that a batch is full by journeys and by sessions."""
    journey = np.repeat(np.arange(JOURNEYS), 2)
    row = np.arange(2 * JOURNEYS)
    last = pa.array(row % 2 == 1)
    return pa.table(
        {
            "conv_id": np.char.mod("conversion-%06d", journey),
            "session_id": np.char.mod("session-%06d", row),
            "timestamp": pa.array(1_710_748_800 + 3_600 * row).cast(pa.timestamp("s", "UTC")),
            "channel_name": np.array(["Newsletter", "Brand search", "Affiliate"])[row % 3],
            "holder_engagement": last,
            "closer_engagement": last,
            "impression_interaction": pa.array(row % 5 == 0),
        }
    )


def main() -> None:
    journeys = _journeys()
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-c", SERVER, f"{folder}/home"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server,
    ):
        assert server.stdin and server.stdout
        found = json.loads(server.stdout.readline())
        urllib.request.urlopen(
            f"{found['url']}/ihc/_sandbox/behaviour", data=json.dumps({"latency": 0.2}).encode()
        ).close()
        config = IhcConfig(
            url=found["ihc_url"],
            api_key=SecretStr(found["ihc_api_key"]),
            conversion_type=found["ihc_conversion_type"],
            concurrency=10,
        )
        with AnswerStore(Path(folder) / "answers") as store:
            for name in ("asked", "from disk"):
                start = time.perf_counter()
                result = compute(journeys, config, store)
                seconds = time.perf_counter() - start
                print(
                    f"{name}: {seconds:.2f} s, {result.calls.sent} requests, "
                    f"{result.credits.num_rows:,} credits, {len(result.failed)} failed"
                )
        server.stdin.close()


if __name__ == "__main__":
    main()
