"""A frame as a table of a page: numbers to the right, cards on a phone, and the same as CSV."""

import base64
import html
import re
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from dmp_assets.platform.text.foreign_text import csv_text

_NUMBER = re.compile(r"—|[-+±−]? ?[\d.,]+( ?%)?")
_SHORT = 16
"""Characters of a value up to which a column keeps its values on one line."""
_NARROW = 3
"""Columns of a table that a phone can show."""
_FEW = 3
"""Rows up to which a table is its own copy: nobody takes it as a file."""


def drawn(
    frame: pd.DataFrame, plain: Callable[[Any], str], marked: Callable[[Any], str], *, file: str
) -> str:
    """The frame as HTML. `plain` says a value as text, `marked` as HTML.

    On a phone the rows of a table that is wide or wordy become cards; any other scrolls. Below a
    table of more than a few rows stands a link to it as CSV, which needs no server and no script.
    `file` is the file's name; the box is called after it.
    """
    names = [html.escape(str(name)) for name in frame.columns]
    cells = [list(row) for row in frame.itertuples(index=False, name=None)]
    rows = [[plain(value) for value in row] for row in cells]
    kinds = [_kind(frame.iloc[:, at], [row[at] for row in rows]) for at in range(len(names))]
    as_cards = len(names) > _NARROW or (len(names) == _NARROW and "words" in kinds)
    head = "".join(
        f'<th scope="col" class="{kind}">{name}</th>'
        for kind, name in zip(kinds, names, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}" data-label="{name}">{marked(value)}</td>'
            for kind, name, value in zip(kinds, names, row, strict=True)
        )
        + "</tr>"
        for row in cells
    )
    link = _csv_link([str(name) for name in frame.columns], rows, kinds, file)
    return (
        f'<div class="table-scroll{" as-cards" if as_cards else ""}" id="{file}-data" tabindex="0"'
        f' role="region" aria-label="Table: {", ".join(names)}"><table class="data">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"{link if len(rows) > _FEW else ''}"
    )


def _kind(column: pd.Series, texts: Sequence[str]) -> str:
    if pd.api.types.is_numeric_dtype(column) or all(_NUMBER.fullmatch(text) for text in texts):
        return "number"
    return "short" if all(len(text) <= _SHORT for text in texts) else "words"


def _csv_link(
    names: Sequence[str], rows: Sequence[Sequence[str]], kinds: Sequence[str], file: str
) -> str:
    """The table as a file in the link itself; numbers as programs read them, unknown is empty."""
    told = [
        [
            _for_programs(text) if kind == "number" else text
            for kind, text in zip(kinds, row, strict=True)
        ]
        for row in rows
    ]
    data = base64.b64encode(("\ufeff" + csv_text(names, told)).encode()).decode()
    return (
        f'<p class="csv"><a download="{file}.csv" '
        f'href="data:text/csv;charset=utf-8;base64,{data}">CSV</a></p>'
    )


def _for_programs(text: str) -> str:
    bare = text.replace(",", "").replace("−", "-").lstrip("+± ")
    return "" if text == "—" else bare
