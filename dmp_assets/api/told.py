"""What a caller is told of an account.

Without `personal:read` that is nothing of others: whether a person or device is known must not be
learnt by asking.
"""

from typing import Any

from dmp_assets.api.asked import Request
from dmp_assets.api.judged import Judgement, Seen

OWN_REASONS = frozenset({
    "AGE_IMPLAUSIBLE", "AWOKE", "BROWSER_OUTDATED", "CODE_REPEATED", "DORMANT_THEN_BURST",
    "EAGER_FIRST_DAY", "EMAIL_ALIAS", "EMAIL_DIGITS", "EMAIL_DISPOSABLE", "EMAIL_INVALID",
    "EMAIL_MIXED", "EMAIL_RANDOM", "FAST_REDEMPTION", "IP_IMPOSSIBLE", "LEFT_OUT",
    "NAME_UNUSUAL_FORM", "NIGHT_SIGN_UP", "NOTHING_VERIFIED", "OVER_LIMIT", "PHONE_EXTENSION",
    "PHONE_IMPOSSIBLE", "PHONE_UNUSUAL_FORM", "REDEMPTION_BURST", "TOP_DISCOUNTS",
    "USED_BEFORE_REGISTRATION", "USER_AGENT_AUTOMATED",
})  # fmt: skip
"""Codes that speak of the account alone; all others say that somebody else shares something."""


def shown(
    request: Request, seen: Seen, judgement: Judgement, score_id: str, decision: str,
    decided_by: str,
) -> dict[str, Any]:  # fmt: skip
    """The result for one account."""
    asked, sees = seen.asked, request.sees_ids
    probability = judgement.probability
    if request.dry_run and not sees:
        probability = round(probability, 1)
    return {
        ("account_ref" if asked.is_new else "user_id"): asked.account_id,
        "score_id": score_id,
        "is_known": not seen.is_new,
        "probability": probability,
        "decision": decision,
        "decided_by": decided_by,
        "reasons": judgement.reasons
        if sees
        else [reason for reason in judgement.reasons if reason["code"] in OWN_REASONS],
        "linked_accounts": judgement.linked if sees else [],
        "cluster_size": judgement.cluster_size if sees else None,
        "missing": asked.missing() if asked.is_new and seen.is_new else [],
        "warnings": [f"{name} could not be read and counts as missing" for name in seen.unreadable],
    }


def not_scored(seen: Seen, score_id: str) -> dict[str, Any]:
    """The result for an account that could not be scored, beside others that could."""
    asked = seen.asked
    return {
        ("account_ref" if asked.is_new else "user_id"): asked.account_id,
        "score_id": score_id,
        "is_known": not asked.is_new,
        "probability": None,
        "decision": "allow",
        "decided_by": "nobody",
        "reasons": [],
        "linked_accounts": [],
        "cluster_size": None,
        "missing": [],
        "warnings": ["this account could not be scored: our mistake, which our log has"],
    }
