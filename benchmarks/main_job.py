"""Time and memory of the main job at growing numbers of users, as a Markdown table.

    .venv/bin/python benchmarks/main_job.py                 # 10,000 and 100,000 users
    .venv/bin/python benchmarks/main_job.py 1 10 100        # 1,000,000 as well

Each size runs `dmp demo --no-web` in a new home, then again with nothing new. Generating and
loading the simulated shop count as set-up. Memory is the largest sum over the whole process tree
(PSS, so that shared pages count once), sampled once a second. Ratios are to the row above.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

DMP = Path(sys.executable).with_name("dmp")
BASE = 10_000
LAYERS = ("raw", "cleaned", "modeled", "ml", "marts", "reports", "delivery")


def tree_memory(pid: int) -> int:
    """Bytes that a process and all its descendants hold together."""
    total = 0
    try:
        root = psutil.Process(pid)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in members:
        try:
            total += member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, int, str]:
    """Run a command; its wall seconds, the peak memory of its tree in bytes, and its output."""
    began = time.monotonic()
    peak = 0
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def watch() -> None:
        nonlocal peak
        while child.poll() is None:
            peak = max(peak, tree_memory(child.pid))
            time.sleep(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = child.communicate()
    watcher.join()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}:\n{out[-3000:]}")
    return time.monotonic() - began, peak, out


def run(factor: int) -> dict[str, Any]:
    """Figures of one size: first run and rerun."""
    users = BASE * factor
    with tempfile.TemporaryDirectory(prefix="dmp-benchmark-") as folder:
        environment = os.environ | {"DMP_HOME": folder, "DMP_DEMO_USERS": str(users)}
        _, peak, out = measured([str(DMP), "demo", "--no-web", "--json"], environment)
        first = json.loads(out)
        _, _, out = measured([str(DMP), "demo", "--no-web", "--json"], environment)
        again = json.loads(out)
    return {
        "users": users,
        "seconds": first["seconds"],
        "peak": peak / 2**30,
        "rerun": again["seconds"],
        "layers": first["seconds_by_layer"],
        "rows": first["rows_by_layer"],
    }


def main() -> None:
    """Print a table with a row per size."""
    factors = [int(text) for text in sys.argv[1:]] or [1, 10]
    print("| users | run, s | × | " + " | ".join(f"{name}, s" for name in LAYERS), end="")
    print(" | peak, GiB | rerun, s | rerun ÷ run |")
    print("|---:|---:|---:|" + "---:|" * (len(LAYERS) + 3))
    before: float | None = None
    for factor in factors:
        found = run(factor)
        ratio = f"{found['seconds'] / before:.1f}" if before else ""
        layers = " | ".join(f"{found['layers'].get(name, 0):.0f}" for name in LAYERS)
        print(
            f"| {found['users']:,} | {found['seconds']:.0f} | {ratio} | {layers} | "
            f"{found['peak']:.1f} | {found['rerun']:.0f} | "
            f"{found['rerun'] / found['seconds']:.2f} |",
            flush=True,
        )
        before = found["seconds"]


if __name__ == "__main__":
    main()
