"""What an address says of where it leads."""

import ipaddress
from urllib.parse import urlsplit

from dmp_assets.platform.text.foreign_text import visible


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def place_of(url: str) -> str:
    """Host and port of an address, as far as it says them, for people: no user, no password."""
    try:
        netloc = urlsplit(url).netloc
    except ValueError:
        netloc = ""
    return visible(netloc.rpartition("@")[2]) or "an address that cannot be read"


def service_address(public_url: str | None, path: str) -> str | None:
    """Where people and services reach `path` of the service; None without an address of ours.

    `public_url` is the setting of that name: the service's address, or that of its `/reports`.
    """
    parts = urlsplit(public_url or "")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    base = parts.path.rstrip("/").removesuffix("/reports")
    return f"{parts.scheme}://{parts.netloc}{base}/{path.lstrip('/')}"


def source_of(address: str) -> str:
    """Whoever can call from this address can call from all of what is given.

    An IPv6 network of 64 bits is one place, and so is this machine, whatever it calls itself; an
    IPv4 address in IPv6's clothes is itself. What is no address is given back.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped or found.sixtofour
        if mapped is None and not found.is_loopback:
            return str(ipaddress.ip_network((found, 64), strict=False))
        found = mapped or found
    return "loopback" if found.is_loopback else str(found)
