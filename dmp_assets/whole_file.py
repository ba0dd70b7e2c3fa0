"""Small text files that are there whole or not at all, for their owner alone."""

import os
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace the file's text; a crash, or who reads meanwhile, finds the old one whole.

    Its folder must be there. Raises OSError; the old file stays then.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # two processes may write at once
    try:
        part.touch(0o600)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
