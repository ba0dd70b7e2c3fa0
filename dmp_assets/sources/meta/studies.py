"""Split tests at Meta (ad studies): made, read, ended early, canceled.

Meta divides people into disjoint cells; what a cell brought is in the insights of what is in it. A
study has no status: it follows from its times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from dmp_assets.platform.base.errors import GivenError
from dmp_assets.platform.connect.errors import UnreadableAnswerError
from dmp_assets.sources.meta.client import MetaClient

Kind = Literal["adsets", "campaigns", "adaccounts"]
State = Literal["scheduled", "running", "finished", "canceled"]
MOST_CELLS, MOST_ENTITIES = 150, 100
_FIELDS = "name,type,start_time,end_time,canceled_time,observation_end_time"
_CELL_FIELDS = "name,treatment_percentage,ad_entities_count"


class StudyError(GivenError):
    """A split test that Meta would not take; the message says why."""


@dataclass(frozen=True)
class Cell:
    """A part of the people. percentage: of all; entities: ids of what is shown to them alone."""

    name: str
    percentage: int
    kind: Kind
    entities: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """A split test as it stands at Meta. Times are UTC; `cells` without what is in them."""

    study_id: str
    name: str
    start: datetime
    end: datetime
    canceled_at: datetime | None
    cells: tuple[tuple[str, int], ...]

    def state(self, now: datetime) -> State:
        """What it is doing at a moment."""
        if self.canceled_at is not None:
            return "canceled"
        if now < self.start:
            return "scheduled"
        return "running" if now < self.end else "finished"


def check(start: datetime, end: datetime, cells: Sequence[Cell]) -> None:
    """Raise StudyError for what Meta would refuse."""
    held = [one for cell in cells for one in cell.entities]
    if end <= start:
        raise StudyError("a split test must end after it starts")
    if not 2 <= len(cells) <= MOST_CELLS:
        raise StudyError(f"a split test has 2 to {MOST_CELLS} cells")
    if any(not 1 <= cell.percentage <= 100 for cell in cells) or (
        sum(cell.percentage for cell in cells) > 100
    ):
        raise StudyError("the cells' percentages are 1 to 100, together at most 100")
    if any(not 1 <= len(cell.entities) <= MOST_ENTITIES for cell in cells):
        raise StudyError(f"a cell holds 1 to {MOST_ENTITIES} ad sets, campaigns or accounts")
    if len(set(held)) < len(held):
        raise StudyError("nothing may be in two cells of a split test")


def create(
    client: MetaClient, business_id: str, name: str, start: datetime, end: datetime,
    cells: Sequence[Cell],
) -> str:  # fmt: skip
    """Make a split test; its id. It is not repeated when its answer is lost: look in `of` first.

    Raises StudyError, and what `MetaClient` raises.
    """
    check(start, end, cells)
    answer = client.post(
        "",
        f"{business_id}/ad_studies",
        name=name,
        type="SPLIT_TEST",
        start_time=str(int(start.timestamp())),
        end_time=str(int(end.timestamp())),
        cells=[
            {
                "name": cell.name,
                "treatment_percentage": cell.percentage,
                cell.kind: list(cell.entities),
            }
            for cell in cells
        ],
    )
    if not isinstance(answer.get("id"), str):
        raise UnreadableAnswerError("Meta: a split test was made and has no id")
    return str(answer["id"])


def read(client: MetaClient, study_id: str) -> Study:
    """A split test as it stands."""
    row = client.get("", study_id, fields=_FIELDS)
    cells = client.listed("", f"{study_id}/cells", fields=_CELL_FIELDS)
    return _study(row, tuple(_cell(cell) for cell in cells))


def of(client: MetaClient, account: str, object_id: str) -> list[Study]:
    """The split tests that an account, campaign or ad set is in, without their cells."""
    rows = client.listed(account, f"{object_id}/ad_studies", fields=_FIELDS)
    return [_study(row, ()) for row in rows]


def end(client: MetaClient, study_id: str, at: datetime) -> None:
    """Let a split test end at another moment."""
    client.post("", study_id, end_time=str(int(at.timestamp())))


def cancel(client: MetaClient, study_id: str) -> None:
    """Call a split test off. What it was applied to goes on as it is."""
    client.delete("", study_id)


def _study(row: Mapping[str, Any], cells: tuple[tuple[str, int], ...]) -> Study:
    start, finish = _moment(row.get("start_time")), _moment(row.get("end_time"))
    if start is None or finish is None:
        raise UnreadableAnswerError("Meta: a split test came without its times")
    canceled = _moment(row.get("canceled_time"))
    return Study(str(row.get("id", "")), str(row.get("name", "")), start, finish, canceled, cells)


def _cell(row: Mapping[str, Any]) -> tuple[str, int]:
    percentage = row.get("treatment_percentage")
    if not isinstance(percentage, int):
        raise UnreadableAnswerError("Meta: a cell of a split test came without its percentage")
    return str(row.get("name", "")), percentage


def _moment(given: object) -> datetime | None:
    """A time, in unix seconds or as the API writes it (`…T09:00:00-0500`)."""
    if given is None:
        return None
    if isinstance(given, int) and not isinstance(given, bool):
        given = min(max(given, 0), 2**36)
        return datetime.fromtimestamp(given, UTC)
    try:
        return datetime.strptime(str(given), "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC)
    except ValueError:
        raise UnreadableAnswerError("Meta: a time came that cannot be read") from None
