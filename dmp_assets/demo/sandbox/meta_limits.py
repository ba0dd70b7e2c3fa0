"""Allowances of the sandbox's Meta: counters of real calls, what they tell, when they block.

An account has so many calls an hour for insights and for management, which grow with its active
ads, and points within 300 s: a reading costs 1, a writing 3. The app has calls an hour. Time is
that of the stand-in's clock.
"""

import json
import math
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Literal

from dmp_assets.demo.sandbox.meta_manner import GraphError, Limits

Kind = Literal["ads_insights", "ads_management"]

HOUR, DECAY = 3_600.0, 300.0
BUSINESS_LIMIT = 2_446_079
"""Subcode of every limit of an account."""
_CALLS = {
    "development_access": {"ads_insights": 600.0, "ads_management": 300.0},
    "standard_access": {"ads_insights": 190_000.0, "ads_management": 100_000.0},
}
_PER_AD = {"ads_insights": 400.0, "ads_management": 40.0}
_POINTS = {"development_access": (60.0, 300.0), "standard_access": (9_000.0, 60.0)}
_CODES = {"ads_insights": 80_000, "ads_management": 80_004}


class Usage:
    """The counters; in memory, so a new sandbox has used nothing."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._calls: dict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._points: dict[str, deque[tuple[float, int]]] = defaultdict(deque)
        self._blocked: dict[str, float] = {}
        self._app: deque[float] = deque()

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            for counter in (self._calls, self._points, self._blocked, self._app):
                counter.clear()

    def admit(
        self, account: str | None, kind: Kind, limits: Limits, active_ads: int, *, writes: bool
    ) -> None:
        """Count a call. Raises GraphError where an allowance is used up; that call is free."""
        now = self._now()
        with self._lock:
            self._drop(now, account)
            if len(self._app) >= limits.app:
                raise GraphError(4, "(#4) Application request limit reached", status=403,
                                 is_transient=True)  # fmt: skip
            if account is not None:
                self._admit_to(account, kind, limits, active_ads, 3 if writes else 1, now)
            self._app.append(now)

    def _admit_to(
        self, account: str, kind: Kind, limits: Limits, ads: int, cost: int, now: float
    ) -> None:
        points, block = self._allowed_points(limits)
        used = sum(n for _, n in self._points[account])
        if now >= self._blocked.get(account, 0.0) and used + cost > points:
            self._blocked[account] = now + block
        if now < self._blocked.get(account, 0.0):
            raise GraphError(17, "(#17) User request limit reached", subcode=BUSINESS_LIMIT)
        if len(self._calls[account, kind]) >= self._allowed(kind, limits, ads):
            code = _CODES[kind]
            raise GraphError(
                code,
                f"(#{code}) There have been too many calls from this ad-account. Wait a bit and "
                "try again.",
                subcode=BUSINESS_LIMIT,
            )
        self._calls[account, kind].append(now)
        self._points[account].append((now, cost))

    def headers(
        self, account: str | None, kind: Kind, limits: Limits, active_ads: int
    ) -> dict[str, str]:
        """What an answer tells of it."""
        now = self._now()
        with self._lock:
            self._drop(now, account)
            app = int(100 * len(self._app) / limits.app)
            told: dict[str, object] = {
                "X-App-Usage": {"call_count": app, "total_time": 0, "total_cputime": 0}
            }
            if account is not None:
                told |= self._of_account(account, kind, limits, active_ads, now, app)
        return {name: json.dumps(said) for name, said in told.items()}

    def _of_account(
        self, account: str, kind: Kind, limits: Limits, ads: int, now: float, app: int
    ) -> dict[str, object]:
        points, _ = self._allowed_points(limits)
        used = sum(n for _, n in self._points[account])
        left = max(0.0, self._blocked.get(account, 0.0) - now)
        oldest = self._points[account][0][0] + DECAY - now if self._points[account] else 0.0
        uses = []
        for one in _CALLS[limits.tier]:
            calls = self._calls[account, one]
            percent = min(100, int(100 * len(calls) / self._allowed(one, limits, ads)))
            minutes = math.ceil((calls[0] + HOUR - now) / 60) if percent >= 100 else 0
            uses.append({
                "type": one, "call_count": percent, "total_cputime": 0, "total_time": 0,
                "estimated_time_to_regain_access": minutes,
                "ads_api_access_tier": limits.tier,
            })  # fmt: skip
        told: dict[str, object] = {
            "X-Ad-Account-Usage": {
                "acc_id_util_pct": 100.0 if left else round(min(100.0, 100 * used / points), 2),
                "reset_time_duration": math.ceil(left or max(0.0, oldest)),
                "ads_api_access_tier": limits.tier,
            },
            "X-Business-Use-Case-Usage": {account: uses},
        }
        if kind == "ads_insights":
            insights = next(use for use in uses if use["type"] == kind)
            told["X-FB-Ads-Insights-Throttle"] = {
                "app_id_util_pct": app,
                "acc_id_util_pct": insights["call_count"],
                "ads_api_access_tier": limits.tier,
            }
        return told

    def _allowed(self, kind: str, limits: Limits, ads: int) -> float:
        set_to = limits.insights if kind == "ads_insights" else limits.management
        return set_to or _CALLS[limits.tier][kind] + _PER_AD[kind] * ads

    def _allowed_points(self, limits: Limits) -> tuple[float, float]:
        points, block = _POINTS[limits.tier]
        return limits.points or points, block if limits.block is None else limits.block

    def _drop(self, now: float, account: str | None) -> None:
        """Forget what is too long ago to count."""
        while self._app and self._app[0] <= now - HOUR:
            self._app.popleft()
        if account is None:
            return
        for kind in _PER_AD:
            calls = self._calls[account, kind]
            while calls and calls[0] <= now - HOUR:
                calls.popleft()
        points = self._points[account]
        while points and points[0][0] <= now - DECAY:
            points.popleft()
