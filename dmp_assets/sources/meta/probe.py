"""Trying Meta: whether it knows the app by its id and secret, and what a token of ours opens there.

Asked with the app's own token of `debug_token`, once, and nothing is renewed.
"""

from dataclasses import replace
from datetime import UTC, datetime

from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import (
    ConnectError,
    NeedsConsentError,
    NoAnswerError,
    StatusError,
    UnreadableAnswerError,
)
from dmp_assets.platform.connect.http import Patience
from dmp_assets.platform.connect.oauth import OAuthClient
from dmp_assets.platform.faces.probes import PATIENCE_SECONDS, UnreachableError
from dmp_assets.sources.meta.config import MetaConfig, meta_config, meta_lacks
from dmp_assets.sources.meta.connection import earliest_end, oauth_client, told_of
from dmp_assets.sources.meta.errors import AppSecretError, BadParameterError, LoginNeededError
from dmp_assets.sources.meta.settings import MetaSettings

_NOT_OURS = (AppSecretError, BadParameterError, LoginNeededError)
"""How Meta refuses the token of an app that it does not know, or whose secret is another one."""
_NOT_METAS = (NoAnswerError, StatusError, UnreadableAnswerError)


def look(home: Home) -> str:
    """The app, and the token of the settings where there is one. Raises UnreachableError."""
    config = meta_config(home)
    settings = home.settings().of(MetaSettings)
    if config is None:
        lacks = " and ".join(meta_lacks(settings))
        raise UnreachableError(f"Meta is not reached without {lacks}: set it")
    client = oauth_client(config)
    hasty = replace(client.service, patience=Patience(attempts=1), timeout=PATIENCE_SECONDS)
    client = replace(client, service=hasty)
    told = _app(config, client)
    if settings.meta_system_user_token is None:
        return told
    try:
        tokens = client.by_token(settings.meta_system_user_token, datetime.now(UTC))
        client.check_scopes(tokens)
    except NeedsConsentError as error:
        raise UnreachableError(f"{error}; see DMP_META_SYSTEM_USER_TOKEN") from error
    except ConnectError as error:
        raise UnreachableError(str(error)) from error
    if tokens.targets == ():
        raise UnreachableError("DMP_META_SYSTEM_USER_TOKEN opens no ad account: give it some")
    ends = earliest_end(tokens)
    return f"{told}; the system user's token is good{f' until {ends:%Y-%m-%d}' if ends else ''}"


def _app(config: MetaConfig, client: OAuthClient) -> str:
    """That Meta knows the app. Raises UnreachableError, which names the setting to look at."""
    secret = f"{config.app_id}|{config.app_secret.get_secret_value()}"
    try:
        data = told_of(config, client, secret)
    except _NOT_OURS as error:
        raise UnreachableError(
            f"Meta does not take the app's id and secret ({error.fault}); see DMP_META_APP_ID and "
            "DMP_META_APP_SECRET"
        ) from error
    except _NOT_METAS as error:
        raise UnreachableError(f"{error}; see DMP_META_URL") from error
    except ConnectError as error:
        raise UnreachableError(str(error)) from error
    if str(data.get("app_id")) != config.app_id:
        raise UnreachableError("Meta tells of another app; see DMP_META_APP_ID, DMP_META_URL")
    return f"app {config.app_id}"
