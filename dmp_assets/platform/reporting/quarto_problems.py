"""What Quarto would refuse of a report, or not resolve, by the subset that our reports use."""

import re

from dmp_assets.platform.reporting.document import FENCE, REFERENCE, Document, classes
from dmp_assets.platform.reporting.markdown import Markdown

FRONT_KEYS = frozenset(
    {"title", "subtitle", "description", "author", "date", "lang", "format", "jupyter", "execute",
     "params", "toc", "filters", "include-in-header", "include-before-body", "include-after-body"}
)  # fmt: skip
CELL_OPTIONS = frozenset(
    {"label", "fig-cap", "tbl-cap", "fig-alt", "echo", "output", "include", "warning", "tags"}
)
CALLOUTS = frozenset({"note", "tip", "warning", "important", "caution"})


def problems(document: Document) -> list[str]:
    """What Quarto would refuse or leave unresolved; empty for a valid report."""
    found = [f"unknown front matter {key!r}" for key in document.front.keys() - FRONT_KEYS]
    if not document.front.get("title"):
        found.append("the front matter has no title")
    labels: list[str] = []
    for cell in document.cells:
        found += [f"{cell.name}: unknown option {o!r}" for o in cell.options.keys() - CELL_OPTIONS]
        label = cell.options.get("label")
        labels += [label] if label else []
        for kind, caption in (("fig", "fig-cap"), ("tbl", "tbl-cap")):
            if caption in cell.options and not str(label).startswith(f"{kind}-"):
                found.append(f"{cell.name}: {caption} needs a label that begins with {kind}-")
    found += [f"label {name!r} is used twice" for name in set(labels) if labels.count(name) > 1]
    ids = heading_ids(document)
    found += [f"label {name!r} is the id of a heading, too" for name in labels if name in ids]
    if sum(cell.is_parameters for cell in document.cells) > 1:
        found.append("more than one cell is tagged parameters")
    for target in REFERENCE.findall(document.markdown):
        if target not in labels:
            found.append(f"@{target} refers to nothing")
    return found + _unbalanced(document.markdown)


def heading_ids(document: Document) -> list[str]:
    """The ids that Pandoc gives the document's headings, in order."""
    text = document.markdown
    return re.findall(r'<h[1-6] id="([^"]*)"', Markdown().render(text)) if text.strip() else []


def _unbalanced(markdown: str) -> list[str]:
    found, depth = [], 0
    for line in markdown.splitlines():
        if match := FENCE.match(line):
            if match.group(2):
                depth += 1
                names, _ = classes(match.group(2))
                wrong = [n for n in names if n.startswith("callout-") and n[8:] not in CALLOUTS]
                found += [f"unknown callout {name!r}" for name in wrong]
            else:
                depth -= 1
            if depth < 0:
                return [*found, "a div is closed that was not opened"]
    return [*found, "a div is not closed"] if depth else found
