"""Looking for a new snapshot and a new model of the home; the last good ones serve on."""

import time
from datetime import datetime

from deltalake.exceptions import DeltaError

from dmp_assets.abuse.model import registry, snapshot
from dmp_assets.abuse.model.snapshot import Snapshot, SnapshotError
from dmp_assets.abuse.model.store import Model
from dmp_assets.home import Home
from dmp_assets.platform.config import secret_files
from dmp_assets.platform.lake.tables import TableError, Tables
from dmp_assets.settings import Settings

RETRY_EVERY = 5.0
"""Seconds after which a model that could not be read is read again."""


class News:
    """What there is to serve with; `problems`: what could not be read when it last looked."""

    def __init__(self, home: Home, settings: Settings, tables: Tables) -> None:
        self.home, self.settings, self.tables = home, settings, tables
        self.problems: list[str] = []
        self._secret = secret_files.of(home, secret_files.INDEX_KEY)
        self._registry_version = -1
        self._model_problems: list[str] = []
        self._model_looked_at = float("-inf")

    def look(
        self, known: Snapshot, model: Model, promoted_at: datetime | None
    ) -> tuple[Snapshot, Model, datetime | None]:
        """(snapshot, model, when it was promoted): these, or the newer ones that are there."""
        problems: list[str] = []
        try:
            if snapshot.current(self.home.serving) not in (known.version, None):
                known = snapshot.open_current(self.home.serving, self._secret)
        except SnapshotError as error:
            problems.append(str(error))
        found = self._promoted(model, promoted_at, problems)
        if found is not None:
            model, promoted_at = found
        self.problems = problems
        return known, model, promoted_at

    def _promoted(
        self, serving: Model, promoted_at: datetime | None, problems: list[str]
    ) -> tuple[Model, datetime | None] | None:
        """The promoted model when it is another one than before; the last good one serves on."""
        try:
            if not self.tables.exists(registry.KEY):
                return None
            version = self.tables.version(registry.KEY)
            waited = time.monotonic() - self._model_looked_at
            if version == self._registry_version and (
                not self._model_problems or waited < RETRY_EVERY
            ):
                problems += self._model_problems
                return None
            self._model_looked_at = time.monotonic()
            rows = registry.rows(self.tables)
            wanted = next((row for row in rows if row["is_serving"]), None)
            if wanted is None or wanted["model_version"] == serving.version:
                self._registry_version, self._model_problems = version, []
                return None
            model, self._model_problems = registry.serving(self.tables, self.home, self.settings)
            self._registry_version = version
        except (TableError, DeltaError, OSError) as error:
            problems.append(f"the model registry cannot be read ({type(error).__name__})")
            return None
        problems += self._model_problems
        if self._model_problems and (promoted_at is not None or model.version == serving.version):
            return None
        promoted = {row["model_version"]: row["promoted_at"] for row in rows}
        return model, promoted.get(model.version)
