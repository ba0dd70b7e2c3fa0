"""Taking an export: what its values say of how they are written, of accounts and of its own sums.

Nothing is kept of a file that cannot be used: what is ambiguous is asked back, once, for all of it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dmp_assets.home import Home
from dmp_assets.platform.config import setting_values
from dmp_assets.platform.values.readers import SETTINGS, Side, decide, either, evidence
from dmp_assets.platform.values.readers import Kind as Written
from dmp_assets.sources.csv.reading import Reading
from dmp_assets.sources.exports import kept as store
from dmp_assets.sources.exports import values
from dmp_assets.sources.exports.columns import Kind
from dmp_assets.sources.exports.kept import ExportError, Kept
from dmp_assets.sources.exports.landing import batches, is_grand, reopened
from dmp_assets.sources.exports.meta import CELL, CLAIMS, SUMMED
from dmp_assets.sources.exports.opened import Opened, opened
from dmp_assets.sources.exports.replaced import Told
from dmp_assets.sources.exports.settings import ExportSettings

if TYPE_CHECKING:
    import duckdb

UNNAMED = "file"
"""The ad account, or the shop, of rows that name none."""
_CENT = Decimal("0.01")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CHOICES: Mapping[str, str] = {
    "amount": "--numbers decimal-point or decimal-comma",
    "time": "--dates day-first, month-first or year-first",
}
_REWRITTEN = r"^[0-9][.,][0-9]+[eE][+][0-9]+$"
"""An id of many figures, as a spreadsheet writes it."""


@dataclass(frozen=True)
class Said:
    """What people say of files that they give, where the files do not tell."""

    advertiser_id: str
    kind: Kind | None = None
    account: str | None = None
    currency: str | None = None
    timezone: str | None = None
    numbers: str | None = None
    dates: str | None = None
    reading: Reading = field(default_factory=Reading)


@dataclass(frozen=True)
class Account:
    """An ad account or a shop of the advertiser that a service tells of."""

    id: str
    currency: str | None
    timezone: str | None


@dataclass(frozen=True)
class Taken:
    """A file that was given, for people. `is_new`: False where it was there already."""

    kept: Kept
    is_new: bool
    notes: Sequence[str] = ()


def take(
    home: Home, paths: Iterable[Path], said: Said, known: Mapping[Kind, Sequence[Account]]
) -> list[Taken]:
    """Keep these files, all or none of them; those that are there already are left alone.

    `known`: accounts and shops of the advertiser by what services tell. Raises ExportError, and
    GivenError for what is said wrong.
    """
    import duckdb

    there = {
        one.sha256: (reopened(home, one), one)
        for one in store.kept(home)
        if one.advertiser_id == said.advertiser_id
    }
    found: list[tuple[Path, Taken]] = []
    with closing(duckdb.connect()) as db:
        told = Told(home, db)
        for path in paths:
            file = opened(path, said.kind, _columns(home), said.reading)
            if file.sha256 in there:
                found.append((path, _again(file, there[file.sha256][1])))
                continue
            taken = _Look(home, file, said, known[file.export.kind]).taken()
            before = [(f, k) for f, k in there.values() if k.kind == file.export.kind]
            if anew := told.anew(file, taken.kept, before):
                taken = replace(taken, notes=(*taken.notes, anew))
            there[file.sha256] = (file, taken.kept)
            found.append((path, taken))
    return [
        Taken(store.keep(home, path, one.kept), True, one.notes) if one.is_new else one
        for path, one in found
    ]


def _again(file: Opened, before: Kept) -> Taken:
    """Of a file that is there already: what would be read of it now, and was not then."""
    further = [name for name in file.columns if name not in before.columns]
    note = (
        f"what is known of its columns by now was not then ({', '.join(further)}): take it back by "
        f"`dmp ads files --remove {before.sha256[:12]}` and give it again"
    )
    return Taken(before, is_new=False, notes=[note] if further else [])


def _columns(home: Home) -> Mapping[str, str]:
    return home.settings().of(ExportSettings).ads_export_columns


class _Look:
    """One look through a file. `known`: accounts of the advertiser of its kind."""

    def __init__(self, home: Home, file: Opened, said: Said, known: Sequence[Account]) -> None:
        self._home, self._file, self._said, self._known = home, file, said, known
        self._settings = home.settings().of(ExportSettings)
        self._notes = list(file.notes)

    def taken(self) -> Taken:
        """What was found. Raises ExportError for what cannot be used or is not told."""
        import duckdb
        import pyarrow as pa

        read = list(batches(self._file, self._home))
        if not read:
            raise self._error("it has no row behind its header")
        with closing(duckdb.connect()) as db:
            db.execute("SET TimeZone = 'UTC'")
            db.register("given", pa.Table.from_batches(read))
            return self._found(db)

    def _found(self, db: "duckdb.DuckDBPyConnection") -> Taken:
        file, said = self._file, self._said
        numbers = self._side(db, "amount", said.numbers or self._settings.ads_export_numbers)
        dates = self._side(db, "time", said.dates or self._settings.ads_export_dates)
        account, known = self._account(db)
        currency = self._currency(db, known)
        zone = self._zone(db, known, dates)
        db.execute("CREATE TABLE row AS FROM given")
        self._check_ids(db)
        ((rows,),) = db.sql("SELECT count(*) FROM row WHERE NOT is_total").fetchall()
        bad = self._bad(db, numbers, dates)
        totals = self._totals(db, numbers) if file.export.kind == "meta" else []
        kept = Kept(
            kind=file.export.kind,
            advertiser_id=said.advertiser_id,
            name=file.path.name,
            sha256=file.sha256,
            number=0,
            received_at=datetime.now(UTC).isoformat(timespec="seconds"),
            account=account,
            currency=currency,
            timezone=zone,
            numbers=numbers,
            dates=dates,
            delimiter=file.delimiter,
            encoding=file.encoding,
            width=file.width,
            columns=file.columns,
            rows=rows,
            bad=bad,
            totals=totals,
        )
        if file.unused:
            self._notes.append(f"not used: {', '.join(filter(None, file.unused))}")
        return Taken(kept, is_new=True, notes=[*self._lacking(), *self._notes])

    def _lacking(self) -> list[str]:
        """What a file of ads does not say of Meta's claims, for people to notice first."""
        if self._file.export.kind != "meta":
            return []
        headers = self._file.export.headers
        return [
            f"ATTENTION: no column of {claim} was found: {what} unknown, not 0, and its days are "
            f"in no bridge; export with the column {headers[columns[0]][0]}, or say how it is "
            "called: "
            f'DMP_ADS_EXPORT_COLUMNS=\'{{"NAME": "{columns[0]}"}}\''
            for (claim, columns), what in zip(
                CLAIMS.items(), ("Meta's claims are", "what its claims are worth is"), strict=True
            )
            if not set(columns) & set(self._file.columns)
        ]

    def _error(self, what: str) -> ExportError:
        return ExportError(f"{self._file.path.name}: {what}")

    # how it is written ---------------------------------------------------------------------------
    def _written(self, kind: Written) -> list[str]:
        """Columns of the file that write numbers, or days."""
        columns = self._file.export.columns
        return [name for name in self._file.columns if columns[name].traits.written == kind]

    def _side(self, db: "duckdb.DuckDBPyConnection", kind: Written, said: str) -> Side | None:
        """How all of the file's numbers, or days, are written."""
        if said:
            return SETTINGS[said]
        names = self._written(kind)
        found = ", ".join(f'[{evidence(name, kind)}] AS "{name}"' for name in names)
        (row,) = db.sql(f"SELECT {found} FROM given").fetchall()
        one, other, unsure, dotted = (sum(counts) for counts in zip(*row, strict=True))
        form = decide(kind, one, other, unsure, dotted)
        return self._unsure(db, kind, form.either) if form.is_ambiguous else form.side

    def _unsure(self, db: "duckdb.DuckDBPyConnection", kind: Written, count: int) -> Side | None:
        """How values are written that can be read in two ways. Raises ExportError, which quotes
        the first of them, where nothing tells."""
        unsure = " UNION ALL ".join(
            f"SELECT line, '{name}' AS name, {name} AS text FROM given WHERE {either(name, kind)}"
            for name in self._written(kind)
        )
        found = db.sql(f"SELECT * FROM ({unsure}) ORDER BY line, name").fetchall()
        side = values.dotted_side(text for *_, text in found) if kind == "time" else None
        if side is None:
            line, name, text = found[0]
            raise self._error(
                f"{count:,} values can be read in two ways, the first in line {line} ({name}: "
                f"{text.strip()}), and no other tells which: say {_CHOICES[kind]}"
            )
        return side

    # whose it is ---------------------------------------------------------------------------------
    def _account(self, db: "duckdb.DuckDBPyConnection") -> tuple[str, Account | None]:
        """The account of rows that name none, and what a service tells of it."""
        said = self._said.account
        if said is not None:
            own = said.strip().removeprefix("act_")
            if not _ACCOUNT.fullmatch(own):
                raise self._error(f"--account {said!r} is no id of an account or a shop")
        elif self._is_named(db, "account_id") or not self._known:
            own = UNNAMED
        elif len(self._known) == 1:
            own = self._known[0].id
            self._notes.append(f"taken as {own}, the only one of {self._said.advertiser_id}")
        else:
            raise self._error(
                f"{self._said.advertiser_id} has several accounts: say by --account which it is "
                f"({', '.join(one.id for one in self._known)})"
            )
        return own, next((one for one in self._known if one.id == own), None)

    def _is_named(self, db: "duckdb.DuckDBPyConnection", column: str) -> bool:
        """Whether every row of data has a value in this column."""
        if column not in self._file.columns:
            return False
        query = f"SELECT bool_and(coalesce(trim({column}), '') <> '') FROM given WHERE NOT is_total"
        ((named,),) = db.sql(query).fetchall()
        return bool(named)

    def _currency(self, db: "duckdb.DuckDBPyConnection", known: Account | None) -> str:
        """The currency of rows that name none."""
        told = self._file.currency
        if "currency" in self._file.columns:
            whose = "account_id" if "account_id" in self._file.columns else "''"
            several = db.sql(
                f"SELECT string_agg(DISTINCT upper(trim(currency)), ', ') FROM given "
                f"WHERE trim(currency) <> '' AND NOT is_total GROUP BY {whose} "
                "HAVING count(DISTINCT upper(trim(currency))) > 1"
            ).fetchall()
            if several:
                raise self._error(f"amounts of one account are in {several[0][0]}: export each")
            found = db.sql(
                "SELECT DISTINCT upper(trim(currency)) FROM given WHERE trim(currency) <> ''"
            ).fetchall()
            if told is None and len(found) == 1:
                told = str(found[0][0])
            elif len(found) > 1:
                return ""
        said = self._said.currency and setting_values.currency(self._said.currency)
        own = known.currency if known else None
        for other, where in ((said, "--currency"), (own, "the account")):
            if told and other and told != other:
                raise self._error(f"its amounts are in {told}, and {where} is in {other}")
            told = told or other
        if not told:
            raise self._error("it does not say in which currency it is: add --currency, e.g. EUR")
        return told

    def _zone(
        self, db: "duckdb.DuckDBPyConnection", known: Account | None, dates: Side | None
    ) -> str:
        """The time zone of the account, or of the shop, whose times must agree with it."""
        name = self._said.timezone or (known and known.timezone)
        try:
            zone = ZoneInfo(name or "UTC").key
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise self._error(
                f"--timezone {name!r} is no time zone; name one, e.g. Europe/Berlin"
            ) from error
        times = [n for n in self._file.columns if self._file.export.columns[n].kind == "time"]
        for column in times:
            texts = db.sql(f"SELECT DISTINCT {column} FROM given WHERE {column} <> ''").fetchall()
            for (text,) in texts:
                if values.offset_differs(text, dates, zone):
                    raise self._error(
                        f"{column} has times of another zone than {zone}"
                        + ("" if name else " (none was said)")
                        + ", such as …"
                        + str(text)[-6:].strip()
                        + ": say by --timezone which one the shop has, e.g. Europe/Berlin"
                    )
        if name is None and not times:
            self._notes.append("its days are taken as those of UTC (--timezone says otherwise)")
        return zone

    # what it adds up to --------------------------------------------------------------------------
    def _bad(
        self, db: "duckdb.DuckDBPyConnection", numbers: Side | None, dates: Side | None
    ) -> int:
        """How many rows cannot be used as they are. Raises ExportError where they are too many."""
        export = self._file.export
        wrong = {"another number of values than the header": "problem IS NOT NULL"}
        now = datetime.now(UTC)
        for name in self._file.columns:
            received = export.columns[name]
            text = f"nullif(trim({name}), '')"
            if received.kind in ("amount", "count"):
                read = values.money if received.kind == "amount" else values.count
                of = "number" if received.kind == "amount" else "whole number"
                wrong[f"{name} is no {of}"] = (
                    f"{text} IS NOT NULL AND {read(text, [numbers])} IS NULL"
                )
            elif received.kind in ("day", "time"):
                texts = [
                    str(one)
                    for (one,) in db.sql(f"SELECT DISTINCT {text} FROM row").fetchall()
                    if one is not None
                ]
                moments = {one: values.moment(one, dates, "UTC") for one in texts}
                found = {one: at for one, at in moments.items() if at is not None}
                late = {one for one, at in found.items() if values.is_late(at, now)}
                db.execute(
                    f"CREATE OR REPLACE TABLE read_{name} AS SELECT unnest($1::VARCHAR[]) AS text, "
                    "unnest($2::BOOLEAN[]) AS is_late",
                    [list(found), [one in late for one in found]],
                )
                read_texts = f"(SELECT text FROM read_{name}"
                wrong[f"{name} is no day"] = f"{text} IS NOT NULL AND {text} NOT IN {read_texts})"
                if name in self._judged():
                    wrong[f"{name} is in the future"] = f"{text} IN {read_texts} WHERE is_late)"
        whens = " ".join(f"WHEN {sql} THEN '{why}'" for why, sql in wrong.items())
        ((bad, rows, first, why),) = db.sql(
            "SELECT count(why), count(*), min(line) FILTER (why IS NOT NULL), "
            f"arg_min(why, line) FROM (SELECT line, CASE {whens} END AS why FROM row "
            "WHERE NOT is_total)"
        ).fetchall()
        if not rows:
            raise self._error("each of its rows is a sum: none names an ad and a day")
        told = f"cannot be used, the first in line {first} ({why})"
        if bad:
            self._notes.append(f"{bad:,} rows {told}")
        if bad > self._home.settings().max_bad_share * rows:
            raise self._error(
                f"{bad:,} of {rows:,} rows {told}: more than DMP_MAX_BAD_SHARE allows; nothing is "
                "taken"
            )
        if export.kind == "meta":
            self._one_day(db)
            self._shared(db)
        return int(bad)

    def _judged(self) -> Sequence[str]:
        """Columns whose days cannot be in the future; reports of a month may end there."""
        if self._file.export.kind == "shopify":
            return ("created_at", "cancelled_at")
        return ("day",) if "day" in self._file.columns else ("reporting_starts",)

    def _check_ids(self, db: "duckdb.DuckDBPyConnection") -> None:
        """Refuse a file whose ids a spreadsheet has rewritten: they are those of other things."""
        for name in self._file.columns:
            if self._file.export.columns[name].kind != "id":
                continue
            found = db.execute(
                f"SELECT line, {name} FROM row WHERE regexp_matches(trim({name}), $1) "
                "ORDER BY line LIMIT 1",
                [_REWRITTEN],
            ).fetchone()
            if found:
                raise self._error(
                    f"line {found[0]}: a spreadsheet has rewritten {name} ({found[1].strip()}): "
                    "give the file as it was exported"
                )

    def _one_day(self, db: "duckdb.DuckDBPyConnection") -> None:
        """Refuse a file whose rows are of several days."""
        if "day" in self._file.columns:
            return
        ends = "reporting_ends" if "reporting_ends" in self._file.columns else "NULL"
        ((line,),) = db.sql(
            "SELECT min(line) FROM row "
            f"WHERE NOT is_total AND reporting_starts IS DISTINCT FROM {ends}"
        ).fetchall()
        if line is not None:
            raise self._error(
                f"line {line} is of several days: export with the breakdown by day (Breakdown, "
                "Time, Day)"
            )

    def _shared(self, db: "duckdb.DuckDBPyConnection") -> None:
        """Refuse parts of an ad's day that the file does not tell apart; say where they add up."""
        names = [n for n in ("account_id", "campaign_id", "campaign_name", "adset_id",
                             "adset_name", "ad_id", "ad_name", "day", "reporting_starts", *CELL)
                 if n in self._file.columns]  # fmt: skip
        ((shared, first, has_ids),) = db.sql(
            f"SELECT coalesce(sum(n) FILTER (n > 1), 0), min(line) FILTER (n > 1), "
            "bool_or(n > 1 AND coalesce(ad, '') <> '') FROM (SELECT count(DISTINCT row_hash) AS n, "
            f"min(line) AS line, any_value(ad_id) AS ad FROM row WHERE NOT is_total "
            f"GROUP BY {', '.join(names)})"
        ).fetchall()
        if shared and has_ids:
            raise self._error(
                f"{shared:,} rows are of an ad and day that others are of too, the first in line "
                f"{first}: export without the breakdown that parts them, or one file by one"
            )
        if shared:
            self._notes.append(
                f"{shared:,} rows are of an ad and day by whose names others are too, the first in "
                f"line {first}: they are added up (with the column Ad ID they are told apart)"
            )

    def _totals(self, db: "duckdb.DuckDBPyConnection", numbers: Side | None) -> list[str]:
        """What the file's own row of totals says otherwise than its rows add up to."""
        grand = db.sql("SELECT * FROM row WHERE is_total ORDER BY line")
        names = grand.columns
        own = next(
            (r for r in (dict(zip(names, one, strict=True)) for one in grand.fetchall())
             if is_grand(r)), None,
        )  # fmt: skip
        if own is None:
            return []
        told = [name for name in SUMMED if own.get(name)]
        rows = "(SELECT DISTINCT ON (row_hash) * FROM row WHERE NOT is_total)"
        read = {name: values.number(name, [numbers]) for name in told}
        sums = ", ".join(
            f"(SELECT sum({sql}) FROM {rows}), (SELECT {sql} FROM row WHERE line = $1)"
            for sql in read.values()
        )
        if not told:
            return []
        (found,) = db.execute(f"SELECT {sums}", [own["line"]]).fetchall()
        differ = []
        for name, added, total in zip(told, found[::2], found[1::2], strict=True):
            if total is not None and abs((added or Decimal(0)) - total) > _CENT:
                differ.append(f"{name}: rows add up to {added or 0:f}, its total is {total:f}")
        agree = f"its row of totals (line {own['line']}) agrees with its rows"
        self._notes.append("its row of totals differs: " + "; ".join(differ) if differ else agree)
        return differ
