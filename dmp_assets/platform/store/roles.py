"""Scopes, and the roles that have them."""

from collections.abc import Mapping
from typing import Literal

SCOPES: Mapping[str, str] = {
    "promo:read": "Usage of promo codes, registrations",
    "attribution:read": "Attribution, cost per order, ROAS",
    "reports:read": "The rendered dashboard and reports",
    "runs:read": "What was materialized when; Dagster's UI, to look at",
    "runs:launch": "Start, stop and switch what Dagster's UI can",
    "metrics:read": "Prometheus metrics",
    "abuse:score": "Score accounts for promo-code abuse",
    "abuse:decisions": "What was decided on accounts",
    "abuse:review": "The review page: decide on accounts, keep the lists",
    "personal:read": "Ids of people unmasked",
}
Role = Literal["admin", "risk", "analyst", "marketer"]
ROLES: Mapping[str, frozenset[str]] = {
    "admin": frozenset(SCOPES),
    "risk": frozenset(
        {
            "promo:read", "reports:read", "runs:read", "personal:read",
            "abuse:score", "abuse:decisions", "abuse:review",
        }
    ),
    "analyst": frozenset({"promo:read", "attribution:read", "reports:read", "runs:read"}),
    "marketer": frozenset({"promo:read", "attribution:read", "reports:read"}),
}  # fmt: skip
MIN_PASSWORD = 12
