"""Time zones by one library: the names, aliases, offsets and countries of the package tzdata.

What a system has installed differs (Debian 13 leaves `US/Eastern` out), so nothing here asks it.
A zone has one name: an alias is the zone that it is an alias of.
"""

from datetime import datetime
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

_UTC = frozenset({"UTC", "UCT", "Universal", "Zulu", "GMT", "Greenwich", "GMT0", "GMT-0", "GMT+0"})
"""Names of the zone UTC, alone and below `Etc/`."""
_NO_ZONE = "Factory"
"""In the database, what a machine has that nobody set."""


def _text(name: str) -> str:
    return (files("tzdata") / "zoneinfo" / name).read_text(encoding="utf-8")


@cache
def countries() -> dict[str, str]:
    """Time zone → ISO country."""
    rows = (
        line.split("\t") for line in _text("zone.tab").splitlines() if line[:1] not in ("", "#")
    )
    return {row[2]: row[0] for row in rows}


@cache
def _canonical() -> dict[str, str]:
    """Name in small letters → the zone's one name."""
    lines = _text("tzdata.zi").splitlines()
    links = {line.split()[2]: line.split()[1] for line in lines if line[:2] == "L "}
    placed = countries()

    def one(name: str) -> str:
        if name.removeprefix("Etc/") in _UTC:
            return "UTC"
        if name in placed or ("/" not in name and name.isupper() and name not in _COUNTRIES):
            return name  # a place of its own, though its clocks agree with another's; CET, EST5EDT
        return one(links[name]) if name in links else name

    names = (files("tzdata") / "zones").read_text(encoding="utf-8").split()
    return {name.lower(): one(name) for name in names if name != _NO_ZONE}


_COUNTRIES = frozenset({"GB", "NZ", "PRC", "ROC", "ROK", "W-SU"})
"""Old names of whole countries, which are aliases."""


def canonical(text: str) -> str | None:
    """The zone's one name; None for what is no zone. Case does not matter."""
    return _canonical().get(text.lower())


def names() -> tuple[str, ...]:
    """All names, aliases too, in small letters and in order."""
    return tuple(sorted(_canonical()))


@cache
def _zone(name: str) -> ZoneInfo | None:
    known = _canonical().get(name.lower())
    if known is None:
        return None
    place = files("tzdata") / "zoneinfo"
    for part in known.split("/"):
        place = place / part
    with place.open("rb") as file:
        return ZoneInfo.from_file(file, key=known)


def hour(name: str | None, seconds: float) -> float | None:
    """Hour of the day there, so many seconds after 1970; None for what is no zone or no time."""
    zone = None if name is None else _zone(name)
    if zone is None:
        return None
    try:
        return float(datetime.fromtimestamp(seconds, zone).hour)
    except (ValueError, OverflowError, OSError):
        return None  # no such time, or one that no calendar has
