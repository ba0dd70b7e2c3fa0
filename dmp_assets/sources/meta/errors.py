"""What Meta refuses, by code and subcode alone: its texts change, and are never repeated.

Sources: Meta's error reference of the Marketing API and of the Graph API, v27; see the codes in
`error_of`. HTTP's status says little: a throttle comes as 400, a transient error as 500.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmp_assets.platform.base.answers import json_object
from dmp_assets.platform.connect.answer import HttpAnswer
from dmp_assets.platform.connect.errors import ConnectError, NeedsConsentError, TryAgainError

HOUR, DAY = 3_600.0, 86_400.0
BLOCKED_SECONDS = 6 * HOUR
"""How long nothing is written after Meta has blocked writing as abusive; it does not say."""
_LOGIN = {
    458: "the app was removed there",
    459: "the person has to pass a checkpoint there",
    460: "the password was changed there",
    463: "the token has ended",
    464: "the person is not confirmed there",
    467: "the token was invalidated there",
    492: "the person lost the role there",
}
_ACCOUNT_LIMITS = frozenset({17, 32, 613, *range(80_000, 80_015)})
_CODE_REFUSED = frozenset({36_007, 36_008, 36_009})
"""Subcodes of a consent's code that was used, is too old, or was for another redirect."""


@dataclass(frozen=True)
class Fault:
    """An error of Meta's as it was given. `blames`: names of the parameters that are wrong."""

    code: int
    subcode: int | None
    kind: str
    is_transient: bool
    blames: tuple[str, ...]
    trace: str

    def __str__(self) -> str:
        number = f"{self.code}/{self.subcode}" if self.subcode is not None else str(self.code)
        return f"code {number}, trace {self.trace}" if self.trace else f"code {number}"


class MetaError(ConnectError):
    """Meta refuses. `fault`: how it said so."""

    def __init__(self, message: str, fault: Fault, kind: str = "refused") -> None:
        super().__init__(f"Meta: {message} ({fault})", kind)
        self.fault = fault


class TransientError(TryAgainError):
    """It may go well soon: nothing is known to be wrong."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"Meta is out of order for a moment ({fault})", kind="transient")
        self.fault = fault


class UnknownError(MetaError):
    """Code 1 with a subcode: asked once more, then given up."""


class TooMuchDataError(MetaError):
    """More was asked for than one answer can be: ask for fewer days, rows or fields."""


class MaybeTooMuchError(TooMuchDataError):
    """Code 1 alone: anything, or too much data; asked once more, then for less."""


class LimitError(MetaError):
    """An allowance is used up. `seconds`: not before; `of_app`: that of all accounts."""

    def __init__(self, message: str, fault: Fault, seconds: float, *, of_app: bool = False) -> None:
        super().__init__(message, fault, "throttled")
        self.seconds, self.of_app = seconds, of_app


class WriteLimitError(MetaError):
    """So many changes are allowed; nothing was changed. `seconds`: not before."""

    def __init__(self, message: str, fault: Fault, seconds: float) -> None:
        super().__init__(message, fault, "write limit")
        self.seconds = seconds


class LoginNeededError(NeedsConsentError):
    """The token opens nothing any more: only a person can help."""

    def __init__(self, message: str, fault: Fault) -> None:
        super().__init__(f"Meta: {message}; connect it anew ({fault})")
        self.fault = fault


class PermissionMissingError(MetaError):
    """A scope or an account was not granted, or not any more; others may go on.

    `scopes`: those that lack; `account`: the one that was ticked off; both as far as is known.
    """

    def __init__(
        self,
        message: str,
        fault: Fault,
        *,
        scopes: tuple[str, ...] = (),
        account: str | None = None,
    ) -> None:
        super().__init__(message, fault, "permission missing")
        self.scopes, self.account = scopes, account


class AppSecretError(MetaError):
    """The app's secret, or what is proven with it, is wrong."""


class DevelopmentAccessError(MetaError):
    """The app may read accounts of its own admins only."""


class BadParameterError(MetaError):
    """We asked wrongly; never asked again as it is."""


class ObjectGoneError(MetaError):
    """An object that is gone, not to be seen, or a report that is not there yet."""


class VersionEndedError(MetaError):
    """The version of the API that this program speaks has ended."""


class TooOldError(MetaError):
    """Days that Meta does not keep any more (37 months)."""


def fault_of(answer: HttpAnswer) -> Fault | None:
    """The error that an answer holds, whatever its status; None for none."""
    if b'"error"' not in answer.body:  # a page of rows need not be read twice
        return None
    error = (json_object(answer.body) or {}).get("error")
    return fault(error) if isinstance(error, Mapping) else None


def fault(error: Mapping[str, Any]) -> Fault:
    """An error object of the Graph API, read without trusting it."""
    return Fault(
        code=_number(error.get("code")) or 0,
        subcode=_number(error.get("error_subcode", error.get("subcode"))),
        kind=_word(error.get("type")),
        is_transient=error.get("is_transient") is True,
        blames=_blames(error.get("error_data")),
        trace=_word(error.get("fbtrace_id")),
    )


def error_of(fault: Fault, seconds: float | None = None) -> ConnectError:
    """What to do about a fault, as a typed error. `seconds`: what the answer's headers ask for."""
    wait = seconds or 60.0
    match (fault.code, fault.subcode):
        case (17, 1_885_172):
            return WriteLimitError("an account's spend cap may change 10 times a day", fault, DAY)
        case (613, 1_487_632):
            return WriteLimitError("an ad set's budget may change 4 times an hour", fault, HOUR)
        case (341 | 368, _):
            return WriteLimitError("writing is blocked for some hours", fault, BLOCKED_SECONDS)
        case (4, _):
            return LimitError("the app's allowance is used up", fault, wait, of_app=True)
        case (code, _) if code in _ACCOUNT_LIMITS:
            return LimitError("the account's allowance is used up", fault, wait)
        case (102 | 190, subcode):
            return LoginNeededError(_LOGIN.get(subcode or 0, "the token is not valid"), fault)
        case (100, subcode) if subcode in _CODE_REFUSED:
            return LoginNeededError("the consent's code was used, or is too old", fault)
        case (10 | 200 | 294, _):
            return PermissionMissingError("a permission or an account was not granted", fault)
        case (104, _) | (101, _):
            return AppSecretError("the app's id or secret is wrong (DMP_META_APP_SECRET)", fault)
        case (270, _):
            return DevelopmentAccessError(
                "the app may only read accounts of its own admins: ask Meta for advanced access",
                fault,
            )
        case (100, 33):
            return ObjectGoneError("there is no such object, or it may not be seen", fault)
        case (100, 1_487_534):
            return TooMuchDataError("too much was asked for at once", fault, "too much data")
        case (100, None) if fault.kind == "GraphMethodException":
            return AppSecretError("the proof of the app's secret is not accepted", fault)
        case (100, _):
            blamed = f": {', '.join(fault.blames)}" if fault.blames else ""
            return BadParameterError(f"a parameter is wrong{blamed}", fault, "bad parameter")
        case (1, None):
            return MaybeTooMuchError("no reason was given", fault, "unknown")
        case (1, _):
            return UnknownError("no reason was given; a level may be wrong", fault, "unknown")
        case (2_500, _):
            return BadParameterError("the request cannot be understood", fault, "bad parameter")
        case (2_635, _):
            return VersionEndedError(
                "the API's version has ended: update this program", fault, "version ended"
            )
        case (3_018, _):
            return TooOldError("days older than 37 months are not kept", fault, "too old")
        case (2 | 960, _):
            return TransientError(fault)
        case (code, 2_446_079) if code < 0:
            return LimitError("the account's allowance is used up", fault, wait)
    if fault.is_transient or fault.code < 0:
        return TransientError(fault)
    return MetaError("it does not do this", fault)


def _number(given: object) -> int | None:
    if isinstance(given, bool) or not isinstance(given, int | str):
        return None
    text = str(given)
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 15 else None


def _word(given: object) -> str:
    """A name or id of Meta's, if it is one."""
    text = given if isinstance(given, str) else ""
    is_plain = text.isascii() and text.replace("_", "").replace("-", "").isalnum()
    return text if is_plain and len(text) <= 40 else ""


def _blames(given: object) -> tuple[str, ...]:
    """Names in `blame_field_specs`, of an object or of its JSON text."""
    if isinstance(given, str):
        given = json_object(given)
    specs = given.get("blame_field_specs") if isinstance(given, Mapping) else None
    if not isinstance(specs, list):
        return ()
    paths = [spec if isinstance(spec, list) else [spec] for spec in specs]
    return tuple(name for path in paths for part in path if (name := _word(part)))
