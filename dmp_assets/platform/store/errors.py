"""What can go wrong with the operational store; known without importing a database library."""

from dmp_assets.platform.base.errors import UserError


class StoreError(UserError):
    """The operational store cannot be used; the message says what to do."""


class SchemaError(StoreError):
    """The store answers, and its schema is not this program's."""


class AccessError(UserError):
    """A client or person that cannot be made or changed; the message says why."""


class LastManagerError(AccessError):
    """An advertiser would be left without anybody who can let people in."""
