"""The Dagster instance of a home: where it lies, and what every process that opens it is told."""

import os

import yaml

from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file

ENVIRONMENT = {
    "TZ": "UTC",
    "DO_NOT_TRACK": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DAGSTER_EVENT_BATCH_SIZE": "1000",  # events of a table's partitions are stored together
}


def prepare_instance(home: Home) -> None:
    """Write the home's `dagster.yaml` and point this process (and its children) at it."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    config = {
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},  # no invitation to Dagster's newsletter over the first page
        "concurrency": {"runs": {"max_concurrent_runs": home.settings().concurrent_runs}},
        "run_monitoring": {"enabled": True, "poll_interval_seconds": 30},
        "retention": {
            "schedule": {"purge_after_days": 90},
            "sensor": {"purge_after_days": {"skipped": 7, "failure": 30, "success": 90}},
        },
    }
    wanted = yaml.safe_dump(config, sort_keys=False)
    path = home.dagster / "dagster.yaml"
    if not path.exists() or path.read_text() != wanted:
        whole_file.write(path, wanted, mode=None)
    os.environ.update(ENVIRONMENT)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    os.environ["DMP_HOME"] = str(home.root)
