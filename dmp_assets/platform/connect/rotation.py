"""Stored tokens sealed anew by the newest key, row by row, while others read and renew."""

import uuid

import sqlalchemy as sa

from dmp_assets.platform.connect.keys import KeyRing, SealError
from dmp_assets.platform.connect.tokens import SEALING, purpose
from dmp_assets.platform.store.schema import service_token


def rotate(store: sa.Engine, ring: KeyRing) -> int:
    """Seal all tokens with the newest key; how many were sealed anew.

    Keys of our own making: a new one is made first, unless an earlier rotation did not end, and the
    old ones are dropped when nothing needs them. Each row is a transaction of its own, so it can be
    stopped anywhere and done again, while others read and renew. Raises SealError, after all others
    are done, for tokens whose key is gone; HomeError.
    """
    with ring.rotating():
        if ring.configured is None and len(ring.load().ids) == 1:
            ring.add()
        done, broken = 0, 0
        last = uuid.UUID(int=0)
        while (found := _rotate_next(store, ring, last)) is not None:
            last, is_done = found
            done += is_done
            broken += not is_done
        if broken:
            raise SealError(
                f"{broken} connections have tokens that no key opens; {done} were sealed anew. "
                "Give back the key that is missing, or connect these services anew"
            )
        if ring.configured is None:
            _drop_keys(store, ring)
    return done


def _drop_keys(store: sa.Engine, ring: KeyRing) -> None:
    """Drop all keys but the newest, while nobody seals, unless a token still needs one."""
    with store.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": SEALING})
        others = sa.select(sa.func.count()).where(service_token.c.key_id != ring.load().newest)
        if not connection.scalar(others):
            ring.keep_newest()


def _rotate_next(store: sa.Engine, ring: KeyRing, last: uuid.UUID) -> tuple[uuid.UUID, bool] | None:
    """The next connection after `last` whose tokens another key sealed; whether that opened."""
    with store.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": SEALING})
        keys = ring.load()
        row = connection.execute(
            sa.select(service_token.c.connection_id, service_token.c.sealed)
            .where(service_token.c.key_id != keys.newest, service_token.c.connection_id > last)
            .order_by(service_token.c.connection_id)
            .limit(1)
            .with_for_update()
        ).one_or_none()
        if row is None:
            return None
        what = purpose(row.connection_id)
        try:
            content = keys.open(what, row.sealed)
        except SealError:
            return row.connection_id, False
        connection.execute(
            service_token.update()
            .where(service_token.c.connection_id == row.connection_id)
            .values(sealed=keys.seal(what, content), key_id=keys.newest)
        )
    return row.connection_id, True
