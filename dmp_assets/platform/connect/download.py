"""Files that a service has made ready, fetched by an address that needs no credentials."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import tenacity

from dmp_assets.platform.base.addresses import is_loopback
from dmp_assets.platform.connect.errors import (
    NoAnswerError,
    StatusError,
    TooLargeError,
)
from dmp_assets.platform.connect.http import Patience, check_address, keep_silent
from dmp_assets.platform.text.foreign_text import visible

_PIECE = 1 << 20


def download(
    url: str,
    target: Path,
    *,
    limit: int,
    patience: Patience = Patience(),  # noqa: B008
    timeout: float = 30.0,
    loopback_only: bool = False,
) -> int:
    """Write what is at `url` to `target`, from its beginning on each try; its bytes.

    The address may hold a signature, so errors name its host alone. A transfer that ends before as
    much came as was announced is none. Raises AddressError, NoAnswerError, StatusError,
    TooLargeError for more than `limit` bytes.
    """
    check_address(url, loopback_only=loopback_only)
    keep_silent()
    host = urlsplit(url).hostname or ""
    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        wait=tenacity.wait_exponential_jitter(
            initial=patience.pause, max=patience.longest_pause, jitter=patience.pause
        ),
        stop=tenacity.stop_after_attempt(patience.attempts)
        | tenacity.stop_before_delay(patience.total),
        reraise=True,
    )
    with httpx.Client(
        timeout=timeout, trust_env=not is_loopback(host), follow_redirects=False
    ) as http:
        return tries(_fetch, http, url, target, limit, f"a file at {visible(host)}")


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, StatusError):
        return error.status == 429 or error.status >= 500
    return isinstance(error, NoAnswerError)


def _fetch(http: httpx.Client, url: str, target: Path, limit: int, what: str) -> int:
    written = 0
    try:
        with (
            http.stream("GET", url, headers={"accept-encoding": "identity"}) as answer,
            target.open("wb") as file,
        ):
            if not answer.is_success:
                raise StatusError(f"{what} answers {answer.status_code}", answer.status_code)
            for piece in answer.iter_raw(_PIECE):
                written += file.write(piece)
                if written > limit:
                    raise TooLargeError(f"{what} is larger than {limit:,} bytes")
    except httpx.HTTPError as error:
        name = type(error).__name__
        raise NoAnswerError(f"{what}: no answer ({name})", name, is_unknown=False) from None
    return written
