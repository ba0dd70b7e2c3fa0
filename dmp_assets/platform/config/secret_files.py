"""Secrets of a home that are made once and kept in files for the owner alone."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from dmp_assets.home import Home

INDEX_KEY = "index_key"
"""By what keys of people are made: nobody else can find two alike."""


def of(home: Home, name: str, make: Callable[[], str] = lambda: secrets.token_hex(16)) -> str:
    """The home's secret of this name, 32 hexadecimal digits or as `make` has it; made once."""
    path = home.secrets / name
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        _make(path, make())
    return path.read_text().strip()


def _make(path: Path, secret: str) -> None:
    """Make it whole or not at all; of two who make it at once the first one's is kept."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.touch(0o600)
    part.write_text(secret + "\n")
    try:
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        part.unlink()
