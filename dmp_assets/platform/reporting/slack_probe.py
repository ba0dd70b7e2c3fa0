"""Trying Slack: the token with its scopes, and whether the channels of settings are there."""

import re
from collections.abc import Mapping

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from dmp_assets.platform.base.addresses import place_of
from dmp_assets.platform.base.answers import why_unanswered
from dmp_assets.platform.faces.probes import PATIENCE_SECONDS, UnreachableError
from dmp_assets.platform.reporting.slack import UnreadableAnswer, build_client
from dmp_assets.platform.reporting.slack_answers import (
    FAILURES,
    REFUSED_TOKEN,
    detail,
    refusal,
    timed_out,
)
from dmp_assets.platform.text.foreign_text import visible
from dmp_assets.settings import Settings

_BASE = "DMP_SLACK_BASE_URL"
_CHANNEL = re.compile(r"[CGD][A-Z0-9]{6,}")
_SCOPES = ("chat:write", "files:write", "files:read")
_NOT_LOOKED_UP = frozenset({"missing_scope", "no_permission", "not_allowed_token_type"})
"""Refusals of a token that may write into channels and not look at them: nothing is known then."""


def look(settings: Settings) -> str:
    """The workspace and as whom we are there. Raises UnreachableError."""
    client = _client(settings)
    try:
        answer = client.auth_test()
    except FAILURES as error:
        raise UnreachableError(_why(error, settings)) from error
    problems = []
    scopes = answer.headers.get("x-oauth-scopes") or answer.headers.get("X-OAuth-Scopes")
    if scopes is not None:
        granted = {scope.strip() for scope in str(scopes).split(",")}
        problems += [f"the scope {scope} is missing" for scope in _SCOPES if scope not in granted]
    named = {
        "DMP_SLACK_CHANNEL": settings.slack_channel,
        "DMP_SLACK_ALERT_CHANNEL": settings.slack_alert_channel,
        **_each("DMP_SLACK_OWNER_CHANNELS", settings.slack_owner_channels),
    }
    wrong, is_whole = _missing(client, settings, named)
    team = visible(str(answer.get("team") or "Slack"))
    if problems or wrong:
        raise UnreachableError(f"{team}: {'; '.join([*problems, *wrong])}")
    unseen = "" if is_whole else "; channels are not looked up without the scope channels:read"
    return f"{team}, as {visible(str(answer.get('user')))}{unseen}"


def channels(settings: Settings, setting: str, of: Mapping[str, str]) -> str:
    """Whether the channels of a setting (whose → id) are there. Raises UnreachableError."""
    wrong, is_whole = _missing(_client(settings), settings, _each(setting, of))
    if wrong:
        raise UnreachableError("; ".join(wrong))
    return f"{len(of)}, all there" if is_whole else "not looked up without the scope channels:read"


def _client(settings: Settings) -> WebClient:
    client = build_client(settings, timeout=int(PATIENCE_SECONDS), pause=0.1)
    assert client is not None
    client.retry_handlers = []
    return client


def _each(setting: str, of: Mapping[str, str]) -> dict[str, str]:
    return {f"{setting} ({whose})": channel for whose, channel in of.items()}


def _missing(
    client: WebClient, settings: Settings, named: Mapping[str, str]
) -> tuple[list[str], bool]:
    """What is wrong with channels (setting → id), and whether all could be looked up."""
    wrong, is_whole = list[str](), True
    known: dict[str, str | None] = {}
    for setting, channel in named.items():
        if channel not in known:
            try:
                known[channel] = _wrong_with(client, channel)
            except SlackApiError as error:
                if refusal(error)[1] not in _NOT_LOOKED_UP:
                    raise UnreachableError(_why(error, settings)) from error
                is_id = _CHANNEL.fullmatch(channel) is not None
                known[channel] = None if is_id else f"{channel} is no channel's id"
                is_whole = False
            except FAILURES as error:
                raise UnreachableError(_why(error, settings)) from error
        if known[channel] is not None:
            wrong.append(f"{setting}: {known[channel]}")
    return wrong, is_whole


def _wrong_with(client: WebClient, channel: str) -> str | None:
    """Why nothing can be sent to a channel; None for one that is there. Raises SlackApiError."""
    try:
        about = client.conversations_info(channel=channel).get("channel")
    except SlackApiError as error:
        if refusal(error)[1] != "channel_not_found":
            raise
        return (
            f"there is no channel {channel} that the app sees; the id stands at the end of the "
            "channel's details, and a private channel has to invite the app"
        )
    about = about if isinstance(about, dict) else {}
    if about.get("is_archived") is True:
        return f"the channel {channel} is archived"
    if about.get("is_member") is False and about.get("is_im") is not True:
        return f"the app is not in the channel {channel}: invite it"
    return None


def _why(error: Exception, settings: Settings) -> str:
    """Why Slack did not answer as it should, and the setting to look at."""
    at = place_of(settings.slack_base_url)
    if isinstance(error, SlackApiError):
        status, code = refusal(error)
        if code in REFUSED_TOKEN:
            return f"Slack refuses the token: {code}; see DMP_SLACK_TOKEN"
        if status == 429 or code == "ratelimited":
            return "Slack limits the rate at the moment; again later"
        if status >= 500:
            return f"Slack is failing at {at} (HTTP {status}); again later, or see {_BASE}"
        if code is None:
            return f"what {at} answers is not Slack's (HTTP {status}); see {_BASE} and proxies"
        lacks = f" {visible(str(detail(error, 'needed')))}" if code == "missing_scope" else ""
        return f"Slack refuses: {code}{lacks}"
    if isinstance(error, UnreadableAnswer):
        return f"what {at} answers is not Slack's; see {_BASE} and proxies"
    if timed_out(error):
        return f"no answer from {at} within {PATIENCE_SECONDS:.0f} s; see {_BASE} and proxies"
    return f"no answer from {at} ({why_unanswered(error)}); see {_BASE} and proxies"
