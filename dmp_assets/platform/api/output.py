"""Lists as the API gives them: pages with a sealed cursor, JSON by default, CSV by `Accept`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken
from fastapi import Request, Response
from pydantic import BaseModel, Field

from dmp_assets.platform.api.problems import FieldError, Problem
from dmp_assets.platform.text import foreign_text

CSV = "text/csv"
Row = TypeVar("Row", bound=BaseModel)


class Page(BaseModel, Generic[Row]):
    """Some rows of a list."""

    items: list[Row]
    next: str | None = Field(None, description="Cursor of the next page; null on the last one.")


def csv_or_json(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The 200 of a route that answers in CSV as well, for OpenAPI."""
    header = ",".join(model.model_fields)
    return {
        200: {
            "description": "The rows; as CSV when `Accept` asks for it.",
            "content": {CSV: {"schema": {"type": "string"}, "example": header}},
        }
    }


def wants_csv(request: Request) -> bool:
    """Whether the caller prefers CSV to JSON. Raises Problem 406 when it takes neither."""
    accepted: dict[str, float] = {}
    for part in request.headers.get("accept", "*/*").split(","):
        kind, *parameters = [piece.strip() for piece in part.split(";")]
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        accepted[kind.lower()] = max(quality, accepted.get(kind.lower(), 0.0))

    def quality_of(kind: str) -> float:
        family = kind.partition("/")[0] + "/*"
        return next((accepted[k] for k in (kind, family, "*/*") if k in accepted), 0.0)

    as_csv, as_json = quality_of(CSV), quality_of("application/json")
    if not as_csv and not as_json:
        raise Problem(406, "not-acceptable", f"this is given as application/json or {CSV}")
    return as_csv > as_json


def csv_text(model: type[BaseModel], rows: Iterable[BaseModel]) -> str:
    """The rows as CSV with a header. Text that a spreadsheet would run is made plain."""
    names = list(model.model_fields)
    dumped = (row.model_dump(mode="json") for row in rows)
    return foreign_text.csv_text(
        names, ([_plain(values[name]) for name in names] for values in dumped)
    )


def _plain(value: Any) -> Any:
    """A value as a cell has it: lists and objects as JSON, and truth as JSON says it."""
    return json.dumps(value) if isinstance(value, dict | list | bool) else value


def rows_answer(
    request: Request,
    response: Response,
    model: type[Row],
    rows: Sequence[Row],
    next_cursor: str | None = None,
    *,
    parameter: str = "cursor",
) -> Any:
    """One page as the caller wants it, with a `Link` to the next, which `parameter` asks for."""
    headers = {}
    if next_cursor is not None:
        url = request.url.include_query_params(**{parameter: next_cursor})
        headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    headers["Vary"] = "Accept, Authorization, Cookie"
    headers["Cache-Control"] = "private, no-store"
    if wants_csv(request):
        shown = {name: value for name, value in response.headers.items() if "ratelimit" in name}
        return Response(csv_text(model, rows), media_type=CSV, headers={**shown, **headers})
    response.headers.update(headers)
    return Page[model](items=list(rows), next=next_cursor)  # type: ignore[valid-type]


# pages -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Listing:
    """A table that is read page by page.

    `sorts` names the columns to sort by, `key` the unique column that breaks ties. `nullable`:
    those of `sorts` that may be null, which then come last either way. `name`: what its cursors
    belong to; may be left out of a table.
    """

    table: sa.Table | sa.Subquery
    key: str
    sorts: tuple[str, ...]
    name: str = ""
    nullable: frozenset[str] = frozenset()

    def order(self, sort: str) -> tuple[str, bool]:
        """(column, descending) of `usages` or `-usages`. Raises Problem 422."""
        column, descending = sort.removeprefix("-"), sort.startswith("-")
        if column not in self.sorts:
            allowed = ", ".join(f"{name}, -{name}" for name in self.sorts)
            raise Problem(
                422, "invalid",
                errors=[FieldError(field="query.sort", message=f"one of {allowed}")],
            )  # fmt: skip
        return column, descending

    def page(
        self,
        connection: sa.Connection,
        seal: Fernet,
        *,
        where: Sequence[sa.ColumnElement[bool]],
        sort: str,
        limit: int,
        cursor: str | None,
    ) -> tuple[list[Mapping[str, Any]], str | None]:
        """(rows, cursor of the next page). A cursor belongs to the list and sort it came from."""
        name, descending = self.order(sort)
        column, key = self.table.c[name], self.table.c[self.key]
        purpose = f"{self.name or self.table.description}:{sort}"
        query = sa.select(self.table).where(*where)
        if cursor is not None:
            value, last = opened(seal, cursor, purpose)
            typed = sa.cast(sa.literal(value, sa.Text), column.type)
            further = column < typed if descending else column > typed
            same = column == typed
            if name in self.nullable:
                further = sa.false() if value is None else sa.or_(further, column.is_(None))
                same = column.is_not_distinct_from(typed)
            query = query.where(sa.or_(further, sa.and_(same, key > last)))
        by = column.desc() if descending else column.asc()
        if name in self.nullable:
            by = by.nulls_last()
        query = query.order_by(by, key).limit(limit + 1)
        rows = [dict(row._mapping) for row in connection.execute(query)]
        if len(rows) <= limit:
            return list(rows), None
        final = rows[limit - 1]
        value = None if final[name] is None else str(final[name])
        return list(rows[:limit]), sealed(seal, purpose, value, final[self.key])


def sealed(seal: Fernet, purpose: str, *values: str | float | None) -> str:
    """Values that the caller gives back and cannot read or change."""
    return seal.encrypt(json.dumps([purpose, *values]).encode()).decode()


_NO_CURSOR = "not a cursor of this list in this order"
_NOT_SEALED = {"account": "no account as this page names it", "search": "no search of this page"}


def opened(seal: Fernet, token: str, purpose: str, field: str = "query.cursor") -> list[Any]:
    """The values that were sealed for this purpose.

    Raises Problem 422, about the `field`, for what was not.
    """
    try:
        found, *values = json.loads(seal.decrypt(token.encode()))
    except (InvalidToken, ValueError):
        found, values = None, []
    if found != purpose:
        raise Problem(
            422, "invalid",
            errors=[FieldError(field=field, message=_NOT_SEALED.get(purpose, _NO_CURSOR))],
        )  # fmt: skip
    return values
