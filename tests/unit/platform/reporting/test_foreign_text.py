"""Foreign text in every output: shown as text, whatever it holds, by the output's own reader."""

import csv
import io
import json
import logging
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.message import Message as Headers
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import structlog
import typer
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import DictLoader
from markdown_it import MarkdownIt
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from dmp_assets.attribution.report.channel_export import write_csv
from dmp_assets.cli import shared, show
from dmp_assets.demo.sandbox.slack_blocks import block_errors
from dmp_assets.demo.sandbox.slack_page import mrkdwn
from dmp_assets.home import Home
from dmp_assets.platform.api import output, serve
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_metadata import preview
from dmp_assets.platform.reporting.alerts import Alert, alert_message
from dmp_assets.platform.reporting.delivery import Message
from dmp_assets.platform.reporting.messages import Figure
from dmp_assets.platform.reporting.reader import Report
from dmp_assets.platform.text import foreign_text
from dmp_assets.sources.ihc.journeys import export_training
from tests.unit.platform.reporting.test_messages import FIGURES, message_of
from tests.unit.sources.test_ihc import journeys

FOREIGN = {
    "a formula": "=HYPERLINK(1)",
    "a command": "+cmd|' /C calc'!A0",
    "a sum": "@SUM(1+1)*cmd",
    "a formula after a space": " \t=1+1",
    "a wide formula": "＝1+1",
    "minus": "-1+1|cmd",
    "a tag": "<img src=x onerror=alert(1)>",
    "a closing tag": "</td></script><script>alert(1)</script>",
    "a quote": "\"' onmouseover='alert(1)",
    "an entity": "&lt;b&gt;&#x202e;",
    "a Markdown link": "[click](https://evil.example)",
    "a Markdown image": "![x](https://evil.example/x.png)",
    "a bare address": "https://evil.example www.evil.example a@evil.example",
    "a heading": "# big\n---\n* item",
    "a table's end": "a|b\n|---|\n| c |",
    "a fence": "```\ncode\n```",
    "emphasis": "*bold* _it_ ~no~ **x** __y__",
    "a mention": "<!channel> <@U123> @here",
    "a Slack link": "<https://evil.example|your bank>",
    "a quotation": "> said",
    "rich's mark-up": "[bold red]x[/bold red] [link=https://evil.example]y[/link] \\",
    "a template": "{{ 7 * 7 }} {% raw %}",
    "ANSI": "\x1b[31mred\x1b[0m \x1b]8;;https://evil.example\x07here\x9b2J",
    "control characters": "a\x00b\x07c\x08d\x7fe\x85f",
    "a second line": "one\r\n2024-01-01 ERROR forged\u2028\u2029 line",
    "a header": "x\r\nSet-Cookie: a=b",
    "the other direction": "\u202egnp.exe\u2066x\u2069",
    "nothing to see": "\ufeff\u200b\U000e0041\u2060",
    "a lone surrogate": "a\ud800b",
    "something long": "<&*`|" * 2_000,
    "another script": "Ωμέγα 北京 עברית \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👩‍👧",
}
PLAIN = "text"
UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def surrogates_as_parquet_takes_them(foreign: str) -> str:
    """A table cannot hold a lone surrogate."""
    return foreign.encode("utf-8", errors="replace").decode()


# how each output is read --------------------------------------------------------------------------
class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(f"{tag} {sorted({name for name, _ in attrs} - {'class'})}")

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"/{tag}")


def tags(page: str) -> list[str]:
    reader = _Tags()
    reader.feed(page)
    return reader.found


def read_csv(text: str) -> list[int]:
    """Cells of each line; none is a formula."""
    rows = list(csv.reader(io.StringIO(text, newline="")))
    for cell in (cell for row in rows for cell in row):
        number = re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)
        assert number or not cell.lstrip().startswith(tuple("=+-@\t\r＝＋－＠")), cell
    return [len(row) for row in rows]


def read_html(text: str) -> list[str]:
    return tags(text)


def read_markdown(text: str) -> list[str]:
    parser = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table")
    kinds = []
    for token in parser.parse(text):
        kinds.append(token.type)
        for child in token.children or ():
            assert child.type in ("text", "code_inline"), child
            shown_as_text = child.type == "text"
            assert not shown_as_text or not re.search(r"://|www\.|@", child.content), child
    return kinds


def read_terminal(text: str) -> list[str]:
    codes = re.compile(r"\x1b\[[\d;]*m")
    assert not UNSEEN.search(codes.sub("", text))
    return codes.findall(text)


def read_log(text: str) -> int:
    """Lines that do not go on from the one before."""
    return sum(not line.startswith("    ") for line in text.splitlines())


def read_json_log(text: str) -> int:
    for line in text.splitlines():
        assert not UNSEEN.search("".join(map(str, json.loads(line).values())))
    return len(text.splitlines())


def read_header(text: str) -> list[str]:
    assert text.isascii() and text.isprintable()
    return []


def read_slack(text: str) -> list[Any]:
    """Structure of the message as the sandbox's Slack draws it; Slack would take it."""
    found = json.loads(text)
    assert list(block_errors(found["blocks"], lambda _: None)) == []
    shape: list[Any] = []

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            if value.get("type") == "mrkdwn":
                assert value["verbatim"] is True
                assert not UNSEEN.search(value["text"])
                shape.append(tags(mrkdwn(value["text"])))
            elif value.get("type") == "plain_text":
                assert "\n" not in value["text"] and not UNSEEN.search(value["text"])
            else:
                walk(list(value.values()))

    walk(found["blocks"])
    assert "<" not in found["text"]
    assert not any(UNSEEN.search(one) for one in (found["text"], *found["titles"]))
    assert len(found["text"]) <= 3_000
    return shape


def sent(message: Message) -> str:
    titles = [title for _, title in message.files] + [message.image_alt]
    return json.dumps({"blocks": message.blocks, "text": message.text, "titles": titles})


# the outputs --------------------------------------------------------------------------------------
class _Row(BaseModel):
    name: str
    n: int = 1


def api_csv(foreign: str, _: Home) -> str:
    return output.csv_text(_Row, [_Row(name=foreign)])


def table_of(home: Home, key: str, columns: dict[str, list[Any]]) -> Lakehouse:
    lakehouse = Lakehouse()
    write_deltalake(lakehouse.tables.path(key), pa.table(columns), mode="overwrite")
    return lakehouse


def channel_csv(foreign: str, home: Home) -> str:
    lakehouse = table_of(
        home,
        "modeled/channel_reporting",
        {
            "channel_name": [surrogates_as_parquet_takes_them(foreign)], "model": ["ihc"],
            "date": [datetime(2024, 3, 1).date()], "cost": [-1.5], "conversions": [1.0],
            "revenue": [2.0], "cpo": [None], "roas": [0.5],
        },
    )  # fmt: skip
    file = home.root / "exports" / "channel_reporting.csv"
    assert write_csv(lakehouse.tables, "ihc", None, file) == 1
    return file.read_bytes().decode()


def training_csv(foreign: str, home: Home) -> str:
    table = journeys([1])
    name = surrogates_as_parquet_takes_them(foreign) or "-"
    file = home.root / "training.csv"
    export_training(table.set_column(0, "conv_id", pa.array([name])), file)
    return file.read_bytes().decode()


def shown_table(foreign: str, home: Home, monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    text = surrogates_as_parquet_takes_them(foreign)
    table_of(home, "raw/t", {"column": [text], "n": [1]})
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    console = shared.GuardedConsole(file=out, force_terminal=True, width=20_100)
    monkeypatch.setattr(show, "out", console)
    show.show("raw/t", where="", version=None, limit=5, csv="--csv" in options)
    return re.sub(r"(?m) +$", "", out.getvalue())


def dagster_preview(foreign: str, home: Home) -> str:
    text = surrogates_as_parquet_takes_them(foreign)
    lakehouse = table_of(home, "raw/t", {"column": [text], "n": [1]})
    return preview(
        lakehouse.tables,
        "raw/t",
        {"column": Column("string", "Text."), "n": Column("long", "Number.")},
    )


def markdown_names(foreign: str, _: Home) -> str:
    return foreign_text.markdown_table([foreign, "n"], [[foreign, 1], [None, foreign]])


def markdown_prose(foreign: str, _: Home) -> str:
    return f"Rows of {foreign_text.markdown_text(foreign)} end here."


def report_table(foreign: str, home: Home) -> str:
    frame = pd.DataFrame({"Name": [foreign], "n": [1]})
    return str(Report.open(home).table(frame).text)


def review_page(foreign: str, _: Home) -> str:
    from jinja2 import Environment

    pages = Environment(
        loader=DictLoader({"page": "<p title='{{ x }}'>{{ x }}</p>"}),
        autoescape=True,
        finalize=foreign_text.page_value,
    )
    return pages.get_template("page").render(x=foreign)


def report_in_slack(foreign: str, _: Home) -> str:
    figures = replace(
        FIGURES,
        title=foreign or "-",
        headline=[Figure(foreign, 1, 2, foreign)],
        table_headers=("Code", "Uses"),
        table_rows=[(foreign, 1)] * 9,
        notes=[foreign, foreign],
    )
    files = [(Path("report.html"), foreign)]
    link = "https://dmp.example/x"
    return sent(message_of(figures, link=link, files=files, image_alt=foreign))


def refused_report_in_slack(foreign: str, _: Home) -> str:
    return sent(message_of(replace(FIGURES, title=foreign, problem=f"failed: {foreign}")))


def alert_in_slack(foreign: str, home: Home) -> str:
    alert = Alert("run_failure", foreign, f"cause {foreign}", foreign, "1", "https://x.example/1")
    return sent(alert_message(alert, home.settings(), datetime(2024, 3, 1, tzinfo=UTC)))


def python_log(foreign: str, _: Home) -> str:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    logger = logging.getLogger("tests.foreign")
    logger.addHandler(handler)
    factory = logging.getLogRecordFactory()
    foreign_text.guard_logs()
    try:
        logger.warning("%s is kept", foreign)
        logger.warning(f"{foreign}")
    finally:
        logging.setLogRecordFactory(factory)
        logger.removeHandler(handler)
    return out.getvalue()


def service_log(foreign: str, _: Home) -> str:
    out = io.StringIO()
    before = structlog.get_config()
    try:
        serve.log_as_json(out)
        structlog.get_logger("tests").warning(foreign, why=foreign, seen={foreign: [foreign]})
    finally:
        structlog.configure(**before)
    return out.getvalue()


def error_on_the_command_line(foreign: str, _: Home, monkeypatch: pytest.MonkeyPatch) -> str:
    out = io.StringIO()
    console = shared.GuardedConsole(file=out, force_terminal=True, width=20_100)
    monkeypatch.setattr(shared, "err", console)
    with pytest.raises(typer.Exit), shared.explained():
        raise UserError(f"unknown {foreign}")
    return out.getvalue()


def names_in_a_terminal_table(foreign: str, _: Home) -> str:
    out = io.StringIO()
    table = Table("name", box=None)
    table.add_row(foreign_text.terminal_text(foreign))
    Console(file=out, force_terminal=True, width=20_100).print(table)
    return out.getvalue()


OUTPUTS: dict[str, tuple[Callable[..., str], Callable[[str], Any]]] = {
    "CSV of the API": (api_csv, read_csv),
    "exports/channel_reporting.csv": (channel_csv, read_csv),
    "training CSV of the IHC service": (training_csv, read_csv),
    "dmp show --csv": (lambda f, h, m: shown_table(f, h, m, "--csv"), read_csv),
    "dmp show": (shown_table, read_terminal),
    "names in a terminal's table": (names_in_a_terminal_table, read_terminal),
    "an error on the command line": (error_on_the_command_line, read_terminal),
    "preview in Dagster": (dagster_preview, read_markdown),
    "table in Markdown": (markdown_names, read_markdown),
    "prose in Markdown": (markdown_prose, read_markdown),
    "table of a report": (report_table, read_html),
    "page of the service": (review_page, read_html),
    "report in Slack": (report_in_slack, read_slack),
    "report in Slack without numbers": (refused_report_in_slack, read_slack),
    "alert in Slack": (alert_in_slack, read_slack),
    "log of Python": (python_log, read_log),
    "log of the service": (service_log, read_json_log),
    "HTTP header": (lambda f, _: foreign_text.header_value(f), read_header),
    "Content-Disposition": (lambda f, _: foreign_text.attachment(f), read_header),
}


SHAPES: dict[str, Any] = {}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_text_is_text_in_every_output(
    output: str, foreign: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read back, the output has the structure that it has with a plain word in its place."""
    monkeypatch.setenv("DMP_HOME", str(home.root))
    write, read = OUTPUTS[output]
    arguments: Sequence[Any] = (home, monkeypatch) if write.__code__.co_argcount > 2 else (home,)
    text = write(FOREIGN[foreign], *arguments)
    if output not in SHAPES:
        SHAPES[output] = read(write(PLAIN, *arguments))
    assert read(text) == SHAPES[output]
    if read not in (read_terminal, read_slack):
        assert not UNSEEN.search(text.replace("\r", ""))


@given(st.text(max_size=40))
def test_text_that_is_harmless_stays_as_it_is(text: str) -> None:
    if text.isprintable() and not set(text) & set("=+-@<>&*_~`\\|[]{}＝＋－＠\u180e\u2060"):
        for guard in (foreign_text.visible, foreign_text.csv_cell, foreign_text.slack_text):
            assert guard(text) == text


@pytest.mark.parametrize("number", ["-12.50", "-1", "-3e-05", "12", "0.5"])
def test_numbers_stay_numbers_in_a_spreadsheet(number: str) -> None:
    assert foreign_text.csv_cell(number) == number


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("report.csv", "report.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\y.csv", "y.csv"),
        ('a";b.csv', "a__b.csv"),
        ("", "download"),
        ("Größe.csv", "Gr__e.csv"),
    ],
)
def test_a_download_has_a_name_without_folders(name: str, plain: str) -> None:
    headers = Headers()
    headers["Content-Disposition"] = foreign_text.attachment(name)
    assert headers.get_content_disposition() == "attachment"
    assert f'filename="{plain}"' in headers["Content-Disposition"]


@given(st.text(max_size=200), st.integers(20, 100))
def test_what_is_cut_for_slack_cuts_through_no_entity(text: str, limit: int) -> None:
    shown = foreign_text.slack_text(text, limit)
    assert len(shown) <= limit
    assert not re.search(r"&(?!(amp|lt|gt);)", shown)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "", "http://[", "ftp://x/y", "//x"])
def test_only_addresses_of_the_web_become_links_in_slack(url: str) -> None:
    assert foreign_text.slack_link(url, "a|b>") == "a¦b&gt;"


def test_a_link_in_slack_cannot_be_left() -> None:
    link = foreign_text.slack_link("https://x.example/a|b>c?d=e&f=%20", "x")
    assert link == "<https://x.example/a%7Cb%3Ec?d=e&amp;f=%20|x>"
