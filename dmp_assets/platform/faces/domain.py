"""What anybody may know of a domain without Dagster, Spark or a web framework."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dmp_assets import domains
from dmp_assets.home import Home
from dmp_assets.platform.faces.probes import Probe

if TYPE_CHECKING:
    import sqlalchemy as sa


def _nothing(home: Home) -> Sequence[str]:
    return ()


def _no_results(home: Home) -> Mapping[str, Path]:
    return {}


def _nobody(store: "sa.Connection") -> None:
    return None


def _none_of(store: "sa.Connection", subject: str, ids: Collection[str]) -> Mapping[str, int]:
    return {}


def _no_other_names(home: Home, subject: str, ids: Collection[str]) -> Collection[str]:
    return ()


def _nothing_older(home: Home) -> None:
    return None


def _as_it_was(home: Home, databases: Sequence[str]) -> None:
    return None


def _none(home: Home) -> int:
    return 0


def _nobody_tried(home: Home) -> Sequence[Probe]:
    return ()


def _nobodys(home: Home, service: str, account: str) -> str | None:
    return None


def _never(home: Home) -> bool:
    return False


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


@dataclass(frozen=True)
class Source:
    """A system that rows come from: the group of its tables, as received and cleaned.

    events: cleaned table of what happened → its column that says when.
    """

    name: str
    tables: Sequence[str]
    events: Mapping[str, str]

    @property
    def keys(self) -> Sequence[str]:
        """The keys of its tables: received, cleaned, in quarantine."""
        layers = ("raw", "cleaned", "quarantine")
        return [f"{layer}/{table}" for layer in layers for table in self.tables]


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain's name, its title for people, and what a home has or lacks of it.

    is_configured: whether its source is; else a run of everything leaves its assets out, and its
        schedules and sensors are off.
    reads_embedded: whether its source is the home's embedded PostgreSQL, which then runs meanwhile.
    lacks: what is not configured and therefore skipped, in words.
    probes: what `dmp doctor` tries of what is configured for it, in a live home.
    whose: (home, service, account) → the advertiser whose connection it is; None for another's.
    summary: lines on its results for the end of a command.
    results: label → file that a run leaves for people.
    examples: tables to look at.
    scopes: what its part of the API asks for.
    sources: the systems that it reads, whose quality a report of all shows.
    events: table of what happened → its column that says when, beside those of `sources`; by it is
        told how far data goes.
    advice: check → what a person does about it, with `{asset}` and `{table}`.
    logs: keys of tables whose source forgets old rows, so they outlive a change of the shop.
    forget_people: deletes what the operational store holds of a simulated shop's people.
    forgets: kinds of identifier (`Column.subject`) by which its tables forget a person.
    keeps: the other kinds that its tables declare: nobody's rows are deleted by these. Each that is
        declared is here or in `forgets`, and a test says which is not.
    erase: deletes what the operational store holds of the people of such a kind with these ids;
        table → how many rows.
    pseudonyms: (home, kind, ids) → how else its tables and the store name these people, where what
        names them is worked out from their ids, as keyed hashes are.
    drop_older: deletes files of earlier versions of what it computes, which hold who was forgotten.
    rows_to_read: rows of its source's largest table when that has news, so that Spark begins to
        start before it is asked for; else 0.
    restored: (home, names of databases), once a backup has filled the home's own PostgreSQL.
    partition_tags: (home, first day, last day) → tags by which a run makes its daily partitions;
        None where it has none.
    """

    name: str
    title: str
    is_configured: Callable[[Home], bool] = _always
    reads_embedded: Callable[[Home], bool] = _never
    lacks: Callable[[Home], Sequence[str]] = _nothing
    probes: Callable[[Home], Sequence[Probe]] = _nobody_tried
    whose: Callable[[Home, str, str], str | None] = _nobodys
    summary: Callable[[Home], Sequence[str]] = _nothing
    results: Callable[[Home], Mapping[str, Path]] = _no_results
    examples: Sequence[str] = ()
    scopes: Sequence[Scope] = ()
    sources: Sequence[Source] = ()
    events: Mapping[str, str] = field(default_factory=dict)
    advice: Mapping[str, str] = field(default_factory=dict)
    logs: Sequence[str] = ()
    forget_people: "Callable[[sa.Connection], None]" = _nobody
    forgets: Sequence[str] = ()
    keeps: Sequence[str] = ()
    erase: "Callable[[sa.Connection, str, Collection[str]], Mapping[str, int]]" = _none_of
    pseudonyms: Callable[[Home, str, Collection[str]], Collection[str]] = _no_other_names
    drop_older: Callable[[Home], None] = _nothing_older
    rows_to_read: Callable[[Home], int] = _none
    restored: Callable[[Home, Sequence[str]], None] = _as_it_was
    partition_tags: Callable[[Home, str, str], Mapping[str, str]] | None = None

    @property
    def all_events(self) -> Mapping[str, str]:
        """Table of what happened → its column that says when, of its sources, too."""
        found = {key: at for source in self.sources for key, at in source.events.items()}
        return found | dict(self.events)


def known_domains() -> Sequence[Domain]:
    """Every domain, as anybody may know it."""
    return [module.DOMAIN for module in domains.rooms("domain").values()]


def advertiser_of(home: Home, service: str, account: str) -> str | None:
    """The advertiser whose connection to a service it is, where some domain knows."""
    said = (domain.whose(home, service, account) for domain in known_domains())
    return next((one for one in said if one is not None), None)


def known_sources() -> Sequence[Source]:
    """Every system that some domain reads, in the order of the domains, each once."""
    return list({s.name: s for domain in known_domains() for s in domain.sources}.values())
