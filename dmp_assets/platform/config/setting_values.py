"""What a setting may be where there is a list or a form: checked here, with what was likely meant.

Each function takes what was given, returns its usual spelling, and raises ValueError with a
message that says what is expected.
"""

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from dmp_assets.platform.config import connection_urls
from dmp_assets.platform.text.spelling import meant, nearest
from dmp_assets.platform.values import readers, words, zones
from dmp_assets.platform.values.currencies import COMMON, CURRENCIES, SYMBOLS


def currency(given: str) -> str:
    """An ISO 4217 code in upper case."""
    code = given.strip().upper()
    if code in CURRENCIES:
        return code
    word = given.strip().lower()
    likely = SYMBOLS.get(word) or COMMON.get(word.removesuffix("s"))
    if likely is None:
        by_name = {name.lower(): known for known, name in CURRENCIES.items()}
        close = get_close_matches(word.removesuffix("s"), by_name, n=1, cutoff=0.7)
        likely = by_name[close[0]] if close else nearest(code, CURRENCIES)
    raise ValueError(
        f"{given!r} is not an ISO 4217 code such as EUR, USD or GBP"
        + (f"; did you mean {likely} ({CURRENCIES[likely]})?" if likely else "")
    )


def no_values(given: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Kinds of values that there are, each with its words."""
    for kind in given:
        if kind not in words.known():
            likely = meant(kind, words.known())
            raise ValueError(f"{kind!r} is no kind of value ({', '.join(words.known())}){likely}")
    return {kind: list(listed) for kind, listed in given.items()}


def column_formats(
    given: Mapping[str, str], named: Callable[[str], str], fits: Callable[[str, str], bool]
) -> dict[str, str]:
    """Columns (`users.dob`, `dob`), each with how it writes days or decimals.

    `named` and `fits`: see `platform/cleaning/written_columns.py`.
    """
    found = {}
    for column, said in given.items():
        if said not in readers.SETTINGS:
            raise ValueError(
                f"{said!r} (of {column}) is none of {', '.join(readers.SETTINGS)}"
                f"{meant(said, readers.SETTINGS)}"
            )
        name = named(column)
        if not fits(name, said):
            raise ValueError(f"{column} cannot be written {said}: it holds another kind of value")
        found[name] = said
    return found


def phone_region(given: str) -> str:
    """An ISO 3166 code in upper case that libphonenumber knows."""
    if given == "US":  # the default, without loading the list
        return given
    from phonenumbers import SUPPORTED_REGIONS

    code = given.strip().upper()
    if code in SUPPORTED_REGIONS:
        return code
    likely = {"UK": "GB", "EN": "GB", "USA": "US"}.get(code) or _region_called(given.strip())
    raise ValueError(
        f"{given!r} is not a two-letter region (ISO 3166) with phone numbers, such as US or DE"
        + (f"; did you mean {likely}?" if likely else "")
    )


def _region_called(name: str) -> str | None:
    from phonenumbers.geodata.locale import LOCALE_DATA

    called = {
        text.casefold(): code
        for code, names in LOCALE_DATA.items()
        for text in names.values()
        if not text.startswith("*")
    }
    digits = name.removeprefix("+")
    if digits.isdecimal():
        from phonenumbers import region_code_for_country_code

        found = region_code_for_country_code(int(digits))
        return found if found in LOCALE_DATA else None
    close = get_close_matches(name.casefold(), called, n=1, cutoff=0.8)
    return called[close[0]] if close else None


def zone(given: str) -> str:
    """An IANA time zone by its one name (see `zones`)."""
    if given == "UTC":  # the default, without loading the list
        return given
    known = zones.canonical(given.strip())
    if known is None:
        word = given.strip().casefold().replace(" ", "_")
        by_city = {name.rpartition("/")[2]: name for name in zones.names()}
        close = get_close_matches(word, [*zones.names(), *by_city], n=1, cutoff=0.75)
        likely = zones.canonical(by_city.get(close[0], close[0])) if close else None
        raise ValueError(
            f"{given!r} is not an IANA time zone (e.g. Europe/Berlin)"
            + (f"; did you mean {likely}?" if likely else "")
        )
    return known


def rate(given: str) -> str:
    """So many calls in a time, as the package limits reads it."""
    import limits

    try:
        limits.parse(given)
    except ValueError as error:
        raise ValueError(f"{given!r} is not a rate (e.g. 600/minute)") from error
    return given


def at_least_one(given: Mapping[str, int]) -> dict[str, int]:
    """Limits by name, each one or more."""
    for name, limit in given.items():
        if limit < 1:
            raise ValueError(f"{name} cannot be limited to {limit}: at least 1")
    return dict(given)


def launcher(given: Mapping[str, Any]) -> dict[str, Any]:
    """A class of Dagster's with its configuration, as `dagster.yaml` names one."""
    known = {"module", "class", "config"}
    texts = [given.get("module"), given.get("class")]
    if given and (
        not all(isinstance(text, str) and text for text in texts)
        or not isinstance(given.get("config", {}), dict)
        or not given.keys() <= known
    ):
        raise ValueError(
            'expected {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": {…}}'
        )
    return dict(given)


def host(given: str) -> str:
    """A host name or an IP address to listen on: no scheme, port or path."""
    text = given.strip()
    bare = text.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        name = re.fullmatch(r"(?!-)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", text)
        if not name or re.fullmatch(r"[\d.]+", text):
            raise ValueError(
                f"{given!r} is not a host name or address to listen on, such as 127.0.0.1 "
                "(without http:// and port)"
            ) from None
    return text


def network(given: str) -> str:
    """An address or a network of addresses."""
    try:
        ipaddress.ip_network(given.strip(), strict=False)
    except ValueError:
        if given.strip() == "*":
            return "*"
        raise ValueError(
            f"{given!r} is not an address or network such as 10.0.0.1 or 172.16.0.0/12"
        ) from None
    return given.strip()


def spark_memory(given: str) -> str:
    """A size as the JVM takes it."""
    text = re.sub(r"\s", "", given).lower()
    size = re.fullmatch(r"(\d+)([kmgt])b?", text)
    if not size or not int(size[1]):
        raise ValueError(f"{given!r} is not a memory size of a JVM such as 2g or 1500m")
    return size[1] + size[2]


def duckdb_memory(given: str) -> str:
    """A size as DuckDB takes it."""
    text = re.sub(r"\s", "", given)
    size = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]i?b|%)", text, re.IGNORECASE)
    if not size or not float(size[1]):
        short = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt])", text, re.IGNORECASE)
        likely = f"; did you mean {short[1]}{short[2].upper()}B?" if short else ""
        raise ValueError(f"{given!r} is not a memory size such as 1GB or 512MB{likely}")
    return text


def slack_channel(given: str) -> str:
    """A channel's id, which no renaming changes."""
    if not re.fullmatch(r"[CGD][A-Z0-9_]+", given.strip()):
        raise ValueError(
            f"{given!r} is not the id of a Slack channel, such as C0123456789: a name like "
            "#reports does not do (the id stands at the end of the channel's details)"
        )
    return given.strip()


def token(given: str) -> str:
    """A key that travels in a header; never quoted."""
    text = given.strip()
    if not (text.isascii() and text.isprintable()) or re.search(r"\s", text):
        raise ValueError("this key holds characters that no header can carry; copy it again")
    return text


def slack_token(given: str) -> str:
    """A token of Slack's; never quoted."""
    if not given.strip().startswith("xox"):
        raise ValueError("this is not a Slack token: a bot's begins with xoxb-")
    return token(given)


def api_secret(given: str) -> str:
    """32 bytes in url-safe base64; never quoted."""
    try:
        sound = len(base64.urlsafe_b64decode(given.strip().encode())) == 32
    except (ValueError, binascii.Error):
        sound = False
    if not sound:
        raise ValueError(
            "this is not 32 bytes in url-safe base64; make one with "
            "`python -c 'from cryptography.fernet import Fernet; "
            "print(Fernet.generate_key().decode())'`"
        )
    return given.strip()


def split_keys(given: str) -> list[str]:
    """Keys as they are written: by commas, spaces or lines."""
    return given.replace(",", " ").split()


def token_keys(given: str) -> str:
    """Keys of 32 bytes each in url-safe base64, the newest first; never quoted."""
    keys = split_keys(given)
    if not keys:
        raise ValueError("there is no key in it; it should hold one or several, by commas")
    for key in keys:
        api_secret(key)
    return given.strip()


def schema(given: str) -> str:
    """The name of a schema in PostgreSQL."""
    text = given.strip()
    if len(text.encode()) > 63 or re.search(r"[\x00-\x1f\"';]", text):
        raise ValueError("this is not the name of a schema, such as public (at most 63 bytes)")
    return text


_SPARK_BY_SETTING = {"spark.master": "DMP_SPARK_MASTER", "spark.remote": "DMP_SPARK_REMOTE"}


def spark_conf(given: Mapping[str, Any]) -> dict[str, str]:
    """Spark's own settings; their values may be secret and are never quoted."""
    for name in given:
        if (setting := _SPARK_BY_SETTING.get(name)) is not None:
            raise ValueError(f"{name} is set by {setting}, which the program asks where Spark is")
        if not name.startswith("spark."):
            raise ValueError(
                f"{name!r} is not a Spark setting: they begin with spark., e.g. "
                "spark.sql.shuffle.partitions (Hadoop's with spark.hadoop.)"
            )
    return dict(given)


def s3_region(given: str) -> str:
    """The name of a region, e.g. eu-central-1."""
    if not re.fullmatch(r"[a-z0-9-]{1,40}", given):
        raise ValueError(f"{given!r} is not the name of a region, such as eu-central-1")
    return given


def s3_credentials(key: bool, secret: bool, token: bool) -> None:
    """Raise ValueError for a part of credentials without the others: which there are is given."""
    if key != secret or (token and not key):
        raise ValueError(
            "DMP_S3_ACCESS_KEY_ID and DMP_S3_SECRET_ACCESS_KEY go together, and "
            "DMP_S3_SESSION_TOKEN with both"
        )


def unless_empty(check: Callable[[str], object]) -> Callable[[str], str]:
    """The check for a setting that may be empty, which then stands for nothing."""

    def checked(given: str) -> str:
        if given:
            check(given)
        return given

    return checked


def web_address(expected: str) -> Callable[[str], str]:
    """A check for http(s) addresses like the expected one; what is given is never quoted."""

    def checked(given: str) -> str:
        connection_urls.http(given, expected)
        return given.strip()

    return checked


def decoded(text: str, kind: type) -> Any:
    """A list or map that was written as JSON, as `a, b` or as `a=b, c=d`."""
    said = text.strip()
    if said.startswith(("[", "{")):
        try:
            return json.loads(said)
        except ValueError as error:
            raise ValueError(
                f"this is not JSON such as {_EXAMPLES[kind]} "
                f"(it breaks off at character {getattr(error, 'pos', 0) + 1})"
            ) from None
    parts = [part.strip() for part in said.split(",") if part.strip()]
    if kind is list:
        return parts
    pairs = [part.partition("=") for part in parts]
    if not all(found and name.strip() and value.strip() for name, found, value in pairs):
        raise ValueError(f"this is neither {_EXAMPLES[kind]} nor {_PLAIN[kind]}")
    return {name.strip(): value.strip() for name, _, value in pairs}


_EXAMPLES: dict[type, str] = {list: '["a", "b"]', dict: '{"a": "b"}'}
_PLAIN: dict[type, str] = {list: "a, b", dict: "a=b, c=d"}
