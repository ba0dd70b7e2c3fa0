"""The face of a domain towards the service: what it gives to the API and the pages behind login."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fastapi import APIRouter

from dmp_assets import domains
from dmp_assets.platform.stream.stream import Stream

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dmp_assets.home import Home
    from dmp_assets.platform.api.metrics import Metrics
    from dmp_assets.platform.lake.tables import Tables
    from dmp_assets.settings import Settings


@dataclass(frozen=True)
class Found:
    """What was found of one thing that must be right; `summary` is what anybody may know."""

    name: str
    ok: bool
    detail: str
    summary: str


@dataclass(frozen=True)
class Headline:
    """One number of the first page; `name` is that of the figures catalogue."""

    value: str
    label: str
    name: str


@dataclass(frozen=True)
class Entry:
    """What the first page leads to: its address, what it gives, the scope that it needs.

    `title` stands over an entry that is a page for people; others are in the list of addresses.
    """

    path: str
    about: str
    scope: str
    title: str = ""
    link: str = ""
    """The words before `about` that lead there; `about` itself when empty."""


@dataclass(frozen=True)
class RateLimit:
    """How often one client may call what is counted under `name`: a setting such as `600/minute`.

    What a route of a domain is counted by is said where the route asks for its scope.
    """

    name: str
    of: "Callable[[Settings], str]"


class Caller(Protocol):
    """Who looks at a page."""

    def may(self, scope: str) -> bool: ...


class Part(Protocol):
    """What of a domain runs in the service: started before the first request, stopped last."""

    def start(self) -> None: ...
    def stop(self) -> None: ...

    def when_loaded(self, work: Callable[[], object]) -> None:
        """Have something done once, when all is loaded that stays; said before `start`."""

    @property
    def store_answers(self) -> bool:
        """Whether the store answered last where it is asked at every moment; else True."""

    def checks(self) -> Sequence[Found]:
        """What must be right before the domain is served; the store answers."""


@dataclass(frozen=True, kw_only=True)
class ServiceFace:
    """What a domain gives to the service.

    `part` makes what runs beside the routes; None where nothing does. `package` holds the folders
    `templates` and `static` of its pages, those of the two that it needs. `headlines`: its numbers
    of the first page for who may see them, read in one state of the store. `checks`: what must be
    right before it is served, read in one, too, where no `part` says it. `streams`: its logs that
    go to Kafka where one is configured. `advertisers`: those of which it serves rows.
    `reports_of_all`: its reports that show all advertisers at once, for who sees all of them.
    `shop_of`: whose shop all of its routes, headlines and `reports_of_shop` are about, empty: the
    only one's; None where they are about no advertiser.
    """

    routers: Sequence[APIRouter]
    entries: Sequence[Entry] = ()
    headlines: "Callable[[sa.Connection, Settings, Caller], Sequence[Headline]] | None" = None
    part: "Callable[[Home, Settings, Tables, sa.Engine, Metrics], Part] | None" = None
    checks: "Callable[[sa.Connection, Settings], Sequence[Found]] | None" = None
    streams: Sequence[Stream] = ()
    package: str | None = None
    advertisers: "Callable[[sa.Connection], Collection[str]] | None" = None
    reports_of_all: Collection[str] = ()
    shop_of: "Callable[[Settings], str] | None" = None
    reports_of_shop: Collection[str] = ()


def services() -> Mapping[str, ServiceFace]:
    """Domain → what it gives to the service; imports a web framework."""
    return {name: module.FACE for name, module in domains.rooms("service.face").items()}
