"""Identifiers as people read them: short ones whole, long ones shortened so that they differ.

from dmp_assets.platform.figures.short_ids import case_link, short_ids

short_ids(["1042", "customer-000017", "customer-000018"])
# {"1042": "1042", "customer-000017": "cust…17", "customer-000018": "cust…18"}
"""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator
from urllib.parse import urlencode

from dmp_assets.platform.base.addresses import service_address

ELLIPSIS = "…"
WHOLE = 10
"""Ids of so many characters stay whole, unless they are an address or a phone number."""
_ENDS = ((4, 2), (4, 4), (6, 4), (6, 6))
_WINDOWS = range(4, 17, 2)


def short_ids(ids: Iterable[str], *, whole: int = WHOLE) -> dict[str, str]:
    """Id → what stands for it on one page, in the order given; different ids never look alike.

    An id of at most `whole` characters is not changed. A longer one shows its ends, and where that
    does not tell it from the others on the page, more of its ends or the place where it differs.
    An id that is an e-mail address, a phone number or an IP address is personal and stays masked
    whatever its length; where masked ones are alike, a number tells them apart.
    """
    known = list(dict.fromkeys(ids))
    shown = {one: one for one in known if len(one) <= whole and not is_personal(one)}
    taken = set(shown.values())
    left = [one for one in known if one not in shown and not is_personal(one)]
    for tried in _attempts(left):
        seen = Counter(text for one, text in tried.items() if one not in shown)
        found = {
            one: text for one, text in tried.items()
            if one not in shown and seen[text] == 1 and text not in taken
        }  # fmt: skip
        shown |= found
        taken |= set(found.values())
    for one in known:
        if one not in shown:
            shown[one] = _numbered(_masked(one), taken)
            taken.add(shown[one])
    return {one: shown[one] for one in known}


def short_id(one: str) -> str:
    """What stands for one id where no page of others is known (an answer's row, a log line)."""
    return short_ids([one])[one]


def is_personal(one: str) -> bool:
    """Whether the id is an e-mail address, a phone number with its plus, or an IP address."""
    if "@" in one or one.lstrip().startswith("+"):
        return True
    if one.count(".") != 3 and one.count(":") < 2:
        return False
    try:
        ipaddress.ip_address(one)
    except ValueError:
        return False
    return True


def case_link(public_url: str | None, account_id: str) -> str | None:
    """Where a person reads and decides the account's case; None without an address of ours.

    An id that is personal itself is in no address: those end up in logs.
    `public_url` is the setting of that name: the service's address, or that of its `/reports`.
    """
    if is_personal(account_id):
        return None
    return service_address(public_url, f"review/account?{urlencode({'id': account_id})}")


def _attempts(ids: list[str]) -> Iterator[dict[str, str]]:
    """Ways to shorten these ids, the shortest first."""
    for head, tail in _ENDS:
        yield {one: _ends(one, head, tail) for one in ids}
    alike: dict[str, list[str]] = {}
    for one in ids:
        alike.setdefault(_ends(one, *_ENDS[0]), []).append(one)
    starts = {one: max(_common_start(group) - 2, 0) for group in alike.values() for one in group}
    for width in _WINDOWS:
        yield {one: _window(one, starts[one], width) for one in ids}


def _ends(one: str, head: int, tail: int) -> str:
    """The id's ends; of an id that they would nearly fill, less."""
    hidden = 3
    tail = min(tail, max(len(one) - hidden - 2, 1))
    head = max(min(head, len(one) - hidden - tail), 1)
    return f"{one[:head]}{ELLIPSIS}{one[-tail:]}"


def _window(one: str, start: int, width: int) -> str:
    """What follows `start` characters, at which the ids of the page begin to differ."""
    part = one[start : start + width]
    behind = ELLIPSIS if start + width < len(one) else ""
    return f"{one[: min(2, start)]}{ELLIPSIS if start > 2 else ''}{part}{behind}"


def _common_start(ids: list[str]) -> int:
    """How many characters all of these begin with."""
    low, high = min(ids), max(ids)
    pairs = enumerate(zip(low, high, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(low), len(high)))


def _masked(one: str) -> str:
    """An id of which only its kind may be seen, or that nothing tells from the others."""
    name, at, domain = one.partition("@")
    if at:
        return f"{name[:1]}{ELLIPSIS}@{domain}"
    if is_personal(one):
        return f"{one[:3]}{ELLIPSIS}"
    return _ends(one, 4, 2)


def _numbered(text: str, taken: set[str]) -> str:
    if text not in taken:
        return text
    number = 2
    while f"{text} ({number})" in taken:
        number += 1
    return f"{text} ({number})"
