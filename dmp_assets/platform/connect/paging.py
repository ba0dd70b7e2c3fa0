"""Pages of a list, one after the other, with a bound against lists that do not end."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urljoin

import httpx

from dmp_assets.platform.connect.answer import HttpAnswer
from dmp_assets.platform.connect.errors import PagingError
from dmp_assets.platform.connect.http import HttpClient

T = TypeVar("T")
MOST_PAGES = 10_000


def by_cursor(
    page_at: Callable[[str | None], T],
    next_cursor: Callable[[T], str | None],
    *,
    first: str | None = None,
    most: int = MOST_PAGES,
) -> Iterator[T]:
    """Every page, short and empty ones too; the end is where `next_cursor` gives none.

    `page_at(cursor)` asks for a page, the first one with `first`. Raises PagingError for a cursor
    that was there before and for more than `most` pages, and what `page_at` raises.
    """
    seen: set[bytes] = set()
    cursor = first
    for _ in range(most):
        page = page_at(cursor)
        yield page
        cursor = next_cursor(page)
        if cursor is None or cursor == "":
            return
        digest = hashlib.sha256(str(cursor).encode()).digest()
        if digest in seen:
            raise PagingError("a list gives the same cursor twice: it would never end")
        seen.add(digest)
    raise PagingError(f"a list has more than {most:,} pages")


def by_link(
    client: HttpClient, path: str = "", *, most: int = MOST_PAGES, **named: Any
) -> Iterator[HttpAnswer]:
    """Every page of a list whose next one is in the header `Link` (RFC 8288, `rel="next"`).

    `named` goes with the first request (`params`, `headers`); headers with all. Raises PagingError,
    AddressError for a link to another host, StatusError, and what `HttpClient.send` raises.
    """
    headers = named.get("headers")

    def page_at(link: str | None) -> HttpAnswer:
        if link is None:
            return client.get(path, **named).checked()
        return client.get(link, headers=headers).checked()

    return by_cursor(page_at, _next_link, most=most)


def _next_link(answer: HttpAnswer) -> str | None:
    links = httpx.Response(200, headers=answer.headers.multi_items()).links
    link = links.get("next", {}).get("url")
    return urljoin(answer.url, link) if link else None
