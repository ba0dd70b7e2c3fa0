"""The simulated shop and its web database as a live home's sources, for runs that are compared."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from dmp_assets.demo.business.shop import generate
from dmp_assets.demo.business.web import generate_web
from tests.support.dmp import PROGRAM, Dmp

SEED, LAST = 7, date(2024, 3, 31)
LAYERS = ("raw", "cleaned", "modeled", "ml", "marts", "reports")


@dataclass(frozen=True)
class Shop:
    """A shop in somebody's PostgreSQL (`url`), and the web's SQLite file."""

    export: Path
    web: Path
    url: str

    def home(self, root: Path, project: Path, environment: Mapping[str, str]) -> Dmp:
        """A new live home that reads both; the web database is as it was simulated again.

        Results are written back into it, so one home after the other uses it.
        """
        live = self.web.with_name("live.sqlite")
        shutil.copyfile(self.web, live)
        sources = {"DMP_SHOP_DATABASE_URL": self.url, "DMP_WEB_DATABASE": str(live)}
        return Dmp(root, project, sources | dict(environment))


def simulated(folder: Path, url: str, users: int) -> Shop:
    """Simulate so many users and their visits; load the shop into the empty database at `url`."""
    generate(folder, users=users, seed=SEED, end=LAST)
    generate_web(folder / "web", folder / "export", seed=SEED, end=LAST)
    shop = Shop(folder / "export", folder / "web" / "web.sqlite", url)
    loader = shop.home(folder / "loader", folder, {})
    loaded = loader("load-shop", str(shop.export))
    assert loaded.code == 0, loaded.text
    return shop


def run(home: Path, environment: Mapping[str, str], *words: str) -> dict[str, Any]:
    """What `dmp … --json` says, watched by nobody. Raises SystemExit where it fails."""
    done = subprocess.run(
        [str(PROGRAM), *words],
        env={**os.environ, "DMP_HOME": str(home), **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"dmp {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return dict(json.loads(done.stdout)) if "--json" in words else {}
