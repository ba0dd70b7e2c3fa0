"""An answer as it was read: bounded, whole, and its JSON with a clear error."""

import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from dmp_assets.platform.base.answers import UNREADABLE
from dmp_assets.platform.connect.errors import StatusError, UnreadableAnswerError

_ANY_ZLIB = zlib.MAX_WBITS | 32
"""Both zlib's and gzip's header."""
_PIECE = 65_536
ENCODING = "gzip"
"""The one compression that is asked for: its output can be bounded while it is read."""


class TooMuchError(Exception):
    """More than the bound."""


class BrokenError(Exception):
    """Compressed data that ends early, or is none."""


@dataclass(frozen=True)
class HttpAnswer:
    """A whole answer.

    `place`: method, host and path of the request, as errors name it; `url`: all of its address,
    which may hold a secret.
    """

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)
    place: str
    url: str = field(repr=False)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def checked(self) -> "HttpAnswer":
        """This answer. Raises StatusError unless its status is one of success."""
        if not self.is_success:
            raise StatusError(f"{self.place} answers {self.status}", self.status)
        return self

    def json(self, *, parse_float: Callable[[str], Any] | None = None) -> Any:
        """The JSON that it holds; `parse_float` as for `json.loads`, e.g. Decimal for money.

        Raises UnreadableAnswerError, which says what it is instead; its body is never quoted.
        """
        try:
            return json.loads(self.body, parse_float=parse_float, parse_constant=_no_number)
        except UNREADABLE:
            raise UnreadableAnswerError(f"{self.place}: {_what_else(self.body)}") from None

    def object(self, *, parse_float: Callable[[str], Any] | None = None) -> dict[str, Any]:
        """The JSON object that it holds. Raises UnreadableAnswerError."""
        found = self.json(parse_float=parse_float)
        if not isinstance(found, dict):
            raise UnreadableAnswerError(f"{self.place}: the answer is JSON, but no object")
        return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _what_else(body: bytes) -> str:
    text = body.decode("utf-8", errors="replace").strip()
    if not text:
        return "the answer is empty"
    if text.startswith("<"):
        return "the answer is a page, not JSON"
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated"):
            return "the answer is JSON that ends half-way"
    except UNREADABLE:
        return "the answer is JSON that nobody can read"
    return "the answer is not JSON"


def bounded(raw: Iterable[bytes], encoding: str, limit: int) -> bytes:
    """What the pieces of a body hold, decompressed, at most `limit` bytes at any moment.

    Raises TooMuchError, and BrokenError for a compression that is not ours, wrong or cut off.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return _joined(raw, limit)
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise BrokenError
    return _joined(_unpacked(raw, limit), limit)


def _joined(pieces: Iterable[bytes], limit: int) -> bytes:
    body = bytearray()
    for piece in pieces:
        if len(body) + len(piece) > limit:
            raise TooMuchError
        body += piece
    return bytes(body)


def _unpacked(raw: Iterable[bytes], limit: int) -> Iterable[bytes]:
    unpack = zlib.decompressobj(_ANY_ZLIB)
    has_any = False
    try:
        for piece in raw:
            left = piece
            while left:
                has_any = True
                if unpack.eof:
                    unpack = zlib.decompressobj(_ANY_ZLIB)
                yield unpack.decompress(left, min(limit + 1, _PIECE))
                left = unpack.unconsumed_tail or unpack.unused_data
        while has_any and not unpack.eof:
            rest = unpack.decompress(unpack.unconsumed_tail, min(limit + 1, _PIECE))
            if not rest:
                raise BrokenError
            yield rest
    except zlib.error as error:
        raise BrokenError from error
