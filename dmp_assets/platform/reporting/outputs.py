"""What a cell shows, in the form that the engine of the page takes.

The Quarto CLI looks at MIME types. For a cell output of type `text/html` it puts jQuery and
require.js of a CDN into the page (under require.js Plotly registers as a module and defines no
global), and from 1.8.12 on it moves an output with Plotly's licence header into the head. So under
Quarto every output is `text/markdown` that holds one raw block of HTML and nothing else; images
stay images, because Quarto sets their alternative text.
"""

import html
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from dmp_assets.platform.text.foreign_text import without_colours

UNDER_QUARTO = "QUARTO_FIG_WIDTH"
"""Set by Quarto for every kernel, whatever the format."""
MARKDOWN, HTML, PLAIN = "text/markdown", "text/html", "text/plain"
_IMAGES = ("image/svg+xml", "image/png", "image/jpeg")


def under_quarto() -> bool:
    """Whether the Quarto CLI runs the cells of this process."""
    return UNDER_QUARTO in os.environ


def raw_block(text: str) -> str:
    """Markdown of one block that Pandoc hands through as HTML, whatever lies in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"\n{fence}{{=html}}\n{text}\n{fence}\n"


def as_json(data: Any) -> str:
    """JSON that can stand inside a `<script>`: no `<` is left that could end or open one."""
    return safe_json(json.dumps(data, separators=(",", ":"), default=str))


def safe_json(text: str) -> str:
    """JSON text with `<`, which only strings of it can hold, written as an escape."""
    return text.replace("<", "\\u003c")


def for_quarto(data: Mapping[str, Any]) -> dict[str, Any]:
    """The MIME bundle of a value as Quarto is to see it: one type."""
    if HTML in data:
        return {MARKDOWN: raw_block(_joined(data[HTML]))}
    if "application/javascript" in data:
        return {MARKDOWN: raw_block(f"<script>{_joined(data['application/javascript'])}</script>")}
    for kind in (MARKDOWN, *_IMAGES):
        if kind in data:
            return {kind: data[kind]}
    text = without_colours(_joined(data.get(PLAIN, "")))
    return {MARKDOWN: raw_block(f"<pre>{html.escape(text)}</pre>")} if data else {}


def _joined(value: Any) -> str:
    return value if isinstance(value, str) else "".join(value)


def adapt(shell: Any = None) -> None:
    """Under Quarto, let every value that this kernel shows pass through `for_quarto`.

    Covers the value of a cell's last line, `display`, and what libraries publish themselves.
    Outside of Quarto or of a kernel nothing happens; a second call neither.
    """
    if not under_quarto():
        return
    from IPython.core.getipython import get_ipython

    shell = shell or get_ipython()
    if shell is None or getattr(shell, "_dmp_adapted", False):
        return
    shell._dmp_adapted = True
    formatted, published = shell.display_formatter.format, shell.display_pub.publish

    def format_value(*args: Any, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = formatted(*args, **options)
        changed = for_quarto(data)
        return changed, {kind: metadata[kind] for kind in changed if kind in metadata}

    def publish(data: dict[str, Any], metadata: Any = None, **options: Any) -> None:
        changed = for_quarto(data)
        kept = {kind: (metadata or {})[kind] for kind in changed if kind in (metadata or {})}
        published(data=changed, metadata=kept, **options)

    shell.display_formatter.format = format_value
    shell.display_pub.publish = publish
