"""The steps of docs/extending.md, done: its files are written, materialized and rendered."""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import dagster as dg
import pyarrow as pa
import pytest

from dmp_assets.home import Home
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.reporting.renderer import render
from dmp_assets.settings import project_dir
from tests.support.docs import ROOT, files

FILES = files(ROOT / "docs" / "extending.md")
LISTED = "spam.example"


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder for the page's files; the modules loaded from it are gone afterwards."""
    yield tmp_path / "checkout"
    for path in {path for path, _ in FILES if path.endswith(".py")}:
        package, _, child = _module(path).rpartition(".")
        sys.modules.pop(_module(path), None)
        vars(sys.modules[package]).pop(child, None)


@pytest.fixture
def lakehouse(home: Home) -> Lakehouse:
    """An empty lakehouse; none of the steps needs Spark."""
    return Lakehouse()


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def load(scratch: Path, path: str, text: str) -> ModuleType:
    """Write a module below the folder and import it under the name that it will have."""
    file = scratch / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    name = _module(path)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    package, _, child = name.rpartition(".")
    setattr(importlib.import_module(package), child, module)
    spec.loader.exec_module(module)
    return module


def run(lakehouse: Lakehouse, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    return dg.materialize(list(assets), resources={"lakehouse": lakehouse, "window": Window()})


def made(result: dg.ExecuteInProcessResult) -> set[str]:
    """Keys of the assets that the run wrote."""
    return {
        "/".join(event.asset_key.path)
        for event in result.get_asset_materialization_events()
        if event.asset_key and not event.materialization.metadata["unchanged"].value
    }


def test_the_page_shows_a_source_a_table_a_check_and_a_report() -> None:
    assert [path for path, _ in FILES] == [
        "dmp_assets/sources/blocklist.py",
        "dmp_assets/raw/blocklist.py",
        "dmp_assets/abuse/tables/listed_users.py",
        "dmp_assets/abuse/tables/listed_users.py",
        "reports/listed_users.qmd",
    ]


def test_a_source_a_table_a_check_and_a_report_are_added_as_the_page_says(
    scratch: Path, lakehouse: Lakehouse, home: Home
) -> None:
    source, raw, table, checked, (report, text) = FILES
    registered = pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("us", tz="UTC"))
    users = pa.table(
        {
            "user_id": ["a", "b", "c"],
            "created_at": registered,
            "email_domain": [LISTED, "mail.example", None],
        }
    )
    lakehouse.overwrite("cleaned/users", users, stamp={"data_version": "1"})
    blocklist = load(scratch, *source)
    raw_blocklist = load(scratch, *raw)
    listed_users = load(scratch, *table)

    assets = [raw_blocklist.blocklist, listed_users.listed_users]
    assert run(lakehouse, *assets).success
    assert lakehouse.tables.scalar("SELECT count(*) FROM modeled.listed_users") == 0

    file = raw_blocklist.file_of(home)
    file.parent.mkdir()
    file.write_text(f"domain,added_at\n {LISTED.upper()},2024-01-01\n")
    assert made(run(lakehouse, *assets)) == {"raw/blocklist", "modeled/listed_users"}
    assert made(run(lakehouse, *assets)) == set()
    found = lakehouse.tables.sql("FROM modeled.listed_users").to_pylist()
    assert found == [{"user_id": "a", "email_domain": LISTED}]

    listed_users = load(scratch, *checked)
    result = run(lakehouse, raw_blocklist.blocklist, listed_users.listed_users)
    assert made(result) == {"modeled/listed_users"}
    verdict = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert verdict["key_unique"].passed
    assert not verdict["few_are_listed"].passed
    assert verdict["few_are_listed"].metadata["users"].value == 3

    (scratch / report).parent.mkdir()
    (scratch / report).write_text(text)
    for shared in ("_quarto.yml", "theme.css", "dashboard.js"):
        shutil.copy(project_dir() / "reports" / shared, scratch / "reports")
    page = render("listed_users", project_dir=scratch, home=home).path.read_text()
    assert "Listed users" in page
    assert "modeled/listed_users" in page

    file.write_text("not,the\nright,columns\n")
    with pytest.raises(blocklist.BlocklistError, match="is no list of domain,added_at"):
        blocklist.read(file)
