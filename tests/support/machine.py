"""When the machine itself stands still, as a shared one does: what nobody's program can help.

A process of its own does the same small work again and again, and notes how much processor time
it took. Where that is many times the usual, the host gave its processors to others.

python -m tests.support.machine FILE    # until it is told to end; then writes the times to FILE
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

EVERY = 0.003
USUAL = 4.0
"""So many times the usual is a stop."""
AROUND = 0.06
"""Seconds for which a stop holds up what comes next."""


@dataclass
class Stops:
    """Seconds (`time.perf_counter`) at which the machine stood still, in order; and their share."""

    at: list[float] = field(default_factory=list)
    share: float = 0.0

    def outside(self, spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Those of these times from–to that no stop touches."""
        return [
            (begin, end)
            for begin, end in spans
            if bisect_left(self.at, begin - AROUND) == bisect_left(self.at, end)
        ]


@contextmanager
def watched(folder: Path) -> Iterator[Stops]:
    """The stops until the end; they are known afterwards."""
    stops, file = Stops(), folder / "machine.json"
    child = subprocess.Popen([sys.executable, "-m", "tests.support.machine", str(file)])
    try:
        yield stops
    finally:
        child.terminate()
        child.wait()
    samples = json.loads(file.read_text())
    usual = statistics.median(took for _, took in samples)
    stops.at = [at for at, took in samples if took > USUAL * usual]
    stops.share = len(stops.at) / len(samples)


def main() -> None:
    """Watch until told to end, on the last core."""
    os.sched_setaffinity(0, {(os.cpu_count() or 1) - 1})
    is_over: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: is_over.append(1))
    samples = []
    while not is_over:
        at, began = time.perf_counter(), time.thread_time()
        sum(n * n for n in range(1_000))
        samples.append((at, time.thread_time() - began))
        time.sleep(EVERY)
    Path(sys.argv[1]).write_text(json.dumps(samples))


if __name__ == "__main__":
    main()
