"""Reading a `.qmd`: front matter, Markdown and Python cells, and what our reports use of Quarto.

The subset: front matter, cells with `#|` options, callouts, fenced divs, cross-references to
figures and tables. What Quarto would refuse of it is found by `quarto_problems.py`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from dmp_assets.platform.base.errors import UserError

FRAME = MappingProxyType(
    {
        "include-in-header": '<meta name="referrer" content="no-referrer">\n'
        '<link rel="icon" href="data:,">',
        "include-before-body": '<div id="quarto-content" class="page-columns">\n'
        '<main class="content" id="quarto-document-content">',
        "include-after-body": "</main>\n</div>",
    }
)
"""What stands around a page whose project (`_quarto.yml`) says nothing of it."""
REFERENCE = re.compile(r"(?<![\w\[])@((?:fig|tbl)-[A-Za-z0-9-]+)")
FENCE = re.compile(r"^(:{3,})\s*(\{[^}]*\}|[\w-]+)?\s*$")
_CELL = re.compile(r"^```\{python\}\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_FRONT = re.compile(r"\A---\n(.*?)^---[ \t]*$\n?", re.MULTILINE | re.DOTALL)


class DocumentError(UserError):
    """A `.qmd` that cannot be read; the message names the file and what is wrong."""


@dataclass(frozen=True)
class Cell:
    """One Python cell: its code without the `#|` lines, and those options."""

    number: int
    code: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The label, else the place in the document."""
        return str(self.options.get("label") or f"cell {self.number}")

    @property
    def is_parameters(self) -> bool:
        return "parameters" in (self.options.get("tags") or [])


@dataclass(frozen=True)
class Document:
    """A parsed report: front matter, the project's defaults (`_quarto.yml`), texts and cells."""

    path: Path
    front: dict[str, Any]
    parts: tuple[str | Cell, ...]
    project: dict[str, Any] = field(default_factory=dict)

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(part for part in self.parts if isinstance(part, Cell))

    def execution(self, cell: Cell, option: str) -> Any:
        """An option of a cell: its own, else the document's, else the project's, else true."""
        for options in (cell.options, self.front.get("execute"), self.project.get("execute")):
            if options and option in options:
                return options[option]
        return True

    def included(self, where: str) -> str:
        """The text of `include-in-header`, `include-before-body` or `include-after-body`.

        The project's comes first, then the document's own; a project that says nothing of it gets
        the usual frame. Raises DocumentError for a file that is not there.
        """
        found: list[str] = []
        for options in (self.project, self.front):
            every = options.get("format")
            of_html = every.get("html") if isinstance(every, dict) else None
            for place in (of_html if isinstance(of_html, dict) else {}, options):
                given = place.get(where)
                for one in given if isinstance(given, list) else [given] if given else []:
                    found.append(self._included(one))
        return "\n".join(text.strip() for text in found) if found else FRAME.get(where, "")

    def _included(self, one: Any) -> str:
        if isinstance(one, dict) and "text" in one:
            return str(one["text"])
        name = str(one["file"] if isinstance(one, dict) else one)
        try:
            return (self.path.parent / name).read_text()
        except FileNotFoundError as error:
            raise DocumentError(f"{self.path.name} includes {name}, which is not there") from error

    @property
    def markdown(self) -> str:
        """The Markdown alone, cells left out."""
        return "\n".join(part for part in self.parts if isinstance(part, str))


def read(path: Path) -> Document:
    """Parse a `.qmd`; raises DocumentError for a missing file or unreadable YAML."""
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise DocumentError(f"there is no report {path}") from error
    match = _FRONT.match(text)
    if not match:
        raise DocumentError(f"{path.name} does not begin with front matter (---)")
    front = _yaml(match.group(1), f"{path.name}: front matter")
    shared = path.parent / "_quarto.yml"
    project = _yaml(shared.read_text(), shared.name) if shared.exists() else {}
    return Document(path, front, tuple(_parts(text[match.end() :], path.name)), project)


def _parts(body: str, name: str) -> Iterator[str | Cell]:
    at = 0
    for number, match in enumerate(_CELL.finditer(body), start=1):
        yield body[at : match.start()]
        yield _cell(match.group(1), number, name)
        at = match.end()
    yield body[at:]


def _cell(source: str, number: int, name: str) -> Cell:
    lines = source.splitlines()
    split = next((i for i, line in enumerate(lines) if not line.startswith("#|")), len(lines))
    options = _yaml("\n".join(line[2:] for line in lines[:split]), f"{name}: cell {number}")
    return Cell(number, "\n".join(lines[split:]), options)


def _yaml(text: str, where: str) -> dict[str, Any]:
    try:
        value = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise DocumentError(f"{where}: {error}") from error
    if not isinstance(value, dict):
        raise DocumentError(f"{where}: expected name: value lines")
    return value


def classes(fence: str) -> tuple[list[str], dict[str, str]]:
    """Classes and attributes of a div's fence, `{.callout-note title="Why"}`."""
    if not fence.startswith("{"):
        return [fence], {}
    pairs = re.findall(r'([\w-]+)="([^"]*)"', fence)
    plain = re.sub(r'[\w-]+="[^"]*"', "", fence.strip("{}"))
    names = [word[1:] for word in plain.split() if word.startswith(".")]
    ids = [("id", word[1:]) for word in plain.split() if word.startswith("#")]
    return names, dict(pairs + ids)
