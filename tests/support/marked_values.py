"""Unmistakable values of received columns, as follows from what their declarations say.

A value has a marker, a text that stands in values of this column only and survives cleaning, so
that wherever it turns up it is known whose data that is. A flag can have none.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from dmp_assets.platform.cleaning.received import ReceivedColumns
from dmp_assets.platform.lake.columns import Category
from dmp_assets.sources.shop import tables as shop
from dmp_assets.sources.web import tables as web

TABLES: Mapping[str, ReceivedColumns] = {
    **{spec.name: spec.columns for spec in shop.TABLES.values() if not spec.optional},
    **web.TABLES,
}
"""Table at its source → its columns, of all that land."""
PLACES = {
    name: place
    for place, name in enumerate((t, name) for t, columns in TABLES.items() for name in columns)
}


def marker(table: str, name: str) -> str | None:
    """What stands in every value of a column and in no other, in small letters."""
    place = PLACES[table, name]
    return {
        "ip": f"81.{100 + place}.113",
        "time": f"5937{place:02}",
        "day": f"19{place:02}-08-",
        "clock": f"13.8261{place:02}",
        "amount": f"8262{place:02}",
        "count": f"8263{place:02}",
        "flag": None,
    }.get(TABLES[table][name].kind, f"zx{name}{place:02}zx")


def value(table: str, name: str, number: int) -> str:
    """The column's value of a person, session or conversion of this number, below 18."""
    begin = marker(table, name)
    if begin is None:
        return "true"
    return {
        "ip": f"{begin}.{number + 10}",
        "time": f"2024-01-10 09:{number + 10}:43.{begin}",
        "day": f"{begin}{number + 10}",
        "clock": f"09:{number + 10}:{begin}",
        "amount": f"{begin}{number:02}",
        "count": f"{begin}{number:02}",
        "email": f"{begin}{number:02}@mail.example",
    }.get(TABLES[table][name].kind, f"{begin.capitalize()}{number:02}")


def filled(table: str, number: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """A row with what is given, and a marked value in every other column of its table."""
    return {
        **{name: value(table, name, number) for name in TABLES[table] if name not in given},
        **given,
    }


def markers(given: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Category]]:
    """The markers of all columns but those given, with whose data they are. `given`: by table."""
    for (table, name), column in ((key, TABLES[key[0]][key[1]]) for key in PLACES):
        begin = marker(table, name)
        if begin and column.personal and name not in given[table]:
            yield begin, column.personal
