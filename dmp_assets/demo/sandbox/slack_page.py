"""What people would see in Slack, as a page: channels, messages, images, files and threads.

Everything that was posted is foreign text here; the page needs no script.
"""

import html
import json
import mimetypes
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dmp_assets.platform.text.foreign_text import html_text, visible

IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif"})
Json = dict[str, Any]

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:46rem;padding:1rem;color:#1d1c1d;
background:#fff;overflow-wrap:anywhere}
h2{border-bottom:1px solid #ddd;padding-bottom:.3rem}nav a{margin-right:1rem}
img{max-width:100%;border:1px solid #ddd;border-radius:8px}pre{background:#f6f6f6;
border:1px solid #ddd;border-radius:6px;padding:.5rem;overflow-x:auto}.message{margin:1rem 0}
.who{font-weight:700}.time,.context,.note{color:#616061;font-size:.85em}
.fields{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.6rem}
.thread{border-left:3px solid #ddd;margin:.6rem 0 0 .4rem;padding-left:.8rem}
.file{border:1px solid #ddd;border-radius:8px;padding:.4rem .7rem;display:inline-block;
margin:.2rem 0}@media(prefers-color-scheme:dark){body{color:#e6ebf0;background:#161c22}
a{color:#79b0ee}pre{background:#1e262e}.time,.context,.note{color:#a3b0bd}
h2,img,pre,.thread,.file{border-color:#4a5866}}h3{margin:.4rem 0}p{margin:.35rem 0}
"""


def document(body: str) -> str:
    """A whole page of this body."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>Slack of the sandbox</title><style>{STYLE}</style></head>"
        f"<body>{body}</body></html>"
    )


def draw(
    channels: Sequence[Json],
    messages: Sequence[Json],
    files: Mapping[str, Json],
    path: Callable[[Json], str],
) -> str:
    """The channels with their messages, oldest first; `path` gives the address of a file."""
    page = _Page(files, path)
    out = [
        "<h1>Slack</h1>",
        "<p class=note>The sandbox’s stand-in for Slack: what was posted, as people would see it.",
        "</p><nav>",
    ]
    here = {c["id"]: [m for m in messages if m["channel"] == c["id"]] for c in channels}
    for channel in channels:
        name = html_text(channel["name"])
        count = len(here[channel["id"]])
        out.append(f"<a href='#{html_text(channel['id'])}'># {name} ({count})</a>")
    out.append("</nav>")
    for channel in channels:
        out.append(f"<h2 id='{html_text(channel['id'])}'># {html_text(channel['name'])}</h2>")
        if not here[channel["id"]]:
            out.append("<p class=context>Nothing was sent here.</p>")
        for message in here[channel["id"]]:
            if message.get("thread_ts", message["ts"]) == message["ts"]:
                out.extend(page.thread(message, here[channel["id"]]))
            elif message.get("reply_broadcast"):
                out.append(page.article(message, note="replied in a thread"))
    return "".join(out)


class _Page:
    def __init__(self, files: Mapping[str, Json], path: Callable[[Json], str]) -> None:
        self.files, self._path = files, path

    def thread(self, message: Json, everything: Sequence[Json]) -> Iterator[str]:
        yield self.article(message)
        ts = message["ts"]
        replies = [m for m in everything if m.get("thread_ts") == ts and m["ts"] != ts]
        if replies:
            yield "<div class=thread>"
            yield from (self.article(reply) for reply in replies)
            yield "</div>"

    def article(self, message: Json, note: str = "") -> str:
        when = datetime.fromtimestamp(float(message["ts"]), UTC)
        edited = " (edited)" if "edited" in message else ""
        out = [
            f"<div class=message><span class=who>{html_text(message.get('username', '?'))}</span>",
            f" <span class=time>{when:%Y-%m-%d %H:%M} UTC{edited}</span>",
        ]
        if note:
            out.append(f"<p class=note>{html_text(note)}</p>")
        blocks = message.get("blocks")
        out.extend(self._block(block) for block in blocks or [])
        if not blocks and message.get("text"):
            out.append(f"<p>{mrkdwn(str(message['text']))}</p>")
        out.extend(self._file(self.files[file["id"]]) for file in message.get("files", []))
        return "".join(out) + "</div>"

    def _file(self, file: Json) -> str:
        if mimetypes.guess_type(file["name"])[0] in IMAGE_TYPES:
            return self._image(file, file["alt"] or file["title"])
        link = (
            f"<a download='{html_text(file['name'])}' href='{html_text(self._path(file))}'>"
            f"{html_text(file['title'])}</a>"
        )
        return f"<div class=file>{link} · {max(1, file['size'] // 1024):,} kB</div>"

    def _block(self, block: Json) -> str:
        kind = block["type"]
        if kind == "header":
            return f"<h3>{html_text(block['text']['text'])}</h3>"
        if kind == "divider":
            return "<hr>"
        if kind == "context":
            texts = [_text(e) for e in block["elements"] if "text" in e]
            return f"<p class=context>{' · '.join(texts)}</p>"
        if kind == "image":
            if "slack_file" in block:
                return self._image(self.files[block["slack_file"]["id"]], block["alt_text"])
            return f"<p>{html_text(block['image_url'])}</p>"
        if kind == "section":
            body = f"<p>{_text(block['text'])}</p>" if "text" in block else ""
            fields = "".join(f"<div>{_text(field)}</div>" for field in block.get("fields", []))
            return body + (f"<div class=fields>{fields}</div>" if fields else "")
        if kind == "actions":
            buttons = (_button(element) for element in block["elements"])
            return f"<p>{' · '.join(buttons)}</p>"
        return f"<pre>{html_text(json.dumps(block))}</pre>"

    def _image(self, file: Json, alt: str) -> str:
        return f"<p><img src='{html_text(self._path(file))}' alt='{html_text(alt)}'></p>"


def _button(element: Json) -> str:
    text = html_text(element["text"]["text"])
    url = str(element.get("url", ""))
    if not re.match(r"https?://", url):
        return text
    return f"<a rel='noreferrer' href='{html_text(url)}'>{text}</a>"


def _text(element: Json) -> str:
    plain = element["type"] == "plain_text"
    return html_text(element["text"]) if plain else mrkdwn(element["text"])


def mrkdwn(text: str) -> str:
    """Slack's mark-up as HTML: bold, italics, code and links."""
    pieces = re.split(r"```(.*?)```", text, flags=re.S)
    out = []
    for i, piece in enumerate(pieces):
        if i % 2:
            out.append(f"<pre>{html_text(html.unescape(piece.strip(chr(10))))}</pre>")
            continue
        for j, part in enumerate(re.split(r"<([^<>]*)>", piece)):
            out.append(_reference(part) if j % 2 else _emphasis(part))
    return "".join(out)


def _reference(inside: str) -> str:
    """What stands between `<` and `>`: a link, or a mention."""
    address, _, text = inside.partition("|")
    shown = html_text(html.unescape(text or address))
    if re.match(r"https?://", address):
        return f"<a rel='noreferrer' href='{html_text(html.unescape(address))}'>{shown}</a>"
    return f"<mark>{shown}</mark>"


def _emphasis(piece: str) -> str:
    """Escaped text with bold, italics and code; Slack's entities are the only ones."""
    piece = html.escape(visible(html.unescape(piece), lines=True), quote=False)
    piece = re.sub(r"(?<!\w)\*(.+?)\*(?!\w)", r"<b>\1</b>", piece)
    piece = re.sub(r"(?<!\w)_(.+?)_(?!\w)", r"<i>\1</i>", piece)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", piece).replace("\n", "<br>")
