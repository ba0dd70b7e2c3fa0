"""Drift of the served model's inputs and outputs: what the drift table says over time."""

from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.settings import Settings

KEY = "ml/abuse_drift"
PERSISTENT = """
    WITH serving AS (SELECT model_version FROM ml.model_registry WHERE is_serving),
    evaluation AS (
        SELECT evaluated_at, bool_or(is_drifted) AS is_drifted
        FROM ml.abuse_drift SEMI JOIN serving USING (model_version)
        WHERE kind = 'dataset' OR (kind = 'prediction' AND measure = 'distance')
        GROUP BY evaluated_at ORDER BY evaluated_at DESC LIMIT $runs
    )
    SELECT coalesce(count(*) = $runs AND bool_and(is_drifted), false) FROM evaluation
"""


def persistent_drift(tables: Tables, settings: Settings) -> bool:
    """Whether the last N evaluations of the serving model all drifted.

    N is `drift_persistent_runs`. An evaluation drifted when its predictions did, or too many of
    its features.
    """
    if not (tables.exists(KEY) and tables.exists("ml/model_registry")):
        return False
    runs = settings.of(AbuseSettings).drift_persistent_runs
    return bool(tables.scalar(PERSISTENT, {"runs": runs}))
