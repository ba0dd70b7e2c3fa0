"""The documentation as tests see it: pages, fenced blocks, links, inline code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The page's fenced blocks, in order."""
    tokens = MarkdownIt().parse(page.read_text())
    return [Block(t.info.strip(), t.content) for t in tokens if t.type == "fence"]


def files(page: Path) -> list[tuple[str, str]]:
    """Blocks whose first line is `# path/of/file`: (path, text), in order."""
    found = []
    for block in blocks(page):
        first, _, rest = block.text.partition("\n")
        named = re.fullmatch(r"# ([\w./-]+\.(?:py|qmd|html))", first)
        if named:
            found.append((named[1], rest))
    return found


def commands(page: Path) -> Iterator[str]:
    """Lines of shell blocks, and inline code that starts with `dmp` or `make`.

    Blocks of `bash` are left out: they are run as they stand (tests/integration/test_service.py).
    """
    for block in blocks(page):
        if block.language == "sh":
            yield from (line.strip() for line in block.text.splitlines() if line.strip())
    for text in inline(page):
        if re.match(r"(?:\.venv/bin/)?(?:dmp|make)\s", text):
            yield text


def inline(page: Path) -> list[str]:
    """Inline code outside fenced blocks."""
    return _INLINE.findall(_prose(page))


def links(page: Path) -> list[str]:
    """Targets of links and images outside fenced blocks."""
    return _LINK.findall(_prose(page))


def _prose(page: Path) -> str:
    return re.sub(r"(?ms)^(`{3,}).*?^\1`*$", "", page.read_text())
