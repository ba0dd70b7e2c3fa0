"""What the service does beside answering: every few seconds, for as long as it runs."""

import asyncio
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool

from dmp_assets.platform.api.access import write_denials
from dmp_assets.platform.store import access

if TYPE_CHECKING:
    from dmp_assets.platform.api.state import Entrance

EVERY = 5.0


async def tend(service: "Entrance") -> None:
    """Note denials that were counted, and end in the store what was ended without it."""
    while True:
        await asyncio.sleep(EVERY)
        await run_in_threadpool(once, service)


def once(service: "Entrance") -> None:
    """One round. A store that does not answer is asked again in the next one."""
    if noted := service.denials.rest():
        write_denials(service, noted)
    if not service.ended:
        return

    def end(token: str) -> None:
        def work(store: sa.Connection) -> None:
            access.log_out(store, token)

        service.change(work)

    try:
        service.ended.settle(end)
    except (DBAPIError, PoolTimeout) as error:
        service.log.warning("sessions are yet to end in the store", error=type(error).__name__)
