"""Which app we are at Meta, and whether a home is connected there; imports nothing heavy."""

from dataclasses import dataclass, field

from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.store import where
from dmp_assets.sources.meta.settings import MetaSettings

VERSION = "v27.0"
"""The one version that is spoken, released 2026-11-04; each lives about a year."""


@dataclass(frozen=True)
class MetaConfig:
    """How Meta is reached. `url`: of the Graph API; `login_url`: of the dialog."""

    url: str
    login_url: str
    app_id: str
    app_secret: SecretStr = field(repr=False)
    login_configuration: str = ""
    loopback_only: bool = False

    @property
    def api(self) -> str:
        """The Graph API in the version that is spoken."""
        return f"{self.url.rstrip('/')}/{VERSION}"


def meta_config(home: Home) -> MetaConfig | None:
    """How the home reaches Meta; None where no app is configured."""
    settings = home.settings().of(MetaSettings)
    if not settings.meta_app_id or settings.meta_app_secret is None:
        return None
    return MetaConfig(
        url=settings.meta_url,
        login_url=settings.meta_login_url,
        app_id=settings.meta_app_id,
        app_secret=settings.meta_app_secret,
        login_configuration=settings.meta_login_configuration,
        loopback_only=home.profile == "sandbox",
    )


def meta_lacks(settings: MetaSettings) -> tuple[str, ...]:
    """The settings without which there is no app at Meta and that are not set."""
    needed = {
        "DMP_META_APP_ID": settings.meta_app_id, "DMP_META_APP_SECRET": settings.meta_app_secret,
    }  # fmt: skip
    return tuple(name for name, value in needed.items() if not value)


def is_connected(home: Home) -> bool:
    """Whether the home may have a connection: an app, and a store or a system user's token."""
    if meta_config(home) is None:
        return False
    given = home.settings().of(MetaSettings).meta_system_user_token
    return given is not None or where.is_configured(home)
