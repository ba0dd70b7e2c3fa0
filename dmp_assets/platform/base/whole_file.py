"""Files of the home that are there whole or not at all: the one way of writing them.

What grows line by line (logs, the spool), whole folders (`snapshot.py`, what is simulated) and
archives have ways of their own.
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

LOCK = ".changing.lock"
"""File of a folder that is locked while somebody changes one of its files."""

_SECONDS = 60  # a change takes milliseconds
_threads = threading.Lock()


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Held by who reads the file and writes it back changed, so that no other's change is lost.

    Of all threads and processes one at a time changes files of a folder, which must be there.
    Raises filelock.Timeout, an OSError, when another one does not come to its end.
    """
    lock = filelock.FileLock(path.with_name(LOCK), mode=0o600, poll_interval=0.002)
    with _threads, lock.acquire(timeout=_SECONDS):
        yield


def write(
    path: Path, text: str, *, mode: int | None = 0o600, owner: os.stat_result | None = None
) -> None:
    """Replace the file's text; a crash, or who reads meanwhile, finds the old one whole.

    It is its owner's alone, or has the `mode` of any new file where that is None. `owner`: whose
    it becomes, when not who writes. Its folder must be there. Raises OSError; the old file stays
    then.
    """
    with replacing(path, mode=mode) as part:
        part.write_text(text, encoding="utf-8")
        if owner is not None:
            os.chown(part, owner.st_uid, owner.st_gid)


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """Where to write what is to replace the file, which it does as the block ends without an error.

    After an error, and after a writer that was killed, nothing of it stays. `mode`: see `write`.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    _clear_away(path)
    try:
        if mode is not None:
            part.touch(mode)
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _clear_away(path: Path) -> None:
    """Delete what writers of this file left that are no more."""
    for left in path.parent.glob(f".{path.name}.*.part"):
        writer = re.fullmatch(r"(\d+)\.\d+", left.name[len(path.name) + 2 : -len(".part")])
        if writer is not None and not _is_alive(int(writer[1])):
            left.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
