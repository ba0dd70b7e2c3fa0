"""What the home keeps of its PostgreSQL server beside the data: who it is, and who uses it."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import psutil

from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.postgres.endpoint import PostgresError, explain
from dmp_assets.platform.postgres.outside import Outside

START_SECONDS = 120
"""How long a start may take."""


class ServerFiles:
    """The files in `$DMP_HOME/postgres`; whoever changes something is `alone` there.

    `endpoint.json` has port, passwords and the place of the data (0600); `users` a file for each
    process that needs the server; `transient` is there while it runs for these alone.
    """

    def __init__(self, home: Home) -> None:
        self.folder = home.postgres
        self.endpoint = self.folder / "endpoint.json"
        self.transient = self.folder / "transient"
        self._home = home
        self._users = self.folder / "users"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other process start or stop the server meanwhile. Raises PostgresError."""
        try:
            if not self.folder.exists():
                self.folder.mkdir(parents=True, mode=0o700)
            with filelock.FileLock(self.folder / "lock", mode=0o600, timeout=2 * START_SECONDS):
                yield
        except filelock.Timeout as error:
            raise PostgresError(
                f"another process is starting or stopping the PostgreSQL in {self.folder} for "
                "minutes; see who with `dmp db status`, end it and try again"
            ) from error
        except OSError as error:
            raise PostgresError(explain(str(error), self.folder)) from error

    def known(self) -> dict[str, Any] | None:
        """What `endpoint.json` says; None before the first start. Raises PostgresError."""
        try:
            return dict(json.loads(self.endpoint.read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise PostgresError(
                f"{self.endpoint} belongs to another user; run as that user, "
                "or set DMP_HOME to a folder of your own"
            ) from error
        except json.JSONDecodeError as error:
            raise PostgresError(
                f"{self.endpoint} is not readable JSON ({error}); restore it, or `dmp reset`"
            ) from error

    def remember(self, known: dict[str, Any]) -> None:
        """Write `endpoint.json`, for whoever owns the folder."""
        owner = self.folder.stat() if os.geteuid() == 0 else None
        whole_file.write(self.endpoint, json.dumps(known, indent=2), owner=owner)

    def data(self, known: dict[str, Any] | None) -> Path:
        """Where the data lies. Raises PostgresError for that of another home."""
        data = self.folder / (known["data"] if known else "data")
        if data.parent != self.folder:
            Outside(self._home, data.parent).check()
        return data

    def new_user(self) -> Path:
        """A file by which this process counts as a user of the server until it is deleted."""
        self._users.mkdir(exist_ok=True, mode=0o700)
        ticket = self._users / f"{os.getpid()}-{uuid.uuid4().hex}"
        ticket.touch(0o600)
        return ticket

    def has_users(self) -> bool:
        """Whether a process that is alive needs the server; files of dead ones go."""
        alive = False
        for ticket in self._users.iterdir() if self._users.exists() else ():
            if psutil.pid_exists(int(ticket.name.partition("-")[0])):
                alive = True
            else:
                ticket.unlink(missing_ok=True)
        return alive
