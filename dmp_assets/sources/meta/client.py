"""Meta's Graph and Marketing API: one version, tokens in the header, proof of the app's secret.

The token travels in the header alone: what a list gives as its `next` page echoes the query and
with it a token, so it is never followed, kept or logged; the cursor in it is.
"""

import hmac
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from pydantic import SecretStr

from dmp_assets.platform.connect.answer import HttpAnswer
from dmp_assets.platform.connect.errors import (
    TryAgainError,
    UnreadableAnswerError,
)
from dmp_assets.platform.connect.http import Credentials, HttpClient, HttpService, Patience
from dmp_assets.platform.connect.paging import by_cursor
from dmp_assets.sources.meta.config import VERSION, MetaConfig
from dmp_assets.sources.meta.errors import (
    LimitError,
    MaybeTooMuchError,
    PermissionMissingError,
    TransientError,
    UnknownError,
    error_of,
    fault,
    fault_of,
)
from dmp_assets.sources.meta.usage import APP, Governor, usage_of

MOST_BATCHED = 50
MOST_THROTTLES = 6
"""How often one request is throttled before it is given up."""
PATIENCE = Patience(attempts=5, pause=1.0, longest_pause=30.0, total=300.0)
_UPGRADED = "x-ad-api-version-warning"
_PAGE = 500

Row = dict[str, Any]
_log = logging.getLogger(__name__)


def appsecret_proof(secret: SecretStr, token: str) -> str:
    """Hex HMAC-SHA256 of a token with the app's secret, as Meta wants it with every call."""
    return hmac.new(secret.get_secret_value().encode(), token.encode(), sha256).hexdigest()


@dataclass(frozen=True)
class FixedToken:
    """A token that is not renewed, as `http.Credentials`."""

    token: SecretStr

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token.get_secret_value()}"}

    def renew(self, refused: Mapping[str, str]) -> bool:
        return False


class MetaClient:
    """The API as one advertiser's connection sees it; for several threads. Close it after use.

    `used`: the token that the last request carried; None before the first.

    Methods raise ConnectError: those of `errors.py` by what Meta says, ThrottledError for an
    account that would have to wait for too long, and what `HttpClient.send` raises.
    """

    def __init__(
        self,
        config: MetaConfig,
        credentials: Credentials,
        governor: Governor,
        *,
        patience: Patience = PATIENCE,
    ) -> None:
        self.config, self.governor = config, governor
        self.used: SecretStr | None = None
        self._is_warned = False
        self._http = HttpClient(
            HttpService(
                url=config.api,
                credentials=credentials,
                patience=patience,
                proof=self._proof,
                explains=lambda answer: fault_of(answer) is not None,
                loopback_only=config.loopback_only,
            )
        )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "MetaClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _proof(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        token = headers["Authorization"].removeprefix("Bearer ")
        self.used = SecretStr(token)
        return {"appsecret_proof": appsecret_proof(self.config.app_secret, token)}

    # asking --------------------------------------------------------------------------------------
    def get(self, account: str, path: str, **params: Any) -> Row:
        """One object or page. `account`: whose allowance it uses, `act_…`, or "" for nobody's."""
        return self._patient(account, "GET", path, params=_words(params))

    def post(self, account: str, path: str, **form: Any) -> Row:
        """A writing request; it is not repeated when it may have been done."""
        return self._patient(account, "POST", path, form=_words(form))

    def delete(self, account: str, path: str) -> Row:
        """Delete an object; one that is gone is an ObjectGoneError."""
        return self._patient(account, "DELETE", path)

    def submit(self, account: str, path: str, **form: Any) -> Row:
        """A request by POST that changes nothing of anybody's, so that it may be repeated."""
        return self._patient(account, "POST", path, form=_words(form), repeatable=True)

    def listed(self, account: str, path: str, **params: Any) -> Iterator[Row]:
        """Every row of a list; pages may be short or empty, the end is where no `next` is."""

        def page_at(cursor: str | None) -> Row:
            after = {"after": cursor} if cursor else {}
            return self.get(account, path, **{"limit": _PAGE, **params, **after})

        for page in by_cursor(page_at, _next_cursor):
            rows = page.get("data")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise UnreadableAnswerError("Meta: a list came that holds no rows")
            yield from rows

    def batch(self, account: str, requests: list[tuple[str, Mapping[str, Any]]]) -> list[Row]:
        """The answers to several readings (path, parameters), in order; each counts as a call.

        An element that was not answered is asked for again by itself, as is one that was refused
        for the moment.
        """
        found: list[Row] = []
        for begin in range(0, len(requests), MOST_BATCHED):
            some = requests[begin : begin + MOST_BATCHED]
            wanted = [{"method": "GET", "relative_url": _relative(*one)} for one in some]
            answers = self._patient(
                account, "POST", "", form={"batch": json.dumps(wanted)}, repeatable=True,
                whole=lambda answer: answer.json(parse_float=Decimal),
            )  # fmt: skip
            if not isinstance(answers, list) or len(answers) != len(some):
                raise UnreadableAnswerError("Meta: a batch was answered by another number")
            for (path, params), answer in zip(some, answers, strict=True):
                row = _element(answer)
                found.append(self.get(account, path, **params) if row is None else row)
        return found

    # how ----------------------------------------------------------------------------------------
    def _patient(
        self,
        account: str,
        method: str,
        path: str,
        *,
        whole: Callable[[HttpAnswer], Any] = lambda answer: answer.object(parse_float=Decimal),
        **named: Any,
    ) -> Any:
        """The answer, in the account's turn and at its pace; a throttled request did nothing."""
        with self.governor.turn(account):
            for attempt in range(MOST_THROTTLES):
                self.governor.wait(account)
                try:
                    return self._http.send(method, path, read=self._reader(account, whole), **named)
                except LimitError as error:
                    if attempt == MOST_THROTTLES - 1:
                        raise
                    back_off = 2.0**attempt
                    key = APP if error.of_app else account
                    self.governor.hold(key, max(error.seconds, back_off))
        raise AssertionError("the last attempt returns or raises")

    def _reader(
        self, account: str, whole: Callable[[HttpAnswer], Any]
    ) -> Callable[[HttpAnswer], Any]:
        """What reads the answers to one request, and knows how often it was asked."""
        unknown = 0

        def read(answer: HttpAnswer) -> Any:
            nonlocal unknown
            usage = usage_of(answer.headers)
            self.governor.note(account, usage)
            self._note_version(answer)
            found = fault_of(answer)
            if found is None:
                return _whole(answer.checked(), whole)
            error = error_of(found, usage.seconds)
            if isinstance(error, PermissionMissingError):
                error.account = account or None
            if isinstance(error, UnknownError | MaybeTooMuchError) and not unknown:
                unknown += 1
                raise TryAgainError(str(error), kind=error.kind) from error
            raise error

        return read

    def _note_version(self, answer: HttpAnswer) -> None:
        if _UPGRADED in answer.headers and not self._is_warned:
            self._is_warned = True
            _log.warning(
                "Meta answers %s by a newer version: this one has ended, update this program",
                VERSION,
            )


def _whole(answer: HttpAnswer, whole: Callable[[HttpAnswer], Any]) -> Any:
    """What an answer holds. Raises TryAgainError for one that broke off."""
    try:
        return whole(answer)
    except UnreadableAnswerError as error:
        raise TryAgainError(str(error), kind=error.kind) from error


def _words(given: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as the API takes them: lists and objects are JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for name, value in given.items()
        if value is not None
    }


def _relative(path: str, params: Mapping[str, Any]) -> str:
    return f"{path}?{urlencode(_words(params))}" if params else path


def _next_cursor(page: Row) -> str | None:
    """The cursor of the next page; None at the end, which the absence of `next` tells."""
    paging = page.get("paging")
    if not isinstance(paging, dict) or not paging.get("next"):
        return None
    cursors = paging.get("cursors")
    cursor = cursors.get("after") if isinstance(cursors, dict) else None
    if not isinstance(cursor, str) or not cursor:
        raise UnreadableAnswerError("Meta: a list goes on, and gives no cursor")
    return cursor


def _element(answer: object) -> Row | None:
    """The object that an element of a batch holds; None for what is to be asked for again.

    Raises ConnectError for one that was refused.
    """
    if answer is None:
        return None
    try:
        body = json.loads(answer["body"], parse_float=Decimal)  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        raise UnreadableAnswerError("Meta: an element of a batch holds no JSON") from None
    if not isinstance(body, dict):
        raise UnreadableAnswerError("Meta: an element of a batch is no object")
    if isinstance(body.get("error"), dict):
        error = error_of(fault(body["error"]))
        if isinstance(error, LimitError | TransientError | UnknownError | MaybeTooMuchError):
            return None
        raise error
    return body
