"""Commits to a lakehouse that several homes write: no commit of a holder whose lease lapsed.

Every commit of a holder carries Delta's own `txn` action (application `dmp.lease`) with a number
made of the lease's fence. Who takes over what a lapsed holder held first commits nothing but a
greater number to each table (`close`), and reads the tables only then. What follows:

- A commit is put under the next number of the log, once or not at all, by the storage itself
  (`commit_stores.py`, delta-rs). So the lapsed holder's commit comes before the taker's, which then
  sees it as any other commit, or it comes after and is checked against it.
- Checked against it, it is refused: Delta lets no commit through whose application another commit
  has used since the table was read, and a table that was read later has a greater number, with
  which Spark's writer commits nothing and ours raises LeaseLostError.

That holds whatever the clocks say, and wherever in its work a holder was paused. Two things the log
cannot do. A table that is not there has no log: where both would make it, one of the two fails, and
a taker that finds it made since raises LeaseLostError, too. And files that are deleted
(`dmp forget --now`, `dmp reset`) go without a commit; these ask for their lease before.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError

from dmp_assets.platform.lake.lease_holders import LeaseLostError
from dmp_assets.platform.lake.shared_leases import SharedLease
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.lake.tables import STAMP, Tables

APPLICATION = "dmp.lease"
"""Whose numbers they are, in a table's log."""


@dataclass(frozen=True)
class Mark:
    """What a commit carries. `number` None: of a lakehouse that one home writes, nothing.

    `lost` is what is raised instead of a commit that comes too late.
    """

    number: int | None = None
    lost: str = ""

    def properties(
        self,
        stamp: Mapping[str, Any] | None = None,
        transaction: tuple[str, int] | None = None,
    ) -> CommitProperties:
        """For delta-rs, with what the commit notes of itself and the writer's own transaction."""
        noted = {STAMP: json.dumps(stamp)} if stamp else None
        given = [one for one in (self._transaction(), transaction) if one is not None]
        transactions = [Transaction(*one) for one in given] or None
        return CommitProperties(custom_metadata=noted, app_transactions=transactions)

    def options(self, transaction: tuple[str, int] | None = None) -> dict[str, str]:
        """For Spark's writer, which takes one: this mark, else the writer's own transaction."""
        given = self._transaction() or transaction
        return {} if given is None else {"txnAppId": given[0], "txnVersion": str(given[1])}

    def _transaction(self) -> tuple[str, int] | None:
        return None if self.number is None else (APPLICATION, self.number)

    def conf(self) -> dict[str, str]:
        """For SQL, as settings of the session."""
        return {f"spark.databricks.delta.write.{key}": said for key, said in self.options().items()}

    def checked(self, delta: DeltaTable) -> DeltaTable:
        """A table's handle that a commit will begin from. Raises LeaseLostError.

        delta-rs refuses the commit where another one of these came since the handle was made.
        """
        if self.number is not None and _number(delta) > self.number:
            raise LeaseLostError(self.lost)
        return delta


OWN = Mark()
"""Of a lakehouse that no other home writes."""


@contextmanager
def committing(lease: SharedLease | None, tables: Tables, key: str) -> Iterator[Mark]:
    """What the commit carries that is made meanwhile.

    Raises LeaseLostError, before it or instead of what it raised, where the lease lapsed.
    """
    if lease is None:
        yield OWN
        return
    lease.confirm()
    mark = Mark(lease.number(), lease.told_lost())
    if key in lease.absent and tables.exists(key):
        raise LeaseLostError(
            f"{key} was made by a run whose lease had lapsed, after this one looked; run it again"
        )
    try:
        yield mark
    except Exception as error:
        if lease.is_lost():
            raise LeaseLostError(lease.told_lost()) from error
        raise
    lease.absent.discard(key)
    if tables.exists(key):
        mark.checked(tables.delta(key))


def close(lease: SharedLease, tables: Tables) -> list[str]:
    """Let the logs of its tables refuse who held them before and lapsed; which tables those are."""
    found = lease.unfenced()
    for key in found:
        if not tables.exists(key):
            lease.absent.add(key)
            continue
        lease.confirm()
        mark = Mark(lease.number(), lease.told_lost())
        with in_words(tables.root):
            _refuse(tables, key, mark)
    if found:
        lease.fenced(found)
    return found


def _refuse(tables: Tables, key: str, mark: Mark) -> None:
    """Commit the number and nothing else; again where the lapsed holder was just faster."""
    for last in (False, False, True):
        delta = mark.checked(tables.delta(key))
        try:
            delta.create_write_transaction(
                [], mode="append", schema=delta.schema(), commit_properties=mark.properties()
            )
        except CommitFailedError:
            if last:
                raise
        else:
            return


def _number(delta: DeltaTable) -> int:
    return delta.transaction_version(APPLICATION) or 0
