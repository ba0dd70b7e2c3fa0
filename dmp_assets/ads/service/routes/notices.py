"""What is not as usual, and how a person wants to be told of it."""

import datetime as dt
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dmp_assets.ads.model.notices.detect import MEANINGS, Kind
from dmp_assets.ads.model.notices.series import NoticeError
from dmp_assets.ads.service.store import preferences
from dmp_assets.ads.service.store.preferences import By, Chosen, Told
from dmp_assets.ads.service.store.schema_notices import ad_notice
from dmp_assets.platform.api.access import note_done
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.output import Listing, Page, csv_or_json, rows_answer
from dmp_assets.platform.api.problems import NO_CONTROL, FieldError, Problem, responses
from dmp_assets.platform.api.ranges import Range, date_range
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/v1/ads", tags=["ads"])
At = Annotated[Seat, Depends(seat("ads:read"))]
Acting = Annotated[Seat, Depends(seat("ads:write", acts=True))]
NoticeId = Annotated[str, Path(max_length=40, pattern=NO_CONTROL, description="A notice's id.")]
LONGEST_MUTE = dt.timedelta(days=366)
_KINDS = "; ".join(f"`{kind}`: {meaning}" for kind, meaning in MEANINGS.items())
_DENIED = responses(401, 403, 404, 422, 429)
_OF_A_BODY = _DENIED | responses(400)
assert set(get_args(Kind)) == set(MEANINGS)


class Notice(BaseModel):
    """What is or was not as usual, as of the last day on which it was so."""

    notice_id: str
    kind: Kind = Field(description=_KINDS)
    meaning: str = Field(description="The kind in words.")
    subject: str = Field(
        description="Of what: `account:…`, `campaign:…`, `ad:…`, `shop:…`, `connection:…`, "
        "`job:…`, or `advertiser` for all.",
        examples=["campaign:23850000000000001"],
    )
    subject_name: str = Field(description="What that is called.")
    account_id: str | None
    day: dt.date = Field(description="The last day on which it was so.")
    since: dt.date = Field(description="The first one.")
    figure: Decimal = Field(description="What was found, counted in `unit`.")
    low: Decimal | None = Field(description="The least that is usual; null: no such bound.")
    high: Decimal | None = Field(description="The most that is usual; null: no such bound.")
    unit: Literal["money", "ratio", "count", "days", "seconds", "share of the day"]
    currency: str | None = Field(description="Of money (ISO 4217).")
    link: str = Field(description="Path of the page that shows it.")
    found_at: dt.datetime = Field(description="When it was found first.")


class KindChoice(BaseModel):
    """How a kind is told otherwise than the rest."""

    model_config = ConfigDict(extra="forbid")

    channel: By = Field(description="`none`: not at all.")
    is_digest: bool = Field(False, description="With others at `digest_at`, where there is one.")


class Preferences(BaseModel):
    """What a person wants to be told of an advertiser's notices."""

    model_config = ConfigDict(extra="forbid")

    channel: By = Field(
        "slack",
        description="`slack`: the advertiser's channel; `email`: the person's own address; `none`.",
    )
    kinds: dict[Kind, KindChoice] = Field(
        default_factory=dict, description="Kinds that are told otherwise."
    )
    zone: str = Field(max_length=80, pattern=NO_CONTROL, examples=["Europe/Berlin"])
    quiet_from: dt.time | None = Field(None, description="Nothing is told from then on,")
    quiet_to: dt.time | None = Field(
        None, description="until then, over midnight if it is earlier."
    )
    digest_at: dt.time | None = Field(
        None,
        description="All but what costs money by the hour is told together at this time; null: at "
        "once.",
    )


class MuteShown(BaseModel):
    """What the person does not want to hear of for a while."""

    mute_id: int
    kind: Kind | None = Field(description="Null: any.")
    subject: str | None = Field(description="Null: any.")
    ends_at: dt.datetime


class OwnPreferences(Preferences):
    """The same, with what is muted."""

    mutes: list[MuteShown]


class MuteUntil(BaseModel):
    """What of a notice is muted, and until when."""

    model_config = ConfigDict(extra="forbid")

    until: AwareDatetime = Field(description="At most a year from now.")
    what: Literal["notice", "kind", "subject"] = Field(
        "notice",
        description="`notice`: its kind of its subject; `kind`: of any subject; `subject`: all of "
        "it.",
    )


class Muted(BaseModel):
    """The mute that was made."""

    mute_id: int


@router.get(
    "/notices",
    response_model=Page[Notice],
    responses={**csv_or_json(Notice), **responses(401, 403, 404, 406, 422, 429)},
)
def notices(
    request: Request,
    response: Response,
    at: At,
    chosen: Annotated[Range, Depends(date_range)],
    kind: Annotated[Kind | None, Query(description="Only these.")] = None,
    subject: Annotated[
        str | None, Query(max_length=200, pattern=NO_CONTROL, description="Only of this.")
    ] = None,
    sort: Annotated[
        str, Query(max_length=40, description="`day` or `found_at`, with `-` the newest first.")
    ] = "-day",
    limit: Annotated[int, Query(ge=1, le=1000, description="Rows of one page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Any:
    """What was not as usual in the range, by the last day on which it was so."""
    of, service = ad_notice.c, service_of(request)
    mine = of.advertiser_id == at.advertiser_id
    query = sa.select(ad_notice).where(mine)
    for column, value in ((of.kind, kind), (of.subject, subject)):
        if value is not None:
            query = query.where(column == value)

    def read(store: sa.Connection) -> Any:
        bounded = chosen.within(query, of.day, store, mine).subquery()
        listing = Listing(
            bounded, "notice_id", ("day", "found_at"), name=f"notices {at.advertiser_id}"
        )
        return listing.page(store, service.seal, where=(), sort=sort, limit=limit, cursor=cursor)

    rows, following = service.in_store(read)
    shown = [Notice(**row, meaning=MEANINGS[row["kind"]]) for row in rows]
    return rows_answer(request, response, Notice, shown, following)


@router.get("/notices/preferences", response_model=OwnPreferences, responses=_DENIED)
def own_preferences(request: Request, at: At) -> Any:
    """How the caller, a person, is told of the advertiser's notices."""
    service, person_id = service_of(request), _person(at)
    zone, now = service.settings.timezone, service.now()

    def read(store: sa.Connection) -> OwnPreferences:
        found = preferences.read(store, at.advertiser_id, person_id, zone)
        muted = preferences.mutes(store, at.advertiser_id, person_id, now)
        return OwnPreferences(
            channel=found.channel,
            kinds={kind: KindChoice(**told.__dict__) for kind, told in found.kinds.items()},
            zone=found.zone,
            quiet_from=found.quiet_from,
            quiet_to=found.quiet_to,
            digest_at=found.digest_at,
            mutes=[MuteShown(**one.__dict__) for one in muted],
        )

    return service.in_store(read)


@router.put("/notices/preferences", status_code=204, responses=_OF_A_BODY)
def put_preferences(request: Request, at: At, said: Preferences) -> None:
    """Say how to be told, in the place of what was said before; mutes stay."""
    service, person_id = service_of(request), _person(at)
    _check(said)
    kinds = {kind: Told(one.channel, one.is_digest) for kind, one in said.kinds.items()}
    chosen = Chosen(said.channel, said.zone, kinds, said.quiet_from, said.quiet_to, said.digest_at)
    try:
        service.change(
            lambda store: preferences.write(
                store, at.advertiser_id, person_id, chosen, service.now()
            )
        )
    except NoticeError as error:
        field = "body.quiet_to" if "quiet" in str(error) else "body.zone"
        raise _wrong(field, str(error)) from error
    note_done(request, at.principal, "choose notices", advertiser=at.advertiser_id)


@router.post(
    "/notices/{notice_id}/mute", response_model=Muted, status_code=201, responses=_OF_A_BODY
)
def mute(request: Request, at: Acting, notice_id: NoticeId, said: MuteUntil) -> Any:
    """Tell the caller, a person, nothing of it for a while; others hear of it all the same."""
    service, person_id = service_of(request), _person(at)
    now = service.now()
    if not now < said.until <= now + LONGEST_MUTE:
        raise _wrong("body.until", "a time after now, and at most a year from now")

    def change(store: sa.Connection) -> int | None:
        found = store.execute(
            sa.select(ad_notice.c.kind, ad_notice.c.subject).where(
                ad_notice.c.notice_id == notice_id,
                ad_notice.c.advertiser_id == at.advertiser_id,
            )
        ).one_or_none()
        if found is None:
            return None
        return preferences.mute(
            store,
            at.advertiser_id,
            person_id,
            kind=None if said.what == "subject" else found.kind,
            subject=None if said.what == "kind" else found.subject,
            ends_at=said.until,
            now=now,
        )

    mute_id = service.change(change)
    if mute_id is None:
        raise Problem(404, "not-found", "there is no such notice")
    note_done(request, at.principal, "mute notices", advertiser=at.advertiser_id,
              notice_id=notice_id, what=said.what)  # fmt: skip
    return Muted(mute_id=mute_id)


@router.delete("/notices/mutes/{mute_id}", status_code=204, responses=_DENIED)
def unmute(request: Request, at: Acting, mute_id: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> None:
    """Hear of it again."""
    person_id = _person(at)
    gone = service_of(request).change(
        lambda store: preferences.unmute(store, at.advertiser_id, person_id, mute_id)
    )
    if not gone:
        raise Problem(404, "not-found", "the caller has no such mute")
    note_done(request, at.principal, "unmute notices", advertiser=at.advertiser_id)


def _person(at: Seat) -> uuid.UUID:
    """Who calls. Raises Problem 403 for a client, whom nobody tells of anything."""
    kind, _, name = at.principal.actor.partition(":")
    if kind != "person":
        raise Problem(403, "forbidden", "only people are told of notices: log in as one")
    return uuid.UUID(name)


def _check(said: Preferences) -> None:
    """Raise Problem 422 for times that are half given, or of a zone of their own."""
    if (said.quiet_from is None) != (said.quiet_to is None):
        missing = "quiet_to" if said.quiet_to is None else "quiet_from"
        raise _wrong(f"body.{missing}", "quiet hours have a beginning and an end")
    for name in ("quiet_from", "quiet_to", "digest_at"):
        given = getattr(said, name)
        if given is not None and given.tzinfo is not None:
            raise _wrong(f"body.{name}", "a time as clocks of `zone` show it, such as 22:00")


def _wrong(field: str, message: str) -> Problem:
    return Problem(422, "invalid", errors=[FieldError(field=field, message=message)])
