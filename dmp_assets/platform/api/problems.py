"""Errors of the API: RFC 9457 problem details, everywhere and nothing else."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException

MEDIA_TYPE = "application/problem+json"
STORE_RETRY_SECONDS = 5
MOST_NAMED = 5
"""Fields of which `detail` says what is wrong; `errors` has more."""
MOST_ERRORS = 20
"""Errors that an answer holds; `more_errors` counts the rest."""
LONGEST_NAME = 200
NO_NUL = r"^[^\x00]*$"
NO_CONTROL = r"^[^\x00-\x1f\x7f]*$"
VISIBLE = r"^[\x21-\x7e]+$"
PATTERNS: Mapping[str, str] = {
    NO_NUL: "must hold no NUL character",
    NO_CONTROL: "must be one line without control characters",
    VISIBLE: "must be visible characters of ASCII, without spaces",
}
"""What a text that fails a pattern should have been."""

log = logging.getLogger(__name__)


class FieldError(BaseModel):
    """One field of the request that is wrong."""

    field: str = Field(description="Where it is, e.g. `query.limit` or `body.accounts.3.email`.")
    message: str = Field(description="What is wrong with it.")


class ProblemDetail(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="Kind of problem; stable.", examples=["urn:dmp:problem:invalid"])
    title: str = Field(description="The kind in words.")
    status: int = Field(description="HTTP status.", ge=400, le=599)
    detail: str | None = Field(None, description="This case in words.")
    request_id: str = Field(description="Names this request in our logs.")
    errors: list[FieldError] | None = Field(
        None, description=f"The fields that are wrong, at most {MOST_ERRORS}."
    )
    more_errors: int | None = Field(None, description="How many more errors there are, at least.")


def wrong_fields(errors: Sequence[FieldError], more: int | None = None) -> str:
    """What is wrong, in a sentence: `2 fields are wrong: query.limit (…), query.sort (…)`.

    `more`: errors beyond these.
    """
    said = {error.field: error.message for error in reversed(errors)}
    names = list(dict.fromkeys(error.field for error in errors))
    shown = [f"{name} ({_plain(said[name])})" for name in names[:MOST_NAMED]]
    shown += ["…"] * (len(names) > MOST_NAMED or bool(more))
    count = "1 field is" if len(names) == 1 else f"{len(names)} fields are"
    if more:
        count = f"at least {count}"
    return f"{count} wrong: {', '.join(shown)}"


def _plain(message: str) -> str:
    """pydantic's sentence as part of one of ours."""
    message = message.removeprefix("Value error, ").rstrip(".")
    return message[:1].lower() + message[1:] if message[:2] != message[:2].upper() else message


class Problem(HTTPException):
    """Raised anywhere below a route, answered as a problem detail.

    Without a `detail` the fields of `errors` are named.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if detail is None and errors:
            detail = wrong_fields(errors)
        super().__init__(status, detail, dict(headers) if headers else None)
        self.kind, self.errors = kind, errors


_TITLES = {
    "invalid": "The request is not valid",
    "unauthenticated": "A valid key or session is needed",
    "forbidden": "Not allowed with this key or role",
    "not-found": "There is no such thing",
    "conflict": "Somebody changed it meanwhile",
    "too-large": "The body is too large",
    "too-slow": "The body took too long to arrive",
    "not-supported": "The body comes in a form that is not taken",
    "misdirected": "This is not the service of that name",
    "rate-limited": "Too many requests",
    "unavailable": "Not available at the moment",
    "internal": "Our mistake",
}
_KINDS = {
    400: "invalid", 401: "unauthenticated", 403: "forbidden", 404: "not-found",
    408: "too-slow", 409: "conflict", 413: "too-large", 415: "not-supported",
    421: "misdirected", 422: "invalid", 429: "rate-limited",
    500: "internal", 503: "unavailable",
}  # fmt: skip


def kind_of(status: int) -> str:
    """The kind of a problem of which only the status is known."""
    return _KINDS.get(status, HTTPStatus(status).phrase.lower().replace(" ", "-"))


def title(kind: str, status: int) -> str:
    """A kind of problem in words."""
    return _TITLES.get(kind, HTTPStatus(status).phrase)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer beside success, for OpenAPI."""
    schema = {"$ref": "#/components/schemas/ProblemDetail"}
    return {
        status: {
            "description": title(_KINDS.get(status, ""), status),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def answer(
    request_id: str,
    status: int,
    kind: str | None = None,
    detail: str | None = None,
    *,
    errors: Sequence[FieldError] | None = None,
    more: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem detail as a response. `more`: errors beyond these."""
    kind = kind or kind_of(status)
    body = ProblemDetail(
        type=f"urn:dmp:problem:{kind}",
        title=title(kind, status),
        status=status,
        detail=detail,
        request_id=request_id,
        errors=list(errors[:MOST_ERRORS]) if errors else None,
        more_errors=(more or 0) + max(len(errors or ()) - MOST_ERRORS, 0) or None,
    )
    return JSONResponse(
        body.model_dump(exclude_none=True),
        status,
        headers={**(headers or {}), "Cache-Control": "no-store"},
        media_type=MEDIA_TYPE,
    )


def unavailable(request_id: str, detail: str) -> JSONResponse:
    """503, to be tried again soon."""
    return answer(request_id, 503, detail=detail, headers={"Retry-After": str(STORE_RETRY_SECONDS)})


def field_errors(error: RequestValidationError) -> list[FieldError]:
    """The fields that FastAPI found wrong, the first MOST_ERRORS of them.

    A parameter that may be of several types is one field, with all that is said of it.
    """
    wrong: list[FieldError] = []
    parameters: dict[str, FieldError] = {}
    for found in list(error.errors())[:MOST_ERRORS]:
        place = found["loc"]
        is_parameter = place[0] in ("query", "path", "header", "cookie")
        name = ".".join(str(part)[:LONGEST_NAME] for part in (place[:2] if is_parameter else place))
        message = _in_words(found)
        if is_parameter and name in parameters:
            parameters[name].message += f", or: {message}"
            continue
        wrong.append(FieldError(field=name, message=message))
        if is_parameter:
            parameters[name] = wrong[-1]
    return wrong


def _in_words(found: Mapping[str, Any]) -> str:
    """What pydantic says, and a pattern by its meaning."""
    if found["type"] == "string_pattern_mismatch":
        return next((said for pattern, said in PATTERNS.items() if pattern in found["msg"]),
                    "holds a character that it cannot hold")  # fmt: skip
    return str(found["msg"])


def more_errors(error: RequestValidationError) -> int | None:
    """How many errors there are beyond those, at least; None when there is none."""
    total: int = getattr(error, "total", len(error.errors()))
    return max(total - MOST_ERRORS, 0) or None


def _id(request: Request) -> str:
    return str(request.state.request_id)


def install(app: FastAPI) -> None:
    """Make every error of the app a problem detail."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> JSONResponse:
        return answer(
            _id(request), error.status_code, error.kind, error.detail,
            errors=error.errors, headers=error.headers,
        )  # fmt: skip

    @app.exception_handler(StarletteHTTPException)
    async def _http(request: Request, error: StarletteHTTPException) -> JSONResponse:
        said = str(error.detail or "")
        plain = said if said != HTTPStatus(error.status_code).phrase else None
        return answer(_id(request), error.status_code, detail=plain, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors, more = field_errors(error), more_errors(error)
        detail = wrong_fields(errors, more)
        return answer(_id(request), 422, detail=detail, errors=errors, more=more)

    @app.exception_handler(PoolTimeout)
    @app.exception_handler(DBAPIError)
    async def _store(request: Request, error: Exception) -> JSONResponse:
        gone = isinstance(error, PoolTimeout) or (
            isinstance(error, DBAPIError)
            and (error.connection_invalidated or type(error).__name__ == "OperationalError")
        )
        if gone:
            return unavailable(_id(request), "the operational store does not answer")
        raise error
