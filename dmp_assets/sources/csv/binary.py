"""What a file is that is no text, whatever its name says."""

import codecs

_CSV = "export it as CSV (in Excel: Save As, CSV UTF-8)"
_WORKBOOKS = (b"xl/", b"[Content_Types].xml", b"opendocument.spreadsheet")
_STARTS = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": f"a workbook of an older Excel: {_CSV}",
    b"\x09\x08\x10\x00\x00\x06": f"a workbook of an older Excel: {_CSV}",
    b"%PDF-": "a PDF: export the data as CSV",
    b"\x1f\x8b": "packed (gzip): unpack it and give the CSV in it",
    b"7z\xbc\xaf\x27\x1c": "packed (7-Zip): unpack it and give the CSV in it",
    b"Rar!": "packed (RAR): unpack it and give the CSV in it",
    b"PAR1": "Parquet: export the data as CSV",
    b"SQLite format 3\0": "a SQLite database: export its table as CSV",
}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PAGES = (b"<!doctype", b"<html", b"<?xml")
"""What servers send for a file at times, and some programs call .xls."""
_MARKS = frozenset(range(32)) - frozenset(b"\0\t\n\v\f\r\x1a\x1b")
"""Bytes that no text has; NUL apart, which texts of two bytes a character and broken ones have."""


def binary_kind(start: bytes) -> str | None:
    """What the file is that begins so, and what to do; None for what may be text."""
    if start.startswith(b"PK\x03\x04"):
        if any(mark in start for mark in _WORKBOOKS):
            return f"an Excel workbook: {_CSV}"
        return "packed (ZIP): unpack it and give the CSV in it; where it is a workbook, " + _CSV
    for mark, kind in _STARTS.items():
        if start.startswith(mark):
            return kind
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        return f"a web page, or XML: {_CSV}"
    two_bytes = start.startswith(_UTF_16) or not (any(start[1:64:2]) and any(start[0:64:2]))
    if not two_bytes and sum(byte in _MARKS for byte in start) > len(start) / 20:
        return f"no text but a file of some program: {_CSV}"
    return None
