"""Logging in: the session that begins, and the audit log of who came in and who did not."""

from collections.abc import Callable

import sqlalchemy as sa
from fastapi import Request
from starlette.concurrency import run_in_threadpool

from dmp_assets.platform.api.access import credential_of, write_denials
from dmp_assets.platform.api.attempts import Attempt
from dmp_assets.platform.api.denials import Denial
from dmp_assets.platform.api.state import Entrance
from dmp_assets.platform.store import access, audit
from dmp_assets.platform.store.access import NotLetInError

_ACTION = "log in"


async def log_in(
    service: Entrance, request: Request, email: str, password: str
) -> tuple[str, Attempt]:
    """The token of a new session, and whose attempt it was; in the audit log whatever comes of it.

    Raises NotLetInError, and Problem 429 for who is to come back.
    """
    attempt = service.logins.attempt(request, email)
    await service.logins.hold_back(service.settings, attempt)
    credential = await run_in_threadpool(
        service.change, lambda store: access.credential(store, email)
    )
    verified = await service.logins.verified(credential, password, attempt)
    token = await run_in_threadpool(
        begin_session, service, request,
        lambda store: access.log_in(store, credential, verified, now=service.now()),
    )  # fmt: skip
    await service.logins.let_in(attempt)
    return token, attempt


def begin_session(
    service: Entrance, request: Request, opened: Callable[[sa.Connection], str], **detail: str
) -> str:
    """The token of the session that `opened` begins; in the audit log whatever comes of it.

    Raises NotLetInError as `opened` does.
    """
    try:
        with service.store.begin() as store:
            token: str = opened(store)
            principal = access.person_of(store, token, now=service.now())
            audit.record(
                store, at=service.now(), actor=principal.actor, action=_ACTION, outcome="done",
                request_id=request.state.request_id, detail=detail,
            )  # fmt: skip
    except NotLetInError as refused:
        note(service, request, refused.actor, refused.why, **detail)
        raise
    # who logged in does not suffer from a neighbour's guesses
    service.known.put(credential_of("session", token), principal)
    return token


def note(service: Entrance, request: Request, actor: str, why: str, **detail: str) -> None:
    """Note a refused login. Called in a thread."""
    noted = service.denials.take(
        Denial(actor, _ACTION, why, request.state.request_id, tuple(detail.items()))
    )
    if noted:
        write_denials(service, noted)
