"""Who was forgotten is not landed again: found by keyed hashes, which tell nobody who that is."""

import json

import pyarrow as pa
import pytest

from dmp_assets.home import Home
from dmp_assets.platform.config import secret_files
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import TableRun, table_asset
from dmp_assets.platform.privacy import suppression
from dmp_assets.platform.privacy.suppression import Suppressed, SuppressionError
from tests.unit.platform.lake.test_table_asset import made, run

COLUMNS = {
    "user_id": Column("string", "Who.", "identifier", "user_id"),
    "linked": Column("array<string>", "With whom.", "identifier", "user_id"),
    "reviewer": Column("string", "By whom.", "identifier", "reviewer"),
}
ROWS = pa.table(
    {
        "user_id": ["zq1", " zq2\u200b\n", "zq3", None],
        "linked": pa.array([["zq4"], [], ["zq5", None], None], pa.list_(pa.string())),
        "reviewer": ["zq1", "zq9", "zq9", "zq9"],
    }
)


def left(home: Home, rows: pa.Table = ROWS) -> tuple[list[str | None], list[int]]:
    told: list[int] = []
    kept = Suppressed.of(home).without(rows, COLUMNS, told.append)
    return kept["user_id"].to_pylist(), told


@pytest.mark.parametrize(
    ("ids", "stay"),
    [
        (["zq1"], [1, 2, 3]),
        (["zq2"], [0, 2, 3]),
        (["\tzq1 ", "zq5"], [1, 3]),
        (["ZQ1", "zq9", "nobody"], [0, 1, 2, 3]),
    ],
)
def test_rows_that_lead_to_who_was_forgotten_stay_outside(
    home: Home, ids: list[str], stay: list[int]
) -> None:
    assert suppression.add(home, "user_id", ids) == len(ids)
    users = ROWS["user_id"].to_pylist()
    assert left(home) == ([users[n] for n in stay], [4 - len(stay)] if len(stay) < 4 else [])
    told: list[int] = []
    reader = pa.RecordBatchReader.from_batches(ROWS.schema, ROWS.to_batches(max_chunksize=1))
    kept = Suppressed.of(home).without(reader, COLUMNS, told.append).read_all()
    assert (kept["user_id"].to_pylist(), told) == left(home)


def test_the_list_holds_no_id_and_nothing_to_try_ids_out_with(home: Home) -> None:
    suppression.add(home, "user_id", ["zq1"])
    suppression.add(home, "user_id", ["zq1 ", "zq2"])
    file = home.root / "forgotten.json"
    text = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(text)["hashes"]["user_id"]) == 2
    assert "zq" not in text
    assert (home.secrets / suppression.SECRET).read_text().strip() not in text
    assert "zq" not in repr(Suppressed.of(home))
    other = Home(home.root.parent / "other").prepare("sandbox")
    suppression.add(other, "user_id", ["zq1"])
    hashes = set(json.loads(text)["hashes"]["user_id"])
    assert hashes.isdisjoint(
        json.loads((other.root / "forgotten.json").read_text())["hashes"]["user_id"]
    )


def test_a_home_where_nobody_was_forgotten_has_no_list(home: Home) -> None:
    assert left(home) == (ROWS["user_id"].to_pylist(), [])
    assert not (home.secrets / suppression.SECRET).exists()


def test_without_its_secret_or_whole_the_list_brings_nobody_back(home: Home) -> None:
    suppression.add(home, "user_id", ["zq1"])
    (home.secrets / suppression.SECRET).unlink()
    secret_files.of(home, suppression.SECRET, lambda: "ab" * 32)
    with pytest.raises(SuppressionError, match="was made with another secret"):
        left(home)
    (home.root / "forgotten.json").write_text("{")
    with pytest.raises(SuppressionError, match="cannot be read"):
        left(home)


def test_received_rows_are_left_out_and_counted(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(home.root))
    suppression.add(home, "user_id", ["zq1", "zq5"])

    @table_asset("raw", columns=COLUMNS)
    def people(run: TableRun) -> None:
        """People as received."""
        run.overwrite(ROWS)

    @table_asset("cleaned", columns=COLUMNS, deps=["raw/people"])
    def others(run: TableRun) -> None:
        """Tables that read no source are written as they are."""
        run.overwrite(ROWS)

    result = run(people, others)
    assert result.success
    assert made(result)["raw/people"]["rows_of_forgotten_people"] == 2
    assert "rows_of_forgotten_people" not in made(result)["cleaned/others"]
    written = Lakehouse().tables
    assert written.sql("SELECT user_id FROM raw.people").num_rows == 2
    assert written.sql("SELECT user_id FROM cleaned.others").num_rows == 4
