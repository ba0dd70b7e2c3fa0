"""How Spark reaches S3: Hadoop's S3A, its JARs and its settings.

Names of settings are Hadoop's
(https://hadoop.apache.org/docs/current/hadoop-aws/tools/hadoop-aws/index.html).
"""

import os
import shlex
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dmp_assets.platform.base import whole_file
from dmp_assets.platform.lake import java
from dmp_assets.platform.lake.s3 import CONNECT_SECONDS, REQUEST_SECONDS, RETRIES, S3, is_s3
from dmp_assets.settings import Settings

JARS = "s3"
"""The optional set of JARs, as `jars.toml` and `dmp setup --s3` name it."""

_S3A = "spark.hadoop.fs.s3a."
_OWN_CHAIN = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
_GIVEN = "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
_GIVEN_FOR_A_TIME = "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider"
_ENCRYPTIONS = {"AES256": "AES256", "aws:kms": "SSE-KMS", "aws:kms:dsse": "DSSE-KMS"}
_JARS_OF_THE_USER = ("spark.jars", "spark.jars.packages", "spark.driver.extraClassPath")
_STORE_PASSWORD = "changeit"  # noqa: S105 # nosec B105 - Java's usual one: no secret is in it
_ARGUMENTS = "PYSPARK_SUBMIT_ARGS"
_starting = threading.Lock()


def is_used(settings: Settings) -> bool:
    """Whether Spark reads and writes tables on S3 from here."""
    return is_s3(settings.lakehouse_root or "") and not settings.spark_remote


def jar_paths(settings: Settings) -> list[str]:
    """The JARs that this home's Spark needs for S3: none where it is not used, or has its own.

    Raises java.PrerequisiteError when `dmp setup --s3` has not fetched them.
    """
    given = (settings.spark_conf.get(name, "") for name in _JARS_OF_THE_USER)
    if not is_used(settings) or any("hadoop-aws" in one for one in given):
        return []
    return java.jar_paths(JARS)


def conf(settings: Settings, folder: Path) -> dict[str, str]:
    """Settings of a Spark session for this home's tables on S3, without secrets.

    What a JVM needs as a file is written into the folder.
    """
    if not is_used(settings):
        return {}
    s3 = S3.of(settings)
    jvm = _trusting(Path(s3.ca_file), folder) if s3.ca_file else {}
    told = {
        "path.style.access": str(s3.path_style).lower(),
        "connection.establish.timeout": f"{CONNECT_SECONDS}s",
        # Each attempt of S3A's is as many of the SDK's: four minutes in all where S3 hangs.
        "connection.timeout": f"{REQUEST_SECONDS // 2}s",
        "attempts.maximum": "2",
        "retry.limit": str(RETRIES // 2),
        "retry.interval": "200ms",
        "aws.credentials.provider": _provider(s3),
        # Only AWS's own stores know all of these; none of them is needed.
        "checksum.generation": "false",
        "create.checksum.algorithm": "",
    }
    if s3.endpoint:
        told["endpoint"] = s3.endpoint
        told["connection.ssl.enabled"] = str(s3.endpoint.startswith("https://")).lower()
    if s3.region:
        told["endpoint.region"] = s3.region
    if s3.encryption:
        told["encryption.algorithm"] = _ENCRYPTIONS[s3.encryption]
    if s3.encryption_key:
        told["encryption.key"] = s3.encryption_key
    return jvm | {f"{_S3A}{name}": value for name, value in told.items() if value}


def _trusting(ca_file: Path, folder: Path) -> dict[str, str]:
    """What makes a JVM trust the authorities of a PEM file: it takes a store of its own kind."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    store = folder / "authorities.p12"
    certificates = x509.load_pem_x509_certificates(ca_file.read_bytes())
    store.write_bytes(
        pkcs12.serialize_java_truststore(
            [pkcs12.PKCS12Certificate(one, str(n).encode()) for n, one in enumerate(certificates)],
            BestAvailableEncryption(_STORE_PASSWORD.encode()),
        )
    )
    told = {"": store, "Password": _STORE_PASSWORD, "Type": "PKCS12"}
    options = " ".join(f'"-Djavax.net.ssl.trustStore{name}={value}"' for name, value in
                       told.items())  # fmt: skip
    return {"spark.driver.extraJavaOptions": options}


def _provider(s3: S3) -> str:
    if not s3.access_key_id:
        return _OWN_CHAIN
    return _GIVEN_FOR_A_TIME if s3.session_token else _GIVEN


def _secrets(settings: Settings) -> dict[str, str]:
    s3 = S3.of(settings)
    told = {
        "access.key": s3.access_key_id,
        "secret.key": s3.secret_access_key,
        "session.token": s3.session_token,
    }
    return {f"{_S3A}{name}": value for name, value in told.items() if value}


@contextmanager
def told_secrets(settings: Settings, folder: Path) -> Iterator[None]:
    """While this lasts, a JVM that starts reads the credentials from a file of the folder.

    A session's own settings stand in the JVM's command line, which everybody on the machine sees.
    Spark hides such values in its pages and event logs (`spark.redaction.regex`).
    """
    secrets = _secrets(settings) if is_used(settings) else {}
    if not secrets:
        yield
        return
    file = folder / "s3.properties"
    ours = ["--properties-file", str(file), "--load-spark-defaults"]
    with _starting:
        whole_file.write(file, _properties(secrets))
        before = os.environ.get(_ARGUMENTS)
        os.environ[_ARGUMENTS] = f"{shlex.join(ours)} {before or 'pyspark-shell'}"
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            os.environ.pop(_ARGUMENTS)
            if before is not None:
                os.environ[_ARGUMENTS] = before


def _properties(values: Mapping[str, str]) -> str:
    """As java.util.Properties reads it: a backslash, and what separates, are written with one."""
    special = str.maketrans({one: f"\\{one}" for one in "\\=:#! "})
    return "".join(f"{name}={value.translate(special)}\n" for name, value in values.items())
