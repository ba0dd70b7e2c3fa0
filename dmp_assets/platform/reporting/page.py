"""From a report's texts and the outputs of its cells to one HTML page, without the Quarto CLI."""

import base64
import html
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from dmp_assets.platform.reporting import document
from dmp_assets.platform.reporting.document import Cell, Document
from dmp_assets.platform.reporting.markdown import Markdown
from dmp_assets.platform.text.foreign_text import without_colours

_PLACE = "DMPCELL{}END"
_KINDS = {"fig": "Figure", "tbl": "Table"}


def page(source: Document, outputs: Mapping[int, list[Any]], css: str) -> str:
    """The whole HTML page: nothing in it is loaded from anywhere.

    `outputs` are those of the cells by number, as nbformat has them.
    """
    markdown = Markdown()
    numbers = _numbered(source)
    lines: list[str] = []
    shown: list[str] = []

    def place(text: str) -> str:
        shown.append(text)
        return f"\n\n{_PLACE.format(len(shown) - 1)}\n\n"

    for part in source.parts:
        if isinstance(part, str):
            lines.append(part)
            continue
        made = outputs.get(part.number, [])
        if source.execution(part, "output") == "asis":
            if source.execution(part, "include") is not False:
                lines += [_as_text(output, place) for output in made]
        else:
            lines.append(place(_cell_html(source, part, made, numbers, markdown)))
    body = markdown.render(_referenced("\n".join(lines), numbers))
    body = re.sub(
        rf"<p>{_PLACE.format('([0-9]+)')}</p>", lambda match: shown[int(match.group(1))], body
    )
    template = Template((Path(__file__).parent / "page.html").read_text())
    title = str(source.front.get("title", source.path.stem))
    subtitle = str(source.front.get("subtitle") or "")
    lang = source.front.get("lang") or source.project.get("lang") or "en"
    return template.substitute(
        lang=html.escape(str(lang)),
        page_title=html.escape(re.sub(r"<[^>]*>", "", html.unescape(markdown.inline(title)))),
        title=markdown.inline(title),
        subtitle=f'<p class="subtitle">{markdown.inline(subtitle)}</p>' if subtitle else "",
        head=source.included("include-in-header"),
        before=source.included("include-before-body"),
        after=source.included("include-after-body"),
        css=css,
        body=body,
    )


def _numbered(source: Document) -> dict[str, str]:
    """Label → `Figure 2`, by order of appearance."""
    counts = dict.fromkeys(_KINDS, 0)
    numbers = {}
    for cell in source.cells:
        label = str(cell.options.get("label", ""))
        kind = label.partition("-")[0]
        if kind in _KINDS and f"{kind}-cap" in cell.options:
            counts[kind] += 1
            numbers[label] = f"{_KINDS[kind]} {counts[kind]}"
    return numbers


def _referenced(text: str, numbers: Mapping[str, str]) -> str:
    def link(match: re.Match[str]) -> str:
        label = match.group(1)
        return f"[{numbers[label]}](#{label})" if label in numbers else f"**?@{label}**"

    return document.REFERENCE.sub(link, text)


def _cell_html(
    source: Document,
    cell: Cell,
    outputs: list[Any],
    numbers: Mapping[str, str],
    markdown: Markdown,
) -> str:
    if source.execution(cell, "include") is False:
        return ""
    code = ""
    if source.execution(cell, "echo") is not False and cell.code.strip():
        code = f'<pre class="sourceCode"><code>{html.escape(cell.code)}</code></pre>'
    if source.execution(cell, "output") is False:
        return code
    warn = source.execution(cell, "warning") is not False
    alt = str(cell.options.get("fig-alt", ""))
    shown = "".join(_output(output, markdown, warn=warn, alt=alt) for output in outputs)
    label = str(cell.options.get("label", ""))
    if label in numbers and shown:
        kind = label.partition("-")[0]
        caption = markdown.inline(str(cell.options[f"{kind}-cap"]))
        caption = f"<figcaption>{numbers[label]}: {caption}</figcaption>"
        inner = caption + shown if kind == "tbl" else shown + caption
        return f'{code}<figure id="{label}" class="quarto-float">{inner}</figure>'
    return code + (f'<div class="cell-output">{shown}</div>' if shown else "")


def _as_text(output: Any, place: Any) -> str:
    """One output of a cell that is Markdown itself (`output: asis`)."""
    if output["output_type"] == "stream":
        return f"\n{output['text']}\n" if output["name"] == "stdout" else ""
    data = output.get("data", {})
    if "text/html" in data:
        return str(place(data["text/html"]))
    return f"\n{data.get('text/markdown') or ''}\n"


def _output(output: Any, markdown: Markdown, *, warn: bool, alt: str) -> str:
    if output["output_type"] == "stream":
        if output["name"] == "stderr" and not warn:
            return ""
        return f"<pre>{html.escape(without_colours(output['text']))}</pre>"
    data = output.get("data", {})
    if "text/html" in data:
        return str(data["text/html"])
    if "text/markdown" in data:
        return markdown.render(data["text/markdown"])
    if "image/svg+xml" in data:
        return str(data["image/svg+xml"])
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            encoded = base64.b64encode(base64.b64decode(data[kind])).decode()
            return f'<img alt="{html.escape(alt)}" src="data:{kind};base64,{encoded}">'
    return f"<pre>{html.escape(without_colours(str(data.get('text/plain', ''))))}</pre>"
