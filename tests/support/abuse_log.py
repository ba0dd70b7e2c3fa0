"""Rows of the service's logs, put into the operational store by SQL as the service would."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import sqlalchemy as sa

from dmp_assets.abuse.model.features import NAMES
from dmp_assets.abuse.service.store.schema import (
    abuse_decision,
    abuse_prediction,
    idempotent_answer,
)

REASONS = [{"code": "SHARED_DEVICE", "text": "shares a device", "weight": 1.5}]
ATTRIBUTES = {"email": "Secret.Person@example.org", "device_id": "device-secret"}


def predict(
    store: sa.Engine,
    accounts: Sequence[str],
    *,
    age: timedelta = timedelta(),
    is_new: bool = True,
    model_version: str = "m-1",
    probabilities: Sequence[float] | None = None,
    features: Sequence[Sequence[float | None]] | None = None,
) -> None:
    """Log one score for each account, given `age` ago."""
    with store.begin() as connection:
        connection.execute(
            abuse_prediction.insert(),
            [
                {
                    "predicted_at": datetime.now(UTC) - age, "account_id": account,
                    "is_new": is_new, "attributes": ATTRIBUTES if is_new else None,
                    "probability": probabilities[n] if probabilities else 0.25,
                    "model_decision": "review", "decision": "review", "decided_by": "model",
                    "reasons": REASONS, "linked_accounts": ["a-1", "a-2"], "cluster_size": 3,
                    "expected_abusers": 0.75, "model_version": model_version,
                    "features": features[n] if features else [None, 0.5] + [1.0] * (len(NAMES) - 2),
                    "live_links": True, "caller": "shop", "request_id": f"r-{n}",
                    "score_id": uuid4(),
                }
                for n, account in enumerate(accounts)
            ],
        )  # fmt: skip


def decide(store: sa.Engine, verdicts: Sequence[tuple[str, str]]) -> None:
    """Log decisions (account, verdict), in order, at once."""
    group = uuid4()
    with store.begin() as connection:
        connection.execute(
            abuse_decision.insert(),
            [
                {
                    "decided_at": datetime.now(UTC), "account_id": account, "verdict": verdict,
                    "category": None, "comment": "Called the secret person.",
                    "decided_by": "ann@shop.example", "group_id": group,
                    "evidence": {"probability": 0.25},
                }
                for account, verdict in verdicts
            ],
        )  # fmt: skip


def answer(store: sa.Engine, key: str, *, age: timedelta) -> None:
    """Keep an answer for repeated requests."""
    with store.begin() as connection:
        connection.execute(
            idempotent_answer.insert().values(
                caller="shop", idempotency_key=key, request_sha256=b"1", answer=b"{}",
                answered_at=datetime.now(UTC) - age,
            )
        )  # fmt: skip
