"""cleaned/experiment_exposures: whom an experiment counts, every unit once by its first exposure.

Grain: a unit of an experiment. Key: advertiser_id, experiment, unit. Sources:
raw/experiment_exposures, raw/experiments. As `model/experiments/exposures.py` has it: a unit is
left out when an exposure of it was a bot's, when it met several variants, or when its variant is
none of the experiment's; the first of these that holds is the reason.
"""

from dmp_assets.ads.tables.experiment_log import ADVERTISER, EXPERIMENT
from dmp_assets.ads.tables.experiment_log import EXPOSURES as LOGGED
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "advertiser_id": ADVERTISER,
    "experiment": EXPERIMENT,
    "unit": LOGGED["unit"],
    "variant": Column("string", "What it met first.", "behaviour"),
    "first_exposed_at": Column("timestamp", "When that was (UTC).", "behaviour"),
    "exposures": Column("long", "How many different exposures were logged.", "behaviour"),
    "left_out": Column("string", "Why it does not count: bot, mixed or stranger; null: it does."),
}
KEY = ("advertiser_id", "experiment", "unit")
_QUERY = """
WITH variant AS (
  SELECT advertiser_id, experiment,
         unnest(from_json(definition->'$.variants', '["VARCHAR"]')) AS variant, true AS is_known
  FROM raw.experiments
),
unit AS (
  SELECT e.advertiser_id, e.experiment, e.unit, count(*) AS exposures,
         arg_min(e.variant, struct_pack(a := e.exposed_at, b := e.exposure_id)) AS variant,
         min(e.exposed_at) AS first_exposed_at, bool_or(e.is_bot) AS is_bot,
         count(DISTINCT CASE WHEN is_known THEN e.variant ELSE '' END) AS variants,
         NOT bool_or(coalesce(is_known, false)) AS is_strange
  FROM raw.experiment_exposures e
  SEMI JOIN raw.experiments USING (advertiser_id, experiment)
  LEFT JOIN variant v USING (advertiser_id, experiment, variant)
  GROUP BY e.advertiser_id, e.experiment, e.unit
)
SELECT advertiser_id, experiment, unit, variant, first_exposed_at, exposures,
       CASE WHEN is_bot THEN 'bot' WHEN variants > 1 THEN 'mixed' WHEN is_strange THEN 'stranger'
       END AS left_out
FROM unit ORDER BY advertiser_id, experiment, unit
"""


@table_asset(
    "cleaned",
    deps=["raw/experiment_exposures", "raw/experiments"],
    columns=COLUMNS,
    key=KEY,
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "assignment_sticks",
            """
            SELECT count(*) FROM (
              SELECT count(*) FILTER (left_out = 'mixed') AS mixed,
                     count(*) FILTER (left_out IS DISTINCT FROM 'bot') AS people
              FROM cleaned.experiment_exposures GROUP BY advertiser_id, experiment
            ) WHERE mixed > 0.01 * people
            """,
            "Of no experiment more than 1 % of the people met several variants.",
        ),
    ),
)
def experiment_exposures(run: TableRun) -> None:
    """Whom experiments count, every unit once by its first exposure, and who is left out.

    Grain: a unit of an experiment. Key: advertiser_id, experiment, unit. Sources:
    raw/experiment_exposures, raw/experiments.
    """
    run.overwrite(run.sql(_QUERY))
