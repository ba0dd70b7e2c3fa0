"""Small text files that are there whole or not at all, for their owner alone."""

import os
import threading
from pathlib import Path

changing = threading.Lock()
"""Held by a thread that reads a file and writes it back changed, so that no other's change is lost.
Processes take turns by the locks of the home."""


def write(path: Path, text: str) -> None:
    """Replace the file's text; a crash, or who reads meanwhile, finds the old one whole.

    Its folder must be there. Raises OSError; the old file stays then.
    """
    writer = f"{os.getpid()}.{threading.get_ident()}"  # of whom several may write at once
    part = path.with_name(f".{path.name}.{writer}.part")
    try:
        part.touch(0o600)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
