"""The last writes: noted at a run's end, and true also where a table has moved on since."""

import os
import shutil
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from deltalake.exceptions import DeltaError

from dmp_assets.home import Home
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.lake.writes import newest, publish
from tests.support import lakehouse

ROWS = pa.table({"user_id": ["a", "b"]})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    made = Home(tmp_path / "home").prepare("sandbox")
    for key in ("cleaned/users", "cleaned/promo_codes"):
        lakehouse.write(made, key, ROWS)
    return made


def tables_of(home: Home) -> Tables:
    return Tables(str(home.lakehouse))


def spoil(home: Home, key: str) -> None:
    """Make a table's log unreadable, and let nobody see it who does not read it."""
    commit = home.lakehouse / key / "_delta_log" / f"{0:020}.json"
    before = commit.stat()
    commit.write_bytes(b"?" * before.st_size)
    os.utime(commit, ns=(before.st_atime_ns, before.st_mtime_ns))


def seen(home: Home) -> dict[str, tuple[str, int]]:
    return {write.key: (write.version, write.rows) for write in newest(home, tables_of(home))}


def test_what_was_noted_is_known_without_reading_any_log(home: Home) -> None:
    before = newest(home, tables_of(home))
    assert seen(home) == {"cleaned/promo_codes": ("0", 2), "cleaned/users": ("0", 2)}
    publish(home, tables_of(home))
    spoil(home, "cleaned/users")
    assert newest(home, tables_of(home)) == before
    (home.serving / "tables.json").unlink()
    with pytest.raises((DeltaError, OSError)):
        newest(home, tables_of(home))


def test_a_table_that_moved_on_since_is_looked_at_itself(home: Home) -> None:
    publish(home, tables_of(home))
    lakehouse.write(home, "cleaned/users", ROWS.slice(1))  # a run that was killed thereafter
    lakehouse.write(home, "cleaned/promo_usages", ROWS)
    assert seen(home) == {
        "cleaned/promo_codes": ("0", 2), "cleaned/promo_usages": ("0", 2),
        "cleaned/users": ("1", 1),
    }  # fmt: skip
    shutil.rmtree(home.lakehouse / "cleaned" / "users")
    shutil.rmtree(home.lakehouse / "cleaned" / "promo_usages")
    lakehouse.write(home, "cleaned/users", ROWS.slice(1))  # made anew, at the version of before
    assert seen(home) == {"cleaned/promo_codes": ("0", 2), "cleaned/users": ("0", 1)}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cleaned/users": 1}', '{"cleaned/users": {}}'])
def test_a_home_without_a_note_or_with_a_damaged_one_is_read(home: Home, text: str) -> None:
    home.serving.mkdir(exist_ok=True)
    (home.serving / "tables.json").write_text(text)
    assert seen(home)["cleaned/users"] == ("0", 2)


def test_every_run_notes_at_its_end_also_one_that_fails(home: Home) -> None:
    context = dg.build_init_resource_context()
    with Lakehouse().yield_for_execution(context):
        lakehouse.write(home, "cleaned/users", ROWS.slice(1))
    spoil(home, "cleaned/promo_codes")
    assert seen(home)["cleaned/users"] == ("1", 1)
    lakehouse.write(home, "cleaned/users", ROWS)

    def fails() -> None:
        with Lakehouse().yield_for_execution(context):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    spoil(home, "cleaned/users")
    assert seen(home)["cleaned/users"] == ("2", 2)
    assert (home.serving / "tables.json").stat().st_mode & 0o777 == 0o600
