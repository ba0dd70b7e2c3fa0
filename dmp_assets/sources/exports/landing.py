"""Rows of an export as the raw tables hold them: text as received, with their line.

What is of people is taken here: an address of e-mail becomes a keyed hash, by a secret of the home.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa

from dmp_assets.home import Home
from dmp_assets.platform.config import secret_files
from dmp_assets.sources.exports.kept import Kept
from dmp_assets.sources.exports.kinds import KINDS
from dmp_assets.sources.exports.meta import IDS, NAMES
from dmp_assets.sources.exports.opened import Opened, Row
from dmp_assets.sources.exports.shopify import CUSTOMER_COLUMN

CUSTOMER_KEY = "customer_key"
"""Name of the secret by which addresses of e-mail are hashed."""
_BATCH = 50_000
_ALL = ("", "all", "total", "alle", "todos", "tous", "tutti")
"""What stands in the place of a day where a row is a sum."""
OWN = pa.schema(
    [("line", pa.int64()), ("is_total", pa.bool_()), ("row_hash", pa.string()),
     ("problem", pa.string())]
)  # fmt: skip


def reopened(home: Home, kept: Kept) -> Opened:
    """A file that was taken, as it was read then."""
    return Opened(
        KINDS[kept.kind], kept.path(home), kept.sha256, kept.delimiter, kept.encoding, kept.width,
        {name: tuple(places) for name, places in kept.columns.items()},
    )  # fmt: skip


def batches(file: Opened, home: Home) -> Iterator[pa.RecordBatch]:
    """The rows: every column of ours as text, empty for nothing and null for what the file does not
    have, and `OWN`.

    Raises ExportError, as `Opened.rows` does.
    """
    key = secret_files.of(home, CUSTOMER_KEY).encode()
    schema = pa.schema([*OWN, *((name, pa.string()) for name in file.export.columns)])
    every = file.rows()
    while rows := list(islice(every, _BATCH)):
        yield pa.RecordBatch.from_pylist([_landed(row, file, key) for row in rows], schema)


def _landed(row: Row, file: Opened, key: bytes) -> dict[str, Any]:
    texts = dict(row.texts)
    if email := texts.get(CUSTOMER_COLUMN, "").strip():
        texts[CUSTOMER_COLUMN] = _customer(email, key)
    return {
        "line": row.line,
        "is_total": file.export.kind == "meta" and is_total(texts),
        "row_hash": row.hash,
        "problem": row.problem,
        **texts,
    }


def is_total(texts: Mapping[str, str | None]) -> bool:
    """Whether a row of Ads Manager is a sum over others: it names no ad, or no day."""
    named = any((texts.get(name) or "").strip() for name in (*NAMES, *IDS))
    day = texts.get("day")
    return not named or (day is not None and day.strip().casefold() in _ALL[1:])


def is_grand(texts: Mapping[str, str | None]) -> bool:
    """Whether such a row is the sum of all: of no ad and of no day."""
    named = any((texts.get(name) or "").strip() for name in (*NAMES, *IDS))
    return not named and (texts.get("day") or "").strip().casefold() in _ALL


def _customer(email: str, key: bytes) -> str:
    """A customer's own mark: the same for the same address, and of no use without the key."""
    plain = email.strip().casefold().encode()
    return f"mail:{hmac.new(key, plain, hashlib.sha256).hexdigest()[:24]}"
