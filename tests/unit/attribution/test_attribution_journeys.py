"""Journeys and paths: what goes in, what is refused, and that nothing is lost on the way."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.attribution.model.journeys import COLUMNS, Journeys
from dmp_assets.attribution.model.paths import SCHEMA, Paths, combine, paths_of

unhurried = settings(deadline=None, max_examples=50)
sequences = st.lists(st.lists(st.sampled_from("abcdé"), min_size=1, max_size=6), max_size=12)


def touchpoints(**changed: list[Any]) -> pa.Table:
    """Two journeys, a > b and a; columns can be replaced."""
    columns: dict[str, list[Any]] = {
        "conv_id": ["1", "1", "2"],
        "channel_name": ["b", "a", "a"],
        "hours_before": [5, 0, 2],
        "holder_engagement": [1, 0, 0],
        "closer_engagement": [0, 1, 0],
        "impression_interaction": [0, 0, 1],
    }
    return pa.table(columns | changed)


def from_lists(paths: list[list[str]]) -> Journeys:
    """Journeys along these paths, an hour between touchpoints."""
    return Journeys.from_arrow(
        pa.table(
            {
                "conv_id": pa.array([i for i, p in enumerate(paths) for _ in p], pa.int64()),
                "channel_name": pa.array([c for p in paths for c in p], pa.string()),
                "hours_before": pa.array([len(p) - i for p in paths for i in range(len(p))]),
                **{
                    name: pa.array([0 for p in paths for _ in p], pa.int64())
                    for name in COLUMNS[3:]
                },
            },
            schema=pa.schema(
                [("conv_id", pa.int64()), ("channel_name", pa.string())]
                + [(name, pa.int64()) for name in COLUMNS[2:]]
            ),
        )
    )


def counted(paths: Paths) -> dict[tuple[str, ...], tuple[int, int]]:
    rows = paths.to_arrow().to_pylist()
    assert len({tuple(row["path"]) for row in rows}) == len(rows)
    return {tuple(row["path"]): (row["conversions"], row["nulls"]) for row in rows}


def test_a_table_becomes_one_journey_per_conversion() -> None:
    journeys = Journeys.from_arrow(touchpoints())
    assert len(journeys) == 2
    assert journeys.channels == ("a", "b")
    assert journeys.offsets.tolist() == [0, 2, 3]
    assert journeys.channel.tolist() == [1, 0, 0]
    assert journeys.impression_interaction.tolist() == [False, False, True]


def test_a_table_in_pieces_reads_like_a_whole_one() -> None:
    whole = touchpoints()
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 1), whole.slice(2)])
    read, expected = Journeys.from_arrow(pieces), Journeys.from_arrow(whole)
    assert read.channels == expected.channels
    assert read.offsets.tolist() == expected.offsets.tolist()
    assert read.channel.tolist() == expected.channel.tolist()


def test_flags_may_be_booleans() -> None:
    flags = {name: [True, False, True] for name in COLUMNS[3:]}
    journeys = Journeys.from_arrow(touchpoints(**flags))
    assert journeys.holder_engagement.tolist() == [1.0, 0.0, 1.0]
    assert journeys.impression_interaction.tolist() == [True, False, True]


def test_given_channels_keep_their_order_and_unknown_ones_follow() -> None:
    journeys = Journeys.from_arrow(touchpoints(), channels=["z", "b"])
    assert journeys.channels == ("z", "b", "a")


@pytest.mark.parametrize("name", COLUMNS)
def test_a_null_is_refused_by_its_column(name: str) -> None:
    holed = touchpoints()
    values = holed[name].to_pylist()
    values[1] = None
    with pytest.raises(ValueError, match=f"{name} holds 1 null"):
        Journeys.from_arrow(touchpoints(**{name: values}))


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_column_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"lack the column {name}"):
        Journeys.from_arrow(touchpoints().drop_columns([name]))


@pytest.mark.parametrize("name", ["hours_before", "holder_engagement", "closer_engagement"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_measure_that_cannot_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} holds values that are negative or not finite"):
        Journeys.from_arrow(touchpoints(**{name: [value, 0.0, 0.0]}))


def test_a_conversion_whose_rows_are_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="not sorted"):
        Journeys.from_arrow(touchpoints(conv_id=["1", "2", "1"]))


def test_touchpoints_out_of_time_order_are_refused() -> None:
    with pytest.raises(ValueError, match="not in order"):
        Journeys.from_arrow(touchpoints(hours_before=[0, 5, 2]))


@pytest.mark.parametrize(
    ("offsets", "channel", "message"),
    [
        ([0, 0, 1], [0], "every journey needs a touchpoint"),
        ([0, 2], [0], "offsets must run"),
        ([], [], "offsets must run"),
        ([0, 1], [1], "codes that no channel has"),
        ([0, 1], [-1], "codes that no channel has"),
    ],
)
def test_arrays_that_describe_no_paths_are_refused(
    offsets: list[int], channel: list[int], message: str
) -> None:
    counts = np.ones(max(len(offsets) - 1, 0), dtype=np.int64)
    with pytest.raises(ValueError, match=message):
        Paths(("a",), np.array(offsets), np.array(channel, np.int32), counts, counts)


def test_negative_counts_are_refused() -> None:
    table = pa.table({"path": [["a"]], "conversions": [-1], "nulls": [0]})
    with pytest.raises(ValueError, match="conversions holds negative counts"):
        Paths.from_arrow(table)


@pytest.mark.parametrize("path", [[["a", None]], [None], [[]]])
def test_paths_with_holes_are_refused(path: list[Any]) -> None:
    table = pa.table(
        {"path": pa.array(path, pa.list_(pa.string())), "conversions": [1], "nulls": [0]}
    )
    with pytest.raises(ValueError, match=r"null|needs a touchpoint"):
        Paths.from_arrow(table)


@unhurried
@given(sequences, st.data())
def test_paths_count_each_sequence_as_often_as_it_is_there(
    paths: list[list[str]], data: st.DataObject
) -> None:
    converted = data.draw(st.lists(st.booleans(), min_size=len(paths), max_size=len(paths)))
    expected: dict[tuple[str, ...], list[int]] = {}
    for path, flag in zip(paths, converted, strict=True):
        expected.setdefault(tuple(path), [0, 0])[0 if flag else 1] += 1
    found = paths_of(from_lists(paths), np.array(converted, dtype=np.bool_))
    assert counted(found) == {path: tuple(counts) for path, counts in expected.items()}


@unhurried
@given(sequences, sequences)
def test_converting_and_other_paths_combine_in_any_order(
    some: list[list[str]], others: list[list[str]]
) -> None:
    won, lost = paths_of(from_lists(some)), paths_of(from_lists(others), converted=False)
    expected = {
        path: (Counter(map(tuple, some))[path], Counter(map(tuple, others))[path])
        for path in {*map(tuple, some), *map(tuple, others)}
    }
    assert counted(combine([won, lost])) == counted(combine([lost, won])) == expected


@unhurried
@given(sequences)
def test_paths_survive_arrow(paths: list[list[str]]) -> None:
    before = paths_of(from_lists(paths))
    table = before.to_arrow()
    assert table.schema.equals(SCHEMA)
    assert counted(Paths.from_arrow(table)) == counted(before)
    pieces = pa.concat_tables([table.slice(1), table.slice(0, 1), table])
    twice = {path: (2 * won, 2 * lost) for path, (won, lost) in counted(before).items()}
    assert counted(Paths.from_arrow(pieces)) == twice


@unhurried
@given(sequences)
def test_repeats_count_a_channel_within_its_journey(paths: list[list[str]]) -> None:
    expected = [path.count(channel) for path in paths for channel in path]
    assert from_lists(paths).repeats.tolist() == expected


@unhurried
@given(sequences, st.integers(1, 12))
def test_repeats_are_the_same_counted_a_few_journeys_at_a_time(
    paths: list[list[str]], cells: int
) -> None:
    journeys = from_lists(paths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dmp_assets.attribution.model.journeys._CELLS", cells)
        found = from_lists(paths).repeats.tolist()
    assert found == journeys.repeats.tolist()
