"""A shop's Admin GraphQL API: its cost bucket kept to, each of its refusals an error of its own.

Answers come with 200 also when they are none. Queries are repeated when they fail; mutations only
when Shopify says that nothing was done.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dmp_assets.platform.base.answers import json_object
from dmp_assets.platform.connect.answer import HttpAnswer
from dmp_assets.platform.connect.errors import (
    NeedsConsentError,
    ThrottledError,
    TryAgainError,
    UnreadableAnswerError,
)
from dmp_assets.platform.connect.http import Credentials, HttpClient, HttpService, Patience
from dmp_assets.platform.connect.paging import by_cursor
from dmp_assets.platform.text.foreign_text import cut, visible
from dmp_assets.sources.shopify.errors import (
    AccessDeniedError,
    BusinessError,
    GoneError,
    QueryRefusedError,
    QueryTooCostlyError,
    ShopClosedError,
)
from dmp_assets.sources.shopify.shops import API_VERSION

_LOG = logging.getLogger(__name__)
VERSION_HEADER = "x-shopify-api-version"
OPTIONAL = frozenset({"customer", "customerJourneySummary"})
"""Protected customer data: where an app is not approved for it, the rest is read without."""
CLOSED: Mapping[int, tuple[str, str]] = {
    402: ("frozen", "the shop is frozen for unpaid bills"),
    403: ("forbidden", "the shop does not let this app in"),
    404: ("no such shop", "there is no such shop"),
    423: ("locked", "the shop is locked"),
    430: ("security", "Shopify refused us for reasons of security"),
}
_LASTING = "Non-expiring access tokens are no longer accepted"
_THROTTLED = b'"THROTTLED"'
_LONGEST_TEXT = 300
_MOST_IDS = 250

Node = dict[str, Any]


class Bucket:
    """The points that are left of an app's at a shop, as answers tell of them."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._left, self._rate, self._at = 0.0, 0.0, 0.0
        self._costs: dict[str, float] = {}

    def note(self, document: str, cost: Mapping[str, Any]) -> None:
        """Take over what an answer says of its cost."""
        status = cost.get("throttleStatus") or {}
        self._left = float(status.get("currentlyAvailable") or 0.0)
        self._rate = float(status.get("restoreRate") or 0.0)
        self._at = time.monotonic()
        self._costs[document] = float(cost.get("requestedQueryCost") or 0.0)

    def seconds(self, document: str) -> float:
        """Until there is enough for the document; 0 where nobody knows."""
        if not self._rate or document not in self._costs:
            return 0.0
        left = self._left + (time.monotonic() - self._at) * self._rate
        return max(0.0, (self._costs[document] - left) / self._rate)

    def wait(self, document: str, longest: float) -> None:
        """Sleep until there is enough. Raises ThrottledError when that takes too long."""
        seconds = self.seconds(document)
        if seconds > longest:
            raise ThrottledError(f"Shopify wants no request for {seconds:,.0f} s", seconds)
        if seconds:
            self._sleep(seconds)


class ShopApi:
    """A shop's API for one piece of work, by one thread. Close it, or use it in a `with`.

    `withheld`: names of protected fields that were denied and read as null.
    """

    def __init__(self, shop: str, http: HttpClient) -> None:
        self.shop = shop
        self.withheld: set[str] = set()
        self.http = http
        self.bucket = Bucket()
        self._sizes: dict[str, int] = {}
        self._told_version: str | None = None

    @staticmethod
    def of(
        shop: str,
        base: str,
        credentials: Credentials,
        *,
        loopback_only: bool = False,
        patience: Patience = Patience(),  # noqa: B008
    ) -> "ShopApi":
        """The API of a shop that answers at `base`."""
        service = HttpService(
            url=f"{base}/admin/api/{API_VERSION}/graphql.json",
            credentials=credentials,
            patience=patience,
            throttled=throttled,
            loopback_only=loopback_only,
        )
        return ShopApi(shop, HttpClient(service))

    def close(self) -> None:
        self.http.close()

    def __enter__(self) -> "ShopApi":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # documents -----------------------------------------------------------------------------------
    def query(self, document: str, variables: Mapping[str, Any] | None = None) -> Node:
        """The data of a query.

        Raises ConnectError: QueryTooCostlyError, AccessDeniedError, QueryRefusedError,
        ShopClosedError, NeedsConsentError, ThrottledError, and what `HttpClient.send` raises.
        """
        return self._send(document, variables or {}, repeatable=True)

    def change(self, document: str, variables: Mapping[str, Any], field: str) -> Node:
        """What a mutation gives. Raises BusinessError for its `userErrors`; and as `query`."""
        payload = self._send(document, variables, repeatable=False).get(field)
        if not isinstance(payload, dict):
            raise UnreadableAnswerError(f"{self.shop}: the answer to {field} holds nothing")
        told = payload.get("userErrors")
        if isinstance(told, list) and told:
            first = told[0] if isinstance(told[0], dict) else {}
            code = first.get("code")
            raise BusinessError(
                f"{self.shop} refuses {field}: {_shown(first.get('message'))}",
                code if isinstance(code, str) else None,
            )
        return payload

    def pages(
        self, document: str, field: str, variables: Mapping[str, Any], *, first: int
    ) -> Iterator[list[Node]]:
        """The nodes of a connection, page by page; smaller pages where these cost too much."""

        def page_at(cursor: str | None) -> Node:
            return self._smaller(
                document,
                first,
                lambda size: _within(
                    self.query(document, {**variables, "first": size, "after": cursor}), field
                ),
            )

        for page in by_cursor(page_at, _next_cursor):
            yield _nodes(page, field)

    def by_ids(
        self, document: str, ids: Sequence[str], *, at_once: int
    ) -> Iterator[tuple[str, Node | None]]:
        """(id, node) of each id, None where there is none; fewer at a time where these cost too
        much."""
        left = list(ids)
        while left:

            def some(size: int) -> list[tuple[str, Node | None]]:
                part = left[:size]  # noqa: B023  # called before the loop goes on
                found = self.query(document, {"ids": part}).get("nodes")
                if not isinstance(found, list) or len(found) != len(part):
                    raise UnreadableAnswerError(f"{self.shop}: not every id was answered")
                return list(zip(part, found, strict=True))

            told = self._smaller(document, min(at_once, _MOST_IDS), some)
            yield from told
            left = left[len(told) :]

    def _smaller(self, document: str, first: int, ask: Callable[[int], Any]) -> Any:
        """What `ask` gives for a size that the shop takes; it is remembered for the document."""
        while True:
            size = self._sizes.setdefault(document, first)
            try:
                return ask(size)
            except QueryTooCostlyError as error:
                if size == 1:
                    raise
                fits = int(size * error.most / error.cost) if error.cost > 0 else size // 2
                self._sizes[document] = max(1, min(fits, size - 1))

    def _send(self, document: str, variables: Mapping[str, Any], *, repeatable: bool) -> Node:
        longest = self.http.service.patience.total

        def read(answer: HttpAnswer) -> Node:
            return self._read(document, answer)

        return self.http.send(
            "POST",
            json={"query": document, "variables": dict(variables)},
            repeatable=repeatable,
            read=read,
            before=lambda: self.bucket.wait(document, longest),
        )

    # answers -------------------------------------------------------------------------------------
    def _read(self, document: str, answer: HttpAnswer) -> Node:
        self._check_version(answer)
        self._check_status(answer)
        body = answer.object()
        cost = (body.get("extensions") or {}).get("cost")
        if isinstance(cost, dict):
            self.bucket.note(document, cost)
        data, errors = body.get("data"), body.get("errors")
        if errors:
            self._refuse(errors, data)
        if not isinstance(data, dict):
            raise UnreadableAnswerError(f"{answer.place}: the answer holds no data")
        return data

    def _check_status(self, answer: HttpAnswer) -> None:
        if answer.is_success:
            return
        said = (json_object(answer.body) or {}).get("errors")
        if isinstance(said, str) and _LASTING in said:
            raise NeedsConsentError(
                f"{self.shop}: Shopify takes no token any more that does not expire: connect the "
                "shop anew",
                "token does not expire",
            )
        if answer.status == 401:
            raise NeedsConsentError(
                f"{self.shop} does not take our token, nor a new one: connect the shop anew",
                "token refused",
            )
        if answer.status in CLOSED:
            kind, why = CLOSED[answer.status]
            raise ShopClosedError(f"{self.shop}: {why}", kind, answer.status)
        answer.checked()

    def _check_version(self, answer: HttpAnswer) -> None:
        served = answer.headers.get(VERSION_HEADER)
        if served not in (None, API_VERSION, self._told_version):
            self._told_version = served
            _LOG.warning(
                "%s answers by version %s of Shopify's API, not by %s: that one may be retired",
                self.shop,
                _shown(served),
                API_VERSION,
            )

    def _refuse(self, errors: Any, data: Any) -> None:
        """Raise what the errors mean, unless only protected customer data was denied."""
        told = [one for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
        if not told:
            raise QueryRefusedError(f"{self.shop} does not take a document of ours")
        if isinstance(data, dict) and all(_is_withheld(one) for one in told):
            self.withheld |= {name for one in told for name in OPTIONAL & set(one["path"])}
            return
        first = told[0]
        about = first.get("extensions") or {}
        match _code(first):
            case "MAX_COST_EXCEEDED":
                raise QueryTooCostlyError(
                    f"{self.shop}: a document costs more than any may",
                    _number(about.get("cost")),
                    _number(about.get("maxCost")),
                )
            case "INTERNAL_SERVER_ERROR":
                raise TryAgainError(
                    f"{self.shop}: Shopify failed (request {_shown(about.get('requestId'))})",
                    kind="internal error",
                )
        refused = [one for one in told if _code(one) == "ACCESS_DENIED"]
        if refused:
            denied = next((one for one in refused if not _is_withheld(one)), refused[0])
            required = _shown((denied.get("extensions") or {}).get("requiredAccess"))
            raise AccessDeniedError(
                f"{self.shop}: the app was not granted what {_field_of(denied)} takes: {required}",
                required,
            )
        raise QueryRefusedError(
            f"{self.shop} does not take a document of ours: {_shown(first.get('message'))}"
        )


def throttled(answer: HttpAnswer) -> float | None:
    """Seconds until a document that was not paid for may be asked again; None for any other."""
    if answer.status != 200 or _THROTTLED not in answer.body:
        return None
    body = json_object(answer.body) or {}
    errors = body.get("errors")
    if not isinstance(errors, list) or not any(
        isinstance(one, dict) and _code(one) == "THROTTLED" for one in errors
    ):
        return None
    cost = (body.get("extensions") or {}).get("cost") or {}
    status = cost.get("throttleStatus") or {}
    rate = _number(status.get("restoreRate"))
    lacking = _number(cost.get("requestedQueryCost")) - _number(status.get("currentlyAvailable"))
    return max(0.0, lacking / rate) if rate > 0 else 1.0


def _is_withheld(error: Mapping[str, Any]) -> bool:
    path = error.get("path")
    return _code(error) == "ACCESS_DENIED" and isinstance(path, list) and bool(OPTIONAL & set(path))


def _code(error: Mapping[str, Any]) -> Any:
    return (error.get("extensions") or {}).get("code")


def _field_of(error: Mapping[str, Any]) -> str:
    path = error.get("path")
    names = [one for one in path if isinstance(one, str)] if isinstance(path, list) else []
    return _shown(names[-1]) if names else "a document"


def _number(given: Any) -> float:
    return float(given) if isinstance(given, int | float) and not isinstance(given, bool) else 0.0


def _shown(given: Any) -> str:
    return cut(visible(str(given)), _LONGEST_TEXT)


def _within(data: Node, field: str) -> Node:
    """A connection in the data: of a root, or (`order.lineItems`) of an object of one.

    Raises GoneError where there is no such object (any more).
    """
    *owners, name = field.split(".")
    for owner in owners:
        found = data.get(owner)
        if not isinstance(found, dict):
            raise GoneError(f"this {owner} of Shopify's is gone")
        data = found
    return data.get(name) or {}


def _nodes(page: Node, field: str) -> list[Node]:
    found = page.get("nodes")
    if not isinstance(found, list):
        raise UnreadableAnswerError(f"Shopify's answer holds no {field}")
    return found


def _next_cursor(page: Node) -> str | None:
    about = page.get("pageInfo") or {}
    if not about.get("hasNextPage"):
        return None
    cursor = about.get("endCursor")
    if not isinstance(cursor, str) or not cursor:
        raise UnreadableAnswerError("a page of Shopify's has a next one, and no cursor to it")
    return cursor
