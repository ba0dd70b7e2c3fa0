"""Rendering: what a `.qmd` may hold, what the page is, and how a failure is told."""

import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import filelock
import psutil
import pytest

from dmp_assets.abuse.report import dashboard, figures
from dmp_assets.home import Home
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.reporting import document, renderer
from dmp_assets.platform.reporting.privacy import find_personal_data
from dmp_assets.platform.reporting.quarto_problems import problems
from dmp_assets.platform.reporting.reader import Report
from dmp_assets.platform.reporting.renderer import Renderer, RenderError, render, state
from dmp_assets.settings import project_dir
from tests.support import lakehouse
from tests.support.page_faults import faults

REPORTS = sorted(path.stem for path in (project_dir() / "reports").glob("*.qmd"))
SMALL = """---
title: "Small & simple"
execute:
  echo: false
---

```{python}
#| label: parameters
#| tags: [parameters]
greeting = "hello"
```

See @fig-one, @tbl-one and `code`. {say}

::: {.panels}
::: {.panel}
Inside **two** divs.
:::
:::

::: {.callout-note title="Mind"}
The gap.
:::

```{python}
#| label: fig-one
#| fig-cap: "A *picture*"
from IPython.display import HTML, display
display(HTML("<b>drawn</b>"))
```

```{python}
#| label: tbl-one
#| tbl-cap: "A table"
display(HTML("<table></table>"))
```

```{python}
#| label: words
#| output: asis
print(f"- {greeting}\\n- see @fig-one")
```
"""


@pytest.fixture(autouse=True)
def _no_quarto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTO_PATH", "/nonexistent/quarto")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "reports"
    folder.mkdir(parents=True)
    (folder / "theme.css").write_text("body { color: black }")
    (folder / "small.qmd").write_text(SMALL)
    return folder.parent


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").prepare("sandbox")


@pytest.fixture(scope="module")
def full_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return lakehouse.build(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def engine(full_home: Home) -> Iterator[Renderer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUARTO_PATH", "/nonexistent/quarto")
        with Renderer(project_dir(), full_home) as shared:
            yield shared


@pytest.fixture(scope="module")
def pages(engine: Renderer) -> dict[str, str]:
    return {name: engine.render(name).path.read_text() for name in REPORTS}


def without_library(page: str) -> str:
    """The page less the chart library, which is not ours to scan."""
    return re.sub(r"<script>/\*\*\n\* plotly\.js.*?</script>", "", page, flags=re.DOTALL)


# the source -----------------------------------------------------------------------
@pytest.mark.parametrize("name", REPORTS)
def test_every_report_is_valid_quarto(name: str) -> None:
    assert problems(document.read(project_dir() / "reports" / f"{name}.qmd")) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("@fig-one,", "@fig-two,"), "@fig-two refers to nothing"),
        (("#| fig-cap", "#| figure-cap"), "unknown option 'figure-cap'"),
        (("label: tbl-one", "label: table"), "tbl-cap needs a label that begins with tbl-"),
        (("label: words", "label: fig-one"), "label 'fig-one' is used twice"),
        (("title: ", "titel: "), "unknown front matter 'titel'"),
        (("callout-note", "callout-hint"), "unknown callout 'callout-hint'"),
        (("::: {.panels}\n", ""), "a div is closed that was not opened"),
        (("The gap.\n:::", "The gap."), "a div is not closed"),
    ],
)
def test_what_quarto_would_not_take_is_found(
    project: Path, change: tuple[str, str], problem: str
) -> None:
    path = project / "reports" / "small.qmd"
    path.write_text(SMALL.replace(*change))
    assert any(problem in found for found in problems(document.read(path)))


# the page -----------------------------------------------------------------------
def test_a_page_holds_divs_callouts_captions_and_cross_references(
    project: Path, home: Home
) -> None:
    page = render("small", project_dir=project, home=home, params={"greeting": "hi"}).path
    text = page.read_text()
    assert "<title>Small &amp; simple</title>" in text
    assert re.search(r'class="panels"><div class="panel"><p>Inside <strong>two</strong>', text)
    assert re.search(r'callout-note"><div class="callout-header">Mind</div>', text)
    assert re.search(r'<figure id="fig-one".*<b>drawn</b>.*Figure 1: A <em>picture</em>', text)
    assert text.index("Table 1: A table") < text.index("<table></table>")
    assert text.count('<a href="#fig-one">Figure 1</a>') == 2
    assert "<li>hi</li>" in text
    assert "greeting =" not in text


def test_a_parameter_that_a_report_does_not_have_is_refused(project: Path, home: Home) -> None:
    with pytest.raises(RenderError, match="no parameter colour; it takes: greeting"):
        render("small", project_dir=project, home=home, params={"colour": "red"})


def test_a_report_that_is_not_there_is_named(project: Path, home: Home) -> None:
    with pytest.raises(RenderError, match=r"there is no report .*nothing\.qmd"):
        render("nothing", project_dir=project, home=home)


def test_a_failing_cell_is_named_and_the_old_page_stays(project: Path, home: Home) -> None:
    done = render("small", project_dir=project, home=home)
    before = done.path.read_text()
    source = project / "reports" / "small.qmd"
    source.write_text(SMALL.replace("print(f", "1 / 0; print(f"))
    with pytest.raises(RenderError, match="report small, cell words: ZeroDivisionError: division"):
        render("small", project_dir=project, home=home)
    assert done.path.read_text() == before


def test_reports_share_a_kernel_in_utc_but_no_variables(
    project: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    folder = project / "reports"
    cell = "---\ntitle: t\n---\n\n```{python}\n#| output: asis\n%s\n```\n"
    (folder / "one.qmd").write_text(cell % "import os; left = 1; print('pid', os.getpid())")
    (folder / "two.qmd").write_text(
        cell % "import os, time; print('pid', os.getpid(), time.tzname[0], 'left' in globals())"
    )
    with renderer.kept(project, home) as ahead:
        ahead.start()
        with renderer.engine(project, home) as shared:
            first = shared.render("one").path.read_text()
        with renderer.engine(project, home) as shared:  # of another step of the same run
            second = shared.render("two").path.read_text()
    pid = re.findall(r"pid \d+", first)[-1]
    assert f"{pid} UTC False" in second


def test_a_kernel_that_was_started_ahead_and_not_needed_is_ended(project: Path, home: Home) -> None:
    before = set(psutil.Process().children())
    with renderer.kept(project, home) as ahead:
        ahead.start()
        (kernel,) = set(psutil.Process().children()) - before
    assert not kernel.is_running()


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_has_all_that_a_page_must_have(pages: dict[str, str], name: str) -> None:
    assert faults(pages[name], document.read(project_dir() / "reports" / f"{name}.qmd")) == []


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_loads_nothing_and_has_the_chart_library_at_most_once(
    pages: dict[str, str], name: str
) -> None:
    own = without_library(pages[name])
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#|\w+\.html)[^"']*""", own)
    assert not re.findall(r"@import|url\(", own)
    assert pages[name].count("* plotly.js v") <= 1


@pytest.mark.parametrize("name", REPORTS)
def test_no_full_personal_datum_is_in_a_report(pages: dict[str, str], name: str) -> None:
    assert find_personal_data(without_library(pages[name])) == []
    assert not re.search("secretperson|device-secret|203.0.113", pages[name])


def test_the_tiles_show_what_the_tables_hold(pages: dict[str, str], full_home: Home) -> None:
    tables = Tables(str(full_home.lakehouse))

    def tile(label: str) -> str:
        found = re.search(
            rf"{label}</div><div class=\"tile-value\"[^>]*>([^<]*)<", pages["promo_abuse"]
        )
        assert found
        return found.group(1)

    users = tables.scalar("SELECT count(*) FROM cleaned.users")
    assert tile("Users registered") == f"{users:,}"
    assert tile("Promo usages") == f"{tables.scalar('SELECT count(*) FROM cleaned.promo_usages'):,}"
    known = figures.flagged(Report.open(full_home, {}))
    assert known
    assert tile("Flagged accounts") == f"{known.accounts:,}"
    assert tile("At risk, EUR") == f"{known.discounts:,.0f}"


def test_a_large_shop_carries_the_most_active_users_and_the_size_of_every_tie(
    full_home: Home,
) -> None:
    report = Report.open(full_home, {})
    known = dashboard.bounds(report)
    assert known
    whole = dashboard.carried(report, "user_id", known[0])
    part = dashboard.carried(report, "user_id", known[0], most=100)
    assert whole.complete
    assert not part.complete
    assert part.of == whole.of
    assert len(part.rows) <= 100
    assert part.labels[: dashboard.TOP] == whole.labels[: dashboard.TOP]
    assert part.sizes == whole.sizes
    assert sum(part.sizes.values()) == whole.of


# versions -----------------------------------------------------------------------
def test_a_report_can_be_rendered_again_as_of_the_versions_in_its_footer(
    engine: Renderer, tmp_path: Path
) -> None:
    home = lakehouse.build(tmp_path)
    with Renderer(project_dir(), home) as shared:
        first = shared.render("promo_abuse")
        old = first.path.read_text()
        note = renderer.state(first.path)
        lakehouse.build(tmp_path, users=200, seed=5)
        now = shared.render("promo_abuse").path.read_text()
        again = shared.render("promo_abuse", versions=note).path.read_text()
    rendered_at = r'<span class="rendered-at">[^<]*</span>'
    assert re.sub(rendered_at, "", again) == re.sub(rendered_at, "", old)
    assert now != old
    assert f"<code>cleaned/users</code> version {first.table_versions['cleaned/users']}" in old


def test_after_retention_the_error_names_the_oldest_version(tmp_path: Path) -> None:
    home = lakehouse.build(tmp_path)
    lakehouse.build(tmp_path, users=200, seed=5)
    tables = Tables(str(home.lakehouse))
    tables.delta("cleaned/users").vacuum(
        retention_hours=0, dry_run=False, enforce_retention_duration=False
    )
    report = Report.open(home, {"cleaned/users": 0})
    with pytest.raises(Exception, match=r"cleaned/users .* version 0.*oldest .* is 1"):
        report.sql("SELECT count(*) FROM cleaned.users WHERE city = 'Rome'")


def test_a_version_that_never_was_names_those_that_are(full_home: Home) -> None:
    with pytest.raises(Exception, match="has no version 99; the oldest that can be read is 0"):
        Report.open(full_home, {"cleaned/users": 99}).sql("SELECT 1 FROM cleaned.users")


def test_a_page_whose_inputs_changed_while_it_was_made_is_made_again_next_time(
    project: Path, home: Home
) -> None:
    with Renderer(project, home) as renderer:
        for versions, noted in (([1, 1], "mark"), ([1, 2], "")):
            done = renderer.render(
                "small", fingerprint="mark", made_of=partial(next, iter(versions))
            )
            assert state(done.path)["fingerprint"] == noted


def test_a_page_is_made_by_one_process_at_a_time(project: Path, home: Home) -> None:
    with Renderer(project, home) as renderer:
        path = renderer.render("small", fingerprint="old").path
        with filelock.FileLock(path.with_name(".small.lock")):
            making = threading.Thread(
                target=renderer.render, args=["small"], kwargs={"fingerprint": "new"}
            )
            making.start()
            making.join(1)
            assert state(path)["fingerprint"] == "old"
        making.join(60)
        assert state(path)["fingerprint"] == "new"
