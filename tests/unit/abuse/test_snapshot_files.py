"""The snapshot's files: nobody else can make keys of them, and no damage reaches who reads them."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from dmp_assets.abuse.model import keys, snapshot
from dmp_assets.abuse.model.index import AccountIndex, LiveAccount
from dmp_assets.abuse.model.received import normal_form
from dmp_assets.home import Home
from dmp_assets.platform.config import secret_files
from tests.support import serving
from tests.support.service import now


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    return serving.simulated(tmp_path_factory.mktemp("shop"), users=300)


@pytest.fixture
def home(tmp_path: Path, shop: duckdb.DuckDBPyConnection) -> Home:
    made = Home(tmp_path / "home").prepare("sandbox")
    serving.write_snapshot(made, shop)
    return made


def write_without_secret(home: Home, shop: duckdb.DuckDBPyConnection) -> None:
    """As a version before there were secrets did."""
    snapshot.write(home.serving, "old", snapshot.rows(shop), now())
    file = home.serving / "old" / "snapshot.json"
    noted = json.loads(file.read_text())
    file.write_text(json.dumps({n: v for n, v in noted.items() if n not in ("keyed_by", "sha256")}))


def live(device: str) -> LiveAccount:
    return LiveAccount.of(normal_form("new", {"device_id": device}, now(), "US"))


def without(home: Home, column: str) -> None:
    """The snapshot as a version wrote it that did not have this column of the account view."""
    place = home.serving / "v1"
    rows = pa.ipc.open_file(str(place / "accounts.arrow")).read_all().drop_columns([column])
    with pa.ipc.new_file(str(place / "accounts.arrow"), rows.schema) as out:
        out.write_table(rows)
    noted = json.loads((place / "snapshot.json").read_text())
    noted["totals"].pop(column, None)
    del noted["sha256"]
    (place / "snapshot.json").write_text(json.dumps(noted))


@pytest.mark.parametrize("column", snapshot.TOTALS)
def test_a_count_of_the_shop_that_a_version_before_did_not_have_is_none(
    home: Home, column: str
) -> None:
    before = serving.opened(home)
    without(home, column)
    found = serving.opened(home)
    row = 5
    assert found.view_of(row) == {**before.view_of(row), column: 0}
    index = AccountIndex(found)
    assert index.view_of(index.put(live("d1")))[column] in (0, 1)


def test_a_snapshot_without_another_column_is_refused_by_its_name(home: Home) -> None:
    without(home, "device_accounts")
    with pytest.raises(snapshot.SnapshotError, match="which had no device_accounts"):
        serving.opened(home)


def test_keys_are_the_homes_own(
    home: Home, shop: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    other = Home(tmp_path / "other").prepare("sandbox")
    serving.write_snapshot(other, shop)
    ours, theirs = (serving.opened(each).key("device_key") for each in (home, other))
    plain = {keys.key_of(d) for (d,) in shop.sql("SELECT device_id FROM cleaned.users WHERE "
                                                 "device_id IS NOT NULL").fetchall()}  # fmt: skip
    known = set(ours[ours != np.uint64(keys.NO_KEY)].tolist())
    assert known and not known & set(theirs.tolist()) and not known & plain
    file = home.secrets / secret_files.INDEX_KEY
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() not in (home.serving / "v1" / "snapshot.json").read_text()
    file.write_text("another\n")
    with pytest.raises(snapshot.SnapshotError, match="secret of another home"):
        serving.opened(home)


def test_a_snapshot_of_before_serves_on_and_live_accounts_move_to_the_next_one(
    home: Home, shop: duckdb.DuckDBPyConnection
) -> None:
    write_without_secret(home, shop)
    assert not snapshot.is_keyed(home.serving)
    old = AccountIndex(serving.opened(home))
    ((device,), *_) = shop.sql(
        "SELECT device_id FROM cleaned.users GROUP BY device_id HAVING count(device_id) = 1"
    ).fetchall()
    before = old.view_of(old.put(live(device)))
    assert before["device_accounts"] == 2
    serving.write_snapshot(home, shop, "v2")
    assert snapshot.is_keyed(home.serving)
    new = AccountIndex(serving.opened(home))
    new.keep(old.live())
    assert new.view_of(new.number("new") or 0) == before
    assert new.search(device) == old.search(device)


@pytest.mark.parametrize("name", snapshot.FILES)
def test_a_file_that_is_cut_short_in_place_reaches_nobody(home: Home, name: str) -> None:
    held = serving.opened(home)
    file = home.serving / "v1" / name
    with file.open("r+b") as cut:
        cut.truncate(100)
    ids = [held.id_of(row) for row in range(held.size)]
    assert [held.row_of(user) for user in ids] == list(range(held.size))
    assert sum(len(rows) for rows in held.feature_batches()) == held.size
    with pytest.raises(snapshot.SnapshotError, match="materialize published/account_snapshot"):
        serving.opened(home)


@pytest.mark.parametrize("name", snapshot.FILES)
def test_a_file_of_which_a_byte_has_changed_is_not_taken(home: Home, name: str) -> None:
    file = home.serving / "v1" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(snapshot.SnapshotError, match="cannot be read"):
        serving.opened(home)
