"""Connecting Meta: the login dialog, long-lived and system users' tokens, what was granted.

A person's token lives an hour or two and is exchanged at once for one of about 60 days, which is
exchanged again while it is valid: there is no refresh token. What was granted, for which accounts
and until when is asked of `debug_token`, never concluded from what was asked for.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dmp_assets.platform.base.answers import UNREADABLE
from dmp_assets.platform.connect.answer import HttpAnswer
from dmp_assets.platform.connect.errors import NeedsConsentError, UnreadableAnswerError
from dmp_assets.platform.connect.oauth import (
    OAuthClient,
    OAuthService,
    Renewal,
    TokenAnswer,
    Tokens,
    read_tokens,
)
from dmp_assets.sources.meta.config import VERSION, MetaConfig
from dmp_assets.sources.meta.errors import (
    LoginNeededError,
    PermissionMissingError,
    error_of,
    fault,
    fault_of,
)

SERVICE = "Meta"
READING = ("ads_read",)
WRITING = ("ads_read", "ads_management", "business_management")
"""Scopes to read; those that budgets, pausing and split tests need besides."""
SYSTEM_USER = "SYSTEM_USER"
_MARGIN = 30 * 86_400.0
_EXCHANGE = "fb_exchange_token"


def oauth(config: MetaConfig, scopes: tuple[str, ...] = READING) -> OAuthService:
    """How Meta gives access to an advertiser's accounts."""
    configured = config.login_configuration
    return OAuthService(
        name=SERVICE,
        authorization_endpoint=f"{config.login_url.rstrip('/')}/{VERSION}/dialog/oauth",
        token_endpoint=f"{config.api}/oauth/access_token",
        scopes=scopes,
        scope_separator=",",
        client_auth="body",
        exchanges_by="GET",
        authorize_parameters={"config_id": configured} if configured else {},
        pkce=False,
        renewal=Renewal(
            _EXCHANGE,
            _EXCHANGE,
            "access",
            by_kind={SYSTEM_USER: {"set_token_expires_in_60_days": "true"}},  # nosec B105
        ),
        renews_at_once=True,
        rotates=False,
        read=_read,
        is_dead=_is_dead,
        error=_code,
        lifetime=None,
        margin=_MARGIN,
        introspect=lambda client, tokens: introspected(config, client, tokens),
        revoke=lambda client, tokens: _revoke(config, client, tokens),
    )


def oauth_client(config: MetaConfig, scopes: tuple[str, ...] = READING) -> OAuthClient:
    """We at Meta."""
    return OAuthClient(
        oauth(config, scopes), config.app_id, config.app_secret, loopback_only=config.loopback_only
    )


def _read(answer: Mapping[str, Any]) -> TokenAnswer:
    """The token of an answer; an end of 0 is none."""
    given = {name: value for name, value in answer.items() if name != "expires_in" or value}
    return read_tokens(given)


def _is_dead(answer: HttpAnswer) -> bool:
    found = fault_of(answer)
    return found is not None and isinstance(error_of(found), LoginNeededError)


def _code(answer: HttpAnswer) -> str | None:
    found = fault_of(answer)
    if found is None:
        return None
    return f"code-{found.code}" if found.subcode is None else f"code-{found.code}-{found.subcode}"


def introspected(config: MetaConfig, client: OAuthClient, tokens: Tokens) -> Tokens:
    """The same tokens with what Meta tells of them: scopes, accounts, kind and both ends.

    `consent_ends_at` is the second clock, the end of access to data. `targets` are the ids of the
    accounts that were ticked; empty: none. Raises NeedsConsentError for a token that opens nothing.
    """
    data = told_of(config, client, tokens.access)
    if data.get("is_valid") is not True or str(data.get("app_id")) != client.client_id:
        raise NeedsConsentError("Meta: the token opens nothing for this app; connect it anew")
    try:
        told = {
            "scopes": tuple(str(one) for one in data.get("scopes") or ()),
            "kind": str(data.get("type", "")),
            "targets": _targets(data),
            "expires_at": _moment(data.get("expires_at")) or tokens.expires_at,
            "consent_ends_at": _moment(data.get("data_access_expires_at")),
        }
    except UNREADABLE:
        raise UnreadableAnswerError("Meta: what it tells of a token makes no sense") from None
    return tokens.model_copy(update=told)


def told_of(config: MetaConfig, client: OAuthClient, token: str) -> Mapping[str, Any]:
    """What Meta tells of a token, asked as the app. Raises ConnectError for what it refuses."""
    app_token = f"{client.client_id}|{client.client_secret.get_secret_value()}"
    with client.http(f"{config.api}/debug_token") as http:
        answer = http.get(
            params={"input_token": token}, headers={"Authorization": f"Bearer {app_token}"}
        )
    refused = fault_of(answer)
    if refused is not None:
        raise error_of(refused)
    data = answer.checked().object().get("data")
    if not isinstance(data, dict):
        raise UnreadableAnswerError("Meta: what it tells of a token holds no data")
    if isinstance(data.get("error"), dict):
        raise error_of(fault(data["error"]))
    return data


def _targets(data: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Ids of the accounts that may be read; None where a scope is granted for all there are."""
    found: set[str] = set()
    for one in data.get("granular_scopes") or ():
        if isinstance(one, dict) and one.get("scope") in ("ads_read", "ads_management"):
            ids = one.get("target_ids")
            if ids is None:
                return None
            found |= {str(target) for target in ids}
    return tuple(sorted(found))


def _moment(given: object) -> datetime | None:
    """A unix time; 0 is never."""
    if isinstance(given, bool) or not isinstance(given, int) or not 0 < given < 10**11:
        return None
    return datetime.fromtimestamp(given, UTC)


def _revoke(config: MetaConfig, client: OAuthClient, tokens: Tokens) -> None:
    url = f"{config.url.rstrip('/')}/oauth/revoke"
    query = {
        "client_id": client.client_id,
        "client_secret": client.client_secret.get_secret_value(),
        "revoke_token": tokens.access,
    }
    with client.http(url) as http:
        answer = http.get(params=query, headers={"Authorization": f"Bearer {tokens.access}"})
    refused = fault_of(answer)
    if refused is not None:
        raise error_of(refused)
    answer.checked()


def explained(
    config: MetaConfig,
    client: OAuthClient,
    tokens: Tokens,
    error: PermissionMissingError,
) -> PermissionMissingError:
    """The same error with what lacks: scopes, or the account that was ticked off.

    Raises what `introspected` raises.
    """
    now = introspected(config, client, tokens)
    missing = client.missing(now.scopes)
    account = error.account
    is_off = (
        account is not None
        and now.targets is not None
        and (account.removeprefix("act_") not in now.targets)
    )
    lacks = [f"the permission {scope}" for scope in missing]
    lacks += [f"the account {account}, which was ticked off"] if is_off else []
    if not lacks:
        return error
    return PermissionMissingError(
        f"the connection lacks {' and '.join(lacks)}: connect it anew and grant it",
        error.fault,
        scopes=missing,
        account=account if is_off else None,
    )


def earliest_end(tokens: Tokens) -> datetime | None:
    """The earlier of both clocks, which people are warned of; None: neither runs out."""
    ends = [end for end in (tokens.expires_at, tokens.consent_ends_at) if end is not None]
    return min(ends, default=None)
