"""Settings by how they are declared, so that tests need not list those of a kind."""

from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from dmp_assets.platform.config.setting_kinds import Outside, WebAddress
from dmp_assets.settings import Settings, outside_fields

FIELDS = Settings.model_fields
_TEXTS = {str, SecretStr, Path, type(None)}


def numbers() -> set[str]:
    """The settings that are a number or a flag."""
    return {name for name, field in FIELDS.items() if field.annotation in (int, float, bool)}


def web_addresses() -> set[str]:
    """The settings that are an http(s) address."""
    marked = FIELDS.items()
    return {n for n, f in marked if any(isinstance(mark, WebAddress) for mark in f.metadata)}


def _parts(field: FieldInfo) -> set[object]:
    is_union = get_origin(field.annotation) in (Union, UnionType)
    return set(get_args(field.annotation)) if is_union else {field.annotation}


def free_texts() -> set[str]:
    """The settings that may be any text or path, so that only their use finds one wrong."""
    validators = Settings.__pydantic_decorators__.field_validators.values()
    checked = {name for found in validators for name in found.info.fields}
    return {
        name
        for name, field in FIELDS.items()
        if _parts(field) <= _TEXTS
        and name not in checked
        and all(isinstance(mark, Outside) for mark in field.metadata)
    }


def looking_real() -> dict[str, str]:
    """Environment variable → what could stand there in earnest, of `Outside` texts and addresses.

    A secret has `hunter2` in it.
    """
    found = {}
    for name in outside_fields():
        word = name.replace("_", "-")
        if name in web_addresses():
            found[f"DMP_{name.upper()}"] = f"https://{word}.example.com"
        elif name in free_texts():
            is_secret = SecretStr in _parts(FIELDS[name])
            found[f"DMP_{name.upper()}"] = f"hunter2-{word}" if is_secret else f"real-{word}"
    return found
