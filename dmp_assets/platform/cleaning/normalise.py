"""Normal forms of what people type: e-mail, phone, IP address, user agent, time zone, flags.

Every function takes the received text (or None) and says whether it is valid; nothing raises on
bad text, because a bad attribute is a signal and not an error. `None` in, all `None` out.
"""

import ipaddress
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import idna
import phonenumbers
from phonenumbers import PhoneMetadata
from ua_parser import parse as parse_user_agent

from dmp_assets.platform.values import zones
from dmp_assets.platform.values.flags import read_flag
from dmp_assets.platform.values.numerals import INVISIBLE, figures
from dmp_assets.platform.values.words import SPACES

# Providers that ignore dots in the local part, and the domain that they answer under.
DOT_BLIND = {"gmail.com": "gmail.com", "googlemail.com": "gmail.com"}
LONGEST_EMAIL, LONGEST_PHONE, LONGEST_USER_AGENT = 320, 64, 2_000
"""What is longer is no e-mail address, no phone number; of a user agent it is not looked at."""
_MAILBOX = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]{1,64}")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
_NAMED = re.compile(r"[^<>@]*<([^<>]*)>")
_MAILTO = re.compile(r"mailto:([^?]*)(?:\?.*)?", re.IGNORECASE)
_AROUND = str.maketrans({"＠": "@", **dict.fromkeys(INVISIBLE)})


class Email(NamedTuple):
    """`canonical` reaches the same mailbox as what was typed: lower case, no plus tag, and no
    dots where the provider ignores them."""

    canonical: str | None
    domain: str | None
    is_valid: bool | None
    has_alias: bool | None


def email(text: str | None) -> Email:
    """Canonical form of an e-mail address: mailbox of any script, domain as IDNA 2008 has it.

    The address may stand in a link (`mailto:`) or behind its owner's name (`Ann <ann@x.org>`).
    """
    if text is None or not text.strip():
        return Email(None, None, None, None)
    typed = unicodedata.normalize("NFC", _address(text)[: LONGEST_EMAIL + 1]).lower()
    local, at, named = typed.rpartition("@")
    domain = email_domain(named) if at and len(typed) <= LONGEST_EMAIL else None
    if domain is None or not _is_mailbox(local):
        return Email(None, None, False, None)
    base = local.partition("+")[0].rstrip(".") or local
    if domain in DOT_BLIND:
        domain, base = DOT_BLIND[domain], base.replace(".", "") or base
    return Email(f"{base}@{domain}", domain, True, base != local)


def _address(text: str) -> str:
    """The address alone."""
    typed = text[: 2 * LONGEST_EMAIL]
    if not typed.isascii():
        typed = typed.translate(_AROUND)
    typed = typed.strip(" \t\r\n;,")
    if typed.endswith(">") and (found := _NAMED.fullmatch(typed)):
        typed = found[1].strip()
    if ":" in typed and (found := _MAILTO.fullmatch(typed)):
        typed = found[1].strip()
    typed = typed.removesuffix(".")
    return typed[1:-1] if typed[:1] in "'\"" and typed[:1] == typed[-1:] else typed


def _is_mailbox(local: str) -> bool:
    return (
        _MAILBOX.fullmatch(local) is not None
        and ".." not in local
        and local[0] != "."
        and local[-1] != "."
        and (local.isascii() or local.isprintable())
    )


def email_domain(text: str) -> str | None:
    """The domain in its ASCII form (`xn--…`), small letters; None for what cannot be one."""
    domain = text.lower()
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    return domain if len(domain) <= 253 and _DOMAIN.fullmatch(domain) else None


class Phone(NamedTuple):
    """`e164` is null unless the number is one that its numbering plan can have."""

    e164: str | None
    country: str | None
    is_valid: bool | None


_CALLED = re.compile(
    r"(?:tel|telefon|telephone|phone|fon|mobile?|mob|cell|handy)?[.:]*\s*(?=[+(0-9])",
    re.IGNORECASE,
)
_EXTENSION = re.compile(
    r"(?<!\s)(?:;ext=|,{2,3}|\s*(?:ext|extn|extension|x|#|dw|durchwahl|app|poste|int|interno|anexo"
    r"|ramal|toestel|доб|内線|내선)[.:]?\s*)\d{1,6}#?$",
    re.IGNORECASE,
)
_ABROAD = re.compile(r"[\s(\[]*[+]")
_SURELY_NATIONAL = re.compile(r"\s*[(0]")
_VARIABLE_PLAN = 8
"""A plan with so many lengths of numbers has hardly a length that it excludes."""


@lru_cache(maxsize=4096)
def phone(text: str | None, region: str = "US") -> Phone:
    """E.164 form by libphonenumber.

    Without `+` or `00` the number is one of `region`. Only when it cannot be, and neither its
    length nor its form is that of a number there, it is read as an international one whose `+`
    got lost (as in exports).
    """
    if text is None or not text.strip():
        return Phone(None, None, None)
    if len(text) > LONGEST_PHONE:
        return Phone(None, None, False)
    typed = _CALLED.sub("", figures(text).strip(SPACES).removeprefix("'"), count=1)
    if re.fullmatch(r"\+?[0-9]{7,}[.,]0+", typed):  # a number that was a float on its way
        typed = re.split("[.,]", typed)[0]
    typed, _, context = typed.partition(";phone-context=")
    typed = (context if context[:1] == "+" else "") + _EXTENSION.sub("", typed)
    if re.search(r"[^\W\d_]", typed):
        return Phone(None, None, False)
    digits = re.sub(r"\D", "", typed)
    if _ABROAD.match(typed) or digits.startswith("00"):
        spoken = re.sub(r"\D", "", typed.replace("(0)", ""))
        return (
            _possible("+" + digits.removeprefix("00"), None)
            or _possible("+" + spoken.removeprefix("00"), None)
            or Phone(None, None, False)
        )
    found = _possible(digits, region)
    if found is None and not _SURELY_NATIONAL.match(typed) and _is_too_odd(digits, region):
        found = _possible("+" + digits, None)
    return found or Phone(None, None, False)


def _parsed(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def _possible(text: str, region: str | None) -> Phone | None:
    """The number, if its plan has such numbers."""
    number = _parsed(text, region)
    if number is None or not phonenumbers.is_valid_number(number):
        return None
    return Phone(
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),
        phonenumbers.region_code_for_number(number),
        True,
    )


def _is_too_odd(digits: str, region: str) -> bool:
    """Whether no number of the region has this length, as far as lengths say anything there."""
    number = _parsed(digits, region)
    if number is None or not phonenumbers.is_possible_number(number):
        return True
    plan = PhoneMetadata.metadata_for_region(region)
    lengths = plan.general_desc.possible_length if plan and plan.general_desc else ()
    return len(lengths) >= _VARIABLE_PLAN and len(digits) >= 11


class Ip(NamedTuple):
    """`prefix` is the network that one customer line usually has: /24 of IPv4, /48 of IPv6."""

    address: str | None
    prefix: str | None
    is_valid: bool | None


def ip(text: str | None) -> Ip:
    """Normal text form of an IPv4 or IPv6 address; IPv4 mapped into IPv6 becomes IPv4."""
    if text is None or not text.strip():
        return Ip(None, None, None)
    try:
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return Ip(None, None, False)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    length = 24 if address.version == 4 else 48
    prefix = ipaddress.ip_network(f"{address}/{length}", strict=False)
    return Ip(str(address), str(prefix), True)


class UserAgent(NamedTuple):
    browser_family: str | None
    browser_version: int | None
    os_family: str | None
    device_family: str | None


@lru_cache(maxsize=16_384)
def user_agent(text: str | None) -> UserAgent:
    """Families by ua-parser; what it does not know is null."""
    if text is None or not text.strip():
        return UserAgent(None, None, None, None)
    found = parse_user_agent(text[:LONGEST_USER_AGENT])
    browser, system, device = found.user_agent, found.os, found.device
    major = browser.major if browser else None
    return UserAgent(
        browser.family if browser else None,
        int(major) if major and major.isdecimal() and len(major) < 9 else None,
        system.family if system else None,
        device.family if device else None,
    )


def timezone(text: str | None) -> tuple[str | None, bool | None]:
    """The zone's one name (an alias is the zone that it stands for), and whether there is one."""
    if text is None or not text.strip():
        return None, None
    known = zones.canonical(text.strip())
    return known, known is not None


def flag(text: str | None) -> bool | None:
    """A boolean in any of the usual spellings; None when empty or none of them."""
    return None if text is None else read_flag(text)
