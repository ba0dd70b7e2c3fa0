"""What a table's materialization tells of it: results of its checks, its schema, its first rows."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import dagster as dg

from dmp_assets.platform.lake.columns import Category, Column, Columns, personal
from dmp_assets.platform.lake.table_checks import Check
from dmp_assets.platform.lake.tables import Standing, Tables, named_tables
from dmp_assets.platform.lake.worked_out import WorkedOut
from dmp_assets.platform.text.foreign_text import markdown_table

FURTHER, FURTHER_PERSONAL = "further_columns", "further_columns_personal"
"""Metadata of an asset: what columns beyond the declared ones are, and which personal data."""
PERSONAL_TAG, SUBJECT_TAG = "personal", "subject"
"""Tags of a column in Dagster: `Column.personal` and `Column.subject`."""


def schema(
    columns: Columns, types: Mapping[str, str] | None = None, further: Column | None = None
) -> dg.TableSchema:
    """Columns as Dagster shows them. types: those of the table as it stands, else as declared."""
    known = types or {name: column.type for name, column in columns.items()}
    return dg.TableSchema(
        columns=[
            _shown(name, kind, columns[name].about, columns[name])
            if name in columns
            else _shown(name, kind, None, further)
            for name, kind in known.items()
        ]
    )


def columns_of(shown: dg.TableSchema) -> dict[str, Column]:
    """The columns that `schema` shows."""
    return {
        column.name: Column(
            column.type, column.description or "",
            cast(Category | None, column.tags.get(PERSONAL_TAG)), column.tags.get(SUBJECT_TAG),
        )
        for column in shown.columns
    }  # fmt: skip


def further_metadata(further: Column | None) -> dict[str, str]:
    """What an asset's metadata say of columns beyond the declared ones."""
    if further is None:
        return {}
    personal = {FURTHER_PERSONAL: further.personal} if further.personal else {}
    return {FURTHER: further.about, **personal}


def _shown(name: str, kind: str, about: str | None, column: Column | None) -> dg.TableColumn:
    tags = column_tags(column.personal, column.subject) if column else {}
    return dg.TableColumn(name, type=kind, description=about, tags=tags)


def column_tags(category: Category | None, subject: str | None) -> dict[str, str]:
    """A column's tags in Dagster."""
    tags = {PERSONAL_TAG: category, SUBJECT_TAG: subject}
    return {tag: said for tag, said in tags.items() if said}


class Described:
    """Describes the tables of one asset, as they stand; what nothing changed is not read again.

    `standing` tells how a table stands now (None: it was never written).
    """

    def __init__(
        self,
        store: Tables,
        key: str,
        known: WorkedOut,
        standing: Callable[[str], Standing | None],
    ):
        self._store, self._key, self._known, self._standing = store, key, known, standing

    def results(self, checks: Sequence[Check]) -> list[dg.AssetCheckResult]:
        """Results of the checks, each evaluated again where a table that it names has changed."""
        names = [self._name(f"check {check.name}") for check in checks]
        self._known.forget(self._name("check "), names)
        return [self._result(check) for check in checks]

    def rows_in_range(self, column: str, days: Sequence[Any]) -> int:
        """Rows of the asset's own table with `days[0] <= column < days[1]`."""
        count = f"SELECT count(*) FROM {self._key.replace('/', '.')} WHERE {column} >= ? AND "
        query = f"{count}{column} < ?"
        return int(
            self._worked_out("range", query, list(days), lambda: self._store.scalar(query, days))
        )

    def preview(self, key: str, columns: Columns) -> str:
        """See `preview`."""
        query = f"FROM {key.replace('/', '.')}"
        return str(
            self._worked_out(
                f"preview {key}", query, [list(columns), personal(columns)],
                lambda: preview(self._store, key, columns),
            )
        )  # fmt: skip

    def _name(self, what: str) -> str:
        return f"{self._key} {what}"

    def _worked_out(self, what: str, query: str, further: Any, work_out: Callable[[], Any]) -> Any:
        stand = [self._standing(name) for name in named_tables(query)]
        if None in stand:
            return work_out()  # which says what is missing
        made_of = [query, further, [(s.key, s.id, s.version) for s in stand if s]]
        return self._known.get(self._name(what), made_of, work_out)

    def _result(self, check: Check) -> dg.AssetCheckResult:
        sql = check.sql_of(lambda key: self._standing(key) is not None)
        if sql is None:
            own = self._standing(self._key)
            problem = own.stamp.get("figures", {}).get(check.noted) if own else None
            figures = {"offending": int(problem is not None)} | (
                {"cause": problem} if problem else {}
            )
        else:
            figures = self._worked_out(
                f"check {check.name}", sql, None, lambda: self._evaluated(sql)
            )
        offending = int(figures["offending"] or 0)
        return dg.AssetCheckResult(
            asset_key=self._key.split("/"),
            check_name=check.name,
            passed=offending == 0,
            severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
            metadata={"rule": check.description, **figures, "offending": offending},
        )

    def _evaluated(self, sql: str) -> dict[str, Any]:
        found = list(self._store.sql(sql).to_pylist()[0].items())
        return {"offending": _figure(found[0][1])} | {n: _figure(value) for n, value in found[1:]}


def _figure(value: Any) -> Any:
    """A SQL value as Dagster metadata takes it."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return float(value) if isinstance(value, Decimal) else str(value)


OWNED = "advertiser_id"
"""The column of tables whose rows are an advertiser's."""


def preview(store: Any, key: str, columns: Columns, *, rows: int = 5) -> str:
    """The first rows of the declared columns as a Markdown table, personal ones left out.

    Of a column that nobody described, nobody said that it holds nothing personal. Rows of
    advertisers are left out: whoever may look at runs need not be a member of any.
    """
    if OWNED in columns:
        return f"Rows of advertisers: `dmp show {key}`."
    there = store.columns(key)
    names = [
        name
        for name, column in columns.items()
        if name in there and not column.personal and not name.startswith("_")
    ]
    if not names:
        return ""
    layer, _, table = key.partition("/")
    quoted = ", ".join(f'"{name}"' for name in names)
    shown = store.sql(f"SELECT {quoted} FROM {layer}.{table} LIMIT {rows}").to_pylist()
    return markdown_table(names, ([row[name] for name in names] for row in shown))
