"""What anybody may know of a domain without Dagster, Spark or a web framework."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmp_assets import domains
from dmp_assets.home import Home

if TYPE_CHECKING:
    import sqlalchemy as sa


def _nothing(home: Home) -> Sequence[str]:
    return ()


def _no_results(home: Home) -> Mapping[str, Path]:
    return {}


def _nobody(store: "sa.Connection") -> None:
    return None


def _always(home: Home) -> bool:
    return True


@dataclass(frozen=True)
class Scope:
    """What a key, or a person, may do: its name, what that is, and the roles that may.

    An admin may all. The roles are in `platform/store/roles.py`.
    """

    name: str
    about: str
    roles: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain's name, its title for people, and what a home has or lacks of it.

    `is_configured`: whether its source is; else a run of everything leaves its assets out, and its
    schedules and sensors are off. `lacks`: what is not configured and therefore skipped, in words.
    `summary`: lines on its results for the end of a command; `results`: label → file that a run
    leaves for people; `examples`: tables to look at. `scopes`: what its part of
    the API asks for. `logs`: keys of tables whose source forgets old rows, so they outlive a change
    of the shop. `forget_people`: deletes what the operational store holds of a simulated shop's
    people. `partition_tags`: (home, first day, last day) → tags by which a run makes its daily
    partitions; None where it has none.
    """

    name: str
    title: str
    is_configured: Callable[[Home], bool] = _always
    lacks: Callable[[Home], Sequence[str]] = _nothing
    summary: Callable[[Home], Sequence[str]] = _nothing
    results: Callable[[Home], Mapping[str, Path]] = _no_results
    examples: Sequence[str] = ()
    scopes: Sequence[Scope] = ()
    logs: Sequence[str] = ()
    forget_people: "Callable[[sa.Connection], None]" = _nobody
    partition_tags: Callable[[Home, str, str], Mapping[str, str]] | None = None


def known_domains() -> Sequence[Domain]:
    """Every domain, as anybody may know it."""
    return [module.DOMAIN for module in domains.rooms("domain").values()]
