"""Judging the accounts of requests in turn: each is compared with those before it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from dmp_assets.abuse.model.index import LiveAccount
from dmp_assets.abuse.model.rulings import Ruling
from dmp_assets.abuse.service.asked import Asked, Request, UnknownUserError
from dmp_assets.abuse.service.judged import Draft, Judged, Judgement, Seen
from dmp_assets.abuse.service.judging import Judge
from dmp_assets.abuse.service.present import Present
from dmp_assets.abuse.service.score_log import ScoreLog

log = structlog.get_logger("dmp.api")


class RequestJudge:
    """Judges what a batch of requests asks for; its user holds the lock of the present."""

    def __init__(self, present: Present, judge: Judge, score_log: ScoreLog) -> None:
        self._present, self._judge, self._log = present, judge, score_log

    def all_judged(
        self, requests: Sequence[Request], now: datetime
    ) -> list[tuple[Request, list[Judged]]]:
        """The judgements on the accounts of each request, in order; unknown users fail theirs."""
        index = self._present.index
        places: list[tuple[Request, range]] = []
        judged: list[Judgement | None] = []
        seen: list[Seen] = []
        drafts: list[Draft] = []
        drafted: list[int] = []
        for request in requests:
            names = [self._present.name(request, asked) for asked in request.accounts]
            if (unknown := _unknown(request, [index.number(name) for name in names])) is not None:
                request.fail(UnknownUserError(unknown))
                continue
            replaced: list[tuple[str, LiveAccount | None]] = []
            first = len(judged)
            for asked, name in zip(request.accounts, names, strict=True):
                try:
                    number, told = self._seen(asked, name, replaced, now)
                    if number < index.snapshot.size and not index.touched(number):
                        found = self._judge.known(number, keep=not request.dry_run)
                    else:
                        found = None
                        drafts.append(self._judge.draft(number, is_dry=request.dry_run))
                        drafted.append(len(judged))
                except Exception as error:  # of this account alone
                    if len(request.accounts) == 1:
                        raise
                    log.error(
                        "an account cannot be scored", error=type(error).__name__, exc_info=error
                    )
                    found, told = None, Seen(asked, None, True)
                judged.append(found)
                seen.append(told)
            places.append((request, range(first, len(judged))))
            if request.dry_run:
                self._present.take_back(replaced)
        for place, judgement in zip(drafted, self._judge.of_all_drafts(drafts), strict=True):
            judged[place] = judgement
        return [(request, [(judged[n], seen[n]) for n in span]) for request, span in places]

    def _seen(
        self, asked: Asked, name: str, replaced: list[tuple[str, LiveAccount | None]],
        now: datetime,
    ) -> tuple[int, Seen]:  # fmt: skip
        """(the account's number, what is to be said of it); a new one is in the index then."""
        number = self._present.index.number(name)
        unreadable: tuple[str, ...] = ()
        if asked.is_new and not self._present.index.is_known(name):
            number, asked, unreadable = self._present.admit(asked, name, replaced=replaced)
        assert number is not None  # or the request would have failed
        is_new = number >= self._present.index.snapshot.size
        return number, Seen(asked, self._ruling(asked.account_id, name, number, now), is_new,
                            unreadable)  # fmt: skip

    def _ruling(self, account_id: str, name: str, number: int, now: datetime) -> Ruling | None:
        attributes: Mapping[str, Any] = {}
        if self._log.rulings.need_attributes:
            live = self._present.index.live_of(name)
            attributes = (
                {name: self._present.index.snapshot.value_of(number, name)
                 for name in ("device_id", "ip", "email_domain")}
                if live is None else live.account
            )  # fmt: skip
        return self._log.rulings.on(account_id, attributes, now)


def _unknown(request: Request, numbers: Sequence[int | None]) -> int | None:
    """Place of the first `user_id` that nobody knows."""
    for place, (asked, number) in enumerate(zip(request.accounts, numbers, strict=True)):
        if number is None and not asked.is_new:
            return place
    return None
