"""What was worked out of tables and holds as long as they stand, so that it is not done again.

`$DMP_HOME/worked_out.json` keeps results of checks and previews under a name, with what each was
made of: the tables with their versions, and the query. Asked for with the same, the result comes
back; whatever else happens (another version, a damaged or missing file) means working it out.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file


class WorkedOut:
    """The home's results, read once; runs that keep new ones at the same time lose none."""

    def __init__(self, home: Home):
        self._file = home.root / "worked_out.json"
        self._known = _read(self._file)
        self._changed: dict[str, Any] = {}

    def get(self, name: str, made_of: Any, work_out: Callable[[], Any]) -> Any:
        """The result `name` of `made_of`: as kept, else worked out now. Both are JSON values."""
        known = self.peek(name, made_of)
        return self.note(name, made_of, work_out()) if known is None else known

    def peek(self, name: str, made_of: Any) -> Any:
        """The result `name` of `made_of` as kept; None where there is none."""
        known = self._known.get(name)
        if isinstance(known, dict) and known.get("of") == _mark(made_of):
            return deepcopy(known.get("is"))
        return None

    def note(self, name: str, made_of: Any, result: Any) -> Any:
        """Remember a result, and give it as it will come back."""
        result = json.loads(json.dumps(result))
        self._known[name] = self._changed[name] = {"of": _mark(made_of), "is": result}
        return deepcopy(result)

    def forget(self, prefix: str, but: Iterable[str]) -> None:
        """Drop results whose name begins so and is none of `but`: of checks that are gone."""
        gone = [name for name in self._known if name.startswith(prefix) and name not in set(but)]
        for name in gone:
            del self._known[name]
            self._changed[name] = None

    def keep(self) -> None:
        """Write the file whole where something is new, beside what others kept meanwhile."""
        if not self._changed:
            return
        with whole_file.changing(self._file):
            known = _read(self._file) | self._changed
            known = {name: entry for name, entry in known.items() if entry is not None}
            whole_file.write(self._file, json.dumps(known, sort_keys=True) + "\n")
        self._changed = {}


def _mark(made_of: Any) -> str:
    text = json.dumps(made_of, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    try:
        known = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):  # never kept, or damaged
        return {}
    return known if isinstance(known, dict) else {}
