"""How S3 is reached: one set of settings for delta-rs, boto3 and (`s3a.py`) Spark.

Credentials are those of `DMP_S3_…`, else AWS's own chain finds them (environment, profile, role of
the machine), in each of the three libraries alike.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.errors import GivenError
from dmp_assets.settings import Settings

_ROOT = re.compile(r"s3a?://([^/]+)/?(.*)")
_TRUSTED = "SSL_CERT_FILE"
CONNECT_SECONDS, REQUEST_SECONDS = 5, 60
RETRIES = 6
"""How often a request is tried again; with the pauses between them that is some seconds."""
_ANSWER_SECONDS = 20  # of small requests, which are tried half as often: a minute where S3 hangs


def is_s3(root: str) -> bool:
    """Whether tables below this root lie on S3."""
    return _ROOT.fullmatch(root) is not None


def place(url: str) -> tuple[str, str]:
    """Bucket and key of an S3 address, the key without a slash at either end."""
    found = _ROOT.fullmatch(url)
    if found is None:
        raise ValueError(f"{url} is no address on S3")
    return found[1], found[2].strip("/")


@dataclass(frozen=True)
class S3:
    """Where S3 is and who asks. Its text shows no credentials.

    `endpoint` empty: AWS. `region` empty: what AWS's own chain says. `encryption`: how the server
    encrypts what is written, `AES256`, `aws:kms` or `aws:kms:dsse`; empty: as the bucket says.
    `ca_file`: authorities that are trusted; empty: those of the machine.
    """

    endpoint: str = ""
    region: str = ""
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    path_style: bool = False
    encryption: str = ""
    encryption_key: str = ""
    ca_file: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "S3":
        """What the settings say, and the environment where AWS's libraries read it themselves.

        Raises GivenError for a file of authorities that cannot be used.
        """
        endpoint = settings.s3_endpoint or _environment("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        region = settings.s3_region or _environment("AWS_REGION", "AWS_DEFAULT_REGION")
        path_style = settings.s3_path_style
        ca_file = trusted(settings.s3_ca_file, settings.home) if settings.s3_ca_file else ""
        secrets = (settings.s3_access_key_id, settings.s3_secret_access_key,
                   settings.s3_session_token)  # fmt: skip
        key_id, secret, token = (one.get_secret_value() if one else "" for one in secrets)
        return cls(
            endpoint=endpoint.rstrip("/"),
            region=region or ("us-east-1" if endpoint else ""),
            access_key_id=key_id,
            secret_access_key=secret,
            session_token=token,
            path_style=bool(endpoint) if path_style is None else path_style,
            encryption=settings.s3_encryption or "",
            encryption_key=settings.s3_encryption_key or "",
            ca_file=ca_file,
        )

    def delta_options(self) -> dict[str, str]:
        """Storage options of delta-rs.

        See https://delta-io.github.io/delta-rs/integrations/object-storage/special_configuration/.
        """
        options = {
            "aws_virtual_hosted_style_request": "false" if self.path_style else "true",
            "max_retries": str(RETRIES),
            "retry_timeout": f"{REQUEST_SECONDS}s",
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "timeout": f"{REQUEST_SECONDS}s",
        }
        if self.endpoint:
            options["aws_endpoint_url"] = self.endpoint
            options["aws_allow_http"] = str(self.endpoint.startswith("http://")).lower()
        if self.region:
            options["aws_region"] = self.region
        if self.access_key_id:
            options |= {
                "aws_access_key_id": self.access_key_id,
                "aws_secret_access_key": self.secret_access_key,
                "aws_session_token": self.session_token,  # empty: not that of the environment
            }
        if self.encryption:
            options["aws_server_side_encryption"] = self.encryption
        if self.encryption_key:
            options["aws_sse_kms_key_id"] = self.encryption_key
        return options

    def client(self) -> Any:
        """boto3's client, one for all that is reached so."""
        return _client(self)

    def credentials_from(self) -> str:
        """Where the credentials are from, in a word of boto3's: `explicit`, `env`, …"""
        found = _session(self).get_credentials()
        return "nowhere" if found is None else str(found.method)

    def written_with(self) -> dict[str, Any]:
        """What boto3's `put_object` is told of encryption."""
        told: dict[str, Any] = {}
        if self.encryption:
            told["ServerSideEncryption"] = self.encryption
        if self.encryption_key:
            told["SSEKMSKeyId"] = self.encryption_key
        return told

    def objects(self, url: str) -> Iterator[tuple[str, int, int]]:
        """(key, size, time of change in nanoseconds) of every object below an address."""
        bucket, key = place(url)
        pages = self.client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=f"{key}/" if key else ""):
            for found in page.get("Contents", ()):
                changed = int(found["LastModified"].timestamp() * 1_000_000_000)
                yield found["Key"], found["Size"], changed


def trusted(ca_file: Path, home: Path) -> str:
    """Trust these authorities beside those that this process trusts already; the file of all.

    delta-rs takes none but by SSL_CERT_FILE, which other clients of this process read too.
    Raises GivenError for a file that cannot be read, or that holds no certificate.
    """
    import certifi
    from cryptography import x509  # for whoever names authorities

    own = home / "tls"
    before = os.environ.get(_TRUSTED, "")
    if before.startswith(f"{own}{os.sep}"):
        return before
    try:
        given = ca_file.read_bytes()
        x509.load_pem_x509_certificates(given)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no certificate"
        raise GivenError(f"{ca_file} (DMP_S3_CA_FILE) cannot be used: {why}") from error
    both = Path(before or certifi.where()).read_text() + "\n" + given.decode()
    file = own / f"{hashlib.sha256(both.encode()).hexdigest()[:16]}.pem"
    if not file.exists():
        own.mkdir(parents=True, exist_ok=True, mode=0o700)
        whole_file.write(file, both)
    os.environ[_TRUSTED] = str(file)
    return str(file)


def _session(s3: S3) -> Any:
    import boto3  # some tenths of a second, for whoever has its tables on S3

    return boto3.session.Session(
        aws_access_key_id=s3.access_key_id or None,
        aws_secret_access_key=s3.secret_access_key or None,
        aws_session_token=s3.session_token or None,
    )


@lru_cache(maxsize=4)
def _client(s3: S3) -> Any:
    from botocore.config import Config

    return _session(s3).client(
        "s3",
        endpoint_url=s3.endpoint or None,
        region_name=s3.region or None,
        verify=s3.ca_file or None,
        config=Config(
            s3={"addressing_style": "path" if s3.path_style else "auto"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=_ANSWER_SECONDS,
            retries={"mode": "standard", "total_max_attempts": RETRIES // 2},
            request_checksum_calculation="when_required",  # other stores than AWS's know none
            response_checksum_validation="when_required",
        ),
    )


def _environment(*names: str) -> str:
    return next((found for name in names if (found := os.environ.get(name))), "")
