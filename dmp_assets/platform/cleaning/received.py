"""What a column is that comes from outside, declared once, in the room of its source.

From a declaration follow the page of inputs, what a header of an export suggests, which types a
database may have for it, which words mean nothing in it, in how many ways it can be written, and
whose data it is. Imports nothing heavy: settings import it.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Literal

from dmp_assets.platform.values import readers, words

if TYPE_CHECKING:
    from dmp_assets.platform.lake.columns import Category

Kind = Literal[
    "id", "visitor", "device", "code", "email", "phone", "name", "city", "user_agent", "timezone",
    "channel", "text", "ip", "flag", "time", "day", "clock", "amount", "count",
]  # fmt: skip
"""What the values of a column are."""


@dataclass(frozen=True)
class Traits:
    """What follows from a kind.

    format: what may stand in the column, as the page of inputs calls it. words: which list says
    what means nothing. written: as what it can be written in several ways; None: in one only.
    is_key: rows are found and joined by it, so every character of it counts.
    """

    format: str
    words: words.Kind
    written: readers.Kind | None = None
    is_key: bool = False


KINDS: Mapping[Kind, Traits] = {
    "id": Traits("any text or whole number", "id", is_key=True),
    "visitor": Traits("any text or whole number", "visitor", is_key=True),
    "device": Traits("any text or whole number", "device", is_key=True),
    "code": Traits("any text", "code", is_key=True),
    "email": Traits("any text", "email"),
    "phone": Traits("any text", "phone"),
    "name": Traits("any text", "name"),
    "city": Traits("any text", "city"),
    "user_agent": Traits("any text", "user_agent"),
    "timezone": Traits("any text", "timezone"),
    "channel": Traits("any text", "channel"),
    "text": Traits("any text", "other"),
    "ip": Traits("IPv4 or IPv6 address", "ip"),
    "flag": Traits("flag", "flag"),
    "time": Traits("time", "time", "time"),
    "day": Traits("day", "time", "time"),
    "clock": Traits("time of day", "other", "clock"),
    "amount": Traits("number", "other", "amount"),
    "count": Traits("whole number", "other", "amount"),
}


@dataclass(frozen=True)
class Received:
    """One received column.

    kind: what its values are. about: what it means, a sentence for people. personal: which personal
    data it holds (`columns.CATEGORIES`); None says that it leads to nobody and tells of nobody,
    which has to be said. subject: the kind of identifier, where a person's rows are found by it.
    aliases: what others call it, as `header.plain` writes names; suggested, never taken by itself.
    required: a table without the column is of no use. days: of a time of day, its days' column.

    Raises ValueError for an unknown kind, for a subject that is not personal, and for days of what
    is no time of day.
    """

    kind: Kind
    about: str
    _: KW_ONLY
    personal: "Category | None"
    subject: str | None = None
    aliases: tuple[str, ...] = ()
    required: bool = False
    days: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is not one of {', '.join(KINDS)}")
        if self.subject is not None and self.personal is None:
            raise ValueError(f"a {self.subject} leads to a person: say which personal data it is")
        if self.days is not None and self.kind != "clock":
            raise ValueError(f"days are of a time of day (clock), not of {self.kind}")

    @property
    def traits(self) -> Traits:
        """What follows from its kind."""
        return KINDS[self.kind]


ReceivedColumns = Mapping[str, Received]
"""Name → column, in the order of the table."""


def required(columns: ReceivedColumns) -> tuple[str, ...]:
    """Names of the columns that must be there."""
    return tuple(name for name, column in columns.items() if column.required)


def words_of(columns: ReceivedColumns) -> dict[str, words.Kind]:
    """By which list of words each column's values mean nothing (see `reading.given`).

    A column that a required rule reads by itself is better taken `as received`: what stands there
    then shows in quarantine.
    """
    return {name: column.traits.words for name, column in columns.items()}


def written_of(columns: ReceivedColumns) -> dict[str, readers.Kind]:
    """The columns whose amounts and times can be written in several ways, and as what."""
    return {
        name: written
        for name, column in columns.items()
        if (written := column.traits.written) is not None
    }
