"""Normal forms of what people type: e-mail, phone, IP address, user agent, time zone, flags.

Every function takes the received text (or None) and says whether it is valid; nothing raises on
bad text, because a bad attribute is a signal and not an error. `None` in, all `None` out.
"""

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import available_timezones

import phonenumbers
from ua_parser import parse as parse_user_agent

# Providers that ignore dots in the local part, and the domain that they answer under.
DOT_BLIND = {"gmail.com": "gmail.com", "googlemail.com": "gmail.com"}
_EMAIL = re.compile(
    r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
)
_EXTENSION = re.compile(r"\s*(?:ext\.?|x|#)\s*\d{1,6}$", re.IGNORECASE)
TRUE_WORDS = frozenset({"true", "t", "yes", "y", "1"})
FALSE_WORDS = frozenset({"false", "f", "no", "n", "0"})


class Email(NamedTuple):
    """`canonical` reaches the same mailbox as what was typed: lower case, no plus tag, and no
    dots where the provider ignores them."""

    canonical: str | None
    domain: str | None
    is_valid: bool | None
    has_alias: bool | None


def email(text: str | None) -> Email:
    """Canonical form of an e-mail address (syntax of HTML's `input type=email` plus a TLD)."""
    if text is None or not text.strip():
        return Email(None, None, None, None)
    typed = text.strip().lower()
    if not _EMAIL.fullmatch(typed) or ".." in typed or typed.startswith(".") or ".@" in typed:
        return Email(None, None, False, None)
    local, _, domain = typed.partition("@")
    base = local.partition("+")[0].rstrip(".") or local
    if domain in DOT_BLIND:
        domain, base = DOT_BLIND[domain], base.replace(".", "")
    return Email(f"{base}@{domain}", domain, True, base != local)


class Phone(NamedTuple):
    """`e164` is null unless the number is one that its numbering plan can have."""

    e164: str | None
    country: str | None
    is_valid: bool | None


@lru_cache(maxsize=4096)
def phone(text: str | None, region: str = "US") -> Phone:
    """E.164 form by libphonenumber.

    Digits without `+` are read as an international number first (exports lose the `+`), then as
    a national number of `region`.
    """
    if text is None or not text.strip():
        return Phone(None, None, None)
    typed = _EXTENSION.sub("", text.strip())
    digits = re.sub(r"\D", "", typed)
    attempts: list[tuple[str, str | None]]
    if typed.startswith("+"):
        attempts = [("+" + digits, None)]
    elif digits.startswith("00"):
        attempts = [("+" + digits[2:], None)]
    else:
        attempts = [("+" + digits, None), (digits, region)]
    if re.search(r"[A-Za-z]", typed):
        return Phone(None, None, False)
    for candidate, default in attempts:
        try:
            number = phonenumbers.parse(candidate, default)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return Phone(
                phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),
                phonenumbers.region_code_for_number(number),
                True,
            )
    return Phone(None, None, False)


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
        address = ipaddress.ip_address(text.strip())
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
    found = parse_user_agent(text)
    browser, system, device = found.user_agent, found.os, found.device
    major = browser.major if browser else None
    return UserAgent(
        browser.family if browser else None,
        int(major) if major and major.isdigit() and len(major) < 9 else None,
        system.family if system else None,
        device.family if device else None,
    )


@lru_cache(maxsize=1)
def _zones() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}


def timezone(text: str | None) -> tuple[str | None, bool | None]:
    """IANA name in its usual spelling, and whether the text names one."""
    if text is None or not text.strip():
        return None, None
    known = _zones().get(text.strip().lower())
    return known, known is not None


def flag(text: str | None) -> bool | None:
    """A boolean in any of the usual spellings; None when empty or none of them."""
    word = (text or "").strip().lower()
    return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None
