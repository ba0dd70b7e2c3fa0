"""Addresses that people configure: each is parsed whole, or refused without a word of it.

A password may hold any character, so a text that is not what it should be cannot be cut into a
part that is secret and one that is not: no message here quotes what was given.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from dmp_assets.platform.base.errors import GivenError

HINT = (
    "a user or password that holds other than letters and digits is percent-encoded: "
    "@ as %40, / as %2F, : as %3A, ? as %3F, # as %23, % as %25"
)
POSTGRES = "postgresql://user:password@host:5432/database"
_HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+(%[\w.-]+)?")
_SCHEME = re.compile(r"[A-Za-z][\w+.-]+:/")
_NO_PATH = re.compile(r"[@:=?]|^postgres", re.IGNORECASE)
COUNTERS = frozenset(
    ("redis", "rediss", "redis+unix", "redis+cluster", "redis+sentinel", "valkey", "valkeys",
     "valkey+unix", "valkey+cluster", "valkey+sentinel", "memcached", "mongodb", "mongodb+srv",
     "memory")
)  # fmt: skip
_IN_NO_FOLDER = "[]%|\\^"  # what delta-rs cannot take in a local path
STORES = frozenset(("s3", "s3a", "gs", "abfs", "abfss", "hdfs", "file"))


class UrlError(GivenError):
    """An address that cannot be read; the message says what was expected and quotes nothing."""

    def __init__(self, expected: str, why: str = "it cannot be read", hint: str = HINT) -> None:
        super().__init__(
            f"{why}; expected {expected} ({hint}). "
            "What was given is not shown: it may hold a secret"
        )


def postgres(text: str) -> dict[str, Any]:
    """The decoded parts of a postgresql:// URL, named as libpq names them. Raises UrlError."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    scheme, found, rest = text.strip().partition("://")
    if not found or scheme.lower().partition("+")[0] not in ("postgresql", "postgres"):
        raise UrlError(POSTGRES, "this is not a PostgreSQL URL")
    if _is_broken(rest):
        raise UrlError(POSTGRES)
    try:
        parameters = conninfo_to_dict(f"postgresql://{rest}")
    except psycopg.ProgrammingError:  # its message may quote the password
        raise UrlError(POSTGRES) from None
    hosts = str(parameters.get("host") or "").split(",")
    ports = str(parameters.get("port") or "").split(",")
    if not all(not host or host[0] in "/@" or _HOST.fullmatch(host) for host in hosts):
        raise UrlError(POSTGRES)
    if not all(not port or _is_port(port) for port in ports) or len(ports) not in (1, len(hosts)):
        raise UrlError(POSTGRES, "its port is not a number from 1 to 65535")
    return parameters


def is_postgres(text: str) -> bool:
    """Whether a text is meant as a PostgreSQL URL."""
    return re.match(r"postgres(ql)?(\+\w+)?://", text.strip(), re.IGNORECASE) is not None


def web_database(text: str) -> dict[str, Any] | Path:
    """A PostgreSQL database's parts, or the path of an SQLite file. Raises UrlError."""
    expected = f"the path of an SQLite file or {POSTGRES}"
    if is_postgres(text):
        return postgres(text)
    said = text.strip()
    path = Path(said.removeprefix("sqlite:///")).expanduser()
    named = said.startswith("sqlite:///") and path.name and "@" not in said
    if not named and (not said or (_NO_PATH.search(said) and not path.is_file())):
        raise UrlError(expected, "this names no database that can be read")
    return path.absolute()


def http(text: str, expected: str) -> SplitResult:
    """The parts of a http(s):// address without user, query and fragment. Raises UrlError."""
    hint = "no user, password, ? or # belongs in it, not even percent-encoded"
    parts = _split(text, expected, hint)
    if parts.scheme not in ("http", "https"):
        raise UrlError(expected, "this is not an http(s) address", hint)
    if not parts.hostname or "@" in text or parts.query or parts.fragment:
        raise UrlError(expected, hint=hint)
    return parts


def spark_connect(text: str) -> str:
    """A Spark Connect address, parameters behind `/;`. Raises UrlError."""
    expected = "sc://host:15002, with /;name=value behind it where parameters are needed"
    address, parameters, rest = text.strip().partition("/;")
    parts = _split(address, expected)
    if parts.scheme != "sc" or not parts.hostname or "@" in address:
        raise UrlError(expected, "this is not a Spark Connect address")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UrlError(expected)
    if parameters and not all("=" in pair for pair in rest.split(";") if pair):
        raise UrlError(expected)
    return text.strip()


def spark_master(text: str) -> str:
    """A cluster's master. Raises UrlError."""
    host = r"[\w.-]+(:\d{1,5})?"
    known = (
        rf"local(\[(\*|\d+)(,\s*\d+)?\])?|yarn|spark://{host}(,{host})*|k8s://(https?://)?{host}/?"
    )
    if not re.fullmatch(known, text.strip()):
        raise UrlError("spark://host:7077, k8s://https://host:443, yarn or local[*]")
    return text.strip()


def counter(text: str) -> str:
    """Where calls are counted, e.g. redis://. Raises UrlError."""
    expected = "redis://user:password@host:6379/0"
    scheme, found, rest = text.strip().partition("://")
    if not found or scheme.removeprefix("async+") not in COUNTERS:
        raise UrlError(expected, "this is not the address of a counter of calls")
    if _is_broken(rest) or re.search("[#?].*@", rest):  # where it is used, these end the address
        raise UrlError(expected)
    for address in rest.partition("?")[0].partition("/")[0].rpartition("@")[2].split(","):
        if address and "unix" not in scheme:
            _split(f"x://{address}", expected)
    return text.strip().removeprefix("async+")


def object_store(text: str) -> str:
    """Where tables lie: a folder or a bucket's address. Raises UrlError."""
    expected = "a folder or an address such as s3a://bucket/lakehouse"
    said = text.strip()
    scheme, found, rest = said.partition("://")
    if (not found or scheme == "file") and (odd := unusable(said)):
        raise UrlError(
            expected, f"tables cannot lie where a path holds {odd}", "use another folder"
        )
    if not found:
        if re.search(r"[@:=?]", said) and not Path(said).expanduser().is_dir():
            raise UrlError(expected)
        return said
    if scheme not in STORES:
        raise UrlError(expected, "this is not the address of an object store")
    authority, _, path = rest.partition("/")
    container = re.fullmatch(r"[\w-]+@[\w.-]+", authority) and scheme in ("abfs", "abfss")
    if not (container or re.fullmatch(r"[\w.-]+(:\d+)?", authority) or (scheme == "file")):
        raise UrlError(expected, hint=f"keys belong in DMP_S3_ACCESS_KEY_ID and the like; {HINT}")
    if re.search(r"[@?#]", path):
        raise UrlError(expected)
    return said


def unusable(folder: str) -> str:
    """Which characters of a local folder's path keep tables from lying there; empty: none."""
    return " ".join(sorted(set(_IN_NO_FOLDER) & set(folder)))


def _is_broken(rest: str) -> bool:
    """Whether what follows `://` has an @ or a / where only an unencoded password can have it."""
    if re.search(r"[\s\x00-\x1f\\]", rest.partition("?")[0]):
        return True
    at, slash = rest.find("@"), rest.find("/")
    has_user = at >= 0 and (slash < 0 or at < slash)
    tail = rest[at + 1 :] if has_user else rest
    address, _, query = tail.partition("?")
    names = [pair.partition("=")[0] for pair in query.split("&") if pair]
    return "@" in address or not all(re.fullmatch(r"[A-Za-z_]\w*", name) for name in names)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65_536


def _split(text: str, expected: str, hint: str = HINT) -> SplitResult:
    try:
        parts = urlsplit(text.strip())
        named = not parts.hostname or _HOST.fullmatch(parts.hostname)
        if re.search(r"[\s\x00-\x1f\\]", text.strip()) or not named or parts.port == 0:
            raise ValueError
    except ValueError:  # its message may quote the text
        raise UrlError(expected, hint=hint) from None
    return parts
