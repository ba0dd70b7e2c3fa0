"""What an export of a service holds: its columns by the names that people's files give them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dmp_assets.platform.cleaning.received import ReceivedColumns
from dmp_assets.sources.csv.header import plain

Kind = Literal["meta", "shopify"]
_IN_CURRENCY = re.compile(r"(.*\S)\s*\(([A-Z]{3})\)")


@dataclass(frozen=True)
class Export:
    """A kind of export.

    kind: whose it is. table: the table below raw/ of its rows. columns: ours, in their order.
    headers: column → what files call it, in every language that is known for sure. needs: of each
    of these groups a file has one column at least. title: of what it is, for people.
    """

    kind: Kind
    table: str
    columns: ReceivedColumns
    headers: Mapping[str, Sequence[str]]
    needs: Sequence[Sequence[str]]
    title: str

    def meant(self, header: str, further: Mapping[str, str]) -> tuple[str | None, str | None]:
        """(column, currency) that a header names; None for what it does not.

        `further`: header → column, as people say it; it goes before what is known.
        """
        found = _IN_CURRENCY.fullmatch(header)
        base, currency = (found[1], found[2]) if found else (header, None)
        said = {plain(name): column for name, column in further.items()}
        known = {plain(name): column for column, names in self.headers.items() for name in names}
        for name in (plain(header), plain(base)):
            if name in said or name in known:
                return said.get(name) or known[name], currency
        return None, None

    def lacks(self, there: Sequence[str]) -> list[str]:
        """What a file with these columns of ours lacks, each by what files call it."""
        return [
            " or ".join(self.headers[name][0] for name in group)
            for group in self.needs
            if not set(group) & set(there)
        ]
