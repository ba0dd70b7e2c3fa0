"""What a caller is told of an account.

Without `personal:read` that is nothing of others: whether a person or device is known must not be
learnt by asking, nor whether a name is a customer's.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from pydantic_core import to_json

from dmp_assets.abuse.service.asked import Request, UnscoredError
from dmp_assets.abuse.service.judged import Judged, Judgement, Prepared, Seen
from dmp_assets.abuse.service.store.predictions import Prediction

OWN_REASONS = frozenset({
    "AGE_IMPLAUSIBLE", "AWOKE", "BROWSER_OUTDATED", "CODE_REPEATED", "DORMANT_THEN_BURST",
    "EAGER_FIRST_DAY", "EMAIL_ALIAS", "EMAIL_DIGITS", "EMAIL_DISPOSABLE", "EMAIL_INVALID",
    "EMAIL_MIXED", "EMAIL_RANDOM", "FAST_REDEMPTION", "IP_IMPOSSIBLE", "LEFT_OUT",
    "NAME_UNUSUAL_FORM", "NIGHT_SIGN_UP", "NOTHING_VERIFIED", "OVER_LIMIT", "PHONE_EXTENSION",
    "PHONE_IMPOSSIBLE", "PHONE_UNUSUAL_FORM", "REDEMPTION_BURST", "TOP_DISCOUNTS",
    "USED_BEFORE_REGISTRATION", "USER_AGENT_AUTOMATED",
})  # fmt: skip
"""Codes that speak of the account alone; all others say that somebody else shares something."""
REDEEMED = frozenset({
    "AWOKE", "CODE_REPEATED", "DORMANT_THEN_BURST", "EAGER_FIRST_DAY", "FAST_REDEMPTION",
    "REDEMPTION_BURST", "TOP_DISCOUNTS", "USED_BEFORE_REGISTRATION",
})  # fmt: skip
"""Codes of what an account did: by a reference, only a customer of the shop has done something."""


def shown(
    request: Request, seen: Seen, judgement: Judgement, score_id: str, decision: str,
    decided_by: str,
) -> dict[str, Any]:  # fmt: skip
    """The result for one account."""
    asked, sees = seen.asked, request.sees_ids
    told = OWN_REASONS - REDEEMED if asked.is_new and not seen.is_new else OWN_REASONS
    probability = judgement.probability
    if request.dry_run and not sees:
        probability = round(probability, 1)
    return {
        ("account_ref" if asked.is_new else "user_id"): asked.account_id,
        "score_id": score_id,
        "is_known": not seen.is_new if sees or not asked.is_new else None,
        "probability": probability,
        "decision": decision,
        "decided_by": decided_by,
        "reasons": judgement.reasons
        if sees
        else [reason for reason in judgement.reasons if reason["code"] in told],
        "linked_accounts": judgement.linked if sees else [],
        "cluster_size": judgement.cluster_size if sees else None,
        "missing": asked.missing() if asked.is_new and (seen.is_new or not sees) else [],
        "warnings": [f"{name} could not be read and counts as missing" for name in seen.unreadable],
    }


def not_scored(seen: Seen, score_id: str) -> dict[str, Any]:
    """The result for an account that could not be scored, beside others that could."""
    asked = seen.asked
    return {
        ("account_ref" if asked.is_new else "user_id"): asked.account_id,
        "score_id": score_id,
        "is_known": None if asked.is_new else True,
        "probability": None,
        "decision": "allow",
        "decided_by": "nobody",
        "reasons": [],
        "linked_accounts": [],
        "cluster_size": None,
        "missing": [],
        "warnings": ["this account could not be scored: our mistake, which our log has"],
    }


def answer_of(
    request: Request, judged: Sequence[Judged], now: Prepared, live: bool, at: datetime
) -> tuple[bytes, list[Prediction]]:
    """(the answer as JSON, what of it is to be logged); a request of which nothing is scored fails.

    `live`: whether the store answers.
    """
    results, rows = [], []
    for judgement, seen in judged:
        asked, ruling, is_new = seen.asked, seen.ruling, seen.is_new
        score_id = uuid4()
        if judgement is None:
            results.append(not_scored(seen, str(score_id)))
            continue
        decision = judgement.decision
        decided_by = "limit" if judgement.is_limited else "model"
        if ruling is not None:
            decision, decided_by = ruling.decision, ruling.by
        results.append(shown(request, seen, judgement, str(score_id), decision, decided_by))
        if not request.dry_run:
            rows.append(Prediction(
                score_id=score_id, predicted_at=at, account_id=asked.account_id,
                is_new=is_new,
                attributes=asked.as_json() if asked.is_new and is_new else None,
                probability=judgement.probability, model_decision=judgement.decision,
                decision=decision, decided_by=decided_by, reasons=judgement.reasons,
                linked_accounts=judgement.linked, cluster_id=judgement.cluster_id,
                cluster_size=judgement.cluster_size,
                expected_abusers=judgement.expected_abusers,
                model_version=judgement.model_version,
                features=None if judgement.features is None else judgement.features.tolist(),
                live_links=live, caller=request.caller, request_id=request.request_id,
            ))  # fmt: skip
    if all(judgement is None for judgement, _ in judged):
        request.fail(UnscoredError())
    body = to_json({
        "model_version": now.model.version,
        "snapshot_at": now.index.snapshot.made_at,
        "live_links": live,
        "dry_run": request.dry_run,
        "results": results,
    })  # fmt: skip
    return body, rows
