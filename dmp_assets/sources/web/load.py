"""Loading CSV exports into the web database.

Each load is one transaction and is written down in `dmp_web_load`, so that the same files are
never loaded twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dmp_assets.platform.base.errors import GivenError
from dmp_assets.sources.csv.export import CsvExport, FileLoad, Utf8Blocks, inspect, unused
from dmp_assets.sources.csv.reading import HeaderError, Reading
from dmp_assets.sources.shop.connection import ShopError
from dmp_assets.sources.web.connection import Engine, Session, WebError
from dmp_assets.sources.web.shape import creation, lakehouse_names, shape_problems
from dmp_assets.sources.web.tables import KINDS, LOADS, TABLES


@dataclass(frozen=True)
class LoadSummary:
    """What a load did; `changed` is False when these very files were there already."""

    database: str
    changed: bool
    files: tuple[FileLoad, ...]

    @property
    def message(self) -> str:
        """One line per file, for people."""
        if not self.changed:
            return (
                f"the web database {self.database} holds these very files already; "
                "nothing was changed"
            )
        return "\n".join(map(str, self.files))


def load_web(
    database: Engine,
    folder: Path,
    *,
    replace: bool = False,
    append: bool = False,
    reading: Reading | None = None,
) -> LoadSummary:
    """Load the folder's CSV files, named like the tables; missing tables are made.

    Columns that a table lacks are left out, and said. Raises WebError, with nothing changed, for a
    missing file or column, malformed CSV, or tables that hold rows when neither `replace` nor
    `append` is wanted.
    """
    if replace and append:
        raise GivenError("a load replaces or appends, not both")
    files = _csv_files(folder, reading or Reading(), all_required=not append)
    with database.connect(write=True) as session:
        present = session.columns([*TABLES, LOADS])
        held = _held(session) if LOADS in present else {}
        if all(file.sha256 in held.get(file.table, {}) for file in files) and (
            not replace or _just_these(session, files, held, present)
        ):
            return LoadSummary(
                database.name, False, tuple(FileLoad.left_alone(file) for file in files)
            )
        _prepare(session, database.name, present)
        if replace:
            held = {}
            for table in (*TABLES, LOADS):
                session.execute(f"DELETE FROM {table}")
        elif not append:
            _refuse_filled(session, database.name)
        columns = session.columns(TABLES)
        files = [_fitted(file, [*columns[file.table]]) for file in files]
        done = tuple(
            FileLoad.left_alone(file)
            if file.sha256 in held.get(file.table, {})
            else _load_file(session, file)
            for file in files
        )
    return LoadSummary(database.name, True, done)


def _csv_files(folder: Path, reading: Reading, *, all_required: bool) -> list[CsvExport]:
    if not folder.is_dir():
        raise WebError(f"{folder} is not a folder")
    there = {table: folder / f"{table}.csv" for table in TABLES}
    missing = [path.name for path in there.values() if not path.is_file()]
    if len(missing) == len(there) or (missing and all_required):
        others = sorted(path.name for path in folder.glob("*.csv"))
        raise WebError(
            f"{folder} lacks {', '.join(missing)} (it has: {', '.join(others) or 'no CSV file'})"
        )
    try:
        reading.check(tuple(TABLES))
        files = [
            inspect(
                path,
                table,
                known=TABLES[table],
                elsewhere={column for columns in TABLES.values() for column in columns},
                keeps_others=False,
                reading=reading,
                reserved=(),
            )
            for table, path in there.items()
            if path.is_file()
        ]
    except (ShopError, HeaderError) as error:  # it names the file and what is wrong with it
        raise WebError(str(error)) from error
    if wrong := unused(files, reading):
        raise WebError(wrong)
    return files


def _held(session: Session) -> dict[str, dict[str, int]]:
    """Table → hash of a file loaded into it → its rows."""
    held: dict[str, dict[str, int]] = {}
    for row in session.execute(f"SELECT table_name, sha256, row_count FROM {LOADS}"):
        table, sha256 = (v.decode() if isinstance(v, bytes) else v for v in row[:2])
        held.setdefault(table, {})[sha256] = row[2]
    return held


def _just_these(
    session: Session,
    files: Sequence[CsvExport],
    held: Mapping[str, Mapping[str, int]],
    present: Mapping[str, object],
) -> bool:
    """Whether the tables hold the rows of these files and, by their number, nothing else."""
    return {file.table: {file.sha256} for file in files} == {
        table: set(hashes) for table, hashes in held.items()
    } and all(
        session.execute(f"SELECT count(*) FROM {table}") == [(sum(hashes.values()),)]
        for table, hashes in held.items()
        if table in present
    )


def _prepare(session: Session, name: str, present: Mapping[str, Mapping[str, str]]) -> None:
    there = {table: wanted for table, wanted in KINDS.items() if table in present}
    if problems := shape_problems(present, there):
        raise WebError(f"the web database {name}: {'; '.join(problems)}")
    for table, wanted in KINDS.items():
        if table not in present:
            session.execute(creation(table, wanted, typed=False))
    if LOADS not in present:
        session.execute(
            f"CREATE TABLE {LOADS} (table_name text NOT NULL, sha256 text NOT NULL, "
            "row_count bigint NOT NULL, loaded_at text NOT NULL)"
        )


def _refuse_filled(session: Session, name: str) -> None:
    for table in TABLES:
        if session.execute(f"SELECT 1 FROM {table} LIMIT 1"):
            raise WebError(
                f"the web database {name} already holds rows in {table}; replace them or append"
            )


def _fitted(file: CsvExport, there: Sequence[str]) -> CsvExport:
    """The file with the table's own names of its columns, and without those that it lacks."""
    ours = {ours: name for name, ours in lakehouse_names(there, TABLES[file.table]).items()}
    folded = {name.casefold(): name for name in there}
    taken: set[str] = set()
    names: dict[int, str] = {}
    for place in sorted(range(len(file.columns)), key=lambda p: file.columns[p] not in there):
        column = file.columns[place]
        name = column if column in there else ours.get(column, folded.get(column.casefold()))
        if name and name not in taken:
            names[place] = name
            taken.add(name)
    lost = frozenset(range(len(file.columns))) - names.keys() - file.nameless
    if lost:
        lacking = ", ".join(
            file.columns[place] or f"column {place + 1} (without a name)" for place in sorted(lost)
        )
        file = file.without(
            lost, f"loaded without {lacking}: the table {file.table} has no such column"
        )
    return file.named(names)


def _load_file(session: Session, file: CsvExport) -> FileLoad:
    try:
        with file.path.open("rb") as source:
            text = Utf8Blocks(source, file)
            done = FileLoad.done(file, session.load_csv(file, text), text)
    except OSError as error:
        raise WebError(f"{file.path} cannot be read: {error.strerror}") from error
    except ShopError as error:  # it names the file and what is wrong with it
        raise WebError(str(error)) from error
    session.execute(
        f"INSERT INTO {LOADS} (table_name, sha256, row_count, loaded_at) VALUES (?, ?, ?, ?)",
        [file.table, file.sha256, done.rows, datetime.now(UTC).isoformat(timespec="seconds")],
    )
    return done
