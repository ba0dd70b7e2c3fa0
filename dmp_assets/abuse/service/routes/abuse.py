"""Scoring accounts for promo-code abuse."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    model_validator,
)
from starlette.concurrency import run_in_threadpool

from dmp_assets.abuse.model.received import ATTRIBUTES
from dmp_assets.abuse.service.asked import (
    Asked,
    BusyError,
    ReusedKeyError,
    UnknownUserError,
    UnscoredError,
)
from dmp_assets.abuse.service.part import part_of
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.platform.api.access import limit, needs, note_done
from dmp_assets.platform.api.bodies import checked, checked_list
from dmp_assets.platform.api.direct_route import direct
from dmp_assets.platform.api.problems import (
    NO_CONTROL,
    STORE_RETRY_SECONDS,
    VISIBLE,
    FieldError,
    Problem,
    responses,
)
from dmp_assets.platform.api.ranges import Day
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.faces.service import RateLimit
from dmp_assets.platform.store.access import Principal
from dmp_assets.platform.values import words

router = APIRouter(prefix="/v1/abuse", tags=["abuse"])
SCORE_RATE = RateLimit("score", lambda settings: settings.of(AbuseSettings).api_score_rate_limit)
DRY_RUN_RATE = RateLimit(
    "dry-run", lambda settings: settings.of(AbuseSettings).api_dry_run_rate_limit
)
_may_score = needs("abuse:score", rate=SCORE_RATE)
Scorer = Annotated[Principal, Depends(_may_score)]
MOST_ACCOUNTS = 1_000
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=1)
"""How far a caller's clock may run before ours."""


def _text(most: int, **more: Any) -> Any:
    return StringConstraints(strict=True, max_length=most, pattern=NO_CONTROL, **more)


def _trimmed(given: Any) -> Any:
    return words.plain("id", given) if isinstance(given, str) and len(given) <= 1_000 else given


def _address(text: str) -> str:
    ipaddress.ip_address(text)
    return text.partition("%")[0]  # of a link-local one: what the caller calls the link


def _recent(at: datetime) -> datetime:
    if not EARLIEST <= at <= datetime.now(UTC) + AHEAD:
        raise ValueError(f"a time between {EARLIEST:%Y} and now")
    return at


Id = Annotated[str, BeforeValidator(_trimmed), _text(200, min_length=1)]
"""Compared by the rule of ids in tables (`words.plain`)."""
Flag = Annotated[bool, Field(strict=True)]
Address = Annotated[str, _text(45), AfterValidator(_address)]


class Account(BaseModel):
    """An account to be scored: a known one by `user_id`, a new one by `account_ref` and whatever
    is known of it."""

    model_config = ConfigDict(extra="forbid")

    user_id: Id | None = Field(None, description="Id in the shop of an account that it knows.")
    account_ref: Id | None = Field(
        None,
        description="Your name of a new account, best the user_id that it will have. The same "
        "again updates it.",
        examples=["signup-20240401-0017"],
    )
    email: Annotated[str, _text(320)] | None = Field(None, examples=["ann.lee@example.org"])
    email_verified: Flag | None = None
    phone: Annotated[str, _text(64)] | None = Field(None, examples=["+1 202 555 0143"])
    phone_verified: Flag | None = None
    first_name: Annotated[str, _text(200)] | None = Field(None, examples=["Ann"])
    last_name: Annotated[str, _text(200)] | None = Field(None, examples=["Lee"])
    date_of_birth: Day | None = Field(None, examples=["1990-05-17"])
    ip: Address | None = Field(
        None,
        examples=["203.0.113.7"],
        json_schema_extra={"anyOf": [
            {"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"},
            {"type": "null"},
        ]},
    )  # fmt: skip
    device_id: Annotated[str, _text(256)] | None = Field(None, examples=["d-7f3a"])
    user_agent: Annotated[str, _text(2000)] | None = None
    city: Annotated[str, _text(200)] | None = Field(None, examples=["Berlin"])
    timezone: Annotated[str, _text(64)] | None = Field(None, examples=["Europe/Berlin"])
    registered_at: Annotated[AwareDatetime, AfterValidator(_recent)] | None = Field(
        None, description="Time of registration; default: now."
    )
    promo_code: Annotated[str, _text(100)] | None = Field(
        None, description="The code that it is about to redeem.", examples=["SPRING10"]
    )

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if (self.user_id is None) == (self.account_ref is None):
            raise ValueError("give either user_id (a known account) or account_ref (a new one)")
        if self.user_id is not None and self.model_fields_set - {"user_id"}:
            raise ValueError("what is known of a user_id is known here: give no attributes of it")
        return self

    def asked(self, now: datetime) -> Asked:
        at = now if self.registered_at is None else self.registered_at.astimezone(UTC)
        return Asked(
            account_id=self.user_id or self.account_ref or "",
            is_new=self.user_id is None,
            attributes={name: getattr(self, name) for name in ATTRIBUTES},
            registered_at=at,
            promo_code=self.promo_code,
            is_dated=self.registered_at is not None,
        )


class ScoreRequest(BaseModel):
    """Accounts to be scored, in this order: each is compared with those before it, too."""

    model_config = ConfigDict(extra="forbid")

    accounts: Annotated[list[Account], Field(min_length=1, max_length=MOST_ACCOUNTS)]
    dry_run: Flag = Field(False, description="Score without logging or linking anything.")


class Reason(BaseModel):
    """Why an account was flagged."""

    code: str = Field(description="Stable; see docs/api.md.", examples=["DEVICE_BURST"])
    text: str = Field(examples=["several accounts made on the device within a day"])
    weight: float = Field(description="Evidence in log-odds.", examples=[1.6])


class Score(BaseModel):
    """The score of one account."""

    user_id: str | None = Field(None, description="As asked.")
    account_ref: str | None = Field(None, description="As asked.")
    score_id: str = Field(description="Names this score in the log.")
    is_known: bool | None = Field(
        description="Whether the shop's tables have the account; of an account_ref null without "
        "personal:read."
    )
    probability: float | None = Field(
        ge=0,
        le=1,
        description="Estimated probability of abuse; null for an account that could not be scored.",
    )
    decision: Literal["allow", "review", "block"] = Field(
        description="The cheapest by the shop's costs, or what a person ruled."
    )
    decided_by: Literal["model", "limit", "analyst", "list", "nobody"] = Field(
        description="The model's probability, a limit, a person in the review, or a list; nobody: "
        "it could not be scored."
    )
    reasons: list[Reason] = Field(description="Strongest first; none for an allowed account.")
    linked_accounts: list[str] = Field(
        description="Accounts that share rare attributes, at most 20; none without personal:read."
    )
    cluster_size: int | None = Field(
        description="Accounts that hang together, this one included; null without personal:read."
    )
    missing: list[str] = Field(description="Attributes that were not given.")
    warnings: list[str] = Field(description="What could not be used, and why.")


class ScoreAnswer(BaseModel):
    """Scores in the order of the request."""

    model_version: str
    snapshot_at: datetime = Field(description="When the known accounts were read.")
    live_links: bool = Field(
        description="Whether accounts scored by others a moment ago were compared, too."
    )
    dry_run: bool
    results: list[Score]


IdempotencyKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=VISIBLE),
]
_KEY: TypeAdapter[str] = TypeAdapter(IdempotencyKey)


def _is_json(request: Request) -> bool:
    given = request.headers.get("content-type", "")
    if given == "application/json":
        return True
    message = Message()
    message["content-type"] = given
    kind = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (
        kind == "json" or kind.endswith("+json")
    )


async def _accounts_of(request: Request, response: Response) -> ScoreRequest:
    """The body, with what is wrong of it said within bounds. Raises Problem 422."""
    body = await request.body()
    if not _is_json(request):
        raise _problem("send JSON, and `Content-Type: application/json`", ["body"])
    return checked_list(ScoreRequest, Account, "accounts", body, MOST_ACCOUNTS, "body")


async def _key_of(request: Request, response: Response) -> str | None:
    """The Idempotency-Key, if there is one. Raises Problem 422."""
    key = request.headers.get("idempotency-key")
    return None if key is None else checked(_KEY, key, "header", "idempotency-key")


def _problem(message: str, places: Sequence[str]) -> Problem:
    errors = [FieldError(field=place, message=message) for place in places]
    return Problem(422, "invalid", message, errors=errors)


async def count_accounts(
    request: Request, response: Response, principal: Principal, accounts: int, *, dry: bool
) -> None:
    """Count a request by its accounts, the first of which came with the call; note a dry run."""
    if accounts > 1:
        await limit(request, response, principal.actor, SCORE_RATE, cost=accounts - 1)
    if dry:
        await limit(request, Response(), principal.actor, DRY_RUN_RATE, cost=accounts)
        await run_in_threadpool(note_done, request, principal, "dry run", accounts=accounts)


async def score(
    request: Request,
    response: Response,
    principal: Scorer,
    asked: ScoreRequest,
    idempotency_key: Annotated[
        IdempotencyKey | None,
        Header(
            description="The same key within 24 hours gets the same answer, and is scored once."
        ),
    ] = None,
) -> Response:
    """Score accounts, known and brand-new ones. An answered score is in the log."""
    service, now = service_of(request), datetime.now(UTC)
    await count_accounts(request, response, principal, len(asked.accounts), dry=asked.dry_run)
    try:
        body = await part_of(service).scoring.score(
            [account.asked(now) for account in asked.accounts],
            caller=principal.actor,
            request_id=request.state.request_id,
            sees_ids=principal.may("personal:read"),
            dry_run=asked.dry_run,
            idempotency_key=idempotency_key,
            body=await request.body(),
        )
    except BusyError as error:
        raise Problem(
            503, "unavailable", "too many accounts wait to be scored",
            headers={"Retry-After": str(STORE_RETRY_SECONDS)},
        ) from error  # fmt: skip
    except ReusedKeyError as error:
        raise _problem(
            "this key came with another request before", ["header.idempotency-key"]
        ) from error
    except UnknownUserError as error:
        raise _problem(
            "not a known account: score it by account_ref, with what is known of it",
            [f"body.accounts.{error.place}.user_id"],
        ) from error
    except UnscoredError as error:
        raise Problem(500, "internal", "none of these accounts could be scored") from error
    except OSError as error:
        raise Problem(
            503, "unavailable", "scores cannot be logged at the moment",
            headers={"Retry-After": str(STORE_RETRY_SECONDS)},
        ) from error  # fmt: skip
    limits = {name: value for name, value in response.headers.items() if "ratelimit" in name}
    return Response(
        body, media_type="application/json", headers={**limits, "Cache-Control": "no-store"}
    )


router.add_api_route(
    "/score",
    score,
    methods=["POST"],
    response_model=ScoreAnswer,
    responses=responses(401, 403, 408, 413, 429),
    route_class_override=direct(principal=_may_score, asked=_accounts_of, idempotency_key=_key_of),
)
