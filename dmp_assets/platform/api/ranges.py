"""A range of days in a request: `start` and `end`, both included, in UTC."""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Query
from pydantic import BeforeValidator

from dmp_assets.platform.api.problems import FieldError, Problem

LONGEST = 3660
DEFAULT = 90


def _day(given: Any) -> Any:
    if isinstance(given, str) and not _ISO_DAY.fullmatch(given):
        raise ValueError("a day is written as 2024-03-31")
    if not isinstance(given, str | date):
        raise ValueError("a day is a text, written as 2024-03-31")
    return given


_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
Day = Annotated[date, BeforeValidator(_day)]
"""A day as it is written, and never a number of seconds."""


@dataclass(frozen=True)
class Range:
    """First and last day; what is not given follows from the data: its last `DEFAULT` days."""

    start: date | None
    end: date | None

    def days(self, newest: date | None) -> tuple[date, date] | None:
        """(first, last); None when nothing is given and there is no data."""
        end = self.end or newest or self.start
        if end is None:
            return None
        start = self.start or end - timedelta(days=DEFAULT - 1)
        if (end - start).days >= LONGEST:
            raise _invalid("query.start", f"at most {LONGEST} days in one request")
        return start, max(start, end)

    def within(
        self,
        query: sa.Select,
        column: sa.Column,
        store: sa.Connection,
        *where: sa.ColumnElement[bool],
    ) -> sa.Select:
        """The query, bounded by this range of its table. `where`: whose days are the newest."""
        newest = None
        if self.end is None:
            newest = store.scalar(sa.select(sa.func.max(column)).where(*where))
        found = self.days(newest)
        if found is None:
            return query.where(sa.false())
        return query.where(column.between(*found))


def date_range(
    start: Annotated[
        Day | None, Query(description="First day; without it, 90 days up to the last.")
    ] = None,
    end: Annotated[
        Day | None, Query(description="Last day, included; without it, the newest there is.")
    ] = None,
) -> Range:
    """The range of a request. Raises Problem 422 for a reversed or overlong one."""
    if start is not None and end is not None and end < start:
        raise _invalid("query.end", f"{end} is before the start, {start}")
    for name, day in (("start", start), ("end", end)):
        if day is not None and not 1900 <= day.year <= 2200:
            raise _invalid(f"query.{name}", "a year between 1900 and 2200")
    return Range(start, end)


def _invalid(field: str, message: str) -> Problem:
    return Problem(422, "invalid", errors=[FieldError(field=field, message=message)])
