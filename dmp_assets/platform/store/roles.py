"""Scopes, and the roles that have them: the platform's and those that the domains bring."""

from collections.abc import Mapping
from typing import Literal, get_args

from dmp_assets.platform.faces.domain import Scope, known_domains

Role = Literal["admin", "risk", "analyst", "marketer"]
_PLATFORM = (
    Scope(
        "reports:read", "The rendered dashboard and reports",
        frozenset({"risk", "analyst", "marketer"}),
    ),
    Scope(
        "runs:read", "What was materialized when; Dagster's UI, to look at",
        frozenset({"risk", "analyst"}),
    ),
    Scope("runs:launch", "Start, stop and switch what Dagster's UI can", frozenset()),
    Scope("metrics:read", "Prometheus metrics", frozenset()),
    Scope("personal:read", "Ids of people unmasked", frozenset({"risk"})),
)  # fmt: skip
_ALL = (*(scope for domain in known_domains() for scope in domain.scopes), *_PLATFORM)
SCOPES: Mapping[str, str] = {scope.name: scope.about for scope in _ALL}
ROLES: Mapping[str, frozenset[str]] = {
    role: frozenset(scope.name for scope in _ALL if role == "admin" or role in scope.roles)
    for role in get_args(Role)
}
MIN_PASSWORD = 12
