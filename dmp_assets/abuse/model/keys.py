"""Keys of an account: hashes of the texts by which accounts are counted and linked.

The texts are those of the account view (`view.KEYS`) and of the evidence for links
(`identity.evidence.KINDS`), written there in SQL for all accounts at once. Here they stand in
Python for one account that nobody has stored yet; a test holds the two together. A key is the
lower half of the MD5 of the home's secret and the text, which DuckDB and Python compute alike: who
does not know the secret cannot find two texts of one key. 0: nothing to compare.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import pyarrow.compute as pc

from dmp_assets.abuse.model.view import CASELESS
from dmp_assets.abuse.model.view import KEYS as VIEW_KEYS
from dmp_assets.identity.evidence import KINDS

Account = Mapping[str, Any]
"""Normal forms of an account's attributes by the names of cleaned/users."""

NO_KEY = 0
_SPACES = " \u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What DuckDB's `trim` takes away: Unicode's space separators."""


SQL_VARIABLE = "index_key"
"""DuckDB's variable that holds the secret; unset, there is none."""


def key_of(text: str, salt: str = "") -> int:
    """The key of a text, as DuckDB's `md5_number_lower` has it."""
    digest = hashlib.md5((salt + text).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[8:], "little")


def key_sql(text: str) -> str:
    """`key_of` as a SQL expression; `NO_KEY` for null. See `SQL_VARIABLE`."""
    salt = f"coalesce(getvariable('{SQL_VARIABLE}'), '')"
    return f"coalesce(md5_number_lower({salt} || ({text}))::UBIGINT, {NO_KEY})"


def _lower(text: str) -> str:
    """Letter by letter, as utf8proc does for DuckDB; Python's own may change the length."""
    return text.lower() if text.isascii() else str(pc.utf8_lower(text).as_py())


def _upper(text: str) -> str:
    return text.upper() if text.isascii() else str(pc.utf8_upper(text).as_py())


def _trimmed(text: str | None) -> str | None:
    """Without spaces around it; null when nothing is left."""
    return (text or "").strip(_SPACES) or None


_CASELESS = re.compile(CASELESS)


def _form(name: str | None) -> str:
    """Capitals, small letters or a mixture: `view.NAME_FORM` for one name."""
    if name is None:
        return "A"
    name = name.strip(_SPACES)
    if re.search(r"[0-9]", name):
        return "?"
    if _CASELESS.search(name):
        return "A"
    lower, upper = _lower(name), _upper(name)
    if upper == lower:
        return "-"
    if name == lower:
        return "a"
    return "B" if name == upper and len(name) > 2 else "A"


def _typed(account: Account) -> str | None:
    received = account.get("phone_received")
    return received if account.get("phone") is None and len(received or "") >= 7 else None


def _series(account: Account) -> str | None:
    email = account.get("email")
    if email is None or not re.match(r"[^@0-9]{4,}[0-9]", email):
        return None
    return re.sub(r"[0-9]+", "#", email.partition("@")[0])


def _person(account: Account) -> tuple[str | None, str | None, date | None]:
    return account.get("first_name"), account.get("last_name"), account.get("date_of_birth")


def _identity(account: Account) -> str | None:
    first, last, born = _person(account)
    if first is None or last is None or born is None:
        return None
    return f"{_lower(first.strip(_SPACES))}|{_lower(last.strip(_SPACES))}|{born}"


def _family(account: Account) -> str | None:
    last = _trimmed(account.get("last_name"))
    return None if last is None else _lower(last)


def _phone_form(account: Account) -> str | None:
    received = _trimmed(account.get("phone_received"))
    if received is None:
        return None
    return re.sub(r"[0-9]+" if received.startswith(("+", "00")) else r"[0-9]", "9", received)


_PRIVATE = re.compile(r"(10|127|192\.168|169\.254|172\.(1[6-9]|2[0-9]|3[01]))\.")


def _is_private(account: Account) -> bool:
    return account.get("ip") is None or _PRIVATE.match(account["ip"]) is not None


def _public_ip(account: Account) -> str | None:
    return None if _is_private(account) else account["ip"]


def _network_and_agent(account: Account) -> str | None:
    agent = account.get("user_agent_received")
    return None if _is_private(account) or agent is None else f"{account['ip_prefix']} {agent}"


def _stem(account: Account) -> str | None:
    email = account.get("email")
    if email is None or not re.search(r"[0-9].*@", email):
        return None
    stem = re.sub(r"[0-9]", "", email.partition("@")[0])
    return f"{stem}@{account['email_domain']}" if len(stem) >= 5 else None


def _name_and_birth(account: Account) -> str | None:
    first, last, born = _person(account)
    if first is None or last is None or born is None:
        return None
    return f"{_lower(first)} {_lower(last)} {born}"


_TEXTS: dict[str, Callable[[Account], str | None]] = {
    "device_key": lambda a: a.get("device_id"),
    "phone_key": lambda a: a.get("phone"),
    "typed_key": _typed,
    "email_key": lambda a: a.get("email"),
    "domain_key": lambda a: a.get("email_domain"),
    "series_key": _series,
    "identity_key": _identity,
    "name_key": lambda a: _form(a.get("first_name")) + _form(a.get("last_name")),
    "family": _family,
    "form_key": _phone_form,
    "ip_key": lambda a: a.get("ip"),
    "network_key": lambda a: a.get("ip_prefix"),
    "agent_key": lambda a: a.get("user_agent_received"),
    "city_key": lambda a: a.get("city"),
    "zone_key": lambda a: a.get("timezone"),
    "link_email_series": _stem,
    "link_ip": _public_ip,
    "link_network": _network_and_agent,
    "link_name_and_birth": _name_and_birth,
}

KIND_KEYS: dict[str, str] = {
    kind.name: next(
        (name for name, text in VIEW_KEYS.items() if text == kind.value), f"link_{kind.name}"
    )
    for kind in KINDS
}
"""Kind of evidence → name of its key."""

SQL: dict[str, str] = {name: text for name, text in VIEW_KEYS.items() if name != "user_key"} | {
    KIND_KEYS[kind.name]: kind.value for kind in KINDS
}
"""Name of each key → SQL expression of its text over a row of cleaned/users."""

NAMES: tuple[str, ...] = tuple(SQL)
POSITION: dict[str, int] = {name: place for place, name in enumerate(NAMES)}
_IN_ORDER = tuple(_TEXTS[name] for name in NAMES)


def keys_of(account: Account, salt: str = "") -> tuple[int, ...]:
    """The account's keys in the order of `NAMES`."""
    return tuple(
        NO_KEY if (text := compute(account)) is None else key_of(text, salt)
        for compute in _IN_ORDER
    )
