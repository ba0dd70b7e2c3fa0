"""modeled/experiment_readings: what each running experiment says after each full day.

Grain: a reading of an experiment; in modeled/experiment_comparisons a metric of a treatment against
the control in a reading. Sources: modeled/experiment_metrics_daily, raw/experiments,
cleaned/experiment_exposures, raw/experiment_reach, modeled/ad_performance_daily, modeled/ads.

Readings are kept: a row is added where there is more to say than in the last one, after another
full day or where a day was restated, and none is changed any more. What follows from a reading is
done by published/experiment_readings.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from dmp_assets.ads.model.experiments import cells, readout
from dmp_assets.ads.model.experiments.decide import GOING_ON, Reading
from dmp_assets.ads.model.experiments.definition import Metric
from dmp_assets.ads.model.experiments.exposures import Excluded
from dmp_assets.ads.model.experiments.moments import Moments, total
from dmp_assets.ads.model.experiments.written import reading_json
from dmp_assets.ads.service.store import experiments as stored
from dmp_assets.ads.tables.experiment_log import ADVERTISER, EXPERIMENT
from dmp_assets.ads.tables.experiment_metrics_daily import Tried, cells_table, tried
from dmp_assets.home import Home
from dmp_assets.platform.cleaning.machine_values import AMOUNT
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import TableRun, table_asset
from dmp_assets.platform.store import where

METRICS = "modeled/experiment_metrics_daily"
VERSION = Column("long", "Number of the reading, growing for each experiment.")
COLUMNS = {
    "advertiser_id": ADVERTISER,
    "experiment": EXPERIMENT,
    "version": VERSION,
    "last_day": Column("date", "The last full day that it holds."),
    "read_at": Column("timestamp", "When it was read (UTC)."),
    "variants": Column("array<string>", "The variants, the control first."),
    "units": Column("array<long>", "Units that count, by variant; people reached in a split test."),
    "mismatch_p_value": Column("double", "Of the split at any time; null in a split test."),
    "exposures": Column("long", "Exposures of all units; null in a split test."),
    "bots": Column("long", "Units left out because a bot was among their exposures."),
    "mixed": Column("long", "Units left out that met several variants."),
    "strangers": Column("long", "Units left out with a variant that the experiment has not."),
    "spent": Column(AMOUNT, "What all variants spent, in the account's currency."),
    "open_days": Column("long", "Days of it that can still be restated."),
    "disapproved_ads": Column("array<string>", "Ads of it that Meta has disapproved."),
    "reading": Column("string", "All of it (JSON), as it is judged."),
}
_FIGURES = {
    "control_value": "The metric of the control, as counted.",
    "treatment_value": "That of the treatment.",
    "difference": "Treatment less control, adjusted where the metric is.",
    "low": "Its lower bound at any time; null: there is none.",
    "high": "Its upper bound.",
    "p_value": "Of no difference, at any time.",
    "adjusted_p_value": "The same by Holm, or by Benjamini-Hochberg where it is secondary.",
    "lift": "The difference as a share of the control.",
    "lift_low": "Its lower bound at any time; null: there is none.",
    "lift_high": "Its upper bound.",
    "welch_p_value": "By Welch's test, which holds at the planned end alone.",
    "chance_to_win": "Probability that the treatment is better, Bayesian.",
    "loss_of_choosing": "Expected loss of choosing the treatment, as a share.",
}
COMPARISONS = {
    "advertiser_id": ADVERTISER,
    "experiment": EXPERIMENT,
    "version": VERSION,
    "role": Column("string", "primary, guardrail or secondary."),
    "metric": Column("string", "The metric."),
    "treatment": Column("string", "The variant that is compared with the control."),
    **{name: Column("double", about) for name, about in _FIGURES.items()},
    "unknown": Column("string", "Why nothing can be said; null: it can."),
}
KEY = ("advertiser_id", "experiment", "version")
_COUNTED = """
SELECT advertiser_id, experiment, variant, first_exposed_at::DATE AS day,
       count(*) FILTER (left_out IS NULL) AS units, sum(exposures)::BIGINT AS exposures,
       count(*) AS all_units, count(*) FILTER (left_out = 'bot') AS bots,
       count(*) FILTER (left_out = 'mixed') AS mixed,
       count(*) FILTER (left_out = 'stranger') AS strangers
FROM cleaned.experiment_exposures GROUP BY ALL
"""
_SPENT = """
SELECT advertiser_id, experiment, date AS day, sum(spend) AS spent, bool_or(is_open) AS is_open
FROM modeled.ad_performance_daily p JOIN cells c USING (advertiser_id, account_id)
WHERE CASE c.entities WHEN 'campaigns' THEN p.campaign_id ELSE p.adset_id END = c.entity_id
  AND date >= c.first_day
GROUP BY ALL
"""
_DISAPPROVED = """
SELECT DISTINCT advertiser_id, experiment, a.ad_id
FROM modeled.ads a JOIN cells c USING (advertiser_id, account_id)
WHERE CASE c.entities WHEN 'campaigns' THEN a.campaign_id ELSE a.adset_id END = c.entity_id
  AND effective_status = 'DISAPPROVED' AND is_listed
ORDER BY ALL
"""
_NEWEST = """
SELECT advertiser_id, experiment, version, reading FROM modeled.experiment_readings
QUALIFY row_number() OVER (PARTITION BY advertiser_id, experiment ORDER BY version DESC) = 1
"""

Row = dict[str, Any]
Of = tuple[str, str]


def _of(row: Row) -> Of:
    return row["advertiser_id"], row["experiment"]


def _grouped(rows: Sequence[Row]) -> dict[Of, list[Row]]:
    found: dict[Of, list[Row]] = defaultdict(list)
    for row in rows:
        found[_of(row)].append(row)
    return found


@dataclass(frozen=True)
class Known:
    """What is known of all experiments, by advertiser and name."""

    sums: Mapping[Of, Sequence[Row]]
    counted: Mapping[Of, Sequence[Row]]
    reach: Mapping[Of, Mapping[str, int]]
    spent: Mapping[Of, Sequence[Row]]
    disapproved: Mapping[Of, Sequence[str]]

    @classmethod
    def of(cls, run: TableRun, split: Sequence[Tried]) -> "Known":
        reach: dict[Of, dict[str, int]] = defaultdict(dict)
        for row in run.sql("SELECT * FROM raw.experiment_reach").to_pylist():
            reach[_of(row)][row["variant"]] = row["reach"]
        disapproved: dict[Of, list[str]] = defaultdict(list)
        spent: list[Row] = []
        if split:
            read = ("modeled/ad_performance_daily", "modeled/ads")
            with run.lakehouse.tables.connect(*read) as connection:
                connection.register("cells", cells_table(split))
                spent = connection.sql(_SPENT).to_arrow_table().to_pylist()
                for row in connection.sql(_DISAPPROVED).to_arrow_table().to_pylist():
                    disapproved[_of(row)].append(row["ad_id"])
        return cls(
            _grouped(run.sql("SELECT * FROM modeled.experiment_metrics_daily").to_pylist()),
            _grouped(run.sql(_COUNTED).to_pylist()),
            reach, _grouped(spent), disapproved,
        )  # fmt: skip


def own_reading(one: Tried, last_day: date, known: Known) -> Reading:
    """What an experiment that we assign says after its last full day."""
    definition, of = one.definition, (one.advertiser_id, one.experiment)
    counted = [row for row in known.counted.get(of, ()) if row["day"] <= last_day]
    units = dict.fromkeys(definition.variants, 0)
    for row in counted:
        if row["variant"] in units:
            units[row["variant"]] += row["units"]
    names = ("exposures", "all_units", "bots", "mixed", "strangers")
    excluded = Excluded(*(sum(row[name] for row in counted) for name in names))
    found = readout.read(
        definition, list(units.values()), dict(_moments(one, known.sums.get(of, ()))),
        excluded=excluded,
    )  # fmt: skip
    return Reading(0, last_day, found)


def _moments(one: Tried, rows: Sequence[Row]) -> Iterator[tuple[tuple[str, str], Moments]]:
    """Moments by metric and variant; those of nobody where there are no units."""
    by: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by[row["metric"], row["variant"]].append(row)
    for metric in one.definition.metrics():
        for variant in one.definition.variants:
            parts = [_moment(metric, row) for row in by[metric.name, variant]]
            yield (metric.name, variant), total([_none(metric), *parts])


def _none(metric: Metric) -> Moments:
    k = len(metric.columns)
    return Moments(np.array(0.0), np.zeros(k), np.zeros((k, k)), metric.kind == "proportion")


def _moment(metric: Metric, row: Row) -> Moments:
    k, units = len(metric.columns), float(row["units"])
    products = np.array(row["products"]).reshape(k, k)
    is_binary = metric.kind == "proportion"
    return Moments(np.array(units), np.array(row["sums"]) / units, products, is_binary)


def split_reading(one: Tried, last_day: date, known: Known) -> Reading:
    """What a split test at Meta says; of its metrics nothing until Meta has said whom each cell
    reached, or where a cell has events and reached nobody."""
    definition, of = one.definition, (one.advertiser_id, one.experiment)
    reached = known.reach.get(of, {})
    people = [reached.get(name, 0) for name in definition.variants]
    days = [
        definition.starts_on + timedelta(days=n)
        for n in range((last_day - definition.starts_on).days + 1)
    ]
    moments: dict[tuple[str, str], Moments] = {}
    for metric in definition.metrics():
        events = {
            (row["day"], row["variant"]): row["sums"][0]
            for row in known.sums.get(of, ())
            if row["metric"] == metric.name
        }
        counts = [[events.get((day, name), 0.0) for name in definition.variants] for day in days]
        if all(people):
            of_metric = cells.of_cells(counts, people).moments
        else:
            of_metric = (_none(metric),) * len(people)
        moments |= {
            (metric.name, name): one_cell
            for name, one_cell in zip(definition.variants, of_metric, strict=True)
        }
    spent = known.spent.get(of, ())
    closed = {row["day"] for row in spent if not row["is_open"]}
    return Reading(
        0,
        last_day,
        readout.read(definition, people, moments),
        open_days=frozenset(day for day in days if day not in closed),
        spent=sum((row["spent"] for row in spent), Decimal(0)),
        disapproved_ads=tuple(known.disapproved.get(of, ())),
    )


@table_asset(
    "modeled",
    deps=[
        METRICS, "raw/experiments", "cleaned/experiment_exposures", "raw/experiment_reach",
        "modeled/ad_performance_daily", "modeled/ads",
    ],
    columns=COLUMNS,
    key=KEY,
    owner="team:marketing",
    kinds=("duckdb", "delta"),
)  # fmt: skip
def experiment_readings(run: TableRun) -> None:
    """What each running experiment says after each full day.

    Grain: a reading of an experiment. Key: advertiser_id, experiment, version. Sources:
    modeled/experiment_metrics_daily, raw/experiments, cleaned/experiment_exposures,
    raw/experiment_reach, modeled/ad_performance_daily, modeled/ads.
    """
    told = run.lakehouse.tables.stamp(METRICS).get("probe") or {}
    last_day = date.fromisoformat(told["last_day"])
    going = [one for one in tried(run, last_day) if one.state in GOING_ON]
    known = Known.of(run, [one for one in going if one.kind == "meta_split"])
    newest = {_of(row): row for row in _newest(run)}
    judged: Mapping[Of, int] | None = None
    readings: list[Row] = []
    for one in going:
        if last_day < one.definition.starts_on:
            continue
        found = (own_reading if one.kind == "own" else split_reading)(one, last_day, known)
        before = newest.get((one.advertiser_id, one.experiment))
        if before and _says(found, before["version"]) == before["reading"]:
            continue
        judged = _judged(run.lakehouse.home) if judged is None else judged
        known_versions = (
            before["version"] if before else 0, judged.get((one.advertiser_id, one.experiment), 0),
        )  # fmt: skip
        readings.append(_row(one, replace(found, version=max(known_versions) + 1), run))
    if readings or not run.exists(run.key):
        run.append(pa.Table.from_pylist(readings, arrow_schema(COLUMNS)))
    else:
        run.keep()


def _judged(home: Home) -> dict[Of, int]:
    """The newest reading of each experiment that was judged: where the table was lost, or is an
    older copy, its numbers go on from there. Raises StoreError."""
    from dmp_assets.platform.store import database

    with database.opened(where.store_url(home), checked=False) as store:
        database.check(store, published=False)
        with store.connect() as connection:
            found = stored.started(connection)
    return {(one.advertiser_id, one.experiment): one.version for one in found}


def _newest(run: TableRun) -> list[Row]:
    return run.sql(_NEWEST).to_pylist() if run.exists(run.key) else []


def _says(reading: Reading, version: int) -> str:
    return json.dumps(reading_json(replace(reading, version=version)), sort_keys=True)


def _row(one: Tried, reading: Reading, run: TableRun) -> Row:
    excluded = reading.readout.excluded
    left_out = {
        name: None if excluded is None else getattr(excluded, name)
        for name in ("exposures", "bots", "mixed", "strangers")
    }
    return {
        "advertiser_id": one.advertiser_id,
        "experiment": one.experiment,
        "version": reading.version,
        "last_day": reading.last_day,
        "read_at": run.lakehouse.home.now(),
        "variants": list(one.definition.variants),
        "units": list(reading.readout.counts),
        "mismatch_p_value": reading.readout.mismatch_p_value,
        **left_out,
        "spent": reading.spent,
        "open_days": len(reading.open_days),
        "disapproved_ads": list(reading.disapproved_ads),
        "reading": _says(reading, reading.version),
    }


@table_asset(
    "modeled",
    deps=["modeled/experiment_readings"],
    columns=COMPARISONS,
    key=(*KEY, "role", "metric", "treatment"),
    owner="team:marketing",
    kinds=("duckdb", "delta"),
)
def experiment_comparisons(run: TableRun) -> None:
    """Each metric of each treatment against the control, in every reading.

    Grain: a metric of a treatment in a reading. Key: advertiser_id, experiment, version, role,
    metric, treatment. Source: modeled/experiment_readings.
    """
    rows = [
        {
            **one,
            **{name: row[name] for name in KEY},
            "treatment": one["treatment_name"],
            "control_value": one["control"],
            "treatment_value": one["treatment"],
        }
        for row in run.sql("SELECT * FROM modeled.experiment_readings ORDER BY ALL").to_pylist()
        for one in json.loads(row["reading"])["comparisons"]
    ]
    told = [{name: row[name] for name in COMPARISONS} for row in rows]
    run.overwrite(pa.Table.from_pylist(told, arrow_schema(COMPARISONS)))
