"""Split tests of experiments at Meta: made and ended there, intended first, read back after.

Meta has no idempotency keys. What is intended is in the store before anything is written; where
nobody knows how that ended, the platform is asked by the test's name, which is of one definition
alone, and nothing is made or ended twice.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import cast

import sqlalchemy as sa
import structlog

from dmp_assets.ads.model.experiments.decide import FINAL, State
from dmp_assets.ads.service.store import experiments, owning
from dmp_assets.ads.service.store.experiments import Experiment
from dmp_assets.home import Home
from dmp_assets.platform.base.errors import GivenError, UserError
from dmp_assets.platform.connect.errors import (
    ConnectError,
    NoAnswerError,
    StatusError,
    TryAgainError,
    UnreadableAnswerError,
)
from dmp_assets.sources.meta import studies
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.days import zone_of
from dmp_assets.sources.meta.errors import BadParameterError, ObjectGoneError, UnknownError
from dmp_assets.sources.meta.resource import Connected, advertisers
from dmp_assets.sources.meta.studies import Cell, Kind, Study

log = structlog.get_logger("dmp.ads")
_UNKNOWN = (NoAnswerError, StatusError, TryAgainError, UnreadableAnswerError, UnknownError)
"""What leaves open whether something was made."""
_OF_IT_ALONE = (BadParameterError, ObjectGoneError)
"""What Meta refuses for what a split test names; the connection itself goes well."""
_LOCK = 0x7374756479  # "study"


class SplitTestError(UserError):
    """A split test could not be made or ended at Meta; the message says why."""


@dataclass(frozen=True)
class Settled:
    """What came of an experiment's split test. `problem`: what is still to be done, and why."""

    advertiser_id: str
    experiment: str
    state: str | None
    problem: str | None = None


def percentages(experiment: Experiment) -> tuple[int, ...]:
    """The split in whole percent, as Meta takes it. Raises GivenError for one that is none."""
    shares = experiment.definition.split
    if any(share % 100 for share in shares):
        raise GivenError("Meta splits by whole percent: give shares in hundreds, such as 5000")
    return tuple(share // 100 for share in shares)


def cells_of(experiment: Experiment) -> list[Cell]:
    """What each variant shows, as Meta takes it."""
    study = experiment.study or {}
    return [
        Cell(name, share, cast(Kind, study["entities"]), tuple(study["cells"][name]))
        for name, share in zip(experiment.definition.variants, percentages(experiment), strict=True)
    ]


def settle(
    home: Home, store: sa.Engine, wanted: Collection[tuple[str, str]] | None = None
) -> list[Settled]:
    """Make at Meta what has been started, and end what is over; what came of each.

    `wanted`: these alone, by advertiser and name; None: all. One that fails stays as it is, is
    told with its problem, which is noted with it, and is tried by the next call. Raises StoreError.
    """
    with store.connect() as connection:
        due = [one for one in experiments.started(connection) if _is_due(one)]
    due = [one for one in due if wanted is None or (one.advertiser_id, one.experiment) in wanted]
    if not due:
        return []
    with advertisers(home) as connections:
        return [_settled(home, store, connections, one) for one in due]


def _is_due(one: Experiment) -> bool:
    if one.kind != "meta_split":
        return False
    if one.state in FINAL:
        return one.study_state not in (None, "ended")
    return one.study_state in (None, "creating") and one.state == State.RUNNING


def _settled(
    home: Home, store: sa.Engine, connections: Mapping[str, Connected], one: Experiment
) -> Settled:
    problem = _tried(home, store, connections.get(one.advertiser_id), one)
    with store.begin() as connection:
        experiments.note_study_problem(connection, one.advertiser_id, one.experiment, problem)
        found = experiments.one(connection, one.advertiser_id, one.experiment)
    return Settled(one.advertiser_id, one.experiment, found.study_state if found else None, problem)


def _tried(
    home: Home, store: sa.Engine, connected: Connected | None, one: Experiment
) -> str | None:
    """Make or end it; why that did not go, if so."""
    if connected is None:
        return "Meta is not connected: `dmp connect meta --writing`"
    if one.state not in FINAL and (wrong := _not_own(store, one)):
        return f"{wrong}: stop it and define another"
    refused: ConnectError | None = None
    try:
        with _alone(store, one) as now_is, connected.noting() as client:
            at_meta = AtMeta(store, client, now_is, home.now())
            try:
                at_meta.end() if now_is.state in FINAL else at_meta.make()
            except _OF_IT_ALONE as error:
                refused = error
    except UserError as error:
        log.warning("a split test waits", experiment=one.experiment, error=type(error).__name__)
        return str(error)
    if refused is not None:
        log.warning("a split test is refused", experiment=one.experiment, why=refused.kind)
        return f"Meta refuses the split test: {refused}"
    return None


def _not_own(store: sa.Engine, one: Experiment) -> str:
    """What of it is not the advertiser's: asking for it would only be refused."""
    with store.connect() as connection:
        wrong = owning.not_own(connection, one.advertiser_id, one.study or {})
    return "; ".join(wrong.values())


@contextmanager
def _alone(store: sa.Engine, one: Experiment) -> Iterator[Experiment]:
    """The experiment as it stands, while no other process writes to Meta for it."""
    with store.begin() as guard:
        guard.execute(
            sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:who, :lock))"),
            {"who": f"{one.advertiser_id}/{one.experiment}", "lock": _LOCK},
        )
        found = experiments.one(guard, one.advertiser_id, one.experiment)
        assert found is not None
        yield found


@dataclass(frozen=True)
class AtMeta:
    """An experiment's split test at Meta, for who alone writes there."""

    store: sa.Engine
    client: MetaClient
    experiment: Experiment
    now: datetime

    def make(self) -> None:
        """Make it, unless it is there. Raises SplitTestError, and what the client raises."""
        one = self.experiment
        if one.study_id is not None or one.study_state not in (None, "creating"):
            return
        study = one.study or {}
        found = self._there() if one.study_state == "creating" else None
        if found is None:
            start = self._first_moment()
            end = start + timedelta(days=one.definition.days)
            self._note("creating")
            try:
                made = studies.create(
                    self.client, str(study["business_id"]), self._name, start, end, cells_of(one)
                )
            except _UNKNOWN:
                found = self._there()
                if found is None:
                    raise
                made = found.study_id
            except Exception:
                self._note(None)  # refused: nothing is there
                raise
        else:
            made = found.study_id
        self._check(studies.read(self.client, made))
        self._note("made", made)

    def end(self) -> None:
        """End it, unless it is over. Raises SplitTestError, and what the client raises."""
        one = self.experiment
        study_id = one.study_id
        if study_id is None:
            found = self._there()
            if found is None:
                self._note("ended")
                return
            study_id = found.study_id
        if not self._is_over(studies.read(self.client, study_id)):
            self._note("ending", study_id)
            study = studies.read(self.client, study_id)
            if self.now <= study.start:
                studies.cancel(self.client, study_id)
            else:
                studies.end(self.client, study_id, self.now)
            if not self._is_over(studies.read(self.client, study_id)):
                raise SplitTestError(
                    f"Meta was told to end the split test of {one.experiment}, and it goes on"
                )
        self._note("ended", study_id)

    @property
    def _name(self) -> str:
        assert self.experiment.digest is not None
        return f"{self.experiment.experiment} {self.experiment.digest[:16]}"

    @property
    def _account(self) -> str:
        return f"act_{(self.experiment.study or {})['account_id']}"

    def _there(self) -> Study | None:
        """The test of this definition that is there and not called off."""
        (first, *_) = cells_of(self.experiment)[0].entities
        for study in studies.of(self.client, self._account, first):
            if study.name == self._name and study.canceled_at is None:
                return study
        return None

    def _first_moment(self) -> datetime:
        """The beginning of its first full day in the account's zone."""
        row = self.client.get(self._account, self._account, fields="timezone_name")
        zone = zone_of(str(row.get("timezone_name", "")))
        return datetime.combine(self.experiment.definition.starts_on, time(), zone)

    def _check(self, study: Study) -> None:
        """Raise SplitTestError where what was made is not what was meant."""
        meant = {(cell.name, cell.percentage) for cell in cells_of(self.experiment)}
        if set(study.cells) != meant:
            raise SplitTestError(
                f"Meta has a split test {study.study_id} of {self.experiment.experiment} with "
                "other cells than were meant: end it there, then stop the experiment"
            )

    def _is_over(self, study: Study) -> bool:
        return study.state(self.now) in ("finished", "canceled")

    def _note(self, state: str | None, study_id: str | None = None) -> None:
        one = self.experiment
        with self.store.begin() as connection:
            experiments.note_study(
                connection, one.advertiser_id, one.experiment, state, now=self.now,
                study_id=study_id,
            )  # fmt: skip
