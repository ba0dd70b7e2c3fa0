"""Markdown as Pandoc reads it, for the part of it that our reports use.

Headings get the ids that Pandoc gives them, so that a link to a place of a page works whichever
engine made it; quotes and dashes are set typographically; callouts become what `callouts.lua`
makes of them.
"""

import html
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dmp_assets.platform.reporting import document

if TYPE_CHECKING:
    from markdown_it.rules_core import StateCore

_ATTRIBUTES = re.compile(r"\s*\{((?:\s*(?:[#.][\w:.-]+|-|[\w-]+=\S+))+\s*)\}\s*$")
_DASHES = (("---", "—"), ("--", "–"), ("...", "…"))


class Markdown:
    """Renders the texts of one page; heading ids are unique among all of them."""

    def __init__(self) -> None:
        from markdown_it import MarkdownIt
        from mdit_py_plugins.footnote import footnote_plugin

        self._used: set[str] = set()
        parser = MarkdownIt("commonmark", {"html": True, "typographer": True})
        parser.enable(["table", "strikethrough", "smartquotes"]).use(footnote_plugin)
        parser.core.ruler.before("smartquotes", "dashes", _set_dashes)
        parser.core.ruler.push("heading_ids", self._name_headings)
        rules: Any = parser.renderer.rules  # type: ignore[attr-defined]  # its protocol has none
        fence = rules["fence"]

        def raw_or_code(tokens: Sequence[Any], at: int, options: Any, env: Any) -> str:
            if tokens[at].info.replace(" ", "") == "{=html}":
                return str(tokens[at].content)
            return str(fence(tokens, at, options, env))

        rules["fence"] = raw_or_code
        self._parser = parser

    def render(self, text: str) -> str:
        """Markdown with fenced divs and callouts, as HTML."""
        return self._blocks(iter(text.splitlines()))

    def inline(self, text: str) -> str:
        """One line of Markdown (a title, a caption), as HTML without a paragraph around it."""
        return str(self._parser.renderInline(text)).strip()

    def _blocks(self, lines: Iterator[str]) -> str:
        """Up to the end of the div that is open."""
        out: list[str] = []
        text: list[str] = []
        code = ""
        for line in lines:
            ticks = re.match(r"`{3,}", line)
            if not code:
                code = ticks[0] if ticks else ""
            elif ticks and not line.strip("` ") and len(ticks[0]) >= len(code):
                code = ""
            fence = None if code or ticks else document.FENCE.match(line)
            if not fence:
                text.append(line)
                continue
            out.append(self._parser.render("\n".join(text)))
            text = []
            if not fence.group(2):
                return "".join(out)
            out.append(self._div(fence.group(2), lines))
        return "".join(out) + str(self._parser.render("\n".join(text)))

    def _div(self, fence: str, lines: Iterator[str]) -> str:
        names, attributes = document.classes(fence)
        callout = next((name for name in names if name.startswith("callout-")), None)
        if callout:
            return self._callout(callout, attributes, lines)
        extra = "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items())
        return f'<div class="{" ".join(names)}"{extra}>{self._blocks(lines)}</div>'

    def _callout(self, name: str, attributes: dict[str, str], lines: Iterator[str]) -> str:
        """A callout; its title is the attribute, else a heading that begins it, else its kind."""
        kept = list(_inside(lines))
        title = attributes.get("title", "")
        start = next((at for at, line in enumerate(kept) if line.strip()), len(kept))
        if not title and start < len(kept) and re.match(r"#{1,6} ", kept[start]):
            title = _ATTRIBUTES.sub("", kept.pop(start).lstrip("#").strip())
        shown = self.inline(title) if title else name[8:].capitalize()
        body = f'<div class="callout-body">{self._blocks(iter(kept))}</div>'
        named = f' id="{html.escape(attributes["id"])}"' if "id" in attributes else ""
        if collapse := attributes.get("collapse"):
            is_open = " open" if collapse == "false" else ""
            return (
                f'<details{named} class="callout {name}"{is_open}>'
                f'<summary class="callout-header">{shown}</summary>{body}</details>'
            )
        return (
            f'<div{named} class="callout {name}"><div class="callout-header">{shown}</div>'
            f"{body}</div>"
        )

    def _name_headings(self, state: "StateCore") -> None:
        for at, token in enumerate(state.tokens):
            if token.type != "heading_open":
                continue
            inline = state.tokens[at + 1]
            own, names = _own_attributes(inline)
            slug = own or self._unused(slug_of(_text_of(inline)))
            self._used.add(slug)
            token.attrSet("id", slug)
            if names:
                token.attrSet("class", " ".join(names))

    def _unused(self, slug: str) -> str:
        number, candidate = 0, slug
        while candidate in self._used:
            number += 1
            candidate = f"{slug}-{number}"
        return candidate


def slug_of(heading: str) -> str:
    """The id that Pandoc gives a heading of this text."""
    kept = "".join(c for c in heading.lower() if c.isspace() or c.isalnum() or c in "_-.")
    slug = "-".join(kept.split())
    while slug and not slug[0].isalpha():
        slug = slug[1:]
    return slug or "section"


def _inside(lines: Iterator[str]) -> Iterator[str]:
    """The lines of the div that is open, without the one that closes it."""
    depth, code = 1, False
    for line in lines:
        code ^= line.startswith("```")
        if not code and (fence := document.FENCE.match(line)):
            depth += 1 if fence.group(2) else -1
            if depth == 0:
                return
        yield line


def _own_attributes(inline: Any) -> tuple[str, list[str]]:
    """Id and classes that a heading gives itself, `## Costs {#costs .wide}`; taken off its text."""
    last: Any = inline.children[-1] if inline.children else None
    match = _ATTRIBUTES.search(last.content) if last and last.type == "text" else None
    if not match:
        return "", []
    words = match.group(1).split()
    last.content = last.content[: match.start()]
    ids = [word[1:] for word in words if word.startswith("#")]
    return (ids[0] if ids else ""), [word[1:] for word in words if word.startswith(".")]


def _text_of(inline: Any) -> str:
    return "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for child in inline.children
        if child.type in ("text", "code_inline", "softbreak", "hardbreak")
    )


def _set_dashes(state: "StateCore") -> None:
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "text":
                for typed, meant in _DASHES:
                    child.content = child.content.replace(typed, meant)
