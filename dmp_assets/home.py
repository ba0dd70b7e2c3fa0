"""The home: the folder ($DMP_HOME, default ./var) that holds everything a run makes.

A home is *sandbox* or *live* from its first command on. `dmp demo` and the tests make sandbox
homes, which reach loopback only; any other first command makes a live one.
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from stat import S_ISLNK, S_ISVTX
from typing import Any, Literal, get_args

from dmp_assets import settings as settings_module
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.config import connection_urls
from dmp_assets.settings import Settings

Profile = Literal["sandbox", "live"]
_PROFILES = get_args(Profile)
SIMULATED = "simulated.json"
"""What the simulated business settles of a sandbox home: setting → value."""
_SIMULATED_FILES = {"web_database": "web.sqlite", "ads_exchange_rates": "exchange_rates.csv"}


class HomeError(UserError):
    """Something about the home that the user can put right; the message says how."""


@dataclass(frozen=True)
class Home:
    """Paths and small state files of one home. Nothing is created before `prepare()`."""

    root: Path

    @classmethod
    def current(cls) -> "Home":
        """The home named by $DMP_HOME (or `.env`, `config.yaml`), else ./var."""
        configured = os.environ.get("DMP_HOME") or settings_module.load(sandbox=True).home
        return cls(Path(configured).expanduser().resolve())

    # paths -------------------------------------------------------------------------------------
    @property
    def lakehouse(self) -> Path:
        return self.root / "lakehouse"

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse.duckdb"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def serving(self) -> Path:
        """What the API scores with."""
        return self.root / "serving"

    @property
    def spool(self) -> Path:
        """Scores that the API could not log yet."""
        return self.serving / "spool"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def sandbox(self) -> Path:
        return self.root / "sandbox"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    # profile -----------------------------------------------------------------------------------
    def state(self) -> dict[str, Any]:
        """What the home remembers: `profile` and, once built, `shop`."""
        file = _state_file(self.root)
        try:
            state = json.loads(file.read_text())
            if not isinstance(state, dict) or state.get("profile") not in (*_PROFILES, None):
                raise ValueError("not the state of a home")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except ValueError as error:
            raise HomeError(
                f"{file} cannot be read ({error}); move the home away or run `dmp reset`"
            ) from error
        return state

    def remember(self, **values: Any) -> None:
        """Add to what the home remembers; written whole, so a crash leaves the old file."""
        with whole_file.changing(_state_file(self.root)):
            _write_state(self.root, self.state() | values)

    def forget(self, name: str) -> None:
        """Drop one thing from what the home remembers."""
        with whole_file.changing(_state_file(self.root)):
            known = self.state().items()
            _write_state(self.root, {key: value for key, value in known if key != name})

    @property
    def profile(self) -> Profile:
        """`sandbox` or `live`; a home not yet made counts as live."""
        return self.state().get("profile", "live")

    def prepare(self, profile: Profile | None = None) -> "Home":
        """Make the folder and fix its profile (live unless said otherwise).

        Raises HomeError when the folder cannot be written, has a name that tables cannot have, or
        already has the other profile.
        """
        odd = connection_urls.unusable(str(self.root))
        if odd and self.settings().lakehouse_root is None:
            raise HomeError(
                f"no tables can be kept in {self.root}: its path holds {odd}; "
                "set DMP_HOME to another folder"
            )
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            _close(self.root)
            probe = self.root / f".write-probe-{os.getpid()}"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise HomeError(
                f"cannot write to the home {self.root} ({error.strerror}); "
                "set DMP_HOME to a folder that you can write to"
            ) from error
        known = self.state().get("profile")
        if known is None:
            self.remember(profile=profile or "live")
        elif profile is not None and known != profile:
            raise HomeError(
                f"{self.root} is a {known} home and this command needs a {profile} one; "
                f"set DMP_HOME to another folder"
            )
        return self

    def settings(self) -> Settings:
        """The settings as this home may use them; a sandbox home stays on loopback."""
        if self.profile == "live":
            return settings_module.load(sandbox=False, overrides={"home": self.root})
        files = {name: self.sandbox / file for name, file in _SIMULATED_FILES.items()}
        found = {name: str(file) for name, file in files.items() if file.exists()}
        served = _said(self.sandbox / "endpoint.json").get("settings", {})
        settled = _said(self.sandbox / SIMULATED)
        overrides = {"home": self.root} | found | served | settled
        return settings_module.load(sandbox=True, overrides=overrides)

    def now(self) -> datetime:
        """The clock's time in a live home; in a sandbox noon of the day after its history.

        The simulated business ends in the past, so whatever looks back does so from there.
        """
        if self.profile == "sandbox":
            tomorrow = self.settings().demo_end + timedelta(days=1)
            return datetime.combine(tomorrow, time(12), UTC)
        return datetime.now(UTC)


def _said(file: Path) -> dict[str, Any]:
    """What a file of the sandbox says; nothing where there is none."""
    return json.loads(file.read_text()) if file.exists() else {}


def _state_file(root: Path) -> Path:
    return root / "home.json"


def _write_state(root: Path, state: dict[str, Any]) -> None:
    whole_file.write(_state_file(root), json.dumps(state, indent=2, sort_keys=True) + "\n")


def _close(root: Path) -> None:
    """Let nobody but its owner into the home; what an earlier version left open is closed once.

    A folder that everybody may use, such as /tmp, stays as it is, and so does another's.
    """
    found = root.stat()
    if found.st_uid != os.geteuid() or not found.st_mode & 0o077 or found.st_mode & S_ISVTX:
        return
    if not _state_file(root).exists() and any(root.iterdir()):
        return  # no home yet, but something
    root.chmod(0o700)
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder, name)
            inside = path.lstat()
            if inside.st_uid == found.st_uid and not S_ISLNK(inside.st_mode):
                path.chmod(inside.st_mode & 0o700)
