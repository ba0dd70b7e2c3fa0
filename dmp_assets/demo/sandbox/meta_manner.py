"""How the sandbox's Meta behaves, as tests and people set it while it runs."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_EVER = 1_000_000_000


class Limits(BaseModel):
    """Allowances, computed from real counters. tier: `development_access` (Limited) or
    `standard_access` (Full); numbers in place of those of the tier: calls an hour and account for
    insights and management, points of an account (a reading costs 1, a writing 3) that decay over
    300 s, seconds that their excess blocks, calls an hour of the app."""

    model_config = ConfigDict(extra="forbid")

    tier: Literal["development_access", "standard_access"] = "standard_access"
    insights: float | None = Field(default=None, gt=0)
    management: float | None = Field(default=None, gt=0)
    points: float | None = Field(default=None, gt=0)
    block: float | None = Field(default=None, ge=0)
    app: float = Field(default=1_000_000, gt=0)


class Refusal(BaseModel):
    """An error in place of an answer: the next `times` calls whose path holds `path` and whose
    method is `method`, after `after` of them were answered.

    `blames`: the parameters in `error_data.blame_field_specs`, as an object or, with `as_text`, as
    JSON text. `minutes`: to regain access, in the header of the account's use. `done`: the work is
    done before it is refused. `html`: a page instead of JSON.
    """

    model_config = ConfigDict(extra="forbid")

    path: str = ""
    method: str = ""
    times: int = 1
    after: int = 0
    code: int = 1
    subcode: int | None = None
    status: int = 400
    message: str = "An unknown error occurred"
    is_transient: bool = False
    blames: tuple[str, ...] = ()
    as_text: bool = False
    minutes: int | None = None
    done: bool = False
    html: bool = False


class Manner(BaseModel):
    """How it behaves; in memory, so a new sandbox behaves well.

    `refusals`: see there. `limits`: see there; `headers`: whether usage is told at all.
    `proof`: whether calls must carry `appsecret_proof`. `ended_version`: a version that has ended
    is refused with 2635, or upgraded with a header. `token_life`, `long_life`: seconds of a
    person's short and long token; `data_life`: of what it may read. `job_seconds`: what a report
    takes; `job`: the next `job_times` reports stay Started, fail saying 100 %, or are Skipped;
    `missing_run`: so many times a report is not there yet. `most_days`: longer ranges are too much
    data, refused as 500/1 (`too_much` = 1) or 400/100/1487534, and reports on them fail; so do
    reports on more than `most_ads` ads. `page`: rows a page at most; `empty_pages`: so many pages
    are empty, with a next one. `null_elements`: so many elements of batches are null.
    `guards_business`: an account's `business` is for `business_management` alone.
    `purchase_types`: action types under which the same purchases are told.
    """

    model_config = ConfigDict(extra="forbid")

    refusals: list[Refusal] = Field(default_factory=list)
    limits: Limits = Limits()
    headers: bool = True
    proof: bool = True
    ended_version: Literal["refused", "upgraded"] = "refused"
    token_life: float = 5_400
    long_life: float = 5_184_000
    data_life: float = 7_776_000
    job: Literal["well", "stuck", "fails", "skipped"] = "well"
    job_times: int = _EVER
    job_seconds: float = 0
    missing_run: int = 0
    most_days: int | None = None
    most_ads: int | None = None
    too_much: Literal[1, 100] = 1
    page: int = 5_000
    empty_pages: int = 0
    null_elements: int = 0
    guards_business: bool = False
    purchase_types: tuple[str, ...] = (
        "omni_purchase",
        "purchase",
        "offsite_conversion.fb_pixel_purchase",
        "onsite_web_purchase",
        "onsite_web_app_purchase",
        "web_in_store_purchase",
    )

    def refusal(self, method: str, path: str) -> Refusal | None:
        """The refusal that this call meets, counted down."""
        for one in self.refusals:
            if one.path in path and one.method in ("", method):
                if one.after > 0:
                    one.after -= 1
                    continue
                one.times -= 1
                if one.times <= 0:
                    self.refusals.remove(one)
                return one
        return None


class GraphError(Exception):
    """An answer that says no, as the Graph API says it."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        subcode: int | None = None,
        status: int = 400,
        kind: str = "OAuthException",
        is_transient: bool = False,
        blames: tuple[str, ...] = (),
        as_text: bool = False,
    ) -> None:
        super().__init__(message)
        self.code, self.subcode, self.status = code, subcode, status
        self.message, self.kind, self.is_transient = message, kind, is_transient
        self.blames, self.as_text = blames, as_text

    def body(self, trace: str) -> dict[str, Any]:
        """The JSON of the answer."""
        error: dict[str, Any] = {
            "message": self.message,
            "type": self.kind,
            "code": self.code,
            "is_transient": self.is_transient,
            "fbtrace_id": trace,
        }
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.blames:
            data = {"blame_field_specs": [[name] for name in self.blames]}
            error["error_data"] = json.dumps(data) if self.as_text else data
        return {"error": error}


def bad(message: str, *blames: str) -> GraphError:
    """Code 100: a parameter is wrong."""
    return GraphError(100, f"(#100) {message}", blames=blames)


def gone(object_id: str) -> GraphError:
    """Code 100/33: no such object, or none that this token may see."""
    return GraphError(
        100,
        f"Unsupported get request. Object with ID '{object_id}' does not exist, cannot be loaded "
        "due to missing permissions, or does not support this operation",
        subcode=33,
        kind="GraphMethodException",
    )
