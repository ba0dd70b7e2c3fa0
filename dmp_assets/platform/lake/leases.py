"""Leases: which run writes what, so that runs of different things go side by side.

A lease names what its run will write (keys of assets, e.g. `cleaned/users`) or, without names, the
whole home. It is taken all or nothing, and each name can be given back by itself. Two leases never
hold the same name; that of the whole home is held beside no other.

Of each lease `$DMP_HOME/leases/` holds a lock file, locked by the kernel as long as its process
lives, and a note beside it of whom it belongs to and what is still held. What a killed process
leaves there has no lock and is removed by whoever looks next. Looking and taking is done by one at
a time (`turn.lock`), so nobody ever holds a part of what it wants while it waits for another: no
deadlock. Those who wait go in the order in which they came, and nobody overtakes them for what
they want.

Where several homes share a lakehouse, a lease also holds its tables beyond the home
(`shared_leases.py`): the home's first, then those of all, so two homes never wait for each other.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.lake.lease_holders import (
    BusyError,
    Holder,
    LeaseLostError,
    busy_with,
    in_the_way,
)
from dmp_assets.settings import SettingsError

if TYPE_CHECKING:  # commands that only tell of themselves load no Arrow
    from dmp_assets.platform.lake.shared_leases import SharedLease

_TURN_SECONDS = 60  # a turn takes milliseconds
_POLL_SECONDS = 0.002
_LOOK_SECONDS = 0.1  # between two looks of one who waits


@dataclass
class Lease:
    """What this process holds for a run, until `taken` ends."""

    _folder: Path
    _holder: Holder
    _lock: filelock.BaseFileLock
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _at_work: list[threading.Thread] = field(default_factory=list)
    beyond: "SharedLease | None" = None
    """What it holds of a lakehouse that other homes write, too."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """What is still held; None: the whole home."""
        return self._holder.names

    def give_back(self, names: Collection[str]) -> None:
        """Let others write these; names that are not held change nothing."""
        with self._guard:
            held = self._holder.names
            if held is None or set(held).isdisjoint(names):
                return
            given_back = sorted(set(held).intersection(names))
            self._note(given_back=given_back)
            left = tuple(name for name in held if name not in given_back)
            self._holder = replace(self._holder, names=left)
            if self.beyond is not None:
                self.beyond.give_back(given_back)

    @property
    def waiting(self) -> bool:
        """Whether it holds nothing yet."""
        return self._holder.waiting

    def look_again(self, at_once: int) -> None:
        """Hold what it waits for, if nobody who came before is in the way any more."""
        mine = self._holder
        with _turn(self._folder):
            others = [one for one in _living(self._folder) if one.number != mine.number]
            before = [one for one in others if one.number < mine.number or not one.waiting]
            if in_the_way(before, mine.names, at_once) is None:
                self._note(waiting=False)
                self._holder = replace(mine, waiting=False)

    def _note(self, **changed: Any) -> None:
        with _note(self._folder, self._holder.number).open("a", encoding="utf-8") as note:
            note.write(json.dumps(changed) + "\n")

    def outlive(self, threads: Collection[threading.Thread]) -> None:
        """Hold what is left until these have ended, or the process has, though `taken` ends."""
        self._at_work = [thread for thread in threads if thread.is_alive()]

    def end(self) -> None:
        """Give back all that is left; also where the home was removed meanwhile."""
        if any(thread.is_alive() for thread in self._at_work):
            threading.Thread(target=self._end_after_all, daemon=True).start()
            return
        self._end()

    def _end_after_all(self) -> None:
        for thread in self._at_work:
            thread.join()
        self._end()

    def _end(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._lock.release)
            if self.beyond is not None:
                self.beyond.end()
            if self._folder.exists():
                stack.enter_context(_turn(self._folder))
                _remove(self._folder, self._holder.number)


_held: dict[tuple[Path, str], Lease] = {}
_registry = threading.Lock()


def held(home: Home, run_id: str) -> Lease | None:
    """The lease that this process holds for the run."""
    with _registry:
        return _held.get((home.root, run_id))


def writing(home: Home, key: str) -> "SharedLease":
    """The lease under which this process writes a table that other homes write, too.

    Raises LeaseLostError where it holds none.
    """
    with _registry:
        mine = [lease for (root, _), lease in _held.items() if root == home.root]
    for lease in mine:
        if lease.beyond is not None and (lease.names is None or key in lease.names):
            return lease.beyond
    raise LeaseLostError(f"nobody here holds {key}, so it is not written")


@contextmanager
def taken(
    home: Home,
    run_id: str,
    names: Collection[str] | None,
    *,
    wait: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[Lease]:
    """Hold these names, or without names the whole home, for the run.

    A run that holds a lease in this process already goes on with that one. `meanwhile` is called
    ten times a second while it waits, and ends the waiting by what it raises. Raises BusyError
    when something is held by another and not `wait`, and of a lakehouse that several homes share
    LeaseDatabaseError when who holds what cannot be asked.
    """
    if (known := held(home, run_id)) is not None:
        yield known
        return
    at_once = _at_once(home, names)
    lease = _asked(home, run_id, names, at_once, wait=wait)
    try:
        while lease.waiting:
            time.sleep(_LOOK_SECONDS)
            meanwhile()
            lease.look_again(at_once)
        _hold_beyond(home, lease, run_id, wait=wait, meanwhile=meanwhile)
        with _registry:
            _held[home.root, run_id] = lease
        yield lease
    finally:
        with _registry:
            _held.pop((home.root, run_id), None)
        lease.end()


def refuse(home: Home, names: Collection[str] | None) -> None:
    """Raise BusyError when these names, or without names the whole home, could not be taken now."""
    from dmp_assets.platform.lake import shared_leases

    known = living(home)
    if (other := in_the_way(known, names, _at_once(home, names))) is not None:
        raise BusyError(_told(home, known, other, names))
    if (wanted := shared_leases.shared_names(names)) == ():
        return
    beyond = living_beyond(home)
    if (other := in_the_way(beyond, wanted)) is not None:
        raise BusyError(busy_with(home.settings().lakehouse_root, other, wanted))


def living(home: Home) -> list[Holder]:
    """Who of this home holds or waits for something, in their order. Makes no folder."""
    folder = _folder(home)
    if not (folder / "turn.lock").exists():
        return []
    with _turn(folder):
        return _living(folder)


def living_beyond(home: Home) -> list[Holder]:
    """Who of all homes holds or waits for something of a lakehouse that they share."""
    from dmp_assets.platform.lake import shared_leases
    from dmp_assets.platform.lake.tables import Tables

    ledger = shared_leases.ledger_of(home, Tables.of(home))
    if ledger is None:
        return []
    try:
        return ledger.database.turn(ledger.living)
    finally:
        ledger.database.close()


def _hold_beyond(
    home: Home, lease: Lease, run_id: str, *, wait: bool, meanwhile: Callable[[], None]
) -> None:
    """Hold the same of a lakehouse that other homes write, too.

    Its tables refuse from then on who held them before and lapsed.
    """
    from dmp_assets.platform.lake import fences, shared_leases
    from dmp_assets.platform.lake.tables import Tables

    names = shared_leases.shared_names(lease.names)
    try:
        tables = Tables.of(home)
    except SettingsError:  # then nothing can be written either: each asset says what is wrong
        return
    if names == () or (ledger := shared_leases.ledger_of(home, tables)) is None:
        return
    lease.beyond = beyond = shared_leases.ask(ledger, run_id, names, wait=wait)
    while beyond.waiting:
        time.sleep(_LOOK_SECONDS)
        meanwhile()
        beyond.look_again()
    fences.close(beyond, tables)


def _asked(
    home: Home, run_id: str, names: Collection[str] | None, at_once: int, *, wait: bool
) -> Lease:
    """A lease of these names, or where they are not free, and `wait`, a place among who waits."""
    folder = _folder(home)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _turn(folder):
        known = _living(folder)
        other = in_the_way(known, names, at_once)
        if other is not None and not wait:
            raise BusyError(_told(home, known, other, names))
        number = 1 + max((other.number for other in known), default=0)
        wanted = None if names is None else tuple(sorted(names))
        holder = Holder(number, run_id, os.getpid(), wanted, waiting=other is not None)
        lock = _lock(folder, number)
        lock.acquire(timeout=0)
        try:
            _write(folder, holder)
        except OSError:
            lock.release()
            raise
    return Lease(folder, holder, lock)


def _told(home: Home, known: Sequence[Holder], other: Holder, names: Collection[str] | None) -> str:
    """Why these names are not free."""
    if other.meets(names):
        return busy_with(home.root, other, names)
    runs = sum(not one.waiting for one in known)
    does = "waits to write" if other.waiting else "is writing"
    return (
        f"the lakehouse {home.root} is busy: {runs} runs are at work, as many as "
        f"DMP_CONCURRENT_RUNS allows; {other.told()} {does}"
    )


def _at_once(home: Home, names: Collection[str] | None) -> int:
    """How many may be at work; who wants the whole home is alone in any case."""
    return 1 if names is None else home.settings().concurrent_runs


# files --------------------------------------------------------------------------------------------
def _folder(home: Home) -> Path:
    return home.root / "leases"


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One process and thread at a time looks at the leases of a home and changes them."""
    lock = filelock.FileLock(
        folder / "turn.lock", mode=0o600, thread_local=False, poll_interval=_POLL_SECONDS
    )
    try:
        lock.acquire(timeout=_TURN_SECONDS)
    except filelock.Timeout as error:
        raise HomeError(
            f"another process has held {folder / 'turn.lock'} for a minute; see who with "
            "`lsof` and end it"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _living(folder: Path) -> list[Holder]:
    """The leases whose process lives, in their order; what others left is removed. In a turn."""
    found = []
    for path in folder.glob("[0-9]*.lock"):
        number = int(path.stem)
        lock = _lock(folder, number)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            found.append(_read(folder, number))
        else:
            _remove(folder, number)
            lock.release()
    return sorted(found, key=lambda holder: holder.number)


def _read(folder: Path, number: int) -> Holder:
    """What a living lease says of itself; one whose note cannot be read holds the whole home."""
    try:
        lines = _note(folder, number).read_text(encoding="utf-8").splitlines(keepends=True)
        noted, *changes = [json.loads(line) for line in lines if line.endswith("\n")]
        names = noted["names"]
        if names is not None:
            given_back = {name for change in changes for name in change.get("given_back", ())}
            names = tuple(str(name) for name in names if name not in given_back)
        waiting = bool(noted["waiting"]) and not any("waiting" in change for change in changes)
        return Holder(number, str(noted["run_id"]), int(noted["pid"]), names, waiting)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Holder(number, "?", None, None)


def _note(folder: Path, number: int) -> Path:
    """The lease in its first line, what changed of it in the others: appending costs next to
    nothing, where replacing a file waits for the disk."""
    return folder / f"{number:08}.json"


def _write(folder: Path, holder: Holder) -> None:
    note = _note(folder, holder.number)
    note.touch(0o600)
    note.write_text(json.dumps(asdict(holder)) + "\n", encoding="utf-8")


def _remove(folder: Path, number: int) -> None:
    _note(folder, number).unlink(missing_ok=True)
    (folder / f"{number:08}.lock").unlink(missing_ok=True)


def _lock(folder: Path, number: int) -> filelock.BaseFileLock:
    return filelock.FileLock(folder / f"{number:08}.lock", mode=0o600, thread_local=False)


# one command at a time ----------------------------------------------------------------------------
@contextmanager
def alone(home: Home, command: str) -> Iterator[None]:
    """Let one process at a time do what `command` does here, before and after its run too.

    Raises HomeError that names the process at work.
    """
    lock = filelock.FileLock(home.root / f"{command}.lock", thread_local=False)
    note = home.root / f"{command}.pid"
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        holder = "?"
        with suppress(OSError):  # not written yet
            holder = note.read_text() or holder
        raise HomeError(
            f"`dmp {command}` is at work in {home.root} already (process {holder}); wait for "
            "its end, or set DMP_HOME to another folder"
        ) from error
    try:
        note.write_text(str(os.getpid()))
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()
