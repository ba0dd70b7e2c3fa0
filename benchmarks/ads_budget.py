"""How well budgets are forecast and advised, and how long it takes, as Markdown.

    .venv/bin/python -m benchmarks.ads_budget              # judged: what docs/budgets.md shows
    .venv/bin/python -m benchmarks.ads_budget --no-peer    # without the public package
    .venv/bin/python -m benchmarks.ads_budget --choosing   # what settings were chosen by

Robyn's weekly data (`../shared/data/mmm`, or `--data`): the last 13 and 26 weeks are held out,
their spend is given, nothing else of them. Its target is revenue, so a margin of 30 % is assumed.

Beside it statsforecast 2.1.1, installed in a throw-away environment: AutoARIMA with the
spend, and three Fourier terms of the year or a season of 52 weeks.

20 simulated businesses (`tests/support/ads_businesses.py`), three years a day each, two of which
never vary their spend: the 28 days that follow are forecast with the spend that they had, and a
budget is advised for them, under the present total and a greatest step of 30 %. True profit is
that of the simulator, of all sales, without noise.

By hand were chosen, on the seeds of CHOOSING and, of Robyn's data, on rolling back-tests within
the weeks before the 26 that are held out: the flexibilities in `ensemble.CHOICES`, that they are
weighed instead of the best one taken, the power of the weights, Huber's bound and the size of the
drift. Set beforehand and kept: half-lives and scales of `response`, the default belief, the least
variation, the intervals by which the allocator judges. Judged seeds and weeks were looked at once
that was done.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmp_assets.ads.model.budgets.allocate import Advice, allocate
from dmp_assets.ads.model.budgets.fit import Knowledge
from dmp_assets.ads.model.budgets.forecast import forecast, learn
from dmp_assets.ads.model.budgets.scores import Scores, scores, seasonal_naive, wape
from dmp_assets.ads.model.budgets.series import Floats, Series
from tests.support.ads_businesses import AHEAD, CHOOSING, DAYS, JUDGED, business

DATA = Path(__file__).parents[2] / "shared" / "data" / "mmm" / "dt_simulated_weekly.csv"
FROZEN = 2
"""So many of the businesses never vary their spend: the last."""
PARTS = ("robyn", "peer", "businesses", "times")
PEER = "statsforecast==2.1.1"
TARGETS = {13: 0.088, 26: 0.115}
MARGIN = 0.3
_LONGEST_HOLDOUT = 26


_PEER_PROGRAM = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np
from statsforecast.models import AutoARIMA

given = json.load(sys.stdin)
target, spend = np.array(given["target"]), np.array(given["spend"])
week = 2 * np.pi * np.arange(len(target)) * 7 / 365.2425
year = np.column_stack([f(n * week) for n in (1, 2, 3) for f in (np.sin, np.cos)])
scaled = spend / spend.std(axis=0)
for weeks in given["weeks"]:
    size = len(target) - weeks
    for season, columns in ((1, np.hstack([scaled, year])), (52, scaled)):
        began = time.perf_counter()
        model = AutoARIMA(season_length=season, approximation=True)
        model.fit(target[:size], columns[:size])
        found = model.predict(weeks, columns[size:], level=[80])
        error = np.abs(target[size:] - found["mean"]).sum() / np.abs(target[size:]).sum()
        inside = (target[size:] >= found["lo-80"]) & (target[size:] <= found["hi-80"])
        print(json.dumps({"weeks": weeks, "season": season, "wape": error,
                          "inside": inside.mean(), "seconds": time.perf_counter() - began}))
"""


def robyn(path: Path) -> Series:
    """Robyn's revenue by the spend of five channels."""
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    channels = [name for name in rows[0] if name.endswith("_S")]
    return Series.of(
        [row["DATE"] for row in rows],
        [float(row["revenue"]) for row in rows],
        {name.removesuffix("_S"): [float(row[name]) for row in rows] for name in channels},
    )


def held_out(series: Series, size: int, weeks: int) -> tuple[Scores, float]:
    """Scores of the weeks after the first `size`, and the seasonal naive's WAPE."""
    past, ahead = series.until(size), slice(size, size + weeks)
    model = learn(past, Knowledge(break_even=1 / MARGIN), horizon=7 * weeks)
    actual = series.target[ahead]
    found = forecast(model, series.spend[ahead])
    naive = wape(actual, seasonal_naive(past.target, weeks, 7))
    assert naive is not None
    return scores(actual, found.quantiles, past.target, 7), naive


def print_robyn(series: Series, choosing: bool) -> None:
    """Each holdout, or rolling ones within the weeks that are learnt from."""
    print("| weeks held out | after week | WAPE | target | seasonal naive | MASE | within 80 % "
          "| within 95 % |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for weeks, target in TARGETS.items():
        ends = [len(series)]
        if choosing:
            ends = [len(series) - _LONGEST_HOLDOUT - 13 * n for n in range(6)]
        for end in ends:
            found, naive = held_out(series, end - weeks, weeks)
            print(f"| {weeks} | {end - weeks} | {found.wape:.3f} | {target} | {naive:.3f} "
                  f"| {found.mase:.2f} | {found.coverage_80:.0%} | {found.coverage_95:.0%} |",
                  flush=True)  # fmt: skip


def print_peer(series: Series) -> None:
    """Beside ours statsforecast's AutoARIMA with the same spend, in a throw-away environment."""
    print("| model | weeks held out | WAPE | within 80 % | seconds |\n|---|---|---|---|---|")
    for weeks in TARGETS:
        began = time.perf_counter()
        found, _ = held_out(series, len(series) - weeks, weeks)
        print(f"| ours | {weeks} | {found.wape:.3f} | {found.coverage_80:.0%} "
              f"| {time.perf_counter() - began:.1f} |", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="dmp-benchmark-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", PEER], check=True)
        given = {
            "target": series.target.tolist(),
            "spend": series.spend.tolist(),
            "weeks": list(TARGETS),
        }
        told = subprocess.run(
            [python, "-c", _PEER_PROGRAM],
            input=json.dumps(given),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    for line in told.stdout.splitlines():
        one = json.loads(line)
        year = "three Fourier terms" if one["season"] == 1 else "a season of 52 weeks"
        print(f"| AutoARIMA, {year} | {one['weeks']} | {one['wape']:.3f} | {one['inside']:.0%} "
              f"| {one['seconds']:.1f} |")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one business."""

    seed: int
    frozen: bool
    channels: int
    constant: int
    moved: int
    scores: Scores
    naive: float
    total_inside: int
    advice: Advice
    present: float
    advised: float

    @property
    def share(self) -> float:
        """True profit of the advised budget as a share of the present one's."""
        return self.advised / self.present


def outcome(seed: int, frozen: bool) -> Outcome:
    """Forecast and advice for one business, judged by the truth."""
    shop = business(seed, frozen=frozen)
    model = learn(shop.series())
    ahead = slice(DAYS, DAYS + AHEAD)
    actual = shop.target[ahead]
    found = forecast(model, np.maximum(shop.spend[ahead], 0.0))
    naive = wape(actual, seasonal_naive(shop.target[:DAYS], AHEAD, 1))
    assert naive is not None
    advice = allocate(model)
    constant = shop.constant
    budget = np.array([line.advised for line in advice.lines])
    present = np.array([line.present for line in advice.lines])
    total = found.totals[AHEAD]
    return Outcome(
        seed=seed,
        frozen=frozen,
        channels=len(constant),
        constant=int(constant.sum()),
        moved=int((constant & (np.abs(budget - present) > 1e-6 * present)).sum()),
        scores=scores(actual, found.quantiles, shop.target[:DAYS], 1),
        naive=naive,
        total_inside=int(total[1] <= actual.sum() <= total[-2]),
        advice=advice,
        present=shop.profit(present),
        advised=shop.profit(budget),
    )


def print_businesses(seeds: range) -> None:
    """A row for each business, then what all of them come to."""
    print("| seed | channels | never vary | WAPE | naive | within 80 % | gain told, 10–90 % "
          "| true profit, of present | advice |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    found = []
    for place, seed in enumerate(seeds):
        one = outcome(seed, place >= len(seeds) - FROZEN)
        found.append(one)
        low, _, high = one.advice.gain if one.advice.given else one.advice.candidate
        what = "given" if one.advice.given else one.advice.reasons[-1].code
        print(f"| {one.seed} | {one.channels} | {one.constant} | {one.scores.wape:.3f} "
              f"| {one.naive:.3f} | {one.scores.coverage_80:.0%} | {low:,.0f} to {high:,.0f} "
              f"| {one.share:.2%} | {what} |", flush=True)  # fmt: skip
    given = [one for one in found if one.advice.given]
    beaten = sum((one.scores.wape or 0.0) < one.naive for one in found)
    inside = float(np.mean([one.scores.coverage_80 for one in found]))
    outer = float(np.mean([one.scores.coverage_95 for one in found]))
    earned = sum(one.share >= 1 for one in found)
    better = sum(one.share > 1 for one in given)
    silent = sum(not one.advice.given for one in found if one.frozen)
    print("\n| of all businesses | found | wanted |\n|---|---|---|")
    print(f"| WAPE below the seasonal naive's | {beaten} of {len(found)} | 16 |")
    print(f"| days within the interval of 80 % | {inside:.0%} | 70 to 90 % |")
    print(f"| days within the interval of 95 % | {outer:.0%} | |")
    print(f"| totals of 28 days within 80 % | {sum(o.total_inside for o in found)} of {len(found)} "
          "| |")  # fmt: skip
    print(f"| true profit at least the present one's | {earned} of {len(found)} | 16 |")
    print(f"| least true profit, of the present one's | {min(o.share for o in found):.2%} | 97 % |")
    print(f"| advice given, and of it with more profit | {len(given)}, {better} | |")
    if given:
        print(f"| mean change of true profit where advice is given "
              f"| {np.mean([one.share - 1 for one in given]):+.2%} | |")  # fmt: skip
    print(f"| no advice where no spend varies | {silent} of {FROZEN} | {FROZEN} |")
    print(f"| channels moved whose spend never varies | {sum(one.moved for one in found)} | 0 |")


def print_times(seed: int) -> None:
    """Seconds for 10 channels and three years."""
    shop = business(seed, channels=10)
    series = shop.series()
    plan: Floats = np.tile(series.recent(), (AHEAD, 1))
    began = time.perf_counter()
    model = learn(series)
    forecast(model, plan)
    learnt = time.perf_counter()
    allocate(model)
    done = time.perf_counter()
    print("\n| 10 channels, three years of days | seconds | wanted |\n|---|---|---|")
    print(f"| back-tests, fit, forecast with intervals | {learnt - began:.1f} | < 20 |")
    print(f"| an allocation | {done - learnt:.2f} | < 1 |")


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description="Forecasts and advice of the budget model")
    parser.add_argument("--choosing", action="store_true", help="what settings were chosen by")
    parser.add_argument("--data", type=Path, default=DATA, help="Robyn's weekly data")
    parser.add_argument("--only", choices=PARTS, help="one of the parts")
    parser.add_argument("--no-peer", action="store_true", help="leave the public package out")
    asked = parser.parse_args()
    seeds = CHOOSING if asked.choosing else JUDGED
    if asked.only in (None, "robyn"):
        print_robyn(robyn(asked.data), asked.choosing)
        print()
    if asked.only in (None, "peer") and not (asked.choosing or asked.no_peer):
        print_peer(robyn(asked.data))
        print()
    if asked.only in (None, "businesses"):
        print_businesses(seeds)
    if asked.only in (None, "times"):
        print_times(seeds[0])


if __name__ == "__main__":
    main()
