"""Whom a finding is told, and when: once, not while muted, not at night, in a digest if wanted.

Pure functions over preferences and over what was told before; nothing is sent here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dmp_assets.ads.model.notices.detect import Finding, Kind
from dmp_assets.ads.model.notices.series import NoticeError

Channel = Literal["slack", "email"]

REMINDED_AFTER = timedelta(days=7)
"""What goes on is told again after this."""

URGENT: frozenset[Kind] = frozenset({"tracking_broken", "budget_used_up"})
"""Money is lost by the hour: told at once also to who wants a digest, but not in quiet hours."""


@dataclass(frozen=True)
class Mute:
    """Nothing is told until `until` of a kind, of a subject, or of both; None stands for all."""

    until: datetime
    kind: Kind | None = None
    of: str | None = None

    def __post_init__(self) -> None:
        _aware(self.until)

    def holds(self, finding: Finding, now: datetime) -> bool:
        """It silences the finding at this time."""
        return (
            now < self.until
            and self.kind in (None, finding.kind)
            and self.of in (None, finding.subject.of)
        )


@dataclass(frozen=True)
class Choice:
    """By what a kind is told, nothing for not at all; `is_digest`: with others once a day."""

    channels: tuple[Channel, ...] = ("slack",)
    is_digest: bool = False


@dataclass(frozen=True)
class Preference:
    """What a person wants to be told of one advertiser.

    `kinds`: None for all. `choices`: of kinds that are told otherwise than by `channels`, in the
    digest where there is one.
    `zone`: an IANA name, for `quiet` (from, to; over midnight where it ends
    earlier than it begins) and `digest_at` (None: at once).
    Raises NoticeError for a zone that there is not, and for quiet hours that never end.
    """

    person: str
    advertiser_id: str
    channels: tuple[Channel, ...] = ("slack",)
    kinds: frozenset[Kind] | None = None
    choices: Mapping[Kind, Choice] = field(default_factory=dict, hash=False)
    zone: str = "UTC"
    quiet: tuple[time, time] | None = None
    digest_at: time | None = None
    mutes: tuple[Mute, ...] = ()

    def __post_init__(self) -> None:
        _zone(self.zone)
        if self.quiet and self.quiet[0] == self.quiet[1]:
            raise NoticeError("quiet hours end at another time than they begin")

    def choice(self, kind: Kind) -> Choice:
        """How the kind is told."""
        usual = Choice(self.channels, self.digest_at is not None)
        return self.choices.get(kind, usual)

    def wants(self, finding: Finding, now: datetime) -> bool:
        """The finding is of this advertiser, of a kind that is told, and not muted."""
        return (
            finding.subject.advertiser_id == self.advertiser_id
            and (self.kinds is None or finding.kind in self.kinds)
            and bool(self.choice(finding.kind).channels)
            and not any(mute.holds(finding, now) for mute in self.mutes)
        )


Key = tuple[str, str, str, Kind]
"""Person, advertiser, subject, kind: what is told once."""


@dataclass(frozen=True)
class Told:
    """What a person was told last of one thing. `seen`: the last day on which it was found."""

    at: datetime
    seen: date
    excess: float


@dataclass(frozen=True)
class Due:
    """A finding for a person, to be sent at `at` or later; `is_digest`: with others."""

    person: str
    advertiser_id: str
    channel: Channel
    finding: Finding
    at: datetime
    is_digest: bool


@dataclass(frozen=True)
class Message:
    """What is sent at once to one person by one channel about one advertiser."""

    person: str
    advertiser_id: str
    channel: Channel
    findings: tuple[Finding, ...]
    is_digest: bool


@dataclass(frozen=True)
class Planned:
    """What a run adds to the queue, and what is known to be told after it."""

    due: tuple[Due, ...] = ()
    told: dict[Key, Told] = field(default_factory=dict)


def planned(
    findings: Iterable[Finding],
    preferences: Sequence[Preference],
    told: dict[Key, Told],
    now: datetime,
) -> Planned:
    """Who is to be told of what. A finding is told when it is new, when it is back after a day
    without it, when it is twice as far outside of its range as when it was told, and when it
    has gone on for `REMINDED_AFTER`. What is muted is not noted as told: it comes when the
    mute ends, if it is still there.
    """
    _aware(now)
    due: list[Due] = []
    known = dict(told)
    for preference in preferences:
        for finding in findings:
            if not preference.wants(finding, now):
                continue
            key = (
                preference.person, preference.advertiser_id, finding.subject.of, finding.kind,
            )  # fmt: skip
            before = known.get(key)
            excess = _excess(finding)
            if before is not None and not _is_news(finding, before, excess, now):
                known[key] = replace(before, seen=max(before.seen, finding.day))
                continue
            known[key] = Told(now, finding.day, excess)
            choice = preference.choice(finding.kind)
            may_wait = preference.digest_at is not None and finding.kind not in URGENT
            is_digest = choice.is_digest and may_wait
            at = next_time(preference, now, is_digest=is_digest)
            due += [
                Due(
                    preference.person, preference.advertiser_id, channel, finding, at,
                    is_digest,
                )
                for channel in choice.channels
            ]  # fmt: skip
    return Planned(tuple(due), known)


def messages(
    queue: Sequence[Due], preferences: Sequence[Preference], now: datetime
) -> tuple[list[Message], list[Due]]:
    """What is to be sent now, one message a person, advertiser and channel, and what waits.

    What was muted, or no longer wanted, while it waited is in neither.
    """
    _aware(now)
    of = {(one.person, one.advertiser_id): one for one in preferences}
    ready: dict[tuple[str, str, Channel, bool], list[Finding]] = {}
    waiting = []
    for one in queue:
        preference = of.get((one.person, one.advertiser_id))
        if preference is None or not preference.wants(one.finding, now):
            continue
        if one.at > now:
            waiting.append(one)
            continue
        key = (one.person, one.advertiser_id, one.channel, one.is_digest)
        if one.finding not in ready.setdefault(key, []):
            ready[key].append(one.finding)
    sent = [
        Message(person, advertiser, channel, tuple(found), is_digest)
        for (person, advertiser, channel, is_digest), found in ready.items()
    ]
    return sent, waiting


def next_time(preference: Preference, now: datetime, *, is_digest: bool) -> datetime:
    """When something may be told first, in UTC: at the next digest, but not in quiet hours."""
    _aware(now)
    zone = _zone(preference.zone)
    local = now.astimezone(zone)
    if is_digest and preference.digest_at is not None:
        local = _next(local, preference.digest_at, zone)
    if preference.quiet is not None and _is_quiet(local.time(), *preference.quiet):
        local = _next(local, preference.quiet[1], zone)
    return max(local.astimezone(UTC), now.astimezone(UTC))


def _next(local: datetime, at: time, zone: ZoneInfo) -> datetime:
    """The next time that a clock on the wall shows `at`, now included."""
    today = datetime.combine(local.date(), at, zone)
    if today.astimezone(UTC) >= local.astimezone(UTC):
        return today
    return datetime.combine(local.date() + timedelta(days=1), at, zone)


def _is_quiet(now: time, begin: time, end: time) -> bool:
    return begin <= now < end if begin < end else now >= begin or now < end


def _is_news(finding: Finding, before: Told, excess: float, now: datetime) -> bool:
    is_back = finding.since > before.seen + timedelta(days=1)
    return is_back or excess > 2 * before.excess or now - before.at >= REMINDED_AFTER


def _excess(finding: Finding) -> float:
    """How far the figure is outside, as a share of the bound."""
    if finding.high is not None and finding.figure > finding.high:
        return (finding.figure - finding.high) / max(abs(finding.high), 1e-9)
    if finding.low is not None and finding.figure < finding.low:
        return (finding.low - finding.figure) / max(abs(finding.low), 1e-9)
    return 0.0


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise NoticeError(f"{name[:80]!r} is no time zone, such as Europe/Berlin") from error


def _aware(now: datetime) -> None:
    if now.tzinfo is None:
        raise NoticeError("a time without a zone cannot be compared")
