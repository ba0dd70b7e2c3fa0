"""What Quarto would make of a report, without its CLI: cells run as under it, then Pandoc.

The cells' outputs become the Markdown that Quarto writes of a notebook; Pandoc renders it with the
front matter, the includes and the filter of `_quarto.yml`. Numbers of figures and tables, which
are Quarto's own filters, are written here.
"""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pypandoc
import yaml

from dmp_assets.platform.reporting import document
from dmp_assets.platform.reporting.document import Cell, Document

KINDS = {"fig": "Figure", "tbl": "Table"}
PRIORITY = (
    "application/javascript", "text/html", "text/markdown", "image/svg+xml", "image/png",
    "text/plain",
)  # fmt: skip


def pandoc(text: str, *options: str, cwd: Path | None = None) -> str:
    """What Pandoc makes of the text; its warnings fail."""
    done = subprocess.run(
        [pypandoc.get_pandoc_path(), *options],
        input=text, capture_output=True, text=True, cwd=cwd, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def page(source: Document, outputs: Mapping[int, list[Any]], folder: Path, scratch: Path) -> str:
    """The HTML page of a report in `folder` whose cells gave `outputs`."""
    project = yaml.safe_load((folder / "_quarto.yml").read_text())
    html = project["format"]["html"]
    options = [
        "--from=markdown", "--to=html5", "--standalone", "--section-divs", "--wrap=none",
        f"--css={html['css']}", f"--metadata=lang:{project['lang']}",
        "--variable=document-css:false",
    ]  # fmt: skip
    if html["embed-resources"]:
        options.append("--embed-resources")
    for number, (where, text) in enumerate(
        (place, included["text"])
        for place in ("include-in-header", "include-before-body", "include-after-body")
        for included in html[place]
    ):
        path = scratch / f"include-{number}.html"
        path.write_text(text)
        options.append(f"--{where}={path}")
    for one in project["filters"]:
        assert one["at"] == "pre-ast"
        options.append(f"--lua-filter={folder / one['path']}")
    return pandoc(markdown(source, outputs), *options, cwd=folder)


def markdown(source: Document, outputs: Mapping[int, list[Any]]) -> str:
    """The Markdown of the document with its cells replaced by their outputs."""
    counts = dict.fromkeys(KINDS, 0)
    numbers: dict[str, str] = {}
    parts: list[str] = []
    for part in source.parts:
        if isinstance(part, Cell):
            kind = str(part.options.get("label", "")).partition("-")[0]
            if kind in KINDS and f"{kind}-cap" in part.options:
                counts[kind] += 1
                numbers[part.options["label"]] = f"{KINDS[kind]} {counts[kind]}"
            parts.append(_cell(source, part, outputs[part.number], numbers))
        else:
            parts.append(part)
    text = document.REFERENCE.sub(
        lambda match: f"[{numbers[match[1]]}](#{match[1]})" if match[1] in numbers else match[0],
        "\n".join(parts),
    )
    return f"---\n{yaml.safe_dump(source.front)}---\n\n{text}"


def _cell(source: Document, cell: Cell, outputs: list[Any], numbers: Mapping[str, str]) -> str:
    if source.execution(cell, "include") is False:
        return ""
    warn = source.execution(cell, "warning") is not False
    outputs = [o for o in outputs if warn or o.get("name") != "stderr"]
    as_is = source.execution(cell, "output") == "asis"
    shown = "".join(_output(output, as_is=as_is) for output in outputs)
    label = str(cell.options.get("label", ""))
    if as_is:
        return f"\n::: {{#{label} .cell}}\n{shown}\n:::\n"
    if label in numbers and shown:
        kind = label.partition("-")[0]
        caption = f"{numbers[label]}: {cell.options[f'{kind}-cap']}"
        named = _raw("<figcaption>") + f"\n{caption}\n" + _raw("</figcaption>")
        inner = _raw("<div>") + shown + _raw("</div>")
        both = named + inner if kind == "tbl" else inner + named
        start = f'<div id="{label}" class="cell quarto-float"><figure class="quarto-float figure">'
        return _raw(start) + both + _raw("</figure></div>")
    return f"\n::: {{.cell}}\n{shown}\n:::\n" if shown else ""


def _output(output: Any, *, as_is: bool) -> str:
    if output["output_type"] == "stream":
        return f"\n{output['text']}\n" if as_is else f"\n```\n{output['text']}\n```\n"
    kind = next(kind for kind in PRIORITY if kind in output["data"])
    assert kind == "text/markdown", kind
    text = output["data"][kind]
    if as_is:
        return f"\n{text}\n"
    return f"\n::: {{.cell-output .cell-output-display .cell-output-markdown}}\n{text}\n:::\n"


def _raw(text: str) -> str:
    return f"\n```{{=html}}\n{text}\n```\n"


def is_one_raw_block(text: str) -> bool:
    """Whether the Markdown is a raw block of HTML and nothing else."""
    match = re.fullmatch(r"\s*(`{3,})\{=html\}\n(.*)\n\1\s*", text, re.DOTALL)
    return match is not None and not re.search(rf"^{match[1]}", match[2], re.MULTILINE)
