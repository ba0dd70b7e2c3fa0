"""Budgets and states written to Meta: checked there first, intended before, read back after.

A write is never repeated blindly: where its answer was lost, the object is read, and what stands
there is what was done.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.connect.errors import (
    NoAnswerError,
    StatusError,
    TryAgainError,
    UnreadableAnswerError,
)
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.errors import UnknownError
from dmp_assets.sources.meta.intents import Intent, Intents
from dmp_assets.sources.meta.money import from_minor, to_minor
from dmp_assets.sources.meta.objects import ACTIVE_ACCOUNT

Field = Literal["daily_budget", "lifetime_budget", "spend_cap", "status"]
STATUSES = ("ACTIVE", "PAUSED")
_UNKNOWN = (NoAnswerError, StatusError, TryAgainError, UnreadableAnswerError, UnknownError)
"""What leaves open whether a write was done."""


class WriteRefusedError(UserError):
    """A change that is not made; the message says why."""


@dataclass(frozen=True)
class Change:
    """A change of one object. account: `act_…`; value: an amount in the account's currency, or a
    status of `STATUSES`."""

    account: str
    object_id: str
    field: Field
    value: Decimal | str


@dataclass(frozen=True)
class Changed:
    """What came of it. before, after: as read from Meta, amounts in the account's currency."""

    change: Change
    before: Decimal | str | None
    after: Decimal | str | None
    is_done: bool


class Writer:
    """Makes changes by one connection. Raises what `MetaClient` raises, and WriteRefusedError."""

    def __init__(self, client: MetaClient, intents: Intents) -> None:
        self._client, self._intents = client, intents

    def apply(self, change: Change, only_from: Decimal | str | None = None) -> Changed:
        """Make a change: check, intend, write once, read back. One that is there already is done.

        What it was before is in the result, so that it can be undone by another change.
        `only_from`: what must stand there for it; WriteRefusedError where it is something else.
        """
        currency = self._currency(change.account)
        wanted = _word(change, currency)
        before = self._stands(change)
        if before == wanted:
            return _changed(change, before, before, currency)
        if only_from is not None and before != _word(replace(change, value=only_from), currency):
            raise WriteRefusedError(
                f"{change.field} of {change.object_id} was changed meanwhile: it is left as it is"
            )
        checked = self._client.post(
            change.account,
            change.object_id,
            execution_options=["validate_only"],
            **{change.field: wanted},
        )
        _successful(checked)
        intent = self._intents.begin(change.account, change.object_id, change.field, before, wanted)
        lost = None
        try:
            _successful(
                self._client.post(change.account, change.object_id, **{change.field: wanted})
            )
        except _UNKNOWN as error:
            lost = error
        except Exception:
            self._intents.end(intent, "not done")  # refused: Meta has changed nothing
            raise
        after = self._stands(change)  # if this fails the intent stays open
        done = _changed(change, before, after, currency)
        self._intents.end(intent, "done" if done.is_done else "not done")
        if lost is not None and not done.is_done:
            raise lost
        return done

    def settle(self) -> list[tuple[Intent, bool]]:
        """Find out what became of intents whose end is not known, by reading; (intent, was done).

        Writes nothing.
        """
        settled = []
        for intent in self._intents.open():
            row = self._client.get(intent.account, intent.object_id, fields=intent.field)
            is_done = _text(row.get(intent.field)) == intent.after
            self._intents.end(intent, "done" if is_done else "not done")
            settled.append((intent, is_done))
        return settled

    def _currency(self, account: str) -> str:
        """The account's currency. Raises WriteRefusedError for one that must not be written to."""
        row = self._client.get(account, account, fields="account_status,currency")
        if row.get("account_status") != ACTIVE_ACCOUNT:
            raise WriteRefusedError(
                f"{account} is not active at Meta (account_status {row.get('account_status')}): "
                "nothing is changed there"
            )
        if not isinstance(row.get("currency"), str):
            raise UnreadableAnswerError(f"Meta: {account} came without its currency")
        return str(row["currency"])

    def _stands(self, change: Change) -> str | None:
        row = self._client.get(change.account, change.object_id, fields=change.field)
        return _text(row.get(change.field))


def _word(change: Change, currency: str) -> str:
    """The value as Meta takes it. Raises WriteRefusedError, AmountError."""
    if change.field == "status":
        if change.value not in STATUSES:
            raise WriteRefusedError(f"a status must be one of {', '.join(STATUSES)}")
        return str(change.value)
    if not isinstance(change.value, Decimal):
        raise WriteRefusedError(f"{change.field} must be an amount")
    return str(to_minor(change.value, currency))


def _changed(change: Change, before: str | None, after: str | None, currency: str) -> Changed:
    return Changed(
        change,
        _shown(change.field, before, currency),
        _shown(change.field, after, currency),
        is_done=after == _word(change, currency),
    )


def _shown(field: Field, text: str | None, currency: str) -> Decimal | str | None:
    return text if field == "status" or text is None else from_minor(text, currency)


def _text(given: Any) -> str | None:
    return None if given is None else str(given)


def _successful(answer: dict[str, Any]) -> None:
    if str(answer.get("success")).lower() != "true":
        raise UnreadableAnswerError("Meta: a change was neither made nor refused")
