"""What Spark's JDBC driver is told of a shop: libpq's parameters, translated or clearly refused."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives import serialization
from psycopg import pq
from pydantic import SecretStr

from dmp_assets.sources.shop.connection import ShopError, connect, url_parameters

_SAME = {
    **{name: name for name in ("user", "password")}, "sslmode": "sslmode", "sslcert": "sslcert",
    "sslrootcert": "sslrootcert", "options": "options", "application_name": "ApplicationName",
    "gssencmode": "gssEncMode", "channel_binding": "channelBinding",
    "krbsrvname": "kerberosServerName", "sslnegotiation": "sslNegotiation",
}  # fmt: skip
_SESSIONS = {
    "any": "any", "read-write": "primary", "read-only": "secondary", "primary": "primary",
    "standby": "secondary", "prefer-standby": "preferSecondary",
}  # fmt: skip
_FROM_ENVIRONMENT = frozenset(
    ("password", "passfile", "service", "sslmode", "sslrootcert", "sslcert", "sslkey")
)
_ELSEWHERE = frozenset(
    ("host", "hostaddr", "port", "dbname", "service", "servicefile", "passfile", "sslkey",
     "sslpassword", "target_session_attrs", "load_balance_hosts", "client_encoding",
     "connect_timeout", "fallback_application_name", "keepalives", "keepalives_idle",
     "keepalives_interval", "keepalives_count", "tcp_user_timeout", "sslcompression", "sslsni",
     "sslcertmode", "ssl_min_protocol_version", "ssl_max_protocol_version", "gsslib",
     "gssdelegation", "min_protocol_version", "max_protocol_version", "replication")
)  # fmt: skip
"""Translated below, or of no effect on what is read."""


def jdbc_options(url: str | SecretStr) -> tuple[str, dict[str, str]]:
    """JDBC URL, which holds no secret, and the connection properties, which do.

    Raises ShopError for what JDBC cannot do: a Unix socket, or a parameter that it lacks.
    """
    known = _resolved(url)
    if unknown := sorted(set(known) - set(_SAME) - _ELSEWHERE):
        raise ShopError(
            f"Spark's JDBC driver has nothing like {', '.join(unknown)}: leave that out of "
            "DMP_SHOP_DATABASE_URL, or read the shop through views in a database that needs no such"
        )
    properties = {"driver": "org.postgresql.Driver"}
    for option, value in known.items():
        if option in _SAME and value:
            properties[_SAME[option]] = str(value)
    properties |= _security(known)
    if attributes := known.get("target_session_attrs"):
        properties["targetServerType"] = _SESSIONS[attributes]
    if known.get("load_balance_hosts") == "random":
        properties["loadBalanceHosts"] = "true"
    database = quote(str(known.get("dbname") or known.get("user") or ""), safe="")
    return f"jdbc:postgresql://{_addresses(known)}/{database}", properties


def _resolved(url: str | SecretStr) -> dict[str, Any]:
    """The parameters with what a service, a password file and the environment add to them."""
    known = url_parameters(url)
    for option in pq.Conninfo.get_defaults():
        name, variable = option.keyword.decode(), (option.envvar or b"").decode()
        if name in _FROM_ENVIRONMENT and os.environ.get(variable) and name not in known:
            known[name] = os.environ[variable]
    if "service" in known or "passfile" in known or _has_password_file(known):
        with connect(url) as connection:  # libpq finds them
            info = connection.info
            known = {**info.get_parameters(), **known}
            known |= {"user": info.user, "dbname": info.dbname}
            if info.password:
                known["password"] = info.password
    return known


def _has_password_file(known: Mapping[str, Any]) -> bool:
    return not known.get("password") and (Path.home() / ".pgpass").is_file()


def _addresses(known: Mapping[str, Any]) -> str:
    hosts = str(known.get("host") or known.get("hostaddr") or "localhost").split(",")
    if any(host.startswith(("/", "@")) for host in hosts):
        raise ShopError("Spark reads the shop over TCP: name a host, not a Unix socket, in its URL")
    ports = str(known.get("port") or "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    return ",".join(
        f"{f'[{host}]' if ':' in host else host}:{port or 5432}"
        for host, port in zip(hosts, ports, strict=True)
    )


def _security(known: Mapping[str, Any]) -> dict[str, str]:
    """How JDBC verifies the server and shows our certificate, where libpq does it otherwise."""
    found = {}
    if known.get("sslrootcert") == "system":
        found = {
            "sslmode": "verify-full",
            "sslfactory": "org.postgresql.ssl.DefaultJavaSSLFactory",
            "sslrootcert": "",
        }
        if known.get("sslcert"):
            raise ShopError(
                "Spark's JDBC driver cannot show a client certificate together with "
                "sslrootcert=system: name the file of the authority's certificate in "
                "DMP_SHOP_DATABASE_URL"
            )
    if key := known.get("sslkey"):
        found["sslkey"] = _as_pkcs8(str(key), str(known.get("sslpassword") or ""))
    return found


@cache
def _as_pkcs8(file: str, password: str) -> str:
    """A copy of a PEM key as JDBC reads it, for this process only; the path of that copy."""
    if Path(file).suffix in (".pk8", ".p12", ".pfx"):
        return file
    try:
        pem = Path(file).read_bytes()
        key = serialization.load_pem_private_key(pem, password.encode() or None)
    except OSError as error:
        raise ShopError(f"the client key {file} cannot be read: {error.strerror}") from error
    except (TypeError, ValueError):  # its message may tell of the password
        raise ShopError(
            f"the client key {file} cannot be opened: it is no PEM file, or sslpassword is not its "
            "password"
        ) from None
    folder = Path(tempfile.mkdtemp(prefix="dmp-key-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = folder / "client.pk8"
    copy.touch(mode=0o600)
    copy.write_bytes(
        key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(copy)
