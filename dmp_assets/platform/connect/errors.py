"""What can go wrong between us and a service. No message holds a header, a query or a body."""

from dmp_assets.platform.base.errors import UserError


class ConnectError(UserError):
    """A service cannot be used; `kind` is the same in few words, for a connection's health."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class AddressError(ConnectError):
    """An address that nothing is sent to."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "address")


class NoAnswerError(ConnectError):
    """No whole answer came. `is_unknown`: whether the service may have done what was asked."""

    def __init__(self, message: str, kind: str, *, is_unknown: bool) -> None:
        super().__init__(message, kind)
        self.is_unknown = is_unknown


class TooLargeError(ConnectError):
    """An answer beyond the bound; it was not read further."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "too large")


class UnreadableAnswerError(ConnectError):
    """An answer that is not what it should be: cut off, a page, no JSON."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "unreadable")


class StatusError(ConnectError):
    """An answer whose status says no. `status`: which."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, f"status {status}")
        self.status = status


class ThrottledError(ConnectError):
    """Nothing was done: the service wants to be left alone for longer than we wait. `seconds`."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message, "throttled")
        self.seconds = seconds


class PagingError(ConnectError):
    """Pages that do not come to an end."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "paging")


class TryAgainError(ConnectError):
    """Raised by who reads an answer: the same request may do better. `seconds`: not before.

    Only for requests that may be repeated, or when the answer says that nothing was done
    (`is_undone`).
    """

    def __init__(
        self,
        message: str,
        *,
        seconds: float | None = None,
        kind: str = "try again",
        is_undone: bool = False,
    ) -> None:
        super().__init__(message, kind)
        self.seconds = seconds
        self.is_undone = is_undone


class NeedsConsentError(ConnectError):
    """A connection that a person has to consent to anew."""

    def __init__(self, message: str, kind: str = "needs consent") -> None:
        super().__init__(message, kind)


class RefusedConsentError(ConnectError):
    """What came back from a service's consent page opens nothing."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "consent refused")


class MissingScopeError(NeedsConsentError):
    """What was granted is less than is needed. `missing`: the scopes that lack."""

    def __init__(self, message: str, missing: tuple[str, ...]) -> None:
        super().__init__(message, "scope missing")
        self.missing = missing
