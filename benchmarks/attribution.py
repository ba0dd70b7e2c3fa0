"""Time and memory of the attribution models, and beside them a public package, as Markdown.

    .venv/bin/python benchmarks/attribution.py                    # 10,000 to 1,000,000 journeys
    .venv/bin/python benchmarks/attribution.py 10000 100000       # these sizes
    .venv/bin/python benchmarks/attribution.py --no-peer          # without the package

Simulated sessions: 10 channels, 4 touchpoints a journey on average, half of the journeys convert.
Both sides get the same sessions in memory, each in a process of its own, fit on all of them and
credit every journey; peak memory is that of the process, sessions included. The package is
marketing-attribution-models 1.0.10, installed with a pandas and a matplotlib that it runs with
(which need Python 3.11 or older) in a throw-away environment; models are those that both have.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (10_000, 100_000, 1_000_000)
CHANNELS = ("direct", "search", "display", "social", "email", "affiliate", "video", "referral",
            "organic", "partner")  # fmt: skip
PEER = "marketing-attribution-models==1.0.10"
PEER_NEEDS = (PEER, "pandas==1.5.3", "numpy<2", "matplotlib<3.8", "seaborn<0.13")
SHARED = ("first_touch", "last_touch", "last_non_direct", "linear", "position_based",
          "time_decay", "markov_1", "shapley")  # fmt: skip

_PEER_PROGRAM = """
import json, resource, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np
import pandas as pd
from marketing_attribution_models import MAM

with np.load(sys.argv[1]) as held:
    sessions = {name: held[name] for name in held.files}
names = sessions.pop("names")
frame = pd.DataFrame({
    "journey": sessions["journey"],
    "channel": pd.Series(names[sessions["channel"]].astype(str), dtype=object),
    "at": pd.Timestamp("2026-01-01") - pd.to_timedelta(
        np.round(sessions["hours_before"] * 3600), unit="s"),
    "converted": sessions["converted"][sessions["journey"]],
})
del sessions
seconds = {}
began = time.perf_counter()

def lap(name):
    global began
    now = time.perf_counter()
    seconds[name] = now - began
    began = now

mam = MAM(frame, group_channels=True, channels_colname="channel",
          journey_with_conv_colname="converted", group_channels_by_id_list=["journey"],
          group_timestamp_colname="at", create_journey_id_based_on_conversion=False)
lap("read")
mam.attribution_first_click(); lap("first_touch")
mam.attribution_last_click(); lap("last_touch")
mam.attribution_last_click_non(but_not_this_channel="direct"); lap("last_non_direct")
mam.attribution_linear(); lap("linear")
mam.attribution_position_based(); lap("position_based")
mam.attribution_time_decay(); lap("time_decay")
mam.attribution_markov(transition_to_same_state=True); lap("markov_1")
mam.attribution_shapley(); lap("shapley")
print(json.dumps({"seconds": seconds,
                  "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


def simulate(path: Path, count: int) -> int:
    """Write sessions of `count` journeys; their number."""
    random = np.random.default_rng(count)
    length = np.minimum(random.geometric(0.25, count), 60)
    journey = np.repeat(np.arange(count), length)
    hours = random.random(len(journey)) * 720
    popularity = 1 / np.arange(1, len(CHANNELS) + 1) ** 0.7
    np.savez(
        path,
        names=np.array(CHANNELS),
        journey=journey,
        channel=random.choice(len(CHANNELS), len(journey), p=popularity / popularity.sum()),
        hours_before=hours[np.lexsort((-hours, journey))],
        engaged=random.random(len(journey)) < 0.5,
        converted=random.random(count) < 0.5,
    )
    return len(journey)


def ours(path: Path) -> dict[str, Any]:
    """Seconds by step and model, and peak memory in bytes, of this process."""
    import resource

    import pyarrow as pa

    from dmp_assets.attribution.model.crediting import credits
    from dmp_assets.attribution.model.journeys import Journeys
    from dmp_assets.attribution.model.models import models_of
    from dmp_assets.attribution.model.parameters import Fitted, Parameters
    from dmp_assets.attribution.model.paths import paths_of

    with np.load(path) as held:
        sessions = {name: held[name] for name in held.files}
    channel = pa.array([str(name) for name in sessions["names"]])
    engaged = sessions["engaged"].astype(np.float64)
    table = pa.table(
        {
            "conv_id": pa.array(sessions["journey"]).cast(pa.string()),
            "channel_name": channel.take(pa.array(sessions["channel"])),
            "hours_before": sessions["hours_before"],
            "holder_engagement": engaged,
            "closer_engagement": engaged,
            "impression_interaction": np.zeros(len(engaged), dtype=np.bool_),
        }
    )
    converted = sessions.pop("converted")
    del sessions, engaged
    seconds: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        now = time.perf_counter()
        seconds[name] = seconds.get(name, 0.0) + now - began
        began = now

    journeys = Journeys.from_arrow(table)
    lap("read")
    paths = paths_of(journeys, converted)
    lap("paths")
    learnt = {}
    for name, model in models_of().items():
        if model.learn is not None:
            learnt[name] = model.learn(paths, Parameters())
            lap(name)
    fitted = Fitted(Parameters(), learnt)
    kept: dict[str, Any] = {}
    for name in models_of():
        kept |= credits(journeys, fitted, [name])
        lap(name)
    return {
        "seconds": seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "paths": len(paths),
    }


def measured(command: list[str]) -> dict[str, Any]:
    """The JSON that a program prints last."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"failed": done.returncode}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def install_peer(folder: Path) -> Path:
    """A new environment with the package; its Python."""
    if sys.version_info >= (3, 12):
        raise SystemExit(f"{PEER} needs Python 3.11 or older; use --no-peer")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEER_NEEDS], check=True)
    return python


def print_ours(rows: list[dict[str, Any]]) -> None:
    """All our models, a row per size."""
    models = [name for name in rows[0]["ours"]["seconds"] if name not in ("read", "paths")]
    print("\n| journeys | touchpoints | paths | all, s | × | peak, GiB | read, s | paths, s | "
          + " | ".join(f"{name}, s" for name in models) + " |")  # fmt: skip
    print("|" + "---:|" * (8 + len(models)))
    before = None
    for row in rows:
        found = row["ours"]
        seconds = found["seconds"]
        total = sum(seconds.values())
        growth = f"{total / before:.1f}" if before else ""
        cells = " | ".join(f"{seconds[name]:.2f}" for name in ("read", "paths", *models))
        print(f"| {row['journeys']:,} | {row['touchpoints']:,} | {found['paths']:,} | {total:.2f} "
              f"| {growth} | {found['peak'] / 2**30:.2f} | {cells} |")  # fmt: skip
        before = total


def print_beside(rows: list[dict[str, Any]]) -> None:
    """Our models beside the package's, a row per size and step. Reading includes our paths."""
    print(f"\n| journeys | step | ours, s | {PEER}, s | ours ÷ package |")
    print("|---:|---|---:|---:|---:|")
    for row in rows:
        theirs = row.get("peer")
        if not theirs or "failed" in theirs:
            print(f"| {row['journeys']:,} | the package ended with {theirs} | | | |")
            continue
        own = dict(row["ours"]["seconds"])
        own["read"] += own["paths"]
        pairs = [(name, own[name], theirs["seconds"][name]) for name in ("read", *SHARED)]
        pairs.append(("all of these", sum(p[1] for p in pairs), sum(p[2] for p in pairs)))
        for name, left, right in pairs:
            print(
                f"| {row['journeys']:,} | {name} | {left:.3f} | {right:.2f} | {left / right:.4f} |"
            )
        left, right = row["ours"]["peak"] / 2**30, theirs["peak"] / 2**30
        print(f"| {row['journeys']:,} | peak memory, GiB | {left:.2f} | {right:.2f} "
              f"| {left / right:.4f} |")  # fmt: skip


def main() -> None:
    """Measure each size, print what is known after each."""
    parser = argparse.ArgumentParser(description="Time and memory of the attribution models")
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="numbers of journeys")
    parser.add_argument("--no-peer", action="store_true", help="leave the public package out")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        print(json.dumps(ours(asked.ours)))
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="dmp-benchmark-") as name:
        folder = Path(name)
        program = folder / "peer.py"
        program.write_text(_PEER_PROGRAM)
        peer = None if asked.no_peer else install_peer(folder / "venv")
        for size in asked.sizes:
            sessions = folder / "sessions.npz"
            row: dict[str, Any] = {"journeys": size, "touchpoints": simulate(sessions, size)}
            row["ours"] = measured([sys.executable, __file__, "--ours", str(sessions)])
            if "failed" in row["ours"]:
                raise SystemExit(f"our own models ended with {row['ours']['failed']}")
            if peer:
                row["peer"] = measured([str(peer), str(program), str(sessions)])
            rows.append(row)
            print(f"{size:,} journeys measured on {os.cpu_count()} cores", file=sys.stderr)
    print_ours(rows)
    if peer:
        print_beside(rows)


if __name__ == "__main__":
    main()
