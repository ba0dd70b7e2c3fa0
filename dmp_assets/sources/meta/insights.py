"""Insights: what each ad delivered on each day, asked for by the day or by reports.

Always by ad and day, and summed by us: a sum over ad sets of different attribution settings comes
without purchases. Every status is named, because ads that were deleted since are left out else. A
report that fails is asked for by halves of its days, and that of a single day by what it is made
of: its campaigns, their ad sets, their ads.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from dmp_assets.platform.connect.errors import ConnectError, UnreadableAnswerError
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.days import Days
from dmp_assets.sources.meta.errors import ObjectGoneError, TooMuchDataError, TooOldError
from dmp_assets.sources.meta.purchases import WINDOWS

FIELDS = (
    "account_id", "account_currency", "campaign_id", "adset_id", "ad_id", "impressions", "reach",
    "frequency", "clicks", "inline_link_clicks", "spend", "attribution_setting", "actions",
    "action_values",
)  # fmt: skip
"""What is asked for; `date_start` and `date_stop` come always."""
COUNTS = ("impressions", "reach", "clicks", "inline_link_clicks", "spend")
"""What an idle day has none of."""
BELOW = {"account": ("campaigns", "campaign"), "campaign": ("adsets", "adset"),
         "adset": ("ads", "ad")}  # fmt: skip
"""Level → (its edge of what is below it, the level of that)."""
FIRST_LOOK, LONGEST_LOOK, LONGEST_REPORT = 1.0, 30.0, 3_600.0
"""Seconds until a report is looked at first, between two looks, and until it is given up."""
MOST_STUCK = 2
"""Reports that may not end before an account is given up for the run."""
MISSING_LOOKS = 3
"""How often a report may not be there yet: it is made a moment after it has its id."""
_PAGE = 500

Row = dict[str, Any]
_log = logging.getLogger(__name__)


class ReportFailedError(ConnectError):
    """A report that Meta could not make; `is_skipped`: it was not even tried."""

    def __init__(self, *, is_skipped: bool = False) -> None:
        super().__init__("Meta could not make a report of insights; try again later", "report")
        self.is_skipped = is_skipped


class StuckReportsError(ConnectError):
    """Several reports did not end in an hour each; another run may have better luck."""

    def __init__(self) -> None:
        super().__init__("Meta does not end its reports of insights; try again later", "report")


@dataclass(frozen=True)
class Part:
    """Days that were read, and their rows. `is_too_old`: Meta does not keep them any more."""

    days: Days
    rows: Sequence[Row]
    is_too_old: bool = False


@dataclass(frozen=True)
class InsightsReader:
    """Reads the insights of one account, `act_…`; `breakdowns` as the API names them, or none.

    Raises what `MetaClient` raises, UnreadableAnswerError for rows of other days or accounts,
    StuckReportsError. `stuck`: the reports so far that did not end.
    """

    client: MetaClient
    account: str
    breakdowns: tuple[str, ...] = ()
    stuck: list[str] = field(default_factory=list)

    def day(self, day: date) -> list[Part]:
        """A day at once; by a report where that is too much."""
        days = Days(day, day)
        try:
            rows = self._checked(
                days,
                self.client.listed(
                    self.account, f"{self.account}/insights", **self._asked(days), limit=_PAGE
                ),
            )
        except TooOldError:
            return [Part(days, (), is_too_old=True)]
        except TooMuchDataError:
            return list(self.history(days))
        return [Part(days, rows)]

    def history(self, days: Days) -> Iterator[Part]:
        """Days by reports, the newest first; each part is whole when it comes."""
        waiting = [days]
        while waiting:
            some = waiting.pop()
            try:
                yield Part(some, self._checked(some, self._reported(self.account, some)))
            except TooOldError:
                if some.count == 1:
                    yield Part(some, (), is_too_old=True)
                else:
                    waiting += reversed(some.halves())
            except (ReportFailedError, TooMuchDataError):
                if some.count > 1:
                    _log.info("a report on %s days of Meta failed: asked by halves", some.count)
                    waiting += reversed(some.halves())
                else:
                    yield Part(
                        some, self._checked(some, self._below(self.account, "account", some))
                    )

    def _below(self, object_id: str, level: str, days: Days) -> Iterator[Row]:
        """A day of an object by what it is made of.

        Raises TooMuchDataError or ReportFailedError for an ad alone that still fails.
        """
        edge, below = BELOW[level]
        found = self.client.listed(
            self.account, f"{object_id}/{edge}", fields="id", effective_status=EVERY_STATUS[below]
        )
        for one in found:
            try:
                yield from self._reported(str(one["id"]), days)
            except (ReportFailedError, TooMuchDataError):
                if below not in BELOW:
                    raise
                yield from self._below(str(one["id"]), below, days)

    def _asked(self, days: Days) -> dict[str, Any]:
        """The parameters of a request for these days."""
        asked = {
            "level": "ad",
            "fields": ",".join(FIELDS),
            "time_range": {"since": days.first.isoformat(), "until": days.last.isoformat()},
            "time_increment": "1",
            "action_attribution_windows": [*WINDOWS, "default"],
            "filtering": [
                {"field": "ad.effective_status", "operator": "IN", "value": EVERY_STATUS["ad"]}
            ],
        }
        return asked | ({"breakdowns": ",".join(self.breakdowns)} if self.breakdowns else {})

    # reports -------------------------------------------------------------------------------------
    def _reported(self, object_id: str, days: Days) -> Iterator[Row]:
        """The rows of a report; one that was skipped is asked for once more."""
        try:
            report = self._made(object_id, days)
        except ReportFailedError as error:
            if not error.is_skipped:
                raise
            report = self._made(object_id, days)
        yield from self.client.listed(self.account, f"{report}/insights", limit=_PAGE)

    def _made(self, object_id: str, days: Days) -> str:
        """The id of a report that is complete. Raises ReportFailedError, StuckReportsError."""
        begun = self.client.submit(self.account, f"{object_id}/insights", **self._asked(days))
        report = str(begun.get("report_run_id", ""))
        if not report.isdecimal():
            raise UnreadableAnswerError("Meta: a report was begun and has no id")
        pause, waited, missing = FIRST_LOOK, 0.0, 0
        while waited < LONGEST_REPORT:
            try:
                progress = self.client.get(self.account, report)
            except ObjectGoneError:
                missing += 1
                if missing > MISSING_LOOKS:
                    raise
                progress = {}
            if _is_complete(progress):
                return report
            self.client.governor.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, LONGEST_LOOK)
        self.stuck.append(report)
        if len(self.stuck) > MOST_STUCK:
            raise StuckReportsError
        raise ReportFailedError

    def _checked(self, days: Days, rows: Iterator[Row]) -> list[Row]:
        """The rows, all of this account and these days, each ad, day and cell once."""
        found: dict[tuple[str, ...], Row] = {}
        own, within = self.account.removeprefix("act_"), {day.isoformat() for day in days}
        for row in rows:
            day, ad = row.get("date_start"), row.get("ad_id")
            is_ours = isinstance(day, str) and day in within and row.get("date_stop") == day
            if not is_ours or row.get("account_id") != own or not isinstance(ad, str):
                raise UnreadableAnswerError("Meta: insights came of other days, accounts or no ad")
            found[(ad, str(day), *(str(row.get(name)) for name in self.breakdowns))] = row
        return list(found.values())


EVERY_STATUS = {
    "campaign": ["ACTIVE", "ARCHIVED", "DELETED", "IN_PROCESS", "PAUSED", "WITH_ISSUES"],
    "adset": ["ACTIVE", "ARCHIVED", "CAMPAIGN_PAUSED", "DELETED", "IN_PROCESS", "PAUSED",
              "WITH_ISSUES"],
    "ad": ["ACTIVE", "ADSET_PAUSED", "ARCHIVED", "CAMPAIGN_PAUSED", "DELETED", "DISAPPROVED",
           "IN_PROCESS", "PAUSED", "PENDING_BILLING_INFO", "PENDING_REVIEW", "PREAPPROVED",
           "WITH_ISSUES"],
}  # fmt: skip
"""Level → every status: what is paused or deleted delivered before it was."""


def _is_complete(progress: Mapping[str, Any]) -> bool:
    """Whether a report is ready: Completed and 100; a failed one may say 100 too.

    Raises ReportFailedError.
    """
    status = progress.get("async_status")
    if status in ("Job Failed", "Job Skipped"):
        raise ReportFailedError(is_skipped=status == "Job Skipped")
    return status == "Job Completed" and str(progress.get("async_percent_completion")) == "100"


def with_idle_days(rows: Sequence[Row], days: Days, idle: Mapping[str, Row]) -> list[Row]:
    """The rows, and a row of zeros for each ad and day of `days` that has none.

    The ads are those of `rows` and of `idle` (id → account_id, campaign_id, adset_id). Once an
    account was read, a day on which an ad delivered nothing is a zero, not a hole.
    """
    ads = {**idle, **{str(row["ad_id"]): row for row in rows}}
    there = {(row["ad_id"], row["date_start"]) for row in rows}
    zeros = [
        {
            **{name: own.get(name) for name in ("account_id", "campaign_id", "adset_id")},
            "ad_id": ad,
            "date_start": day.isoformat(),
            "date_stop": day.isoformat(),
            **dict.fromkeys(COUNTS, "0"),
        }
        for ad, own in sorted(ads.items())
        for day in days
        if (ad, day.isoformat()) not in there
    ]
    return [*rows, *zeros]
