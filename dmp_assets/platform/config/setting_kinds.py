"""What a setting is marked and checked with, wherever it is declared."""

from collections.abc import Callable
from typing import Any

from pydantic import AfterValidator, SecretStr

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
    """A check of a text that may be absent."""
    return AfterValidator(lambda value: value if value is None else check(value))


def each(check: Callable[[str], str]) -> AfterValidator:
    """A check of every value of a list or map."""

    def checked(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: check(text) for name, text in value.items()}
        return [check(text) for text in value]

    return AfterValidator(checked)


def web(expected: str) -> AfterValidator:
    """A check of an http(s) address that may be empty."""
    return AfterValidator(setting_values.unless_empty(setting_values.web_address(expected)))
