"""Finding accounts by what a person remembers of them: the whole of a value, or its beginning.

The live index finds whole values at once. Parts are looked for in the snapshot's columns and in
what callers gave of new accounts.
"""

import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from dmp_assets.abuse.model.snapshot import Snapshot
from dmp_assets.abuse.service.part import part_of
from dmp_assets.abuse.service.store.schema import abuse_decision, abuse_prediction, account_score
from dmp_assets.platform.api.state import Service
from dmp_assets.platform.values import words

MOST = 50
SHORTEST = 3
"""Characters of a part; less would find nearly everybody."""
_TEXTS = ("user_id", "email_received", "device_id", "ip", "last_name")


def by_part(service: Service, store: sa.Connection, text: str) -> list[str]:
    """Accounts of which an id, e-mail, phone, device, IP or last name begins with the text or
    holds it, those that begin with it first; at most MOST."""
    text = words.plain("id", text)
    if len(text) < SHORTEST:
        return []
    names = dict.fromkeys(_in_store(store, text))
    live = part_of(service).live
    if live is not None and (snapshot := getattr(live, "snapshot", None)) is not None:
        for name in _in_snapshot(snapshot, text):
            names[name] = None
            if len(names) > 4 * MOST:
                break
    wanted = text.lower()
    return sorted(names, key=lambda name: (not name.lower().startswith(wanted), name))[:MOST]


def _digits(text: str) -> str:
    """The digits of what looks like a phone number; empty for everything else."""
    found = re.sub(r"[\s()./-]", "", text).removeprefix("+").lstrip("0")
    return found if found.isdigit() and len(found) >= 4 else ""


def _in_snapshot(snapshot: Snapshot, text: str) -> Iterator[str]:
    digits = _digits(text)
    for batch in snapshot.batches:
        columns = [batch.column(name) for name in _TEXTS if name in batch.schema.names]
        found = [pc.match_substring(column, text, ignore_case=True) for column in columns]
        if digits:
            phone = pc.replace_substring_regex(batch.column("phone_received"), r"\D", "")
            found.append(pc.match_substring(phone, digits))
        matched = found[0]
        for more in found[1:]:
            matched = pc.or_(pc.fill_null(matched, False), pc.fill_null(more, False))
        ids: pa.Array = batch.column("user_id").filter(pc.fill_null(matched, False))
        yield from ids.slice(0, MOST).to_pylist()


def _in_store(store: sa.Connection, text: str) -> Iterator[str]:
    like = "%" + re.sub(r"([%_\\])", r"\\\1", text) + "%"
    given = abuse_prediction.c.attributes
    new = [
        given[name].as_string().ilike(like) for name in ("email", "device_id", "ip", "last_name")
    ]
    if digits := _digits(text):
        phone = sa.func.regexp_replace(given["phone"].as_string(), r"\D", "", "g")
        new.append(phone.like(f"%{digits}%"))
    scored = abuse_prediction.c.account_id
    queries = (
        sa.select(account_score.c.user_id).where(account_score.c.user_id.ilike(like)),
        sa.select(scored).where(sa.or_(scored.ilike(like), *new)),
        sa.select(abuse_decision.c.account_id).where(abuse_decision.c.account_id.ilike(like)),
    )
    for query in queries:
        yield from store.scalars(query.distinct().limit(MOST))
