"""Bodies: what is packed is unpacked within bounds, and what is wrong is said within bounds.

A JSON body is small, but what is wrong with it need not be: each of its 100,000 unknown fields
would be an error with a message of its own. So only the first ones are looked for.
"""

import zlib
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from dmp_assets.platform.api.problems import MOST_ERRORS, Problem

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
_PLAIN = ("", "identity")
MOST_MEMBERS = 16


# packed bodies -----------------------------------------------------------------------------------
def encoding(headers: Headers) -> str:
    """How the body is packed, `` when it is not. Raises Problem 415 for what we cannot unpack."""
    said = headers.get("content-encoding", "").strip().lower()
    if said in _PLAIN:
        return ""
    if said not in ("gzip", "x-gzip"):
        raise Problem(
            415, "not-supported", "a body comes as it is or with `Content-Encoding: gzip`",
            headers={"Accept-Encoding": "gzip"},
        )  # fmt: skip
    return "gzip"


def unpacked(packed: bytes, most: int) -> bytes:
    """The content of a gzip body of at most `most` bytes in at most MOST_MEMBERS pieces.

    Raises Problem 413 or 422.
    """
    whole, members = bytearray(), 0
    while packed:
        members += 1
        if members > MOST_MEMBERS:  # each costs a copy of all that follows
            raise Problem(413, "too-large", f"a gzip body has at most {MOST_MEMBERS} members")
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            whole += member.decompress(packed, most + 1 - len(whole))
        except zlib.error as error:
            raise _not_gzip() from error
        if len(whole) > most:
            raise Problem(413, "too-large", f"a body has at most {most:,} bytes when unpacked")
        if not member.eof:
            raise _not_gzip()
        packed = member.unused_data.lstrip(b"\0")
    return bytes(whole)


def _not_gzip() -> Problem:
    return Problem(422, "invalid", "the body is not what gzip makes, or not all of it")


async def unpack(scope: Scope, receive: Receive, most: int) -> tuple[Scope, Receive]:
    """The request with its gzip body unpacked. Raises Problem 413 or 422."""
    packed = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return scope, _then(message, receive)
        packed += message.get("body", b"")
        if not message.get("more_body", False):
            break
    body = unpacked(bytes(packed), most)
    headers = [
        (name, value) for name, value in scope["headers"]
        if name not in (b"content-encoding", b"content-length", b"transfer-encoding")
    ]  # fmt: skip
    headers.append((b"content-length", str(len(body)).encode()))
    scope["headers"] = headers
    return scope, _then({"type": "http.request", "body": body, "more_body": False}, receive)


def _then(first: Message, receive: Receive) -> Receive:
    given = False

    async def received() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return first

    return received


# wrong bodies ------------------------------------------------------------------------------------
def checked(adapter: TypeAdapter[T], given: str | bytes, *place: str) -> T:
    """JSON (bytes) or a text as what it should be; raise RequestValidationError as FastAPI does."""
    try:
        if isinstance(given, bytes):
            return adapter.validate_json(given)
        return adapter.validate_python(given)
    except ValidationError as error:
        raise _wrong(_told(error, *place), error.error_count()) from None


def checked_list(
    whole: type[M], one: type[BaseModel], name: str, body: bytes, most: int, *place: str
) -> M:
    """JSON that is at most `most` of `one` in a list under `name`, and a few things beside it.

    Raises RequestValidationError with the first MOST_ERRORS errors; its `total` counts them all,
    as far as they were looked for.
    """
    names = most * len(one.model_fields) + len(whole.model_fields)
    total = 0
    if body.count(b'":') <= names:  # more names than a body can have are not worth a look
        try:
            return whole.model_validate_json(body)
        except ValidationError as error:
            total = error.error_count()
            if total <= MOST_ERRORS:
                raise _wrong(_told(error, *place), total) from None
    found, seen = _first(whole, one, name, body)
    if not found:  # colons in texts
        return checked(TypeAdapter(whole), body, *place)
    raise _wrong([{**e, "loc": (*place, *e["loc"])} for e in found], max(total, seen))


def _first(
    whole: type[BaseModel], one: type[BaseModel], name: str, body: bytes
) -> tuple[list[dict[str, Any]], int]:
    """The first errors, found without looking for the rest of them; at least how many there are."""
    try:
        given = from_json(body)
    except ValueError:
        return [], 0  # the whole is looked at once more, which says where it ends
    listed = given.get(name) if isinstance(given, dict) else None
    outer = _cut(given, whole)
    if isinstance(listed, list):
        outer[name] = []
    found = [e for e in _errors_of(whole, outer) if listed is None or e["loc"] != (name,)]
    for n, each in enumerate(listed if isinstance(listed, list) else ()):
        if len(found) >= MOST_ERRORS:
            break
        found += [{**e, "loc": (name, n, *e["loc"])} for e in _errors_of(one, _cut(each, one))]
    unknown = sum(
        len(each) - sum(field in each for field in model.model_fields)
        for model, maps in ((whole, [given]), (one, listed if isinstance(listed, list) else []))
        for each in maps
        if isinstance(each, dict)
    )
    return found[:MOST_ERRORS], max(len(found), unknown)


def _errors_of(model: type[BaseModel], given: Any) -> list[dict[str, Any]]:
    try:
        model.model_validate_json(to_json(given))
    except ValidationError as error:
        return _told(error)
    return []


def _cut(given: Any, model: type[BaseModel]) -> Any:
    """A map with what the model knows of its names, and the first ones that it does not."""
    if not isinstance(given, dict):
        return given if not isinstance(given, list) else []
    unknown = [name for name in given if name not in model.model_fields]
    kept = {name[:200]: None for name in unknown[:MOST_ERRORS]}
    return kept | {name: value for name, value in given.items() if name in model.model_fields}


def _told(error: ValidationError, *place: str) -> list[dict[str, Any]]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [{**one, "loc": (*place, *one["loc"])} for one in found]


def _wrong(found: list[dict[str, Any]], total: int) -> RequestValidationError:
    told = RequestValidationError(found)
    told.total = total  # type: ignore[attr-defined] # beside what FastAPI's own have
    return told
