"""What a storage elsewhere says when it fails, told in words that a person can act on.

delta-rs, boto3, Arrow and Spark's S3A wrap the cause in many layers of their own, and only the
innermost says what is wrong: a code of S3 (its API reference, "Error responses")
or why there was no connection.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from dmp_assets.platform.base.errors import UserError

_KEYS = (
    "see DMP_S3_ACCESS_KEY_ID and DMP_S3_SECRET_ACCESS_KEY, or where AWS's own chain has it from"
)
_EXPIRED = ("the credentials have expired", "give new ones (DMP_S3_…, or AWS's own chain)")
_UNKNOWN = ("S3 does not know this access key", _KEYS)
_REGION = ("the bucket is in another region", "correct DMP_S3_REGION")
_SLOW = ("S3 asks to be called less often", "run again later")
_BY_CODE: dict[str, tuple[str, str]] = {
    "NoSuchBucket": ("there is no such bucket", "make it, or correct DMP_LAKEHOUSE_ROOT"),
    "NoSuchKey": ("a file of a table is gone", "retention or somebody else removed it"),
    "InvalidAccessKeyId": _UNKNOWN,
    "InvalidClientTokenId": _UNKNOWN,
    "SignatureDoesNotMatch": ("the secret does not fit the access key", _KEYS),
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": ("S3 does not take the session token", "correct DMP_S3_SESSION_TOKEN"),
    "AccessDenied": (
        "these credentials may not do that",
        "give them list, get, put and delete on the bucket",
    ),
    "AllAccessDisabled": ("the bucket is closed to everybody", "ask its owner"),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "set it (NTP)"),
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "SlowDown": _SLOW,
    "ServiceUnavailable": _SLOW,
    "InternalError": ("S3 has an error of its own", "run again later"),
}
_BY_WORDS = (
    (r"[Cc]onnection refused|ECONNREFUSED|Connection reset|closed before message|Broken pipe|"
     r"Could not connect|ConnectTimeout|ConnectionClosed",
     "nothing answers there", "is S3 up, and DMP_S3_ENDPOINT right?"),
    (r"dns error|UnknownHost|Name or service not known|failed to lookup|nodename nor servname",
     "the name of its machine is not known", "correct DMP_S3_ENDPOINT"),
    (r"[Cc]ertificate|PKIX|SSLHandshake|UnknownIssuer",
     "its certificate is not trusted", "name its authority by DMP_S3_CA_FILE"),
    (r"[Uu]nable to (locate|load) credentials|no credentials found|NoCredentials|"
     r"no providers in chain|NoAuthWithAWS|CredentialsNotLoaded|not.loaded.*credentials",
     "there are no credentials", _KEYS),
    (r"timed out|[Tt]imeout|TimedOut", "it does not answer in time",
     "is S3 up, and DMP_S3_ENDPOINT right?"),
)  # fmt: skip
"""Words of an innermost cause without a code of S3's, what they mean, and what to do."""

_CODE = re.compile(
    r"<Code>(\w+)</Code>|occurred \((\w+)\)|Error Code: (\w+)|\bErrorCode: (\w+)|"
    rf"\b({'|'.join(_BY_CODE)})(?:Exception)?\b"
)
_OF_STORAGE = re.compile(
    r"Generic S3 error|Object at location|ObjectStore|object store error|AWS Error|"
    r"credential provider|software\.amazon\.awssdk|org\.apache\.hadoop\.fs\.s3a|<Error><Code>"
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_KINDS = ("OSError", "PermissionError", "FileNotFoundError", "TimeoutError", "ConnectionError")


class StorageError(UserError, OSError):
    """Tables elsewhere cannot be reached: the place, the innermost cause, and what to do."""


@contextmanager
def in_words(root: str) -> Iterator[None]:
    """Raise StorageError for what the storage of this root raises; any other error is as it was.

    Of a folder of this machine the system's own error says all.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if "://" not in root or not _is_of_storage(error):
            raise
        raise StorageError(told(root, error)) from error


def told(root: str, error: BaseException) -> str:
    """What the error comes to, in one line. Quotes no credential: engines do not either."""
    text = _ANSI.sub("", _all_of(error))
    if found := _CODE.search(text):
        code = next(filter(None, found.groups()))
        if code in _BY_CODE:
            what, advice = _BY_CODE[code]
            return f"the tables in {root} cannot be reached: {what} ({code}); {advice}"
    for words, what, advice in _BY_WORDS:
        if re.search(words, text):
            return f"the tables in {root} cannot be reached: {what}; {advice}"
    return f"the tables in {root} cannot be reached: {_innermost(text)}"


def _all_of(error: BaseException) -> str:
    """What an error and all that caused it say, the innermost last."""
    said = []
    one: BaseException | None = error
    while one is not None:
        said.append(str(one) or type(one).__name__)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "\n".join(said)


def _innermost(text: str) -> str:
    """The last layer of what delta-rs (`↳`) or a JVM (`Caused by:`) tells in lines."""
    lines = [line.strip(" ↳\t") for line in text.splitlines() if line.strip(" ↳\t")]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes or lines or ["no cause is given"])[-1][:300]


def _is_of_storage(error: BaseException) -> bool:
    """Whether an error tells of the storage, by its kind or its words: each engine has its own."""
    kind = type(error)
    if kind.__module__.startswith(("botocore.", "boto3.")):
        return True
    if kind.__name__ not in _KINDS and not kind.__module__.startswith(
        ("deltalake", "_internal", "pyspark.", "py4j.", "duckdb", "_duckdb", "pyarrow",
         "dmp_assets.platform.text")
    ):  # fmt: skip
        return False
    return _OF_STORAGE.search(_all_of(error)) is not None
