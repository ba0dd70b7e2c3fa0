"""Journeys as the IHC attribution service takes them: checked, batched, exported for its training.

Journeys come as an Arrow table, one row per touchpoint, sorted by journey and time: `conv_id`,
`session_id`, `timestamp` (UTC), `channel_name`, and as 0/1 or booleans `holder_engagement`,
`closer_engagement`, `impression_interaction` and, optionally, `conversion` (the session in which
the journey converts). A session may belong to several journeys, to each of them once.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.text import foreign_text

FLAGS = ("holder_engagement", "closer_engagement", "impression_interaction")
COLUMNS = ("conv_id", "session_id", "timestamp", "channel_name", *FLAGS)
_CHUNK = 1_000


class IhcError(UserError):
    """The IHC service cannot be used like this; the message says what to do."""


class Redistribute(BaseModel):
    """Gives the credit of sessions of some channels to other sessions of their journey.

    Only sessions that hold at least `receive_threshold` of the credit receive. No label: nothing
    is given away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    direction: Literal["earlier_sessions_only", "any_session", "later_sessions_only"]
    receive_threshold: float = Field(ge=0, le=1, allow_inf_nan=False)
    redistribution_channel_labels: tuple[Annotated[str, Field(min_length=1)], ...]


class Redistribution(BaseModel):
    """The service's `redistribution_parameter`, one rule for each part of the credit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    initializer: Redistribute
    holder: Redistribute
    closer: Redistribute


@dataclass(frozen=True)
class Journey:
    """One journey as it is sent. `start`: its first row in the table that it came from.

    `content`: its sessions as JSON objects, separated by commas.
    """

    conv_id: str
    start: int
    session_ids: tuple[str, ...]
    content: str

    def __len__(self) -> int:
        return len(self.session_ids)


def journey_offsets(journeys: pa.Table) -> npt.NDArray[np.int64]:
    """First row of each journey, and the number of rows last.

    Raises IhcError for a missing column, a null, a timestamp of another type, a flag other than 0
    and 1, a table that is not sorted, and a session that occurs twice in one journey.
    """
    missing = [name for name in COLUMNS if name not in journeys.column_names]
    if missing:
        raise IhcError(f"journeys lack {', '.join(missing)}; add these columns")
    for name in COLUMNS:
        if journeys[name].null_count:
            raise IhcError(f"journeys hold nulls in {name}; fill or leave out those journeys")
    if not pa.types.is_timestamp(journeys["timestamp"].type):
        raise IhcError("timestamp must be of a timestamp type, in UTC where it has no zone")
    for name in (*FLAGS, "conversion"):
        if name in journeys.column_names:
            values = pc.unique(pc.drop_null(journeys[name])).to_pylist()
            if not set(values) <= {0, 1}:
                raise IhcError(f"{name} must be 0 or 1")
    if journeys.num_rows == 0:
        return np.zeros(1, dtype=np.int64)
    codes = _codes(journeys["conv_id"])
    step = np.diff(codes)
    seconds = journeys["timestamp"].cast(pa.int64()).to_numpy()
    if np.any((step != 0) & (step != 1)) or np.any((step == 0) & (np.diff(seconds) < 0)):
        raise IhcError("journeys are not sorted; sort them by conv_id, then timestamp")
    pairs = codes * len(codes) + _codes(journeys["session_id"])
    if len(np.unique(pairs)) < len(pairs):
        raise IhcError("a journey holds a session twice; keep one row per conv_id and session_id")
    return np.concatenate(([0], np.flatnonzero(step) + 1, [len(codes)]))


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Integers for values, counted up in the order in which values first appear."""
    encoded = column.combine_chunks().dictionary_encode()
    codes: npt.NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return codes


def _sessions(journeys: pa.Table, offsets: npt.NDArray[np.int64], *, all_convert: bool) -> pa.Table:
    """The service's session fields. A journey without a conversion gets it on its last session.

    Unless `all_convert`, that happens only when the table has no `conversion` at all.
    """
    converts = np.zeros(journeys.num_rows, dtype=np.int8)
    given = "conversion" in journeys.column_names
    if given:
        column = pc.fill_null(journeys["conversion"].cast(pa.int8()), 0)
        converts = column.to_numpy().copy()
    if len(converts) and (all_convert or not given):
        without = np.add.reduceat(converts, offsets[:-1], dtype=np.int64) == 0
        converts[offsets[1:][without] - 1] = 1
    instants = journeys["timestamp"].cast(pa.timestamp("s", "UTC"), safe=False)
    return pa.table(
        {
            "conversion_id": journeys["conv_id"].cast(pa.string()),
            "session_id": journeys["session_id"].cast(pa.string()),
            "timestamp": pc.strftime(instants, format="%Y-%m-%d %H:%M:%S"),
            "channel_label": journeys["channel_name"].cast(pa.string()),
            "holder_engagement": journeys["holder_engagement"].cast(pa.int8()),
            "closer_engagement": journeys["closer_engagement"].cast(pa.int8()),
            "conversion": converts,
            "impression_interaction": journeys["impression_interaction"].cast(pa.int8()),
        }
    )


def split_journeys(journeys: pa.Table) -> Iterator[Journey]:
    """The journeys of the table, in its order. Raises IhcError as `journey_offsets`."""
    offsets = journey_offsets(journeys)
    sessions = _sessions(journeys, offsets, all_convert=True)
    for first in range(0, len(offsets) - 1, _CHUNK):
        edges = offsets[first : first + _CHUNK + 1].tolist()
        rows = sessions.slice(edges[0], edges[-1] - edges[0]).to_pylist()
        for start, end in pairwise(edges):
            own = rows[start - edges[0] : end - edges[0]]
            yield Journey(
                conv_id=own[0]["conversion_id"],
                start=start,
                session_ids=tuple(row["session_id"] for row in own),
                content=",".join(_json(row) for row in own),
            )


def batches(
    journeys: Iterable[Journey], max_journeys: int = 100, max_sessions: int = 200
) -> Iterator[tuple[Journey, ...]]:
    """Whole journeys, filled up in order to either limit.

    A journey is never split, because the service makes credits sum to one within a request. One
    of more than `max_sessions` sessions raises IhcError: leave such journeys out before.
    """
    batch: list[Journey] = []
    sessions = 0
    for journey in journeys:
        if len(journey) > max_sessions:
            raise IhcError(
                f"journey {journey.conv_id} has {len(journey)} sessions, a request takes "
                f"{max_sessions}; attribute it by another model"
            )
        if batch and (len(batch) == max_journeys or sessions + len(journey) > max_sessions):
            yield tuple(batch)
            batch, sessions = [], 0
        batch.append(journey)
        sessions += len(journey)
    if batch:
        yield tuple(batch)


def export_training(journeys: pa.Table, path: Path) -> int:
    """Write the flat list of sessions that the service is trained with; returns its length.

    `.json`: one list of objects; `.csv`: with a header. A journey whose `conversion` is 0
    throughout did not convert and stays so; without that column every journey converts in its
    last session. The file appears when it is complete. Raises IhcError as `journey_offsets`, and
    for another suffix.
    """
    if path.suffix not in (".json", ".csv"):
        raise IhcError(f"{path.name} is neither .json nor .csv; choose one of them")
    sessions = _sessions(journeys, journey_offsets(journeys), all_convert=False)
    newline = "" if path.suffix == ".csv" else None
    with (
        whole_file.replacing(path) as part,
        part.open("w", encoding="utf-8", newline=newline) as out,
    ):
        if path.suffix == ".csv":
            batches = sessions.to_batches(max_chunksize=_CHUNK)
            rows = (row.values() for batch in batches for row in batch.to_pylist())
            foreign_text.write_csv(out, sessions.column_names, map(list, rows), end="\n")
        else:
            out.write("[")
            separator = "\n"
            for chunk in sessions.to_batches(max_chunksize=_CHUNK):
                out.write(separator + ",\n".join(_json(row) for row in chunk.to_pylist()))
                separator = ",\n"
            out.write("\n]\n")
    return int(sessions.num_rows)


def _json(row: dict[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
