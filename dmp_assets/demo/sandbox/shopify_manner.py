"""How the sandbox's Shopify behaves, as tests and people set it."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Manner(BaseModel):
    """How the service behaves; what counts down (`…_times`) ends by itself.

    Clock: `clock`: what time it is now, and runs on from; None: the machine's, and for orders that
    of the world.
    Tokens: `lifetime`, `refresh_lifetime`: seconds; `silent_lifetime`: answers do not say them;
    `refuses_lasting`: tokens that do not expire are refused; `withheld`: scopes that are not
    granted; `forged`: what is wrong with the way back from the consent page; `refuses`: consent is
    not given.
    Answers: `status`: all of GraphQL's for `status_times`, once `status_after` others were given;
    `retry_after` with it; `internal_times`: INTERNAL_SERVER_ERROR; `version`: which serves them;
    `protected`: protected customer data is `given`, `null` or `denied`.
    Throttling: `bucket`, `restore`: its size, points a second, None: by the plan of the shop;
    `most`: what one document may cost.
    Orders: `edited`: these are updated, `vanishing`: these are deleted, one after each page of
    orders; `ready`: whether journeys are attributed, None: by their time.
    Bulk: `bulk_seconds` an operation takes; `bulk_status`, `bulk_error`: how it ends, for
    `bulk_times` operations; `bulk_partial`: with a part of its file; `bulk_running`: others that
    run already; `children_first`: lines of a file come before those that they belong to;
    `cut_times`: files that end in the middle of a line; `broken_times`: downloads whose connection
    breaks.
    """

    model_config = ConfigDict(extra="forbid")

    clock: datetime | None = None
    lifetime: float = 3600
    refresh_lifetime: float = 7_776_000
    silent_lifetime: bool = False
    refuses_lasting: bool = False
    withheld: tuple[str, ...] = ()
    forged: Literal["hmac", "state", "shop", "timestamp"] | None = None
    refuses: bool = False
    status: int | None = None
    status_times: int = 1_000_000_000
    status_after: int = 0
    retry_after: float | None = None
    internal_times: int = 0
    version: str = "2026-10"
    protected: Literal["given", "null", "denied"] = "given"
    bucket: float | None = None
    restore: float | None = None
    most: int = 1000
    edited: tuple[int, ...] = ()
    vanishing: tuple[int, ...] = ()
    ready: bool | None = None
    bulk_seconds: float = 0
    bulk_status: Literal["COMPLETED", "FAILED", "CANCELED", "EXPIRED"] = "COMPLETED"
    bulk_error: Literal["ACCESS_DENIED", "INTERNAL_SERVER_ERROR", "TIMEOUT"] | None = None
    bulk_times: int = 1_000_000_000
    bulk_partial: bool = False
    bulk_running: int = Field(default=0, ge=0)
    children_first: bool = False
    cut_times: int = 0
    broken_times: int = 0


class Clock:
    """The service's time."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def set(self, now: datetime | None) -> None:
        """Let it be this moment; None: the machine's time."""
        if now is None:
            self._ahead = timedelta()
            return
        moment = now if now.tzinfo else now.replace(tzinfo=UTC)
        self._ahead = moment - datetime.now(UTC)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead
