"""What a report is: the tables that it reads, how it is rendered, the message that tells of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmp_assets import domains
from dmp_assets.home import Home
from dmp_assets.platform.reporting.messages import ReportFigures
from dmp_assets.platform.reporting.period import Period


@dataclass(frozen=True)
class Outline:
    """One report's message: its figures, the zone of its days, its chart and the thread's files."""

    figures: ReportFigures
    zone: str
    image: Path
    image_alt: str
    files: tuple[tuple[Path, str], ...]


@dataclass(frozen=True)
class MessageSpec:
    """A report's message in Slack.

    outline: (home, why there are no numbers or None, days of the run or None) → what it says.
    after: keys of the assets that it waits for. about: what people find in it.
    """

    outline: Callable[[Home, str | None, Period | None], Outline]
    after: Sequence[str]
    about: str


@dataclass(frozen=True, kw_only=True)
class ReportSpec:
    """The report `reports/<name>.qmd`.

    title: as its document says it. about: what is in it, for the index of all reports.
    reads: keys of the tables that it reads; of these, what is `unawaited` it reads as it is.
    settings: names of settings that it shows or counts by.
    is_ranged: whether it takes the days of a run. is_apart: whether a step of its own renders it,
    so that what fails on its way does not hold up other domains' reports. is_last: whether it shows
    what others are made of, so that it is looked at again after each of them.
    """

    name: str
    title: str
    about: str
    reads: Sequence[str]
    unawaited: frozenset[str] = frozenset()
    settings: Sequence[str] = ()
    is_ranged: bool = False
    is_apart: bool = False
    is_last: bool = False
    message: MessageSpec | None = None


def reports_of_domains() -> Mapping[str, Sequence[ReportSpec]]:
    """Domain → its reports."""
    return {name: module.REPORTS for name, module in domains.rooms("report.reports").items()}


def first_report() -> str:
    """The report that is meant when none is named: the first of the first domain that has any."""
    return next(spec.name for specs in reports_of_domains().values() for spec in specs)
