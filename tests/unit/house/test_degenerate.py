"""Nothing to divide by: every report and message renders on homes that hold next to nothing."""

import json
import re
from collections.abc import Iterator

import pyarrow as pa
import pytest

from dmp_assets.home import Home
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.reporting import document, report_assets
from dmp_assets.platform.reporting.messages import report_message
from dmp_assets.platform.reporting.renderer import Renderer
from dmp_assets.settings import project_dir
from tests.support import degenerate, lakehouse
from tests.support.page_faults import faults

REPORTS = sorted(path.stem for path in (project_dir() / "reports").glob("*.qmd"))
NOT_A_NUMBER = re.compile(r"\b(?:nan|NaN|NaT|None|inf|Infinity|<NA>)\b")
UNKEYED = {"all null", "only names", "strange names"}
"""Homes whose keys are nulled, or whose channels share a name."""


@pytest.fixture(scope="module")
def whole() -> dict[str, pa.Table]:
    return lakehouse.tables(users=120)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renderer]:
    """One kernel for all homes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUARTO_PATH", "/nonexistent/quarto")
        with Renderer(project_dir(), Home(tmp_path_factory.mktemp("first")).prepare()) as shared:
            yield shared


@pytest.fixture(scope="module")
def homes(whole: dict[str, pa.Table], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Home]:
    folder = tmp_path_factory.mktemp("homes")
    return {
        name: degenerate.build(folder / name.replace(" ", "-"), name, whole)
        for name in degenerate.HOMES
    }


Pages = dict[tuple[str | None, ...], str]


@pytest.fixture(scope="module")
def drawn() -> Pages:
    """Pages by report and what its tables hold: many homes are the same to a report."""
    return {}


def page_of(report: str, home: Home, engine: Renderer, drawn: Pages) -> str:
    tables = Tables(str(home.lakehouse))
    held = (tables.stamp(key).get("data_version") for key in report_assets.specs()[report][1].reads)
    made_from = (report, *held)
    if made_from not in drawn:
        engine.home = home
        drawn[made_from] = engine.render(report).path.read_text()
    return drawn[made_from]


def said(page: str) -> str:
    """What the page says to people, charts and styles left out."""
    body = re.sub(r"(?s)<(script|style|code)\b.*?</\1>", " ", page)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@pytest.mark.parametrize("name", degenerate.HOMES)
@pytest.mark.parametrize("report", REPORTS)
def test_a_report_renders_whatever_is_missing(
    engine: Renderer, homes: dict[str, Home], drawn: Pages, report: str, name: str
) -> None:
    page = page_of(report, homes[name], engine, drawn)
    assert faults(page, document.read(project_dir() / "reports" / f"{report}.qmd")) == []
    assert not NOT_A_NUMBER.search(said(page)), NOT_A_NUMBER.search(said(page))
    assert name != "no tables" or 'class="nothing"' in page, "it says that there is no data"


@pytest.mark.parametrize("name", degenerate.HOMES)
@pytest.mark.parametrize("report", report_assets.messages())
def test_a_message_is_made_whatever_is_missing(
    homes: dict[str, Home], report: str, name: str
) -> None:
    home = homes[name]
    outline = report_assets.messages()[report].outline(home, None, None)
    message = report_message(
        outline.figures, report=report, version="1", channel="C1", tz=outline.zone,
        image=outline.image, image_alt=outline.image_alt,
    )  # fmt: skip
    text = json.dumps([message.text, message.blocks])
    assert not NOT_A_NUMBER.search(text), text


def test_the_homes_are_made_of_every_table_that_reports_read(whole: dict[str, pa.Table]) -> None:
    assert {key for _, spec in report_assets.specs().values() for key in spec.reads} <= set(whole)


@pytest.mark.parametrize("name", sorted(set(degenerate.HOMES) - UNKEYED))
def test_the_homes_are_ones_that_a_run_can_write(whole: dict[str, pa.Table], name: str) -> None:
    for table, rows in degenerate.HOMES[name](whole).items():
        if key := degenerate.key_of(table):
            keys = [repr(row) for row in rows.select(key).to_pylist()]
            assert len(keys) == len(set(keys)), (table, key)
