"""What a setting is marked and checked with, wherever it is declared."""

from collections.abc import Callable, Sequence
from typing import Any, get_args

from pydantic import AfterValidator, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from dmp_assets.platform.config import setting_values


class Outside:
    """Marks a setting that reaches an outside system; ignored in a sandbox home."""


def secret(check: Callable[[str], object]) -> AfterValidator:
    """A check of what a secret holds, which stays one."""

    def checked(value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check(value.get_secret_value())
        return value

    return AfterValidator(checked)


def given(check: Callable[[str], str]) -> AfterValidator:
    """A check of a text that may be absent; an empty one is."""
    return AfterValidator(lambda value: check(value) if value else None)


def each(check: Callable[[str], str]) -> AfterValidator:
    """A check of every value of a list or map."""

    def checked(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: check(text) for name, text in value.items()}
        return [check(text) for text in value]

    return AfterValidator(checked)


class WebAddress(AfterValidator):
    """Marks a setting that is an http(s) address, and checks it."""


def web(expected: str) -> WebAddress:
    """A check of an http(s) address that may be empty."""
    return WebAddress(setting_values.unless_empty(setting_values.web_address(expected)))


def is_outside(field: FieldInfo) -> bool:
    """Whether a setting is marked as reaching another system, also where it may be absent."""
    return _has_mark([*field.metadata, field.annotation])


def _has_mark(parts: Sequence[Any]) -> bool:
    return any(
        isinstance(part, Outside)
        or _has_mark([*getattr(part, "__metadata__", ()), *get_args(part)])
        for part in parts
    )


def distinct(brought: Sequence[type[BaseModel]]) -> None:
    """Raise TypeError where two of these classes declare a setting of the same name.

    Else the one that comes first would decide alone, its marks included.
    """
    declared: dict[str, type] = {}
    for one in brought:
        for place in one.__mro__:
            for name in set(vars(place).get("__annotations__", ())) & set(one.model_fields):
                if declared.setdefault(name, place) is not place:
                    raise TypeError(
                        f"{place.__name__} and {declared[name].__name__} both declare {name}"
                    )
