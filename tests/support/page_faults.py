"""What every page of a report must have, whichever engine made it: one list for both."""

import re
from collections import Counter

from bs4 import BeautifulSoup, Tag

from dmp_assets.platform.reporting.document import Document

LEFT_OVER = (
    ("a fenced div", re.compile(r"^:::", re.MULTILINE)),
    ("a raw block", re.compile(r"\{=html\}")),
    ("a reference", re.compile(r"\?@|@(?:fig|tbl)-")),
    ("a placeholder", re.compile(r"DMPCELL")),
    ("a terminal code", re.compile(r"\x1b")),
    ("an object", re.compile(r"<[\w.]+ object at|<IPython|Html\(")),
    ("a shortcode", re.compile(r"\{\{<")),
    ("a straight quote", re.compile(r"""(?<=\w)'(?=\w)""")),
)


def faults(page: str, source: Document) -> list[str]:
    """What is wrong with the page; empty when nothing is."""
    soup = BeautifulSoup(page, "html.parser")
    return [
        *_frame(soup, source), *_closed(soup, page), *_headings(soup), *_numbers(soup, source),
        *_callouts(soup), *_tables(soup), *_text(soup),
    ]  # fmt: skip


def _frame(soup: BeautifulSoup, source: Document) -> list[str]:
    found = []
    mains = soup.select("body main.content#quarto-document-content")
    if len(mains) != 1:
        return [f"{len(mains)} frames"]
    main = mains[0]
    if len(main.select("header#title-block-header > h1.title")) != 1:
        found.append("no title block inside the frame")
    if source.front.get("subtitle") and not main.select("#title-block-header > p.subtitle"):
        found.append("no subtitle")
    for place in soup.select(".tile, .chart, table, figure, .callout, footer, h2"):
        if main not in place.parents:
            found.append(f"{place.name} outside the frame")
    if not main.select("footer.report-foot"):
        found.append("no footer inside the frame")
    if not soup.select('html[lang="en"]') or not soup.title or not soup.title.get_text():
        found.append("no language or title")
    if not soup.select('meta[name="referrer"][content="no-referrer"]'):
        found.append("no referrer policy")
    if not soup.select('link[rel="icon"][href^="data:"]'):
        found.append("no icon")
    if not soup.select('meta[name="viewport"]'):
        found.append("no viewport")
    if not soup.select('nav.report-nav a[href="index.html"]'):
        found.append("no way to the index")
    return found


def _closed(soup: BeautifulSoup, page: str) -> list[str]:
    """Nothing is asked for outside, and the chart library is there once, before what draws."""
    found = [
        f"asks for {tag.get('src')}" for tag in soup.select("script[src], img:not([src^=data])")
    ]
    found += [
        f"asks for {link.get('href')}"
        for link in soup.select("link[href]")
        if not str(link["href"]).startswith("data:")
    ]
    scripts = [script.get_text() for script in soup.select("script")]
    libraries = [at for at, text in enumerate(scripts) if "* plotly.js v" in text[:200]]
    draws = [at for at, text in enumerate(scripts) if "Plotly.newPlot(" in text[:2_000]]
    if len(libraries) > 1 or (draws and (not libraries or libraries[0] > draws[0])):
        found.append("the chart library is not there once and first")
    if soup.head and soup.head.select("script"):
        found.append("a script in the head")
    if "require.min.js" in page or "jquery.min.js" in page:
        found.append("require.js or jQuery")
    for chart in soup.select(".chart"):
        if not soup.select(f"script#{chart['id']}-spec"):
            found.append(f"{chart['id']} has no data")
    return found


def _classes(tag: Tag | None) -> list[str]:
    return [str(name) for name in tag.get("class") or ()] if tag else []


def _headings(soup: BeautifulSoup) -> list[str]:
    ids = Counter(str(tag["id"]) for tag in soup.select("[id]"))
    found = [f"id {name} {times} times" for name, times in ids.items() if times > 1]
    for heading in soup.select("main h2, main h3, main h4"):
        in_panel = any("panel" in _classes(p) for p in heading.parents)
        if not in_panel and not heading.get("id") and not _section_id(heading):
            found.append(f"heading {heading.get_text()!r} has no id")
    return found


def _section_id(heading: Tag) -> str:
    section = heading.parent
    return str(section.get("id", "")) if section and section.name == "section" else ""


def heading_ids(page: str) -> list[str]:
    """Ids of the headings of a page in order, those of their sections included."""
    soup = BeautifulSoup(page, "html.parser")
    every = soup.select("main h2, main h3, main h4")
    ids = [str(heading.get("id") or _section_id(heading)) for heading in every]
    return [name for name in ids if name]


def _numbers(soup: BeautifulSoup, source: Document) -> list[str]:
    """Figures and tables are numbered in order, have their caption, and references lead there."""
    found = []
    captions = [caption.get_text(" ", strip=True) for caption in soup.select("figcaption")]
    for kind in ("Figure", "Table"):
        said = [int(m[1]) for text in captions if (m := re.match(rf"{kind} (\d+):", text))]
        if said != sorted(set(said)):
            found.append(f"{kind}s are numbered {said}")
    labels = [str(c.options.get("label")) for c in source.cells]
    for figure in soup.select("figure.quarto-float"):
        own = figure.get("id") or (figure.parent.get("id") if figure.parent else None)
        if own not in labels or len(figure.select("figcaption")) != 1:
            found.append(f"figure {own} lacks its label or caption")
    for link in soup.select('a[href^="#"]'):
        if not soup.find(id=str(link["href"])[1:]):
            found.append(f"{link['href']} leads nowhere")
    return found


def _callouts(soup: BeautifulSoup) -> list[str]:
    found = ["a block quote"] if soup.select("blockquote") else []
    for callout in soup.select(".callout"):
        kinds = [name for name in _classes(callout) if name.startswith("callout-")]
        parts = [" ".join(_classes(part)) for part in callout.find_all(recursive=False)]
        if len(kinds) != 1 or parts != ["callout-header", "callout-body"]:
            found.append(f"callout {kinds} of {parts}")
    return found


def _tables(soup: BeautifulSoup) -> list[str]:
    found = []
    for table in soup.select("table.data"):
        if "table-scroll" not in _classes(table.parent):
            found.append("a table that does not scroll")
        heads = [head.get_text() for head in table.select("thead th")]
        for row in table.select("tbody tr"):
            if [cell.get("data-label") for cell in row.select("td")] != heads:
                found.append("cells that do not say their column")
                break
        links = table.parent.find_next_siblings("p", class_="csv") if table.parent else []
        if len(table.select("tbody tr")) > 3 and not (links and links[0].select("a[download]")):
            found.append("a table without its CSV")
    return found


def _text(soup: BeautifulSoup) -> list[str]:
    for tag in soup.select("script, style, code, pre, table, .tile"):  # what data says is its own
        tag.decompose()
    text = soup.get_text("\n")
    return [f"{what} is left: {match[0]!r}" for what, p in LEFT_OVER if (match := p.search(text))]
