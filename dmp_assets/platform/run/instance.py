"""The Dagster instance of a home: where it lies, and what every process that opens it is told."""

import os
from importlib.util import find_spec
from typing import Any

import yaml

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.base import whole_file
from dmp_assets.settings import Settings

ENVIRONMENT = {
    "TZ": "UTC",
    "DO_NOT_TRACK": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DAGSTER_EVENT_BATCH_SIZE": "1000",  # events of a table's partitions are stored together
}


STORE_URL = "DMP_DAGSTER_DATABASE_URL"
"""Where `dagster.yaml` finds the history's address, which so is in no file."""


def prepare_instance(home: Home) -> None:
    """Write the home's `dagster.yaml` and point this process (and its children) at it."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = home.settings()
    days = settings.tick_days
    config: dict[str, Any] = {
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},  # no invitation to Dagster's newsletter over the first page
        "concurrency": {"runs": {"max_concurrent_runs": settings.concurrent_runs}},
        "run_monitoring": {"enabled": True, "poll_interval_seconds": 30},
        "retention": {
            "schedule": {"purge_after_days": days},
            "sensor": {
                "purge_after_days": {
                    "skipped": min(7, days), "failure": min(30, days), "success": days,
                }
            },
        },
    }  # fmt: skip
    if settings.dagster_database_url is not None:
        config["storage"] = {"custom": _in_postgres(settings)}
        find_history(settings)
    if settings.run_launcher:
        config["run_launcher"] = settings.run_launcher
    wanted = yaml.safe_dump(config, sort_keys=False)
    path = home.dagster / "dagster.yaml"
    if not path.exists() or path.read_text() != wanted:
        whole_file.write(path, wanted, mode=None)
    os.environ.update(ENVIRONMENT)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    os.environ["DMP_HOME"] = str(home.root)


def find_history(settings: Settings) -> None:
    """Let this process open the instance, where its history is in PostgreSQL."""
    if settings.dagster_database_url is not None:
        os.environ[STORE_URL] = settings.dagster_database_url.get_secret_value()


def _in_postgres(settings: Settings) -> dict[str, Any]:
    if find_spec("dagster_postgres") is None:
        raise HomeError(
            f"{STORE_URL} needs the extra `postgres`: `uv sync --frozen --inexact --extra postgres`"
        )
    return {
        "module": "dmp_assets.platform.run.shared_history",
        "class": "Storage",
        "config": {
            "postgres_url": {"env": STORE_URL},
            "connections": settings.dagster_connections,
            "pool_limits": settings.source_limits,
        },
    }
