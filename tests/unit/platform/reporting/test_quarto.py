"""The Quarto CLI's part: what it is given, and what becomes of what it says.

The CLI cannot be had from a registry: the cells run as under it and Pandoc renders what it would
write; a program in its place prints what it prints.
"""

import html
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dmp_assets.home import Home
from dmp_assets.platform.reporting import document, renderer
from dmp_assets.platform.reporting.markdown import Markdown, slug_of
from dmp_assets.platform.reporting.outputs import UNDER_QUARTO, for_quarto, raw_block
from dmp_assets.platform.reporting.renderer import Renderer, RenderError, render
from dmp_assets.platform.text.foreign_text import markdown_text, visible
from dmp_assets.settings import project_dir
from tests.support import lakehouse
from tests.support.page_faults import faults, heading_ids
from tests.support.quarto_pages import is_one_raw_block, page, pandoc

REPORTS = sorted(path.stem for path in (project_dir() / "reports").glob("*.qmd"))
FOLDER = project_dir() / "reports"
Outputs = dict[int, list[Any]]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outputs]]:
    """Report → outputs of its cells, run as Quarto runs them."""
    home = lakehouse.build(tmp_path_factory.mktemp("full"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(UNDER_QUARTO, "7")
        with Renderer(project_dir(), home) as engine:
            yield {
                name: engine._execute(document.read(FOLDER / f"{name}.qmd"), {}, {})
                for name in REPORTS
            }


@pytest.fixture(scope="module")
def pages(executed: dict[str, Outputs], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    scratch = tmp_path_factory.mktemp("includes")
    return {
        name: page(document.read(FOLDER / f"{name}.qmd"), outputs, FOLDER, scratch)
        for name, outputs in executed.items()
    }


# what Quarto is given -------------------------------------------------------------
@pytest.mark.parametrize("name", REPORTS)
def test_every_output_of_a_report_is_markdown_of_one_raw_block(
    executed: dict[str, Outputs], name: str
) -> None:
    shown = [o for made in executed[name].values() for o in made if o["output_type"] != "stream"]
    assert shown
    for output in shown:
        assert set(output["data"]) == {"text/markdown"}
        assert is_one_raw_block(output["data"]["text/markdown"])
        assert not output["metadata"]


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_by_pandoc_has_all_that_a_page_must_have(pages: dict[str, str], name: str) -> None:
    assert faults(pages[name], document.read(FOLDER / f"{name}.qmd")) == []


def test_whatever_a_cell_shows_reaches_quarto_without_html_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = (
        "'a string <b>'", "3.5", "[1, 2]", "pandas.DataFrame({'a': [1]})", "HTML('<i>x</i>')",
        "pandas.DataFrame({'a': [1]}).style", "SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')",
        "Markdown('*m*')", "Javascript('1')", "report.nothing('none')", "publish()", "None",
    )  # fmt: skip
    first = (
        "import pandas\nfrom IPython.display import HTML, SVG, Javascript, Markdown, display\n"
        "from IPython.display import publish_display_data\n"
        "from dmp_assets.platform.reporting.reader import Report\nreport = Report.open()\n"
        "def publish():\n    publish_display_data({'text/html': '<u>raw</u>', 'text/plain': 'r'})\n"
    )
    cells = [first, *shown, *(f"display({code})" for code in shown if code != "publish()")]
    folder = tmp_path / "project" / "reports"
    folder.mkdir(parents=True)
    texts = "\n".join(f"```{{python}}\n{code}\n```\n" for code in cells)
    (folder / "all.qmd").write_text(f"---\ntitle: t\n---\n\n{texts}")
    monkeypatch.setenv(UNDER_QUARTO, "7")
    home = Home(tmp_path / "home").prepare("sandbox")
    with Renderer(folder.parent, home) as engine:
        made = engine._execute(document.read(folder / "all.qmd"), {}, {})
    outputs = [output for every in made.values() for output in every]
    assert len(outputs) == 2 * (len(shown) - 1)
    kinds = [tuple(output["data"]) for output in outputs]
    assert {"text/markdown", "image/svg+xml"} == {kind for (kind,) in kinds}
    markdown = [o["data"]["text/markdown"] for o in outputs if "text/markdown" in o["data"]]
    assert [text for text in markdown if not is_one_raw_block(text)] == ["*m*", "*m*"]
    assert any("&#x27;a string &lt;b&gt;&#x27;" in text for text in markdown)
    assert sum("<u>raw</u>" in text for text in markdown) == 1


@pytest.mark.parametrize(
    "text",
    ["<b>x</b>", "```", "<pre>\n```{=html}\n</pre>\n`````\n", ":::", "---", "$x$ @fig-a [^1]"],
)
def test_a_raw_block_holds_anything(text: str) -> None:
    block = raw_block(text)
    assert is_one_raw_block(block)
    assert pandoc(block, "--from=markdown", "--to=html").strip() == text.strip()


def test_a_bundle_keeps_one_type_and_no_colours() -> None:
    assert for_quarto({"text/plain": "\x1b[31mred\x1b[0m", "image/png": "aGk="}) == {
        "image/png": "aGk="
    }
    said = for_quarto({"text/plain": "\x1b[31mred\x1b[0m & <b>"})
    assert said == {"text/markdown": raw_block("<pre>red &amp; &lt;b&gt;</pre>")}
    assert for_quarto({}) == {}


# one Markdown ---------------------------------------------------------------------
HEADINGS = (
    "Do the rows add up?", "1. What was received", "A `code` & *more*", "Don't — stop",
    "Über  uns", "???", "Twice", "Twice", "Twice", "ROAS/CPO: 3.5 %", "own {#own-id .wide}",
    "With 'quotes' and \"double\"", "snake_case-and.dot", "日本語 見出し", "[A link](x.html) here",
)  # fmt: skip


def test_headings_get_the_ids_that_pandoc_gives_them() -> None:
    text = "\n\n".join(f"## {heading}" for heading in HEADINGS)
    theirs = pandoc(text, "--from=markdown", "--to=html5", "--standalone", "-M", "title=t")
    ours = Markdown().render(text)
    assert heading_ids(f"<main>{ours}</main>") == heading_ids(f"<main>{theirs}</main>")
    assert slug_of("What was received") == "what-was-received"


@pytest.mark.parametrize(
    "text",
    [
        "It's \"quoted\" and 'single', the users' -- and --- so on...",
        "`it's code` stays",
        '::: {.callout-note title="It\'s *so*"}\nThe gap.\n:::',
        '::: {#why .callout-tip collapse="true"}\n## Why *this*\n\nBecause.\n:::',
        '::: {.callout-warning collapse="false"}\nOpen.\n:::',
        "::: {.callout-caution}\n- one\n- two\n:::",
        "::: {.panels}\n::: {.callout-important}\nInside.\n:::\n:::",
    ],
)
def test_markdown_is_read_as_pandoc_and_the_filter_read_it(text: str) -> None:
    def flat(page: str) -> str:
        lines = (line.strip() for line in page.replace("><", ">\n<").splitlines())
        return "".join(line for line in lines if line)

    filtered = f"--lua-filter={FOLDER / 'callouts.lua'}"
    theirs = pandoc(text, "--from=markdown", "--to=html5", "--wrap=none", filtered)
    assert flat(Markdown().render(text)) == flat(theirs)


@pytest.mark.parametrize(
    "text",
    [
        "<script>x</script>",
        "*a* _b_ [c](d) `e` $f$ @g ~h~ ^i^",
        "# j\n- k\n1. l",
        "{{< m >}} ![n](o)",
    ],
)
def test_foreign_text_in_a_sentence_says_what_it_says(text: str) -> None:
    sentence = f"It is {markdown_text(text)} here."
    for made in (
        Markdown().render(sentence),
        pandoc(sentence, "--from=markdown", "--to=html5", "--wrap=none"),
    ):
        marks = set(re.findall(r"</?(\w+)", made))
        assert marks == {"p", "code"}
        said = html.unescape(re.sub(r"</?(?:p|code)>", "", made)).strip()
        assert said == f"It is {visible(text)} here."


# what Quarto says -----------------------------------------------------------------
SMALL = """---
title: "Small & simple"
---

```{python}
#| label: parameters
#| tags: [parameters]
greeting = "hello"
```
"""


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


def quarto(folder: Path, version: str, body: str) -> Path:
    program = folder / "quarto"
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo {version} && exit\n{body}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def printing(text: str, status: int = 1, then: str = "") -> str:
    """A program's body that prints the text, where `␛` is an escape, to stderr."""
    escaped = text.replace("␛", "\\033").replace("'", "'\\''").replace("%", "%%")
    return f"printf '{escaped}' >&2\n{then}\nexit {status}"


def test_quarto_renders_when_it_is_found(
    project: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = 'test -f "$2" || exit 9\ncat "$6" > small.html\necho "$TZ $1 $2 $3 $4 $5" >> small.html'
    monkeypatch.setenv("QUARTO_PATH", str(quarto(tmp_path, "1.6.40", body)))
    done = render("small", project_dir=project, home=home, params={"greeting": "hi"})
    assert done.engine == "quarto"
    assert done.warnings == ()
    said = done.path.read_text()
    assert "greeting: hi" in said
    assert "UTC render small.qmd --to html --execute-params" in said


def test_an_old_quarto_is_passed_over(
    project: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUARTO_PATH", str(quarto(tmp_path, "1.3.450", "exit 1")))
    assert render("small", project_dir=project, home=home).engine == "embedded"


CELLS = "␛[1mExecuting␛[22m 'small.qmd'\n  Cell 1/2: 'parameters'...␛[32mDone␛[39m\r\n"
BROKEN = (
    CELLS + "  Cell 2/2: 'words'...␛[31mERROR: ␛[39m\n\nAn error occurred while executing the "
    "following cell:\n------------------\nraise {what}\n------------------\n\n\n"
    "␛[31m---------------------------------------------------------------------------␛[39m\n"
    "␛[31m{name}␛[39m                         Traceback (most recent call last)\n"
    "␛[36mCell␛[39m␛[36m ␛[39m␛[32mIn[3]␛[39m␛[32m, line 1␛[39m\n"
    "␛[32m----> ␛[39m␛[32m1␛[39m raise␛[38;5;241m {what}␛[39m\n\n"
    "␛[31m{name}␛[39m: {said}\n"
    "␛[33mWARN: Error encountered when rendering files\n␛[39m"
)
FAILURES = {
    "zero": (
        BROKEN.format(name="ZeroDivisionError", what="1 / 0", said="division by zero"),
        "cell words: ZeroDivisionError: division by zero",
    ),
    "an own name": (
        BROKEN.format(name="OutOfLuck", what="OutOfLuck(1)", said="100 % gone"),
        "cell words: OutOfLuck: 100 % gone",
    ),
    "quarto's own": (
        "␛[91mERROR: YAMLError: bad indentation (_quarto.yml:4:1)␛[39m\n\nStack trace:\n"
        "    at readYaml (file:///opt/quarto/bin/quarto.js:1:2)\n"
        "␛[33mWARN: Error encountered when rendering files␛[39m\n",
        "Quarto: ERROR: YAMLError: bad indentation (_quarto.yml:4:1)",
    ),
    "a filter's": (
        CELLS + "Error running filter callouts.lua:\ncallouts.lua:9: attempt to index a nil value\n"
        "␛[33mWARN: Error encountered when rendering files␛[39m\n",
        "cell parameters: callouts.lua:9: attempt to index a nil value",
    ),
    "silence": ("", "Quarto: no output"),
    "a warning only": ("␛[33mWARN: something␛[39m\n", "Quarto: WARN: something"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_of_quarto_in_colours_names_cell_and_error(
    project: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    printed, cause = FAILURES[kind]
    monkeypatch.setenv("QUARTO_PATH", str(quarto(tmp_path, "1.7.34", printing(printed))))
    with pytest.raises(RenderError) as failed:
        render("small", project_dir=project, home=home)
    assert str(failed.value) == f"report small, {cause}"
    assert not os.path.exists(home.reports / "small.html")


def test_what_quarto_warns_of_is_kept_with_the_page(
    project: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = (
        CELLS + "␛[33m[WARNING] Could not fetch resource https://cdn.invalid/a.png: HttpException\n"
        "  ConnectionFailure timed out␛[39m\n␛[33mWARN: Unable to resolve crossref @fig-x␛[39m\n"
        "WARN: Unable to resolve crossref @fig-x\nOutput created: small.html\n"
    )
    body = printing(printed, 0, "echo page > small.html")
    monkeypatch.setenv("QUARTO_PATH", str(quarto(tmp_path, "1.7.34", body)))
    done = render("small", project_dir=project, home=home)
    assert done.warnings == (
        "Could not fetch resource https://cdn.invalid/a.png: HttpException "
        "ConnectionFailure timed out",
        "Unable to resolve crossref @fig-x",
    )
    assert renderer.state(done.path)["warnings"] == list(done.warnings)


def test_the_embedded_renderer_warns_of_what_quarto_would_refuse(
    project: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUARTO_PATH", "/nonexistent/quarto")
    (project / "reports" / "small.qmd").write_text(SMALL + "\n## Parameters\n\nSee @fig-none.\n")
    assert render("small", project_dir=project, home=home).warnings == (
        "label 'parameters' is the id of a heading, too",
        "@fig-none refers to nothing",
    )
