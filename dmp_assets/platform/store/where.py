"""Where a home's operational store is; known without importing a database library.

It is the database `store_url` names, else `store` in the home's embedded PostgreSQL, from
`dmp migrate` on. A home whose store was never migrated has none, and nothing needs it.
"""

from urllib.parse import urlsplit

from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres

DATABASE = "store"
EMBEDDED = {"store": "embedded"}
"""What a home remembers whose store is in its own PostgreSQL."""


def is_configured(home: Home) -> bool:
    """Whether the home has an operational store."""
    return home.settings().store_url is not None or is_embedded(home)


def is_embedded(home: Home) -> bool:
    """Whether the store is in the home's own PostgreSQL, which must run for it."""
    return home.settings().store_url is None and "store" in home.state()


def store_url(home: Home) -> SecretStr:
    """URL of the home's store.

    Raises PostgresError when it is the embedded PostgreSQL's and that does not run.
    """
    configured = home.settings().store_url
    if configured is not None:
        return configured
    return EmbeddedPostgres(home).access("dmp_service").url(database=DATABASE)


def owner_url(home: Home) -> SecretStr:
    """URL of the same store for its owner, who migrates it; `store_owner_url` elsewhere.

    Raises PostgresError as `store_url` does.
    """
    settings = home.settings()
    if settings.store_url is not None:
        return settings.store_owner_url or settings.store_url
    return EmbeddedPostgres(home).access("dmp_owner").url(database=DATABASE)


def service_role(home: Home) -> str | None:
    """The role of `store_url`, where another one owns the tables; else None."""
    settings = home.settings()
    if settings.store_url is None:
        return "dmp_service"
    if settings.store_owner_url is None:
        return None
    return urlsplit(settings.store_url.get_secret_value()).username
