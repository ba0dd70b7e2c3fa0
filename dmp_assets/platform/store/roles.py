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
assert len({scope.name for scope in _ALL}) == len(_ALL), "two domains bring the same scope"
SCOPES: Mapping[str, str] = {scope.name: scope.about for scope in _ALL}
ROLES: Mapping[str, frozenset[str]] = {
    role: frozenset(scope.name for scope in _ALL if role == "admin" or role in scope.roles)
    for role in get_args(Role)
}
MIN_PASSWORD = 12
_PAGE = """\
# Scopes and roles

Made from the code by `dmp catalogue --access > docs/access.md`; a test fails when this page is out
of date. What [the API](api.md) gives asks for a scope; a client's key has those it was made with, a
person those of a role.

| scope | what it opens |
| --- | --- |
{scopes}

| role | scopes |
| --- | --- |
{roles}
"""


def markdown() -> str:
    """The page of scopes and roles."""
    scopes = (f"| `{name}` | {about} |" for name, about in SCOPES.items())
    roles = (f"| `{role}` | {_named(role)} |" for role in ROLES)
    return _PAGE.format(scopes="\n".join(scopes), roles="\n".join(roles))


def _named(role: str) -> str:
    if role == "admin":
        return "all"
    return ", ".join(f"`{scope}`" for scope in SCOPES if scope in ROLES[role])
