"""Personal data in what is delivered: masks for it, and a scanner that finds what was missed.

Personal are full e-mail addresses, phone numbers, IP addresses and device identifiers. A masked
value keeps what an analyst needs to recognise a pattern and is never found by the scanner.
"""

import base64
import binascii
import ipaddress
import re
import zlib
from collections.abc import Iterator

ELLIPSIS = "…"

_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}")
_PHONE = re.compile(
    r"(?<![\w.+#/-])"
    r"(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{1,4}"  # +1 (212) 555-0199, +12125550199
    r"|(?:(?:00)?1[ .-])?(?:\(\d{3}\)[ .-]?|\d{3}[ .-])\d{3}[ .-]\d{4}"  # (212) 555-0199
    r"|1[2-9]\d{2}[2-9]\d{6}"  # 12125550199, North America without a plus
    r"|00[1-9]\d{8,12})"
    r"(?:x\d{1,6})?(?![\w-]|\.\d)"
)
_PLAIN_PHONE = re.compile(r"(?i)(?:phone|tel|mobile)\W{1,5}(\d{9,15})(?!\d)")
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){3,7}(?![\w:])")
_UUID = re.compile(
    r"(?<![0-9A-Za-z-])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Za-z-])"
)
_DATA_URI = re.compile(r"data:([\w/+.-]+)(?:;[\w=-]+)*;base64,([A-Za-z0-9+/=\s%]+)")
_PNG = b"\x89PNG\r\n\x1a\n"


def mask_email(value: str) -> str:
    """`jane.doe@example.com` → `j…@example.com`."""
    name, at, domain = value.partition("@")
    return f"{name[:1]}{ELLIPSIS}@{domain}" if at else mask_id(value)


def mask_phone(value: str) -> str:
    """`+12125550199` → `+12…99`: the start of the country's code and the last two digits."""
    digits = re.sub(r"\D", "", value)
    plus = "+" if value.lstrip().startswith("+") else ""
    return f"{plus}{digits[:2]}{ELLIPSIS}{digits[-2:]}" if len(digits) > 5 else ELLIPSIS


def mask_ip(value: str) -> str:
    """`203.0.113.9` → `203.0.…`, `2001:db8::1` → `2001:db8:…`."""
    mark = ":" if ":" in value else "."
    return mark.join([*value.split(mark)[:2], ELLIPSIS])


def mask_device(value: str) -> str:
    """`2e43e4f4-b2e1-…` → `2e43…`."""
    return f"{value[:4]}{ELLIPSIS}"


def mask_id(value: str) -> str:
    """Any other identifier: its ends, enough to tell two of them apart by eye."""
    return f"{value[:4]}{ELLIPSIS}{value[-2:]}" if len(value) > 8 else f"{value[:1]}{ELLIPSIS}"


def redact(text: str) -> str:
    """The same text with every personal datum that the scanner knows masked."""
    for kind, mask in _MASKS.items():
        for value in set(_FINDERS[kind](text)):
            text = text.replace(value, mask(value))
    return text


def find_personal_data(content: str | bytes, ignore: frozenset[str] = frozenset()) -> list[str]:
    """Every full e-mail, phone number, IP address and device id in a text, an HTML page or a PNG.

    Bytes of a PNG are searched in their text chunks (pixels are not read); embedded `data:` URIs
    are decoded and searched likewise. Ten bare digits are not taken for a phone number: times and
    ids look the same. `ignore` names values that are known not to be personal.
    Returns `kind: value` strings, sorted; an empty list when nothing was found.
    """
    if isinstance(content, bytes):
        content = (
            "\n".join(_png_texts(content))
            if content.startswith(_PNG)
            else content.decode("utf-8", errors="replace")
        )
    found: set[str] = set()
    for media_type, encoded in _DATA_URI.findall(content):
        found.update(find_personal_data(_decoded(media_type, encoded), ignore))
    content = _DATA_URI.sub(" ", content)
    for kind, finder in _FINDERS.items():
        found.update(f"{kind}: {value}" for value in finder(content) if value not in ignore)
    return sorted(found)


def _decoded(media_type: str, encoded: str) -> str | bytes:
    """An embedded file's bytes when they can hold readable text, else nothing."""
    if not media_type.startswith(("text/", "image/png", "image/svg", "application/json")):
        return ""
    try:
        return base64.b64decode(encoded.replace("%", ""))
    except binascii.Error:
        return ""


def _png_texts(content: bytes) -> Iterator[str]:
    """The texts of a PNG's tEXt, zTXt, iTXt and eXIf chunks (PNG specification, section 11.3)."""
    position = len(_PNG)
    while position + 8 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        kind = content[position + 4 : position + 8]
        data = content[position + 8 : position + 8 + length]
        position += 12 + length
        if kind in (b"tEXt", b"eXIf"):
            yield data.decode("latin-1")
        elif kind == b"zTXt":
            _, _, rest = data.partition(b"\0")
            yield zlib.decompress(rest[1:]).decode("latin-1")
        elif kind == b"iTXt":
            keyword, _, rest = data.partition(b"\0")
            packed = rest[:1] == b"\1"
            text = rest[2:].split(b"\0", 2)[-1]
            yield keyword.decode("latin-1")
            yield (zlib.decompress(text) if packed else text).decode("utf-8", errors="replace")


def _emails(text: str) -> Iterator[str]:
    yield from _EMAIL.findall(text)


def _phones(text: str) -> Iterator[str]:
    for match in _PHONE.finditer(text):
        number, _, _extension = match.group().partition("x")
        if 9 <= len(re.sub(r"\D", "", number)) <= 15:
            yield match.group()
    yield from _PLAIN_PHONE.findall(text)


def _ips(text: str) -> Iterator[str]:
    for pattern in (_IPV4, _IPV6):
        for value in pattern.findall(text):
            try:
                address = ipaddress.ip_address(value)
            except ValueError:
                continue
            if not (address.is_loopback or address.is_unspecified):
                yield value


def _devices(text: str) -> Iterator[str]:
    yield from _UUID.findall(text)


_FINDERS = {"e-mail": _emails, "phone": _phones, "ip": _ips, "device": _devices}
_MASKS = {"e-mail": mask_email, "phone": mask_phone, "ip": mask_ip, "device": mask_device}
