"""Where the code of an asset lies, so that Dagster's UI leads to it."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg


def code_at(code: Callable[..., Any] | Path) -> Mapping[str, dg.CodeReferencesMetadataValue]:
    """Metadata of an asset whose code is this function, or this file."""
    if isinstance(code, Path):
        place, line = code, 1
    else:
        written = inspect.unwrap(code)
        place, line = Path(written.__code__.co_filename), written.__code__.co_firstlineno
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        known = dg.CodeReferencesMetadataValue(
            code_references=[
                dg.LocalFileCodeReference(file_path=str(place), line_number=line, label=place.name)
            ]
        )
    return {"dagster/code_references": known}
