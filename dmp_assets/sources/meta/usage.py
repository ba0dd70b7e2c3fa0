"""How much of its allowances Meta says is used, and one queue an account that keeps below them.

Headers (any may be absent, or unreadable): `X-App-Usage`, `X-Ad-Account-Usage`,
`X-Business-Use-Case-Usage` (minutes to wait, several uses an account) and
`X-FB-Ads-Insights-Throttle`. All are percent of an allowance of which the rest is unknown.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dmp_assets.platform.base.answers import json_object
from dmp_assets.platform.connect.errors import ThrottledError

_OF_APP = ("call_count", "total_time", "total_cputime")
_NEARLY = 90.0
APP = ""
"""The key under which what holds for all accounts is kept."""


@dataclass(frozen=True)
class Usage:
    """What an answer tells.

    Percent of the account's and the app's allowance, the highest of all that it names; `seconds`:
    until the account's is free again, 0 where nothing says so.
    """

    account: float
    app: float
    seconds: float


def usage_of(headers: Mapping[str, str]) -> Usage:
    """The usage in the headers of an answer; 0 for what is not there."""
    account, app, seconds = [0.0], [0.0], [0.0]
    told = json_object(headers.get("x-app-usage", "")) or {}
    app += [_number(told.get(name)) for name in _OF_APP]
    told = json_object(headers.get("x-ad-account-usage", "")) or {}
    account.append(_number(told.get("acc_id_util_pct")))
    if account[-1] >= _NEARLY:  # else it is only when the points that were used are given back
        seconds.append(_number(told.get("reset_time_duration")))
    told = json_object(headers.get("x-fb-ads-insights-throttle", "")) or {}
    account.append(_number(told.get("acc_id_util_pct")))
    app.append(_number(told.get("app_id_util_pct")))
    told = json_object(headers.get("x-business-use-case-usage", "")) or {}
    for uses in told.values():
        for use in uses if isinstance(uses, list) else []:
            if isinstance(use, Mapping):
                account += [_number(use.get(name)) for name in _OF_APP]
                seconds.append(60 * _number(use.get("estimated_time_to_regain_access")))
    return Usage(max(account), max(app), max(seconds))


def _number(given: Any) -> float:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return min(max(0.0, float(given)), 100_000.0) if is_number else 0.0


@dataclass(frozen=True)
class Pace:
    """How calls are held back.

    From `slow_from` percent on each call waits, up to `slowest` seconds just below `stop_at`; from
    there on nothing goes until the headers' time, or `unknown` seconds where they name none.
    `longest`: seconds that a call waits at most.
    """

    slow_from: float = 75.0
    stop_at: float = 90.0
    slowest: float = 12.0
    unknown: float = 60.0
    longest: float = 900.0


class Governor:
    """The queues. One call of an account at a time; other accounts go on meanwhile."""

    def __init__(
        self,
        pace: Pace | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.pace = pace or Pace()
        self.sleep, self._clock = sleep, clock
        self._turns: dict[str, threading.RLock] = defaultdict(threading.RLock)
        self._not_before: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, account: str) -> Iterator[None]:
        """This account's turn; whoever else wants it waits."""
        with self._lock:
            turn = self._turns[account]
        with turn:
            yield

    def left(self, account: str) -> float:
        """Seconds until a call of the account may go."""
        with self._lock:
            until = max(self._not_before.get(key, 0.0) for key in (account, APP))
        return max(0.0, until - self._clock())

    def wait(self, account: str) -> None:
        """Wait until a call may go. Raises ThrottledError where that is too long, at once."""
        seconds = self.left(account)
        if seconds > self.pace.longest:
            raise ThrottledError(
                f"Meta wants no request of this account for {seconds:,.0f} s", seconds
            )
        if seconds > 0:
            self.sleep(seconds)

    def hold(self, account: str, seconds: float) -> None:
        """Let no call of an account (`APP`: of any) go for so long."""
        with self._lock:
            until = self._clock() + seconds
            self._not_before[account] = max(self._not_before.get(account, 0.0), until)

    def note(self, account: str, usage: Usage) -> None:
        """Keep the pace that an answer asks for."""
        if account and (seconds := self._held(usage.account, usage.seconds)) > 0:
            self.hold(account, seconds)
        if (seconds := self._held(usage.app, 0.0)) > 0:
            self.hold(APP, seconds)

    def _held(self, percent: float, regained: float) -> float:
        pace = self.pace
        if percent >= pace.stop_at:
            return regained or pace.unknown
        over = percent - pace.slow_from
        return max(0.0, over / (pace.stop_at - pace.slow_from) * pace.slowest)
