"""What `dmp doctor` tries of tables on S3: credentials, clock, rights, and what commits rely on.

One object is written below the lakehouse's root, and removed again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import uuid4

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.lake import s3a
from dmp_assets.platform.lake.s3 import S3, place
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.settings import Settings

MOST_SKEW_SECONDS = 60
"""S3 refuses what is signed 15 minutes off; so much is told of before."""

_PROBE = "doctor-probe"


class UnfitError(UserError):
    """An S3 that tables cannot be kept on, or not safely; the message says why."""


def look(tables: Tables, settings: Settings) -> str:
    """One line on what was found. Raises UnfitError, StorageError, java.PrerequisiteError."""
    assert tables.s3 is not None
    bucket, key = place(tables.root)
    prefix = f"{key}/" if key else ""
    client = tables.s3.client()
    with in_words(tables.root):
        answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        skew = _skew(answer)
        if abs(skew) > MOST_SKEW_SECONDS:
            raise UnfitError(
                f"this machine's clock is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} "
                "that of S3: set it (NTP), before S3 refuses what it signs"
            )
        written = len(tables.written())
        _put_and_removed(client, tables.s3, bucket, f"{prefix}{_PROBE}-{uuid4().hex}")
    s3a.jar_paths(settings)
    return (
        f"{tables.root}: {written} tables; {_who(tables.s3)}; may list, write, read and delete; "
        "writes once what is to be written once; clock and JARs are good"
    )


def _skew(answer: dict[str, Any]) -> float:
    """How many seconds S3's clock is ahead of this machine's."""
    said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if said is None:
        return 0.0
    return (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()


def _put_and_removed(client: Any, s3: S3, bucket: str, key: str) -> None:
    content = key.encode()
    with _removed(client, bucket, key):
        client.put_object(
            Bucket=bucket, Key=key, Body=content, IfNoneMatch="*", **s3.written_with()
        )
        if client.get_object(Bucket=bucket, Key=key)["Body"].read() != content:
            raise UnfitError("S3 gives back something else than what was written")
        if not _is_refused(client, s3, bucket, key):
            raise UnfitError(
                "this S3 does not know conditional writes (If-None-Match): two runs could "
                "overwrite each other's commits. Use a server that does, or a newer version of it"
            )


def _is_refused(client: Any, s3: S3, bucket: str, key: str) -> bool:
    """Whether what is there already is not written again, when that is asked for."""
    from botocore.exceptions import ClientError

    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*", **s3.written_with())
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412):
            return True
        raise
    return False


@contextmanager
def _removed(client: Any, bucket: str, key: str) -> Iterator[None]:
    """The object is removed at the end, whatever happens; that it can be is tried so, too."""
    try:
        yield
    except BaseException:
        client.delete_object(Bucket=bucket, Key=key)
        raise
    client.delete_object(Bucket=bucket, Key=key)


def _who(s3: S3) -> str:
    """Where the credentials come from, without them."""
    found = s3.credentials_from()
    return "credentials of DMP_S3_…" if found == "explicit" else f"credentials by {found}"
