"""What Shopify says no to. No message holds a token, a query, or what an order holds."""

from dmp_assets.platform.connect.errors import ConnectError


class ShopClosedError(ConnectError):
    """The shop as a whole lets nobody in, or not us; its connection rests. `status`: of HTTP."""

    def __init__(self, message: str, kind: str, status: int) -> None:
        super().__init__(message, kind)
        self.status = status


class QueryTooCostlyError(ConnectError):
    """A document costs more than any may; nothing was done. The same one never does better."""

    def __init__(self, message: str, cost: float, most: float) -> None:
        super().__init__(message, "max cost")
        self.cost, self.most = cost, most


class AccessDeniedError(ConnectError):
    """A field takes what the app was not granted. `required`: what that is, as Shopify names it."""

    def __init__(self, message: str, required: str) -> None:
        super().__init__(message, "access denied")
        self.required = required


class QueryRefusedError(ConnectError):
    """A document that Shopify does not understand: it is ours to mend."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "query refused")


class BusinessError(ConnectError):
    """A change that was understood and refused (`userErrors`). `code`: why, where one is given."""

    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message, "refused")
        self.code = code


class BulkBusyError(ConnectError):
    """Other bulk operations run for longer than we wait."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "bulk busy")


class BulkFailedError(ConnectError):
    """A bulk operation did not come to its end. `status`, `code`: as Shopify names them."""

    def __init__(self, message: str, status: str, code: str | None) -> None:
        super().__init__(message, "bulk failed")
        self.status, self.code = status, code


class GoneError(ConnectError):
    """What was asked about was deleted while it was read."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "gone")


class ListChangedError(ConnectError):
    """A list changes faster than it can be read whole; nothing was concluded from it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "list changes")


class WebhookRefusedError(ConnectError):
    """A webhook that is not from Shopify, or not about what it says: answer 401."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "webhook refused")
