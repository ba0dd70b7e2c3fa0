"""Where settings come from: environment, `.env`, `config.yaml`; and names there that mean nothing.

A name that was likely meant otherwise is refused, because going on without it would use another
database than the one that was named.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dotenv.main import DotEnv
from dotenv.parser import parse_stream
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from yaml import MarkedYAMLError, YAMLError, safe_load

from dmp_assets.platform.base.errors import GivenError
from dmp_assets.platform.text.spelling import meant, nearest

PREFIX = "DMP_"
ENV_FILE, CONFIG_FILE = ".env", "config.yaml"


class SettingsError(GivenError):
    """Settings that cannot be used; each line names one and what is expected. Quotes no secret."""


class Given(PydanticBaseSettingsSource):
    """All that was given, each setting from one place: arguments, environment, files.

    pydantic-settings merges maps of all sources, by which the environment's entries would reach
    a sandbox whose map is meant to be empty. What is empty counts as not given.
    """

    def __init__(
        self, settings_cls: type[BaseSettings], arguments: Mapping[str, Any], folder: Path,
        others: Iterable[str],
    ) -> None:  # fmt: skip
        super().__init__(settings_cls)
        self.arguments, self.folder, self.others = arguments, folder, frozenset(others)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        in_file = env_file(self.folder / ENV_FILE)
        in_config = config_file(self.folder / CONFIG_FILE, fields)
        wrong = [
            f"{name} ({where}) is not a setting; did you mean {likely}?"
            for name, where, likely in unknown(os.environ, in_file, fields, self.others)
            if likely
        ]
        if wrong:
            raise SettingsError("\n".join(wrong))
        given: dict[str, Any] = dict(in_config)
        for values in (in_file, os.environ):
            for name, value in values.items():
                setting = name.upper().removeprefix(PREFIX).lower()
                if name.upper().startswith(PREFIX) and setting in fields and value.strip():
                    given[setting] = value
        return given | dict(self.arguments)


def unknown(
    environment: Mapping[str, str],
    in_file: Mapping[str, str],
    fields: Mapping[str, FieldInfo],
    others: Iterable[str] = (),
) -> list[tuple[str, str, str | None]]:
    """(name, where it stands, what was likely meant) of what looks like a setting and is none."""
    known = [f"{PREFIX}{name.upper()}" for name in fields]
    found: list[tuple[str, str, str | None]] = []
    for where, names in (("environment", environment), (ENV_FILE, in_file)):
        for name in names:
            given = name.upper()
            if given in known or given in others:
                continue
            if given.startswith(PREFIX):
                found.append((name, where, nearest(given, known)))
            elif given.startswith(("DPM_", "DMP", "DMB_")) or (
                where == ENV_FILE and PREFIX + given in known
            ):
                likely = nearest(PREFIX + given.partition("_")[2], known)
                found.append((name, where, likely or PREFIX + given))
    return found


def env_file(path: Path) -> dict[str, str]:
    """The names and values of an `.env`; none when there is no file. Raises SettingsError."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for line in parse_stream(stream):
                if line.error:
                    raise SettingsError(
                        f"{path} line {line.original.line} is not NAME=value (a value with "
                        "blanks, quotes or # goes between single quotes)"
                    )
        values = DotEnv(path, encoding="utf-8-sig").dict()
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    return {name: value for name, value in values.items() if value is not None}


def config_file(path: Path, fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """The settings of a `config.yaml`; refuses secrets, which belong in the environment.

    Raises SettingsError, for unknown names too.
    """
    try:
        values = safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except YAMLError as error:  # its message quotes the line
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        line = f" (line {mark.line + 1})" if mark else ""
        raise SettingsError(f"{path} is no list of `setting: value`{line}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path} is no list of `setting: value`")
    for name in values:
        if name not in fields:
            bare = str(name).lower().removeprefix(PREFIX.lower())
            raise SettingsError(
                f"{CONFIG_FILE}: {name!r} is not a setting (see .env.example){meant(bare, fields)}"
            )
        if "SecretStr" in str(fields[name].annotation):
            raise SettingsError(
                f"{CONFIG_FILE}: {name!r} is a secret; set DMP_{name.upper()} in the environment"
            )
    _refuse_spark_secrets(values.get("spark_conf", {}))
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in values.items()
        if value is not None and not (isinstance(value, str) and not value.strip())
    }


_SECRET = re.compile(r"secret|passw|token|key(?=[._]|$)", re.IGNORECASE)
_NO_SECRET = re.compile(
    r"(provider|file|path|store|type|enabled|algorithm|class|length|size|bits)s?$", re.IGNORECASE
)
"""How names end that say where a secret is, or of what kind."""


def _refuse_spark_secrets(given: object) -> None:
    """Raises SettingsError for an entry of `spark_conf` whose name says that it is a secret.

    Its value is not quoted. The words are those of Spark's own `spark.redaction.regex`, and `key`
    at the end of a part of a name. Text is as in the environment: JSON, or `name=value`.
    """
    names = (
        map(str, given) if isinstance(given, dict) else re.findall(r"spark\.[\w.-]+", str(given))
    )
    for name in names:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            raise SettingsError(
                f"{CONFIG_FILE}: 'spark_conf' holds {name}, a secret; set {PREFIX}SPARK_CONF in "
                "the environment"
            )


def explained(error: ValidationError, fields: Mapping[str, FieldInfo]) -> SettingsError:
    """What pydantic found, one line a setting; values are quoted by our own checks alone."""
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        field = fields.get(name)
        cause = (problem.get("ctx") or {}).get("error")
        said = str(cause) if isinstance(cause, ValueError) else _expected(problem, field)
        said = " ".join(said.split())
        about = f" ({field.description})" if field is not None and field.description else ""
        lines.append(f"setting DMP_{name.upper()}: {said}{about}" if name else said)
    return SettingsError("\n".join(lines))


_KINDS = {
    "int": "a whole number", "float": "a number", "finite": "a number", "bool": "true or false",
    "date": "a day such as 2024-12-31", "string": "one text", "list": 'a list such as ["a", "b"]',
    "dict": 'a map such as {"a": "b"}', "path": "a path",
}  # fmt: skip


def _expected(problem: Mapping[str, Any], field: FieldInfo | None) -> str:
    kind = problem["type"].partition("_")[0]
    if problem["type"].startswith(("greater", "less", "too_")):
        return "it should" + str(problem["msg"]).partition("should")[2].partition(" after")[0]
    where = "".join(f", at {part}" for part in problem["loc"][1:])
    wanted = _KINDS.get(kind) or str(problem["msg"]).replace("Input should be ", "")
    empty = "" if field is None or field.is_required() else "; empty: the default"
    return f"expected {wanted}{where}{empty}"
