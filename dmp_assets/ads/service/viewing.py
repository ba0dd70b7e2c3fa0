"""What every page about an advertiser shares: whose rows, which days, links, and the template.

A page is about one advertiser and some days. Who sees several advertisers and names none gets the
first by name; the page says which, and its links keep it.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fastapi import Depends, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from dmp_assets.ads.service import numbers
from dmp_assets.ads.service.part import part_of
from dmp_assets.ads.service.spans import (
    COMPARES,
    DEFAULT,
    LONGEST,
    PRESETS,
    Compare,
    Preset,
    Span,
    earlier,
    preset,
)
from dmp_assets.ads.service.store import saved_views, unrated
from dmp_assets.ads.service.store.schema import ad_accounts, ads_advertisers
from dmp_assets.ads.settings import AdsSettings, currency_of_sums
from dmp_assets.platform.api.access import needs
from dmp_assets.platform.api.advertisers import Named, Seat, chosen, seen_by
from dmp_assets.platform.api.output import CSV, csv_text
from dmp_assets.platform.api.problems import NO_CONTROL, FieldError, Problem
from dmp_assets.platform.api.ranges import Day, date_range
from dmp_assets.platform.api.routes.pages import page, wants_page
from dmp_assets.platform.api.state import Service, service_of
from dmp_assets.platform.figures.catalogue import figure
from dmp_assets.platform.store.access import Principal
from dmp_assets.platform.store.schema import publication
from dmp_assets.sources.meta.days import ZoneError, zone_of

SCOPE = "ads:read"
PAGES: Mapping[str, tuple[str, str]] = {
    "overview": ("/ads", "Overview"),
    "bridge": ("/ads/bridge", "Truth bridge"),
    "campaigns": ("/ads/campaigns", "Campaigns"),
    "orders": ("/ads/orders", "Orders and profit"),
    "claims": ("/ads/claims", "Who claims"),
    "budget": ("/ads/budget", "Budget"),
    "experiments": ("/ads/experiments", "Experiments"),
    "notices": ("/ads/notices", "Notices"),
    "insights": ("/ads/insights", "Shops like yours"),
    "connections": ("/ads/connections", "Connections"),
    "members": ("/ads/members", "Members"),
}
"""Page → its address and what it is called, as the menu has them."""
DAYS = ("range", "start", "end", "compare")
KEPT = ("advertiser", *DAYS)
"""Parameters that go with the reader from page to page."""


# whose rows --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Viewer:
    """Who looks, at which advertiser's rows; None: they see none."""

    principal: Principal
    seat: Seat | None


async def _viewer(
    request: Request,
    who: Annotated[Principal, Depends(needs(SCOPE))],
    advertiser: Named = None,
) -> Viewer:
    """Raises Problem 404 for an advertiser that is not there, or not seen: which is not said."""
    found = await run_in_threadpool(service_of(request).in_store, lambda store: seen_by(store, who))
    if advertiser is None and not found:
        return Viewer(who, None)
    at = found[0] if advertiser is None else chosen(found, advertiser)
    return Viewer(who, Seat(who, at, tuple(found)))


_viewer.scope = SCOPE  # type: ignore[attr-defined]
_viewer.is_seat = True  # type: ignore[attr-defined]
Views = Annotated[Viewer, Depends(_viewer)]


# which days --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Asked:
    """Days as a page's address says them: a preset, or a first and a last day, which may be wrong
    and are looked at by `span`."""

    range: Preset
    start: str
    end: str
    compare: Compare

    @property
    def preset(self) -> Preset | None:
        """The preset; None where days are given."""
        return self.range if not self.start and not self.end else None

    def span(self, newest: date, full: date, open_from: date | None) -> Span:
        """The days. `newest`: the last of which there are rows; `full`: the last that is over.
        Raises Problem 422."""
        if self.preset is not None:
            return preset(self.preset, newest, full, open_from)
        given = date_range(_day("start", self.start), _day("end", self.end))
        first, last = given.days(newest) or (newest, newest)
        if (last - first).days >= LONGEST:
            raise Problem(422, "invalid", f"at most {LONGEST} days on one page")
        return Span(first, last)


def _day(name: str, text: str) -> date | None:
    try:
        return _A_DAY.validate_python(text) if text else None
    except ValidationError as error:
        wrong = FieldError(field=f"query.{name}", message="a day is written as 2024-03-31")
        raise Problem(422, "invalid", errors=[wrong]) from error


_A_DAY: TypeAdapter[date] = TypeAdapter(Day)


def _asked(
    range: Annotated[Preset, Query()] = DEFAULT,
    start: Annotated[str, Query(max_length=40, pattern=NO_CONTROL)] = "",
    end: Annotated[str, Query(max_length=40, pattern=NO_CONTROL)] = "",
    compare: Annotated[Compare, Query()] = "before",
) -> Asked:
    return Asked(range, start, end, compare)


Days = Annotated[Asked, Depends(_asked)]


@dataclass(frozen=True)
class Focus:
    """What a page is about. `open_from`: first day that may still change; `last_day`: the newest
    of which there are rows; `full_day`: the newest of these that is over; `whole_from`: the first
    of which both ads and orders are known."""

    advertiser_id: str
    span: Span
    before: Span | None
    open_from: date | None
    last_day: date
    full_day: date
    whole_from: date

    @property
    def earlier(self) -> Span:
        """The equally many days before."""
        return self.span.back(timedelta(days=self.span.days))

    @property
    def later(self) -> Span:
        """The equally many days after."""
        return self.span.back(timedelta(days=-self.span.days))

    @property
    def open_days(self) -> int:
        """Days of the span that may still change."""
        if self.open_from is None or self.open_from > self.span.last:
            return 0
        return (self.span.last - max(self.open_from, self.span.first)).days + 1

    def known(self, span: Span) -> int:
        """Of how many days of a span both ads and orders are known."""
        last = min(span.last, self.last_day)
        return max((last - max(span.first, self.whole_from)).days + 1, 0)

    @property
    def incomparable(self) -> str:
        """Why no change is said: days are not known; empty where one is."""
        if self.before is None:
            return ""
        follows = self.before.last + timedelta(days=1) == self.span.first
        which = "before" if follows else "a year earlier"
        for span, of in ((self.before, which), (self.span, "shown")):
            days = self.known(span)
            if days < span.days:
                some = f"only {days}" if days else "none"
                return f"{some} of {span.days} days {of} are known"
        return ""


def focus_of(store: sa.Connection, advertiser_id: str, asked: Asked, now: datetime) -> Focus | None:
    """What is asked for, of the advertiser's rows; None where there are none. `now`: the home's
    clock, by which a day is over."""
    of = ads_advertisers.c
    row = store.execute(
        sa.select(ads_advertisers).where(of.advertiser_id == advertiser_id)
    ).one_or_none()
    if row is None:
        return None
    full = min(row.last_day, today(store, advertiser_id, now) - timedelta(days=1))
    span = asked.span(row.last_day, full, row.open_from)
    return Focus(
        advertiser_id, span, earlier(span, asked.compare), row.open_from, row.last_day, full,
        row.whole_from,
    )  # fmt: skip


def today(store: sa.Connection, advertiser_id: str, now: datetime) -> date:
    """The day that is not over in the zone of every ad account, as of when rows were published."""
    of = ad_accounts.c
    zones = store.scalars(sa.select(of.timezone).where(of.advertiser_id == advertiser_id)).all()
    published = _age(store, ["ads_advertisers"])
    as_of = now if published is None else min(now, published)
    return min(as_of.astimezone(_zone(name)).date() for name in zones or [None])


def _zone(name: str | None) -> ZoneInfo:
    try:
        return zone_of(name or "UTC")
    except ZoneError:
        return ZoneInfo("UTC")


# pages -------------------------------------------------------------------------------------------
def ads_page(
    request: Request,
    viewer: Viewer,
    here: str,
    template: str,
    read: Callable[[sa.Connection, Focus], Mapping[str, Any]],
    *,
    asked: Asked,
    tables: Collection[str] = (),
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """A page about days, by what `read` finds in one state of the store.

    `tables`: the published ones whose age is the page's. Where there is nothing to be seen, the
    page says what fills it.
    """
    service, seat = service_of(request), viewer.seat
    if seat is None:
        return _nothing(request, viewer, here)
    advertiser_id = seat.advertiser_id
    now, currency = part_of(service).now(), currency_of_sums(service.settings)

    def work(store: sa.Connection) -> dict[str, Any]:
        wrong, shown = "", asked
        try:
            focus = focus_of(store, advertiser_id, shown, now)
        except Problem as problem:
            if not wants_page(request):
                raise
            said = "; ".join(one.message for one in problem.errors or ())
            wrong, shown = said or str(problem.detail), Asked(DEFAULT, "", "", asked.compare)
            focus = focus_of(store, advertiser_id, shown, now)
        found: dict[str, Any] = {
            "focus": focus,
            "asked": shown,
            "entered": asked,
            "wrong": wrong,
            "as_of": _age(store, tables),
            "views": saved_views.of(store, viewer.principal.actor, advertiser_id),
        }
        if focus is not None:
            found["unrated"] = unrated.of(store, advertiser_id, currency, focus.span)
            found |= read(store, focus)
        return found

    found = service.in_store(work)
    if found["focus"] is None:
        return _nothing(request, viewer, here)
    return _rendered(
        request, viewer, here, template, 422 if found["wrong"] else status, **found, **values
    )  # fmt: skip


def plain_page(
    request: Request,
    viewer: Viewer,
    here: str,
    template: str,
    read: Callable[[sa.Connection, str], Mapping[str, Any]],
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """A page that is not about days, by what `read` finds of an advertiser."""
    service, seat = service_of(request), viewer.seat
    if seat is None:
        return _nothing(request, viewer, here)
    advertiser_id = seat.advertiser_id
    found = service.in_store(lambda store: read(store, advertiser_id))
    return _rendered(
        request, viewer, here, template, status, **{**NO_DAYS, **found}, **values
    )  # fmt: skip


NO_DAYS: Mapping[str, Any] = {
    "focus": None, "as_of": None, "asked": None, "views": (), "unrated": (), "wrong": "",
}  # fmt: skip


def _nothing(request: Request, viewer: Viewer, here: str) -> HTMLResponse:
    return _rendered(request, viewer, here, "ads_empty.html", **NO_DAYS)


def _rendered(
    request: Request, viewer: Viewer, here: str, template: str, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page by values that are there, with what all of them use."""
    service, seat = service_of(request), viewer.seat
    links = Links.of(request, seat)
    if values["wrong"]:
        links = replace(links, given=links.others("range", "start", "end"))
    return page(
        service, template, status, who=viewer.principal, seat=seat, here=here, pages=PAGES,
        links=links, title=PAGES[here][1], presets=PRESETS, compares=COMPARES, when=when,
        currency=currency_of_sums(service.settings), figure=figure,
        may_write=viewer.principal.may("ads:write") and seat is not None and seat.may_act,
        **FORMATS, **values,
    )  # fmt: skip


FORMATS: Mapping[str, Callable[..., Any]] = {
    "count": numbers.count, "shares": numbers.shares, "money": numbers.money,
    "cents": numbers.cents, "ratio": numbers.ratio, "share": numbers.share,
    "rate": numbers.rate, "over": numbers.over, "change": numbers.change,
    "signed": numbers.signed, "small": numbers.small,
}  # fmt: skip


def when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def shops_of(service: Service, advertiser_id: str) -> list[str]:
    """The shops of an advertiser, as the settings say."""
    shops = service.settings.of(AdsSettings).shopify_shops
    return sorted(shop for shop, whose in shops.items() if whose == advertiser_id)


def _age(store: sa.Connection, tables: Collection[str]) -> datetime | None:
    """Since when the oldest of these is known to be up to date."""
    of = publication.c
    found: datetime | None = store.scalar(
        sa.select(sa.func.min(of.published_at)).where(of.table_name.in_(tables))
    )
    return found


# links -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Links:
    """Addresses of our pages, with the advertiser and the days of this one."""

    path: str
    given: Mapping[str, str]

    @classmethod
    def of(cls, request: Request, seat: Seat | None) -> "Links":
        """Those of a request. An advertiser is named where the reader sees several."""
        given = {name: value for name, value in request.query_params.items() if value}
        given.pop("advertiser", None)
        if seat is not None and len(seat.all) > 1:
            given["advertiser"] = seat.advertiser_id
        return cls(request.url.path, given)

    def here(self, **changes: str | None) -> str:
        """This page with other parameters; None takes one away."""
        return _address(self.path, {**self.given, **changes})

    def days(self, **changes: str | None) -> str:
        """This page over other days."""
        return self.here(**{"range": None, "start": None, "end": None, **changes})

    def to(self, path: str, **params: str | None) -> str:
        """Another page, about the same advertiser and days."""
        return _address(path, self.kept(*KEPT) | params)

    def file(self, path: str) -> str:
        """The same as a file."""
        return _address(path, self.given)

    def act(self, path: str) -> str:
        """Where a form is sent to."""
        return _address(path, self.kept("advertiser"))

    def kept(self, *names: str) -> dict[str, str | None]:
        """Those of the given parameters."""
        return {name: self.given[name] for name in names if name in self.given}

    def others(self, *names: str) -> dict[str, str]:
        """All but those, for the hidden fields of a form."""
        return {name: value for name, value in self.given.items() if name not in names}

    @property
    def query(self) -> str:
        """All but the advertiser, as a saved view keeps it."""
        return urlencode(self.others("advertiser"))


def _address(path: str, params: Mapping[str, str | None]) -> str:
    query = urlencode({name: value for name, value in params.items() if value is not None})
    return f"{path}?{query}" if query else path


# files -------------------------------------------------------------------------------------------
def file_of(
    request: Request,
    viewer: Viewer,
    asked: Asked,
    name: str,
    model: type[BaseModel],
    read: Callable[[sa.Connection, Focus], Sequence[Mapping[Any, Any]]],
    **every: Any,
) -> Response:
    """What `read` finds as a file to be saved, named by the advertiser and the days.

    `every`: what each row says alike. No rows where the reader sees nothing.
    """
    seat, service, called = viewer.seat, service_of(request), name
    rows: Sequence[Mapping[Any, Any]] = ()
    if seat is not None:
        advertiser_id, now = seat.advertiser_id, part_of(service).now()

        def work(store: sa.Connection) -> tuple[Focus | None, Sequence[Mapping[Any, Any]]]:
            focus = focus_of(store, advertiser_id, asked, now)
            return focus, () if focus is None else read(store, focus)

        focus, rows = service.in_store(work)
        if focus is not None:
            of_days = f"{focus.span.first}-{focus.span.last}"
            called = f"{name}-{_UNSAFE.sub('_', advertiser_id)}-{of_days}"
    headers = {
        "Content-Disposition": f'attachment; filename="{called}.csv"',
        "Cache-Control": "private, no-store",
    }
    shown = [model(**{**every, **row}) for row in rows]
    return Response(csv_text(model, shown), media_type=CSV, headers=headers)


_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def within(query: sa.Select, table: sa.Table, focus: Focus, span: Span | None = None) -> sa.Select:
    """The query, of one advertiser and its days."""
    days = span or focus.span
    return query.where(
        table.c.advertiser_id == focus.advertiser_id, table.c.date.between(days.first, days.last)
    )
