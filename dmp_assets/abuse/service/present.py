"""The accounts of this moment: those that the shop has, and those that were scored a moment ago.

Whoever uses it holds its lock.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import structlog

from dmp_assets.abuse.model import features
from dmp_assets.abuse.model.index import AccountIndex, LiveAccount
from dmp_assets.abuse.model.received import normal_form
from dmp_assets.abuse.model.view import VIEW
from dmp_assets.abuse.service.asked import Asked, Request
from dmp_assets.abuse.service.judged import Prepared
from dmp_assets.abuse.service.refs import Owners, former, name_of, public, with_known
from dmp_assets.abuse.service.store.predictions import NewAccount
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.settings import Settings
from dmp_assets.sources.shop.settings import ShopSettings

log = structlog.get_logger("dmp.api")


class Present:
    """What is known now, and whose the live accounts are.

    `now`: snapshot and model, set before anything is asked; `probability`: what the model said of
    live accounts; `lock`: held for a batch, or for a question.
    """

    now: Prepared

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lock = threading.Lock()
        self.owners = Owners()
        self.probability: dict[str, float] = {}
        self._formers = 0

    @property
    def index(self) -> AccountIndex:
        """The accounts."""
        return self.now.index

    @property
    def most_of_one(self) -> int:
        """Live accounts of one client."""
        return most_of_one(self.settings)

    def number(self, account_id: str) -> int | None:
        """The number of the account that is known by this id, or was named so last."""
        return self.index.number(self.owners.latest(account_id))

    # coming --------------------------------------------------------------------------------------
    def name(self, request: Request, asked: Asked) -> str:
        """By what the index knows an account that is asked for.

        A `user_id` that the shop does not have is a reference of the caller's own, or for who
        may see ids, anybody's.
        """
        if self.index.is_known(asked.account_id):
            return asked.account_id
        own = name_of(asked.account_id, request.caller)
        if asked.is_new or not request.sees_ids or self.index.number(own) is not None:
            return own
        return self.owners.latest(asked.account_id)

    def admit(
        self, asked: Asked, name: str, at: datetime | None = None,
        replaced: list[tuple[str, LiveAccount | None]] | None = None,
    ) -> tuple[int, Asked, tuple[str, ...]]:  # fmt: skip
        """Put a new account into the index: (its number, all that is known of it, what is not
        readable). `replaced` is told what was there before."""
        index = self.index
        before = index.live_of(name)
        if before is not None:
            asked = with_known(asked, before)
        live, unreadable = self._readable(replace(asked, account_id=name), at)
        if unreadable:
            asked = replace(asked, attributes={**asked.attributes, **dict.fromkeys(unreadable)})
        replaced = [] if replaced is None else replaced
        if before is not None and (gone := former(before, live, self._formers)) is not None:
            self._formers += 1
            replaced.append((gone.account_id, index.live_of(gone.account_id)))
            self._put(gone)
        replaced.append((name, before))
        return self._put(live), asked, unreadable

    def _readable(self, asked: Asked, at: datetime | None) -> tuple[LiveAccount, tuple[str, ...]]:
        """The account without those of its attributes that nothing can be made of, and these."""
        salt = self.index.snapshot.salt
        try:
            return live_account(asked, self.settings, at, salt), ()
        except Exception as error:
            attributes, unreadable = dict(asked.attributes), []
            for name, value in asked.attributes.items():
                alone = replace(asked, attributes={name: value})
                try:
                    live_account(alone, self.settings, at, salt)
                except Exception as own:
                    log.warning(
                        "an attribute cannot be read", name=name, error=type(own).__name__,
                        exc_info=own,
                    )  # fmt: skip
                    unreadable.append(name)
                    attributes[name] = None
            if not unreadable or len(unreadable) == len(attributes):
                raise error
            kept = replace(asked, attributes=attributes)
            return live_account(kept, self.settings, at, salt), tuple(unreadable)

    def _put(self, live: LiveAccount) -> int:
        if self.index.live_of(live.account_id) is not None:
            self._remove(live.account_id)
        number = self.index.put(live)
        self.owners.add(live.account_id)
        self._links_changed(number)
        return number

    def _remove(self, account_id: str) -> None:
        number = self.index.number(account_id)
        if number is not None:
            self._links_changed(number)
            self.index.remove(account_id)
            self.owners.remove(account_id)

    def _links_changed(self, number: int) -> None:
        """What is remembered of known accounts may not hold when a linked one comes or goes."""
        if self.now.judged and self.index.neighbours(number):
            self.now.judged.clear()

    def take_back(self, replaced: list[tuple[str, LiveAccount | None]]) -> None:
        for account_id, before in reversed(replaced):
            if before is None:
                self._remove(account_id)
            else:
                self._put(before)

    def take(self, accounts: Sequence[NewAccount]) -> None:
        """Add accounts that others scored, unless a later word of theirs is known."""
        index = self.index
        for account in accounts:
            name = name_of(account.account_id, account.caller)
            known = index.live_of(name)
            if index.is_known(account.account_id) or (
                known is not None and known.scored_at >= account.predicted_at
            ):
                continue
            try:
                asked = Asked.of_json(account.account_id, account.attributes)
                self.admit(asked, name, account.predicted_at)
            except Exception as error:  # of that account alone
                log.error(
                    "a logged account cannot be read", error=type(error).__name__, exc_info=error
                )
                continue
            self.probability[name] = account.probability

    def take_over(self, prepared: Prepared) -> None:
        """Make what was prepared the present. Between two batches."""
        held = {live.account_id: live for live in prepared.index.live()}
        prepared.index.keep(
            live for live in self.index.live()
            if held.get(live.account_id) is not live and live.scored_at >= prepared.taken_at
            and prepared.index.snapshot.row_of(public(live.account_id)) is None
        )  # fmt: skip
        self.now = prepared
        self.owners.again(live.account_id for live in prepared.index.live())
        self.probability = {
            live.account_id: self.probability.get(live.account_id, 0.0)
            for live in prepared.index.live()
        }
        log.info(
            "scoring with", snapshot=prepared.index.snapshot.version,
            model=prepared.model.version, accounts=len(prepared.index),
        )  # fmt: skip

    # going ---------------------------------------------------------------------------------------
    def forget_some(self, since: datetime, at_most: int) -> int:
        """Forget live accounts scored before a time, and some where there are too many; how many.

        Those of the client that has the most go first: one client's many push out no other's.
        """
        forgotten = [
            live.account_id for live in islice(self.index.live(), at_most) if live.scored_at < since
        ]
        for name in forgotten:
            self._forget(name)
        while len(forgotten) < at_most and (owner := self._has_too_many()) is not None:
            forgotten.append(self._least_missed(owner))
            self._forget(forgotten[-1])
        return len(forgotten)

    def _has_too_many(self) -> str | None:
        """The client that is to lose a live account."""
        index, busiest = self.index, self.owners.busiest()
        too_many = len(index) - index.snapshot.size > self.settings.of(AbuseSettings).live_accounts
        if busiest is not None and (too_many or self.owners.count(busiest) > self.most_of_one):
            return busiest
        return None

    def _least_missed(self, owner: str) -> str:
        """The oldest of a client's accounts that is linked with nobody, of the oldest few."""
        index, oldest = self.index, self.owners.oldest(owner, 50)
        for name in oldest:
            number = index.number(name)
            if number is None or not index.neighbours(number):
                return name
        return oldest[0]

    def _forget(self, name: str) -> None:
        self._remove(name)
        self.probability.pop(name, None)


def most_of_one(settings: Settings) -> int:
    """Live accounts of one client."""
    own = settings.of(AbuseSettings)
    return min(own.live_accounts_per_client or own.live_accounts, own.live_accounts)


def live_account(
    asked: Asked, settings: Settings, scored_at: datetime | None = None, salt: str = ""
) -> LiveAccount:
    """The normal forms of a new account; `salt`: see `abuse.keys`."""
    region = settings.of(ShopSettings).phone_region
    account = normal_form(
        asked.account_id, asked.attributes, asked.registered_at, region, settings.no_value_words
    )
    promo_code = settings.no_value_words.given("code", asked.promo_code)
    return LiveAccount.of(account, promo_code, scored_at, salt)


def prepare_for_new_accounts(settings: Settings) -> None:
    """Load the tables of browsers, phones and zones, or the first one would wait a second."""
    given = {"user_agent": "Mozilla/5.0", "phone": "+12025550143", "timezone": "Europe/Berlin"}
    account = live_account(Asked("", True, given, datetime.now(UTC), None), settings).account
    features.matrix({name: [account.get(name)] for name in VIEW.names})
