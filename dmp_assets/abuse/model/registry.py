"""Reading the model registry: which model serves, and how good it was found."""

from typing import Any

from dmp_assets.abuse.model import store
from dmp_assets.abuse.model.money import Costs, Thresholds, raised, thresholds
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.home import Home
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.settings import Settings

KEY = "ml/model_registry"
NEW_LABELS = """
    WITH serving AS (
        SELECT coalesce(max(labels_known), 0) AS known, max(created_at) AS trained_at
        FROM ml.model_registry WHERE is_serving
    )
    SELECT greatest(
        abs(count(l.user_id) - any_value(known)), count(*) FILTER (l.labelled_at > trained_at)
    )
    FROM serving LEFT JOIN modeled.abuse_labels l ON true
"""


def costs(settings: Settings) -> Costs:
    own = settings.of(AbuseSettings)
    return Costs(own.cost_blocked_customer, own.cost_lost_discount, own.review_cost)


def limits(settings: Settings) -> Thresholds:
    """The decisions' limits at today's costs."""
    return thresholds(costs(settings))


def rows(tables: Tables) -> list[dict[str, Any]]:
    """The registry, the serving model first, then the newest first."""
    if not tables.exists(KEY):
        return []
    # not by DuckDB, which takes 60 MB of a process that only scores
    found: list[dict[str, Any]] = tables.dataset(KEY).to_table().to_pylist()
    found.sort(key=lambda row: row["model_version"])
    found.sort(key=lambda row: (row["is_serving"], row["created_at"]), reverse=True)
    return found


def new_labels(tables: Tables) -> int:
    """How many labels the serving model was not trained on.

    By how much their number changed or, when that is more, how many a reviewer has decided since:
    a label that is overruled changes no number.
    """
    if not (tables.exists(KEY) and tables.exists("modeled/abuse_labels")):
        return 0
    return int(tables.scalar(NEW_LABELS))


def rule_list(version: str, thresholds: Thresholds) -> store.Model:
    """The rule list as it is: needs neither labels nor a file."""
    import numpy as np

    from dmp_assets.abuse.model import models
    from dmp_assets.abuse.model.features import NAMES

    typical = np.full(len(NAMES), np.nan)
    return store.Model(version, "rule_list", models.unfitted_rule_list(), thresholds, typical)


def serving(tables: Tables, home: Home, settings: Settings) -> tuple[store.Model, list[str]]:
    """The model that serves, and what is wrong with better ones that cannot.

    Thresholds are today's costs', but nobody is blocked below what was measured. When the promoted
    model cannot be read, the last good one serves; when none can, the rule list as it is.
    """
    today = limits(settings)
    problems: list[str] = []
    for row in rows(tables):
        if row["promoted_at"] is None:
            continue
        try:
            model = store.load(home.models, row["model_version"], row["sha256"])
        except store.ModelError as error:
            problems.append(str(error))
            continue
        decides = raised(today, row.get("block_raised_to"), row.get("block_from"))
        return (
            store.Model(model.version, model.candidate, model.pipeline, decides, model.typical),
            problems,
        )
    return rule_list(store.RULES_ONLY, today), problems


def headline(tables: Tables) -> str:
    """One line on the serving model for a run's summary."""
    serving_rows = [row for row in rows(tables) if row["is_serving"]]
    if not serving_rows:
        return "no model yet"
    row = serving_rows[0]
    if row["pr_auc_mean"] is None:
        quality = "not measured: too few labels"
    else:
        quality = f"PR-AUC {row['pr_auc_mean']:.2f} ± {row['pr_auc_spread']:.2f} on held-out folds"
    return f"{row['candidate'].replace('_', ' ')} {row['model_version']}: {quality}"
