"""Slack's answers and errors, read without trusting them, and said in words for people."""

import re
from collections.abc import Iterator
from http.client import HTTPException
from json import JSONDecodeError
from typing import Any

from slack_sdk.errors import SlackApiError, SlackClientError

from dmp_assets.platform.base.answers import UNREADABLE, said
from dmp_assets.platform.reporting.slack import UnreadableAnswer
from dmp_assets.platform.text.foreign_text import cut, visible

REFUSED_TOKEN = frozenset(
    {"invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive"}
)
UNSURE_ERRORS = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
"""Errors after which, says Slack, the call may have succeeded in part."""

FAILURES = (OSError, HTTPException, JSONDecodeError, SlackClientError)
"""What a call of Slack may raise; a client of `resources.slack` raises nothing else."""
_PAGES = 50
_ERROR_NAME = re.compile(r"[a-z][a-z0-9_]{1,79}")


def timed_out(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or isinstance(
        getattr(error, "reason", None), TimeoutError
    )


def unknown_outcome(error: Exception) -> bool:
    if isinstance(error, SlackApiError):
        status, code = refusal(error)
        return status >= 500 or code in UNSURE_ERRORS or (status == 200 and code is None)
    return True


def refusal(error: SlackApiError) -> tuple[int, str | None]:
    """HTTP status and Slack's name of an error; no name where the answer is not Slack's own."""
    status = getattr(error.response, "status_code", None)
    code = detail(error, "error")
    known = isinstance(code, str) and _ERROR_NAME.fullmatch(code)
    return status if isinstance(status, int) else 0, str(code) if known else None


def detail(error: SlackApiError, name: str) -> Any:
    data = getattr(error.response, "data", error.response)
    return data.get(name) if isinstance(data, dict) else None


def text_of(answer: Any, name: str) -> str:
    """A text that an answer must hold. Raises UnreadableAnswer: what was asked may be done."""
    data = getattr(answer, "data", answer)
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, str) or not value:
        raise UnreadableAnswer(f"its answer holds no {name}")
    return value


def objects_of(answer: Any, name: str) -> list[dict[str, Any]]:
    """A list of objects that an answer must hold. Raises UnreadableAnswer."""
    data = getattr(answer, "data", answer)
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, list):
        raise UnreadableAnswer(f"its answer holds no list of {name}")
    return [item for item in value if isinstance(item, dict)]


def pages_of(answer: Any) -> Iterator[Any]:
    """The pages of a list, a bounded number: an answer may name a next one for ever.

    Raises UnreadableAnswer.
    """
    pages = iter(answer)
    for _ in range(_PAGES):
        try:
            yield next(pages)
        except StopIteration:
            return
        except UNREADABLE as error:
            raise UnreadableAnswer("its answer names no next page") from error


def explain(error: Exception) -> str:
    """Why Slack did not take something, in words for the person who can put it right."""
    if isinstance(error, SlackApiError):
        status, code = refusal(error)
        if code in REFUSED_TOKEN:
            return f"Slack refuses the token ({code}); check DMP_SLACK_TOKEN"
        if status == 429 or code == "ratelimited":
            return "Slack limits the rate (429); sent later"
        if status >= 500:
            return f"Slack is failing (HTTP {status}); sent later"
        if code is None:
            told = said(str(detail(error, "error")))
            return (
                f"the answer is none of Slack's (HTTP {status}: {told}); check DMP_SLACK_BASE_URL "
                "and proxies; looked up before it is sent again"
            )
        if code == "missing_scope":
            return f"the Slack token lacks the scope {visible(detail(error, 'needed'))}"
        if code in ("channel_not_found", "not_in_channel"):
            return f"{code}: check the channel id and invite the app to the channel"
        errors = detail(error, "errors")
        details = "; ".join(map(visible, errors)) if isinstance(errors, list) else ""
        return f"Slack refuses the message: {code}" + (f" ({cut(details, 500)})" if details else "")
    if isinstance(error, UnreadableAnswer):
        return f"Slack cannot be understood: {visible(error)}; looked up before it is sent again"
    if timed_out(error):
        return "Slack did not answer in time; looked up before it is sent again"
    if isinstance(error, FileNotFoundError):
        return f"a file of the message is gone from the outbox: {visible(error.filename)}"
    if isinstance(error, JSONDecodeError):
        return "Slack's answer was cut off; looked up before it is sent again"
    return f"Slack cannot be reached ({type(error).__name__}: {cut(visible(error), 300)})"
