"""Files of a lakehouse: the same done on a folder, by Arrow and on S3."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.lake import files, remembered
from dmp_assets.platform.lake.files import Files
from dmp_assets.platform.lake.tables import Tables
from tests.support import s3


@pytest.fixture(scope="module")
def server() -> Iterator[s3.Server]:
    with s3.moto() as running:
        yield running


@pytest.fixture(params=["a folder", "Arrow", "S3"])
def place(request: Any, tmp_path: Path, server: s3.Server) -> tuple[Files, str]:
    """What handles files, and a root without any."""
    root = {
        "a folder": str(tmp_path / "root"),
        "Arrow": f"file://{tmp_path}/root",
        "S3": f"s3a://{s3.BUCKET}/{tmp_path.name}/root",
    }[request.param]
    return files.of(root, server.s3), root


def test_what_is_written_is_found_read_and_removed(place: tuple[Files, str]) -> None:
    at, root = place
    assert at.folders(f"{root}/raw") == [] and at.below(f"{root}/raw") == {}
    assert at.read(f"{root}/raw/users/one") is None and at.mark(f"{root}/raw/users/one") is None
    at.remove(f"{root}/raw/users")
    at.write(f"{root}/raw/users/one", b"first")
    at.write(f"{root}/raw/users/_delta_log/0.json", b"{}")
    at.write(f"{root}/raw/users_more/one", b"stays")
    assert at.folders(f"{root}/raw") == ["users", "users_more"]
    mark = at.mark(f"{root}/raw/users/one")
    assert mark is not None and mark[0] == 5
    assert at.below(f"{root}/raw/users").keys() == {
        f"{root}/raw/users/one", f"{root}/raw/users/_delta_log/0.json",
    }  # fmt: skip
    at.write(f"{root}/raw/users/one", b"another")
    assert at.read(f"{root}/raw/users/one") == b"another"
    assert at.mark(f"{root}/raw/users/one") != mark
    at.remove(f"{root}/raw/users")
    assert at.folders(f"{root}/raw") == ["users_more"]
    assert at.read(f"{root}/raw/users_more/one") == b"stays"
    at.remove(f"{root}/raw/users_more/one")
    assert at.read(f"{root}/raw/users_more/one") is None


def test_a_folder_is_a_table_once_its_log_has_a_commit(
    place: tuple[Files, str], server: s3.Server
) -> None:
    at, root = place
    at.write(f"{root}/raw/users/part-0.parquet", b"")
    assert not at.is_table(f"{root}/raw/users") and not at.is_table(f"{root}/raw")
    tables = Tables(root, s3=server.s3 if root.startswith("s3a") else None)
    options = tables.storage_options
    write_deltalake(tables.path("raw/users"), pa.table({"n": [1]}), storage_options=options)
    assert at.is_table(f"{root}/raw/users") and not at.is_table(f"{root}/raw/user")
    assert tables.written() == ["raw/users"]


def test_more_objects_than_one_request_deletes_are_all_removed(server: s3.Server) -> None:
    root = f"s3a://{s3.BUCKET}/many"
    client = server.s3.client()
    for number in range(1_003):
        client.put_object(Bucket=s3.BUCKET, Key=f"many/raw/users/{number}", Body=b"")
    files.of(root, server.s3).remove(f"{root}/raw/users")
    assert server.keys("many") == []


# what home and lakehouse remember -----------------------------------------------------------------
SHOP, OTHER = {"id": "1", "name": "shop one"}, {"id": "2", "name": "shop two"}


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Home, Home]:
    """Two homes of one lakehouse outside of both."""
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_LAKEHOUSE_ROOT", str(tmp_path / "lakehouse"))
    return Home(tmp_path / "one").prepare(), Home(tmp_path / "two").prepare()


def test_a_lakehouse_outside_tells_a_new_home_of_what_its_tables_are(
    homes: tuple[Home, Home],
) -> None:
    one, two = homes
    remembered.remember(one, shop=SHOP)
    assert remembered.by_lakehouse(two, "shop") == SHOP
    assert remembered.by_home(two, "shop") is None
    assert remembered.is_own(one) and not remembered.is_own(two)
    remembered.use(two)
    remembered.remember(two, shop=SHOP)
    assert remembered.is_own(two)


def test_home_and_lakehouse_of_two_shops_are_refused_until_one_forgets(
    homes: tuple[Home, Home],
) -> None:
    one, two = homes
    two.remember(shop=OTHER)
    remembered.remember(one, shop=SHOP)
    with pytest.raises(HomeError, match=r"are of the shop shop one, and .* of the shop shop two"):
        remembered.use(two)
    remembered.forget(two, "shop")
    assert remembered.by_lakehouse(one, "shop") is None
    remembered.remember(two, shop=OTHER)
    with pytest.raises(HomeError, match="shop two"):
        remembered.use(one)


def test_of_homes_that_share_a_lakehouse_the_last_one_removes_it(
    homes: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_LEASE_DATABASE_URL", "postgresql://db.example.com/leases")
    one, two = homes
    for home in homes:
        remembered.use(home)
        remembered.use(home)
        remembered.remember(home, shop=SHOP)
    assert [name.partition(" on ")[0] for name in remembered.others(one)] == [str(two.root)]
    assert not remembered.is_own(one) and not remembered.is_own(two)
    remembered.leave(one)
    assert remembered.others(two) == [] and remembered.is_own(two)


def test_a_lakehouse_in_the_home_remembers_nothing_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    home = Home(tmp_path / "home").prepare()
    remembered.remember(home, shop=SHOP)
    assert home.state()["shop"] == SHOP and not home.lakehouse.exists()
    assert remembered.is_own(home) and remembered.by_lakehouse(home, "shop") is None


def test_a_note_of_the_lakehouse_that_is_damaged_is_named(homes: tuple[Home, Home]) -> None:
    one, _ = homes
    root = Path(one.settings().lakehouse_root or "")
    root.mkdir()
    for text in ("{", "[]"):
        (root / remembered.FILE).write_text(text)
        with pytest.raises(HomeError, match=r"lakehouse\.json"):
            remembered.use(one)
