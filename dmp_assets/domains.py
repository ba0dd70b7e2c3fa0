"""The table of contents: a line a domain, each a folder `dmp_assets/<name>` of the same rooms.

Machinery asks here for the rooms of all domains and names none. What a room gives is said by the
faces: `platform/faces/` for `domain.py`, `lake.py` and `service/face.py`.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType, ModuleType

DOMAINS = (
    "abuse",
    "attribution",
    "ads",
    "overview",
)


def rooms(room: str) -> Mapping[str, ModuleType]:
    """Domain → its module of that name, such as `service.face`, where it has one.

    Raises ImportError for a domain that has no folder, or no `domain.py`.
    """
    return _rooms(DOMAINS, room)


@cache
def _rooms(names: Sequence[str], room: str) -> Mapping[str, ModuleType]:
    """Found once: a service asks on every call, and what is not there is looked for on the disk."""
    found = {name: import_module(f"dmp_assets.{name}.{room}") for name in names if _has(name, room)}
    return MappingProxyType(found)


def _has(domain: str, room: str) -> bool:
    """Whether a domain has a module; one that fails to be imported it has."""
    place = f"dmp_assets.{domain}"
    if find_spec(place) is None or find_spec(f"{place}.domain") is None:
        raise ImportError(
            f"dmp_assets/domains.py names {domain}, and there is no dmp_assets/{domain}/domain.py"
        )
    try:
        return find_spec(f"{place}.{room}") is not None
    except ModuleNotFoundError as error:
        above = f"{place}.{room}.".startswith(f"{error.name}.") and error.name != place
        if not above:  # something that the domain imports is missing
            raise
        return False
