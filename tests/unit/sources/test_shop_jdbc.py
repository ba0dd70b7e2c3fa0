"""What Spark's JDBC driver is told: each of libpq's parameters is translated or refused by name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg import pq
from pydantic import SecretStr

from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import database
from dmp_assets.sources.shop.connection import ShopError
from dmp_assets.sources.shop.jdbc import jdbc_options
from tests.support.pooler import pooler
from tests.support.postgres import fresh_database

SHOP = "postgresql://reader:pw@db.example.org:6543/shop"
REFUSED = {
    "sslcrl", "sslcrldir", "requirepeer", "require_auth", "sslkeylogfile", "scram_client_key",
    "scram_server_key", "oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope",
    "authtype", "tty", "requiressl",
}  # fmt: skip
"""What Spark's driver lacks and what would change who or what is trusted."""
NEEDS_A_SERVER = {"service", "servicefile", "passfile"}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for option in pq.Conninfo.get_defaults():
        if option.envvar:
            monkeypatch.delenv(option.envvar.decode(), raising=False)


def value_of(name: str) -> str:
    given = {
        "target_session_attrs": "read-only", "load_balance_hosts": "random", "port": "1",
        "sslmode": "require", "sslkey": "", "hostaddr": "127.0.0.1", "connect_timeout": "3",
    }  # fmt: skip
    return given.get(name, "1")


@pytest.mark.parametrize(
    "name",
    sorted({option.keyword.decode() for option in pq.Conninfo.get_defaults()} - NEEDS_A_SERVER),
)
def test_every_parameter_of_libpq_is_taken_or_refused_by_name(name: str) -> None:
    url = f"{SHOP}?{name}={value_of(name)}"
    if name in REFUSED:
        with pytest.raises(ShopError, match=f"nothing like {name}: leave that out"):
            jdbc_options(url)
    else:
        address, properties = jdbc_options(url)
        assert address.startswith("jdbc:postgresql://") and "pw" not in address
        assert properties["driver"] == "org.postgresql.Driver"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("sslmode=verify-ca&sslrootcert=/ca.pem", {"sslmode": "verify-ca",
                                                   "sslrootcert": "/ca.pem"}),
        ("sslrootcert=system", {"sslmode": "verify-full", "sslrootcert": "",
                                "sslfactory": "org.postgresql.ssl.DefaultJavaSSLFactory"}),
        ("target_session_attrs=read-write", {"targetServerType": "primary"}),
        ("target_session_attrs=prefer-standby", {"targetServerType": "preferSecondary"}),
        ("load_balance_hosts=random", {"loadBalanceHosts": "true"}),
        ("channel_binding=require&gssencmode=disable", {"channelBinding": "require",
                                                        "gssEncMode": "disable"}),
        ("sslnegotiation=direct", {"sslNegotiation": "direct"}),
        ("options=-c%20search_path%3Dx", {"options": "-c search_path=x"}),
    ],
)  # fmt: skip
def test_what_has_another_name_there_gets_it(given: str, told: dict[str, str]) -> None:
    _, properties = jdbc_options(f"{SHOP}?{given}")
    assert {name: properties.get(name) for name in told} == told


def test_what_the_environment_says_of_tls_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", "system")
    monkeypatch.setenv("PGPASSWORD", "of the environment")
    _, properties = jdbc_options("postgresql://reader@db.example.org/shop")
    assert properties["sslfactory"] == "org.postgresql.ssl.DefaultJavaSSLFactory"
    assert properties["password"] == "of the environment"


def certificate(folder: Path, password: bytes | None) -> tuple[Path, Path]:
    """(certificate, PEM key) of a client."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reader")])
    at = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(at).not_valid_after(at + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert, pem = folder / "client.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password) if password
            else serialization.NoEncryption(),
        )
    )  # fmt: skip
    return cert, pem


@pytest.mark.parametrize("password", [None, b"s3cret"])
def test_a_client_certificate_is_shown_with_its_key_in_the_drivers_form(
    tmp_path: Path, password: bytes | None
) -> None:
    cert, pem = certificate(tmp_path, password)
    said = f"&sslpassword={password.decode()}" if password else ""
    _, properties = jdbc_options(f"{SHOP}?sslcert={cert}&sslkey={pem}{said}")
    assert properties["sslcert"] == str(cert)
    copy = Path(properties["sslkey"])
    assert copy.stat().st_mode & 0o777 == 0o600
    assert serialization.load_der_private_key(copy.read_bytes(), None)
    if password:
        with pytest.raises(ShopError, match="sslpassword is not its password") as wrong:
            jdbc_options(f"{SHOP}?sslcert={cert}&sslkey={pem}&sslpassword=0therword")
        assert "0therword" not in str(wrong.value)


def test_a_client_certificate_beside_the_systems_authorities_is_refused(tmp_path: Path) -> None:
    cert, pem = certificate(tmp_path, None)
    with pytest.raises(ShopError, match="client certificate together with sslrootcert=system"):
        jdbc_options(f"{SHOP}?sslrootcert=system&sslcert={cert}&sslkey={pem}")
    with pytest.raises(ShopError, match="cannot be read"):
        jdbc_options(f"{SHOP}?sslcert={cert}&sslkey={tmp_path / 'none.pem'}")


def test_what_a_service_says_is_told(
    postgres: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = psycopg.conninfo.conninfo_to_dict(postgres.url().get_secret_value())
    file = tmp_path / "services"
    file.write_text("[shop]\n" + "".join(f"{name}={value}\n" for name, value in known.items()))
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    address, properties = jdbc_options("postgresql://?service=shop")
    wanted, all_of_it = jdbc_options(postgres.url())
    assert address == wanted
    assert properties["user"] == all_of_it["user"]
    assert properties["password"] == all_of_it["password"]


# a pooler in front of the store ------------------------------------------------------------------
@pytest.mark.parametrize("pooled", [False, True])
def test_behind_a_pooler_nothing_is_left_in_a_session(postgres: Endpoint, pooled: bool) -> None:
    with fresh_database(postgres) as url, pooler(postgres.host, postgres.port) as (port, refused):
        direct = url.get_secret_value()
        address = direct.replace(f":{postgres.port}/", f":{port}/") if pooled else direct
        store = database.engine(SecretStr(address), patience=10)
        with store.begin() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            assert database.is_pooled(driver) is pooled
            assert (driver.prepare_threshold is None) is pooled
            said = [connection.exec_driver_sql(f"SHOW {name}").scalar()
                    for name in ("timezone", "statement_timeout", "lock_timeout")]  # fmt: skip
            assert said == ["UTC", "10s", "5s"]
            left = "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'"
            connection.commit()
            driver.autocommit = True
            assert driver.execute(left).fetchone() == ("0" if pooled else "10000",)
        store.dispose()
        assert not refused
