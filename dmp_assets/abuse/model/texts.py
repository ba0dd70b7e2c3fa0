"""What features ask of texts: of many at once in Arrow, of few one by one in Python.

Each pair of functions gives the same numbers; tests compare them. Arrow takes longer to begin than
to end, so one account is read in Python, and only its letters beyond ASCII by Arrow's tables.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
Texts = Sequence[str | None]

_LONGEST = 320
"""So many characters of a text are looked at, and so many bytes of a mailbox."""
_LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789"
_CHARACTER = np.full(256, 36, dtype=np.uint8)  # a–z: 0–25, 0–9: 26–35
_CHARACTER[np.frombuffer(_LETTERS, np.uint8)] = np.arange(36)
_LEAST = 3
"""Letters of a part of a name that is looked for."""

# Letters that Unicode does not take apart, as people write them without an accent; and German.
_PLAIN = (("ß", "ss"), ("ø", "o"), ("ł", "l"), ("đ", "d"), ("æ", "ae"), ("œ", "oe"), ("ð", "d"),
          ("þ", "th"), ("ı", "i"))  # fmt: skip
_GERMAN = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("å", "aa"), ("ø", "oe"))
_WIDTH = 40


def numbers(column: pa.Array) -> Floats:
    """An Arrow array of numbers or booleans as floats, null as NaN."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


# entropy -----------------------------------------------------------------------------------------
def entropy(text: pa.Array) -> Floats:
    """Shannon entropy of the characters a–z, 0–9 and others, in bits per character.

    Whatever stands beyond the first 320 bytes counts as others.
    """
    length = numbers(pc.utf8_length(text))
    plain = pc.binary_slice(pc.fill_null(text.cast(pa.binary()), b""), 0, _LONGEST)
    width = max(pc.max(pc.binary_length(plain)).as_py() or 0, 1)
    padded = b"".join(value.ljust(width, b"\0") for value in plain.to_pylist())
    characters = _CHARACTER[np.frombuffer(padded, np.uint8).reshape(len(text), width)]
    places = characters + np.arange(len(text))[:, None] * 37
    counts = np.bincount(places.ravel(), minlength=len(text) * 37).reshape(-1, 37)
    counts = counts.astype(np.float64)
    counts[:, 36] = length - counts[:, :36].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = counts / length[:, None]
        bits = np.where(share > 0, share * np.log2(np.where(share > 0, share, 1)), 0)
        return np.where(length > 0, -bits.sum(axis=1), np.nan)


def entropy_of_few(texts: Texts) -> Floats:
    """`entropy`, one by one."""
    return np.array([_entropy(text) if text else math.nan for text in texts], dtype=np.float64)


def _entropy(text: str) -> float:
    length = len(text)
    found = Counter(byte for byte in text.encode()[:_LONGEST] if byte in _LETTERS)
    counts = [*found.values(), length - found.total()]
    return -sum(n / length * math.log2(n / length) for n in counts if n)


# names -------------------------------------------------------------------------------------------
def _plain(text: pa.Array, german: bool = False) -> pa.Array:
    """Small letters a–z, what stands between them as a space."""
    found = pc.utf8_lower(pc.utf8_slice_codeunits(pc.fill_null(text, ""), 0, _LONGEST))
    if not pc.all(pc.string_is_ascii(found)).as_py():
        for letter, letters in (*(_GERMAN if german else ()), *_PLAIN):
            found = pc.replace_substring(found, letter, letters)
        found = pc.replace_substring_regex(pc.utf8_normalize(found, "NFKD"), r"\pM", "")
    return pc.replace_substring_regex(found, "[^a-z]+", " ")


def _fixed(text: pa.Array) -> npt.NDArray[np.bytes_]:
    """Each text without its spaces as bytes of one width."""
    cut = pc.utf8_slice_codeunits(pc.replace_substring(text, " ", ""), 0, _WIDTH)
    padded = pc.cast(pc.ascii_rpad(cut, _WIDTH, "\0"), pa.binary(_WIDTH))
    return np.frombuffer(padded.buffers()[1], dtype=f"S{_WIDTH}", count=len(text))


def name_in(mailboxes: pa.Array, *names: pa.Array) -> Floats:
    """Whether a part of the names stands in the mailbox; NaN without a part of three letters."""
    mailbox = _fixed(_plain(mailboxes))
    found = np.zeros(len(mailboxes), dtype=bool)
    known = np.zeros(len(mailboxes), dtype=bool)
    for column in names:
        for german in (False, True):
            parts = pc.split_pattern(pc.utf8_trim(_plain(column, german), " "), " ")
            words, rows = _fixed(pc.list_flatten(parts)), pc.list_parent_indices(parts).to_numpy()
            long_enough = np.strings.str_len(words) >= _LEAST
            there = long_enough & (np.strings.find(mailbox[rows], words) >= 0)
            np.logical_or.at(found, rows, there)
            np.logical_or.at(known, rows, long_enough)
            if pc.all(pc.string_is_ascii(pc.fill_null(column, ""))).as_py():
                break
    return np.where(known & (np.strings.str_len(mailbox) > 0), found.astype(float), np.nan)


def name_in_few(mailboxes: Texts, *names: Texts) -> Floats:
    """`name_in`, one by one."""
    return np.array([_name_in(*row) for row in zip(mailboxes, *names, strict=True)], np.float64)


def _name_in(mailbox: str | None, *names: str | None) -> float:
    place = _plain_text(mailbox).replace(" ", "")[:_WIDTH]
    words = {
        word[:_WIDTH]
        for name in names
        for german in ((False,) if name is None or name.isascii() else (False, True))
        for word in _plain_text(name, german).split()
        if len(word) >= _LEAST
    }
    if not words or not place:
        return math.nan
    return float(any(word in place for word in words))


def _plain_text(text: str | None, german: bool = False) -> str:
    if text is None:
        return ""
    if not text.isascii():
        return str(_plain(pa.array([text], pa.string()), german)[0].as_py())
    return re.sub("[^a-z]+", " ", text[:_LONGEST].lower())
