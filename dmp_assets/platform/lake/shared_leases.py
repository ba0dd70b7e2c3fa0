"""Leases of a lakehouse that several homes share: who of all homes writes which table.

A lease has a number that grows (the *fence*), and lapses when its holder did not say for
`DMP_LEASE_SECONDS` that it lives. Who comes then takes its tables over, and first writes its own
number into the log of each (`fences.py`): from then on the log refuses what the other commits,
whenever it wakes.

Which lakehouse is meant, and which database keeps its leases, lies in the lakehouse
(`_leases.json`), so a home that would keep them elsewhere is refused.
"""

import itertools
import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import psycopg

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.lake import beside
from dmp_assets.platform.lake.lease_database import LeaseDatabase, LeaseDatabaseError
from dmp_assets.platform.lake.lease_holders import (
    BusyError,
    Holder,
    LeaseLostError,
    busy_with,
    in_the_way,
)
from dmp_assets.platform.lake.tables import LAYERS, Tables
from dmp_assets.settings import Settings

FILE = "_leases.json"
"""In the root of a lakehouse: its id, and that of the database that keeps its leases."""
COMMITS = 100_000  # at most of one lease; a commit's number is the fence times this and a count

_SHARED = (*LAYERS, "published")
"""Layers of what is not a home's own."""
_BEATS = 4  # within the time in which a lease lapses

_LOG = logging.getLogger(__name__)
_LAPSED = """
DELETE FROM dmp_leases.holder WHERE lakehouse = %s
AND greatest(beat_at, pg_postmaster_start_time()) + lapses < clock_timestamp()
RETURNING names, waiting
"""
_UNFENCED = """
INSERT INTO dmp_leases.unfenced SELECT %s, name FROM unnest(%s::text[]) AS name
ON CONFLICT DO NOTHING
"""
_NEXT = """
UPDATE dmp_leases.lakehouse
SET fence = greatest(fence + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
WHERE id = %s RETURNING fence
"""


@dataclass(frozen=True)
class Ledger:
    """Where the leases of one lakehouse are kept. `written` tells which tables it has."""

    database: LeaseDatabase
    root: str
    lakehouse: str
    place: str
    seconds: int
    written: Callable[[], Collection[str]]

    def living(self, cursor: psycopg.Cursor[Any]) -> list[Holder]:
        """Who holds or waits, in their order; the leases that lapsed are ended. In a turn."""
        cursor.execute("SELECT FROM dmp_leases.lakehouse WHERE id = %s FOR UPDATE",
                       (self.lakehouse,))  # fmt: skip
        cursor.execute(_LAPSED, (self.lakehouse,))
        for names, waiting in cursor.fetchall():
            if not waiting:
                left = self.written() if names is None else names
                cursor.execute(_UNFENCED, (self.lakehouse, _tables(left)))
        cursor.execute(
            "SELECT fence, run_id, pid, names, waiting, place FROM dmp_leases.holder "
            "WHERE lakehouse = %s ORDER BY fence",
            (self.lakehouse,),
        )
        return [
            Holder(fence, run_id, pid, None if names is None else tuple(names), waiting, place)
            for fence, run_id, pid, names, waiting, place in cursor.fetchall()
        ]


class SharedLease:
    """What a run of this home holds of a shared lakehouse, or waits for, until `end`.

    Made by `ask`. It says that it lives until then; `confirm` asks whether that was soon enough.
    """

    def __init__(self, ledger: Ledger, run_id: str, names: tuple[str, ...] | None) -> None:
        self.names = names
        self.absent: set[str] = set()
        """Tables of a lapsed holder that are not there, so their log cannot refuse it."""
        self._ledger, self._run_id = ledger, run_id
        self._fence = 0
        self._waiting = self._lost = False
        self._counter = itertools.count()
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lease", daemon=True)

    @property
    def waiting(self) -> bool:
        """Whether it holds nothing yet."""
        return self._waiting

    def enter(self, *, wait: bool) -> None:
        """Hold the names, or with `wait` take a place among who waits. Raises BusyError."""

        def enter(cursor: psycopg.Cursor[Any]) -> None:
            cursor.execute(_NEXT, (self._ledger.lakehouse,))
            (fence,) = cursor.fetchone() or (0,)
            other = in_the_way(self._ledger.living(cursor), self.names)
            if other is not None and not wait:
                raise BusyError(busy_with(self._ledger.root, other, self.names))
            cursor.execute(
                "INSERT INTO dmp_leases.holder VALUES "
                "(%s, %s, %s, %s, %s, %s, %s, clock_timestamp(), make_interval(secs => %s))",
                (self._ledger.lakehouse, fence, self._run_id, self._ledger.place, os.getpid(),
                 None if self.names is None else list(self.names), other is not None,
                 self._ledger.seconds),
            )  # fmt: skip
            self._fence, self._waiting = fence, other is not None

        self._ledger.database.turn(enter)
        if not self._heart.is_alive():
            self._heart.start()

    def look_again(self) -> None:
        """Hold what it waits for, if nobody who came before is in the way any more."""

        def look(cursor: psycopg.Cursor[Any]) -> bool:
            known = self._ledger.living(cursor)
            if not self._renewed(cursor):
                return False
            before = [one for one in known if one.number < self._fence or not one.waiting]
            before = [one for one in before if one.number != self._fence]
            if in_the_way(before, self.names) is None:
                cursor.execute(
                    "UPDATE dmp_leases.holder SET waiting = false WHERE lakehouse = %s "
                    "AND fence = %s",
                    self._mine,
                )
                self._waiting = False
            return True

        if not self._ledger.database.turn(look, patience=self._ledger.seconds):
            self.enter(wait=True)  # its place lapsed while this process was paused

    def unfenced(self) -> list[str]:
        """Those of its tables whose last holder lapsed, so that their log must refuse it first."""

        def look(cursor: psycopg.Cursor[Any]) -> list[str]:
            cursor.execute(
                "SELECT name FROM dmp_leases.unfenced WHERE lakehouse = %s "
                "AND (%s::text[] IS NULL OR name = ANY(%s::text[])) ORDER BY name",
                (self._ledger.lakehouse, self._listed, self._listed),
            )
            return [str(name) for (name,) in cursor.fetchall()]

        return self._ledger.database.turn(look)

    def fenced(self, names: Collection[str]) -> None:
        """Note that the logs of these tables refuse whoever held them before."""
        self._ledger.database.turn(
            lambda cursor: cursor.execute(
                "DELETE FROM dmp_leases.unfenced WHERE lakehouse = %s AND name = ANY(%s::text[])",
                (self._ledger.lakehouse, list(names)),
            )
        )

    def number(self) -> int:
        """A number for the next commit, greater than any that a holder before had."""
        return self._fence * COMMITS + next(self._counter) % COMMITS

    def confirm(self) -> None:
        """Raise LeaseLostError where another may hold its names by now.

        A database that is gone is asked again for as long as a lease lives; then
        LeaseDatabaseError is raised.
        """
        renewed = not self._lost and self._ledger.database.turn(
            self._renewed, patience=self._ledger.seconds
        )
        if not renewed:
            self._lost = True
            raise LeaseLostError(self.told_lost())

    def is_lost(self) -> bool:
        """Whether another may hold its names; not known while the database is gone."""
        try:
            self._lost = self._lost or not self._ledger.database.turn(self._renewed)
        except LeaseDatabaseError:
            return False
        return self._lost

    def told_lost(self) -> str:
        """For people, what it means that it was lost."""
        return (
            f"run {self._run_id} has lost its lease of the lakehouse {self._ledger.root}: it did "
            f"not say for {self._ledger.seconds} seconds that it lives (it was paused, or cut off "
            f"from {self._ledger.database.where}), so another may write; it writes nothing any "
            "more. Run it again"
        )

    def give_back(self, names: Collection[str]) -> None:
        """Let others write these; names that are not held change nothing."""
        if self.names is None or set(self.names).isdisjoint(names):
            return
        self.names = tuple(name for name in self.names if name not in names)
        try:
            self._ledger.database.turn(
                lambda cursor: cursor.execute(
                    "UPDATE dmp_leases.holder SET names = %s WHERE lakehouse = %s AND fence = %s",
                    (list(self.names or ()), *self._mine),
                )
            )
        except LeaseDatabaseError as error:  # then they are given back with the last
            _LOG.warning("%s", error)

    def end(self) -> None:
        """Give back all that is left. Where the database is gone, the lease lapses by itself."""
        self._over.set()
        try:
            self._ledger.database.turn(
                lambda cursor: cursor.execute(
                    "DELETE FROM dmp_leases.holder WHERE lakehouse = %s AND fence = %s", self._mine
                )
            )
        except LeaseDatabaseError as error:
            _LOG.warning("the lease of run %s is left to lapse: %s", self._run_id, error)
        self._ledger.database.close()

    @property
    def _mine(self) -> tuple[str, int]:
        return self._ledger.lakehouse, self._fence

    @property
    def _listed(self) -> list[str] | None:
        return None if self.names is None else list(self.names)

    def _renewed(self, cursor: psycopg.Cursor[Any]) -> bool:
        """Say that it lives; whether the lease is still there. One that nobody took is."""
        cursor.execute(
            "UPDATE dmp_leases.holder SET beat_at = clock_timestamp() "
            "WHERE lakehouse = %s AND fence = %s",
            self._mine,
        )
        return cursor.rowcount == 1

    def _beat(self) -> None:
        while not self._over.wait(self._ledger.seconds / _BEATS):
            try:
                if not self._ledger.database.turn(self._renewed) and not self._waiting:
                    self._lost = True
                    _LOG.warning("%s", self.told_lost())
                    return
            except LeaseDatabaseError as error:
                _LOG.warning("%s; trying again", error)


def is_shared(settings: Settings) -> bool:
    """Whether other homes may write the lakehouse, and a database keeps its leases."""
    return bool(settings.lakehouse_root and (settings.lease_database_url or settings.store_url))


def ledger_of(home: Home, tables: Tables) -> Ledger | None:
    """Where the leases of the home's lakehouse are kept; None where the home alone writes it.

    Raises HomeError where that is another database than the lakehouse names, or none,
    LeaseDatabaseError where it cannot be reached, and StorageError where the lakehouse cannot.
    """
    settings = home.settings()
    if settings.lakehouse_root is None:
        return None
    root = tables.root
    url = settings.lease_database_url or settings.store_url
    if url is None or not is_shared(settings):
        if _noted(tables) is not None:
            raise HomeError(
                f"other homes write the lakehouse {root} too, and a database keeps who writes "
                "what: set DMP_LEASE_DATABASE_URL as it is there"
            )
        return None
    database = LeaseDatabase(url)
    try:
        database.make()
        lakehouse = database.turn(lambda cursor: _identified(cursor, tables, database.where))
    except UserError:
        database.close()
        raise
    place = f"home {home.root} on {socket.gethostname()}"
    return Ledger(database, root, lakehouse, place, settings.lease_seconds, tables.written)


def shared_names(names: Collection[str] | None) -> tuple[str, ...] | None:
    """Those names that all homes of a lakehouse share; None (everything) stays so."""
    if names is None:
        return None
    return tuple(sorted(name for name in names if name.partition("/")[0] in _SHARED))


def ask(ledger: Ledger, run_id: str, names: tuple[str, ...] | None, *, wait: bool) -> SharedLease:
    """A lease of these names, or where they are not free, and `wait`, a place among who waits.

    Raises BusyError, LeaseDatabaseError.
    """
    lease = SharedLease(ledger, run_id, names)
    lease.enter(wait=wait)
    return lease


def _tables(names: Collection[str]) -> list[str]:
    return [name for name in names if name.partition("/")[0] in LAYERS]


def _identified(cursor: psycopg.Cursor[Any], tables: Tables, where: str) -> str:
    """The lakehouse's id, which it gets where it has none; one home at a time does so."""
    cursor.execute("SELECT id::text FROM dmp_leases.ledger FOR UPDATE")
    (ledger,) = cursor.fetchone() or ("",)
    root, noted = tables.root, _noted(tables)
    if noted is None:
        noted = {"lakehouse": str(uuid.uuid4()), "leases": ledger}
        _note(tables, noted)
    if noted["leases"] != ledger:
        raise HomeError(
            f"the leases of the lakehouse {root} are kept in another database than the one at "
            f"{where}: set DMP_LEASE_DATABASE_URL as the other homes have it. Where that database "
            f"is gone for good and no home is at work, remove {beside.path(tables, FILE)}"
        )
    cursor.execute(
        "INSERT INTO dmp_leases.lakehouse VALUES (%s, 0) ON CONFLICT DO NOTHING",
        (noted["lakehouse"],),
    )
    return noted["lakehouse"]


def _noted(tables: Tables) -> dict[str, str] | None:
    content = beside.read(tables, FILE)
    if content is None:
        return None
    try:
        said = json.loads(content)
        return {"lakehouse": str(uuid.UUID(said["lakehouse"])), "leases": str(said["leases"])}
    except (ValueError, TypeError, KeyError) as error:
        raise HomeError(f"{beside.path(tables, FILE)} cannot be read ({error})") from error


def _note(tables: Tables, said: dict[str, str]) -> None:
    beside.write(tables, FILE, json.dumps(said).encode())
