"""What engines say of S3 comes out in words; texts as delta-rs, boto3 and Spark wrote them."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.lake.storage_errors import StorageError, in_words
from dmp_assets.platform.text.engine_errors import EngineError

ROOT = "s3a://bucket/lake"
LAYERS = """Kernel error -> Generic S3 error
          \x1b[31m↳\x1b[0m Error performing GET http://127.0.0.1:1/bucket/x in 9ms
            \x1b[31m↳\x1b[0m error sending request
              \x1b[31m↳\x1b[0m {}
"""
ANSWER = """Generic S3 error
   \x1b[31m↳\x1b[0m 403 Forbidden
     \x1b[31m↳\x1b[0m <Error><Code>{}</Code><Message>said otherwise</Message></Error>
"""
OF_THE_JVM = """An error occurred while calling o99.save.
: org.apache.hadoop.fs.s3a.AWSClientIOException: getFileStatus on s3a://bucket/lake/x
\tat org.apache.hadoop.fs.s3a.S3AUtils.translateException(S3AUtils.java:241)
Caused by: software.amazon.awssdk.core.exception.SdkClientException: Unable to execute HTTP request
Caused by: org.apache.http.conn.HttpHostConnectException: Connect to 127.0.0.1:1 failed: {}
"""


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "ListObjectsV2")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(LAYERS.format("Connection refused (os error 111)")), "nothing answers there"),
        (OSError(LAYERS.format("dns error: failed to lookup")), "the name of its machine"),
        (OSError(LAYERS.format("invalid peer certificate: UnknownIssuer")), "DMP_S3_CA_FILE"),
        (OSError(LAYERS.format("operation timed out")), "does not answer in time"),
        (OSError(LAYERS.format("a cause of tomorrow")), "cannot be reached: a cause of tomorrow"),
        (OSError(ANSWER.format("NoSuchBucket")), "no such bucket"),
        (OSError(ANSWER.format("SignatureDoesNotMatch")), "secret does not fit"),
        (OSError(ANSWER.format("ExpiredToken")), "have expired"),
        (OSError(ANSWER.format("RequestTimeTooSkewed")), "clock is wrong"),
        (refused("InvalidAccessKeyId"), "does not know this access key"),
        (refused("AccessDenied"), "may not do that"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), "nothing answers there"),
        (EngineError(OF_THE_JVM.format("Connection refused")), "nothing answers there"),
    ],
)
def test_the_innermost_cause_is_told_with_what_to_do(error: Exception, told: str) -> None:
    with pytest.raises(StorageError, match=told) as said, in_words(ROOT):
        raise error
    assert ROOT in str(said.value) and "\n" not in str(said.value) and "\x1b" not in str(said.value)
    assert isinstance(said.value, UserError) and isinstance(said.value, OSError)
    assert said.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("<Error><Code>NoSuchBucket</Code></Error>"),
        OSError("No space left on device"),
        EngineError("DELTA_REPLACE_WHERE_MISMATCH: rows of s3a://bucket/lake/cleaned/users"),
        KeyError("ExpiredToken"),
    ],
)
def test_an_error_of_something_else_stays_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as said, in_words(ROOT):
        raise error
    assert said.value is error


def test_what_a_folder_of_this_machine_says_stays_as_it_is() -> None:
    error = OSError(ANSWER.format("NoSuchBucket"))
    with pytest.raises(OSError, match="NoSuchBucket") as said, in_words("/srv/lakehouse"):
        raise error
    assert said.value is error
