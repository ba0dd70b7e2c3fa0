"""`.env.example`, made from what the settings declare: `dmp catalogue --settings`."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

INTRO = """\
# Settings of dmp_assets. Copy to .env and set what you need; the environment wins over this
# file, this file over config.yaml (same names in lower case without DMP_, no secrets there).
"""


def text(fields: Mapping[str, FieldInfo]) -> str:
    """Every setting, what it is for and its default, each as a comment."""
    return "\n".join([INTRO, *_settings(fields)])


def _settings(fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name, field in fields.items():
        default = field.get_default(call_default_factory=True)
        about = textwrap.wrap(
            field.description or "", 98, break_long_words=False, break_on_hyphens=False
        )
        yield "\n".join(
            [*(f"# {line}" for line in about), f"#DMP_{name.upper()}={_written(default)}\n"]
        )


def _written(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, str | Path):
        return str(default)
    if isinstance(default, bool | list | dict):
        return json.dumps(default, ensure_ascii=False)
    return str(default)
