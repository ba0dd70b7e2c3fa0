"""The audit log: who did, or was not allowed to do, what. Append-only."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from dmp_assets.platform.store.schema import audit_event

Outcome = Literal["done", "denied", "failed"]


def record(
    connection: sa.Connection,
    *,
    at: datetime,
    actor: str,
    action: str,
    outcome: Outcome,
    request_id: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Note one event; `detail` holds no personal data and no secret."""
    connection.execute(
        audit_event.insert().values(
            at=at,
            actor=actor,
            action=action,
            outcome=outcome,
            request_id=request_id,
            detail=dict(detail or {}),
        )
    )
