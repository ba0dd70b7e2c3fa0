"""Data that an earlier version put outside its home: whose it is, and that no other home opens it.

The folder says in `owner.json` which home it belongs to, by a random id that the home has too, by
the home's path and by its inode. A copy of the home has the id as well, but is another folder.
"""

import hashlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.postgres.endpoint import PostgresError

FILE = "owner.json"


@dataclass(frozen=True)
class Outside:
    """A folder outside the home."""

    home: Home
    folder: Path

    def check(self) -> None:
        """Raise PostgresError unless the folder is this home's; one that says nothing becomes it.

        A home that was moved keeps it, where nothing is at its old place any more.
        """
        if not self.folder.exists():
            return
        owner = self._owner()
        if owner is None:
            # Made before there were owners: it is named after the home's path then.
            name = hashlib.sha256(str(self.home.root).encode()).hexdigest()[:16]
            if self.folder.name != name:
                raise PostgresError(self._refusal("a home at another place"))
        elif owner["id"] != self._id():
            raise PostgresError(self._refusal(f"the home {owner['root']}"))
        elif (
            Path(owner["root"]) != self.home.root
            and owner["inode"] != self._inode()
            and Path(owner["root"], "home.json").exists()
        ):
            raise PostgresError(self._refusal(f"the home {owner['root']}, of which this is a copy"))
        if owner is None or owner != self._here():
            self.claim()

    def claim(self) -> None:
        """Make the folder this home's, whoever's it was."""
        whole_file.write(self.folder / FILE, json.dumps(self._here(), indent=2))

    def _owner(self) -> dict[str, str] | None:
        try:
            return dict(json.loads((self.folder / FILE).read_text()))
        except FileNotFoundError:
            return None

    def _here(self) -> dict[str, str]:
        return {"id": self._id(), "root": str(self.home.root), "inode": self._inode()}

    def _inode(self) -> str:
        found = self.home.root.stat()
        return f"{found.st_dev}:{found.st_ino}"

    def _id(self) -> str:
        known = self.home.state().get("id")
        if known is None:
            known = uuid.uuid4().hex
            self.home.remember(id=known)
        return str(known)

    def _refusal(self, whose: str) -> str:
        return (
            f"{self.home.root} is not the home whose databases lie in {self.folder}: they belong "
            f"to {whose}. To work on a copy, `dmp backup` there and `dmp restore` into a new "
            "DMP_HOME. If this is the home itself and was moved, or the other is gone: "
            "`dmp db claim`"
        )
