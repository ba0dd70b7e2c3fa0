"""Plans written to Meta, and undone: each budget once, and what must wait is said.

One at a time by advertiser: a transaction that holds a lock stays open meanwhile, and ends with
its process. First it is found out what became of writes of which nobody knows the end; then every
item is written that may be, from what the plan found there and from nothing else.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache

import sqlalchemy as sa

from dmp_assets.ads.service.store import intents, plans
from dmp_assets.ads.service.store.intents import StoreIntents
from dmp_assets.ads.service.store.plans import Item, Plan, PlanConflictError, Step
from dmp_assets.home import Home
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.connect.errors import (
    ConnectError,
    NeedsConsentError,
    ThrottledError,
)
from dmp_assets.platform.connect.http import Patience
from dmp_assets.sources.meta.budgets import Change, Writer, WriteRefusedError
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.errors import (
    BadParameterError,
    LimitError,
    ObjectGoneError,
    PermissionMissingError,
    WriteLimitError,
)
from dmp_assets.sources.meta.money import AmountError
from dmp_assets.sources.meta.resource import advertisers
from dmp_assets.sources.meta.usage import Governor, Pace

LONGEST_WAIT = 5.0
"""Seconds that a caller waits for Meta's allowance; beyond that the item waits."""
PATIENCE = Patience(attempts=3, pause=0.5, longest_pause=5.0, total=30.0)
"""How long a caller waits for an answer of Meta's to one request."""
_REFUSED = (WriteRefusedError, AmountError, BadParameterError, ObjectGoneError)
_LATER = (WriteLimitError, LimitError, ThrottledError)
_NOTHING_GOES = (NeedsConsentError, PermissionMissingError)


class BusyError(PlanConflictError):
    """Somebody writes budgets of this advertiser at this moment."""


class NotConnectedError(UserError):
    """The advertiser is not connected to Meta, or not any more."""


@cache
def _queues() -> Governor:
    return Governor(Pace(longest=LONGEST_WAIT))


def apply(home: Home, store: sa.Engine, found: Plan, step: Step) -> None:
    """Write what is planned and not written yet.

    Raises PlanConflictError where the plan is not approved, BusyError, NotConnectedError.
    """
    _work(home, store, found, step, begins=("approved", "applying"), is_undo=False)


def undo(home: Home, store: sa.Engine, found: Plan, step: Step) -> None:
    """Bring back what stood there before, of all that was written. Raises as `apply` does."""
    _work(home, store, found, step, begins=("applying", "applied", "undoing"), is_undo=True)


def _work(
    home: Home, store: sa.Engine, found: Plan, step: Step, *, begins: tuple[str, ...],
    is_undo: bool,
) -> None:  # fmt: skip
    advertiser, plan_id = found.advertiser_id, found.plan_id
    with _alone(store, advertiser):
        with store.begin() as connection:
            plan = plans.plan(connection, advertiser, plan_id, lock=True)
            if plan is None or plan.state not in begins:
                state = "gone" if plan is None else plan.state
                raise PlanConflictError(f"the plan is {state}: it cannot be {_word(is_undo)}")
            plans.move(connection, step, plan_id, "undoing" if is_undo else "applying")
            plans.note(connection, step, "undo budgets" if is_undo else "apply budgets",
                       advertiser, plan_id)  # fmt: skip
        try:
            with advertisers(home, _queues(), patience=PATIENCE) as connected:
                if advertiser not in connected:
                    raise NotConnectedError("Meta is not connected for this advertiser")
                with connected[advertiser].noting() as client:
                    _written(client, store, advertiser, plan_id, step, is_undo)
        finally:
            with store.begin() as connection:
                _ended(connection, advertiser, plan_id, step, is_undo)


def _word(is_undo: bool) -> str:
    return "undone" if is_undo else "applied"


@contextmanager
def _alone(store: sa.Engine, advertiser_id: str) -> Iterator[None]:
    """Alone at work on this advertiser's budgets. Raises BusyError."""
    with store.begin() as connection:
        is_free = connection.scalar(
            sa.text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))"),
            {"name": f"ads budgets of {advertiser_id}"},
        )
        if not is_free:
            raise BusyError("budgets of this advertiser are being written at this moment")
        yield


def _written(
    client: MetaClient,
    store: sa.Engine,
    advertiser: str,
    plan_id: uuid.UUID,
    step: Step,
    is_undo: bool,
) -> None:
    """Settle what is open, then write item by item. Raises what keeps all of them from going."""
    noted = StoreIntents(store, advertiser, plan_id, is_undo, step)
    writer = Writer(client, noted)

    def each(work: Callable[[Item], None]) -> None:
        with store.begin() as connection:
            plan = plans.plan(connection, advertiser, plan_id)
        for item in plan.items if plan else ():
            if item.state == ("done" if is_undo else "planned"):
                work(item)

    def write(item: Item) -> None:
        if item.not_before is not None and item.not_before > step.now:
            return
        with store.begin() as connection:
            free_at = intents.free_at(connection, advertiser, item.object_id, step.now)
        if free_at is not None:
            told = f"a budget changes {intents.MOST_AN_HOUR} times an hour at most"
            _wait(store, step, item, told, (free_at - step.now).total_seconds())
            return
        to, since = (item.before, item.after) if is_undo else (item.after, item.before)
        change = Change(f"act_{item.account_id}", item.object_id, "daily_budget", to)
        try:
            done = writer.apply(change, only_from=since)
        except _REFUSED as error:
            _say(store, step, item, "refused", str(error))
        except _LATER as error:
            _wait(store, step, item, str(error), error.seconds)
        except ConnectError as error:
            _wait(store, step, item, str(error), 0)
            raise
        else:
            if done.is_done:  # it may have stood there already, so that nothing was written
                _say(store, step, item, "undone" if is_undo else "done", "")
            else:
                _wait(store, step, item, "Meta took the change and does not show it yet", 0)

    writer.settle()
    each(write)


def _say(store: sa.Engine, step: Step, item: Item, state: plans.ItemState, told: str) -> None:
    with store.begin() as connection:
        plans.move_item(connection, step, item.plan_id, item.object_id, state=state, told=told)
        if state == "refused":
            plans.note(
                connection, step, "write a budget", item.advertiser_id, item.plan_id,
                outcome="failed", object_id=item.object_id, why=told,
            )  # fmt: skip


def _wait(store: sa.Engine, step: Step, item: Item, told: str, seconds: float) -> None:
    with store.begin() as connection:
        plans.move_item(
            connection, step, item.plan_id, item.object_id, told=told,
            not_before=step.now + timedelta(seconds=seconds) if seconds else None,
        )  # fmt: skip


def _ended(
    connection: sa.Connection, advertiser: str, plan_id: uuid.UUID, step: Step, is_undo: bool
) -> None:
    """Bring the plan to its end where nothing waits any more, and every write's end is known."""
    plan = plans.plan(connection, advertiser, plan_id, lock=True)
    if plan is None or intents.is_any_open(connection, plan_id):
        return
    if is_undo:
        for item in plan.items:
            if item.state == "planned":
                plans.move_item(
                    connection, step, plan_id, item.object_id, state="refused",
                    told="the plan was undone before this was written",
                )  # fmt: skip
    waiting = "done" if is_undo else "planned"
    if not any(item.state == waiting for item in plan.items):
        plans.move(connection, step, plan_id, "undone" if is_undo else "applied")
