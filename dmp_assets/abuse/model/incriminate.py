"""What it costs to make an honest customer suspect, by signing up with what is known of it.

Some honest accounts that share nothing are attacked one after the other: accounts that have one of
their attributes, and nothing else, come within hours of them, and the model says each time what it
thinks of the honest one. The figures say how many it takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from dmp_assets.abuse.model import features
from dmp_assets.abuse.model.index import AccountIndex, LiveAccount
from dmp_assets.abuse.model.models import probability
from dmp_assets.abuse.model.received import normal_form
from dmp_assets.abuse.model.store import Model
from dmp_assets.abuse.model.view import VIEW

STEPS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20)
"""After so many newcomers the model is asked."""
MOST = STEPS[-1]
HOLDERS = 5
"""So many honest accounts are attacked."""
_APART = timedelta(minutes=10)
_EMAIL = ("email_received", "email", "email_domain", "is_email_valid", "has_email_alias")
_PHONE = ("phone_received", "phone", "phone_country", "is_phone_valid")
_IP = ("ip", "ip_prefix", "is_ip_valid")
_REST = ("first_name", "last_name", "date_of_birth", "is_date_of_birth_valid", "city", "timezone",
         "user_agent_received", "browser_family", "browser_version")  # fmt: skip
ATTACKS: dict[str, tuple[str, ...]] = {
    "e-mail": _EMAIL,
    "phone": _PHONE,
    "device": ("device_id",),
    "device and e-mail": ("device_id", *_EMAIL),
    "IP address": _IP,
    "everything": ("device_id", *_EMAIL, *_PHONE, *_IP, *_REST),
}
"""What the newcomers share with the holder → columns of cleaned/users."""
OF_HOLDERS = tuple(dict.fromkeys(column for columns in ATTACKS.values() for column in columns))
"""Columns of cleaned/users that a holder's row needs, beside those of the account view."""
_SHARED = (
    *VIEW.names[VIEW.names.index("device_accounts") : VIEW.names.index("accounts")],
    "links", "cluster_size", "link_weight",
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """One way to attack, over all holders. A number is None where `MOST` newcomers do not do it.

    `to_review`, `to_block`: newcomers until the median holder is at that decision; `…_first`: until
    the first of the holders is. `before`, `after`: mean probability without and with `MOST`.
    """

    shared: str
    is_verified: bool
    holders: int
    to_review: float | None
    to_review_first: float | None
    to_block: float | None
    to_block_first: float | None
    before: float
    after: float


def costs(holders: Sequence[Mapping[str, Any]], model: Model) -> list[Cost]:
    """The cost of every attack, without and with verified contacts of the newcomers.

    `holders`: rows of the account view with `OF_HOLDERS` beside it; without a holder no cost.
    """
    if not holders:
        return []
    found = []
    for is_verified in (False, True):
        for shared, columns in ATTACKS.items():
            rows = [row for holder in holders for row in _attacked(holder, columns, is_verified)]
            view = pa.Table.from_pylist(rows, VIEW)
            likely = probability(model.pipeline, features.matrix(view))
            by_holder = likely.reshape(len(holders), len(STEPS))
            limits = model.thresholds
            review, first_review = _until(by_holder, limits.review_from)
            block, first_block = _until(by_holder, limits.block_from)
            found.append(
                Cost(
                    shared, is_verified, len(holders), review, first_review, block, first_block,
                    before=float(by_holder[:, 0].mean()), after=float(by_holder[:, -1].mean()),
                )
            )  # fmt: skip
    return found


def _until(likely: features.Floats, limit: float) -> tuple[float | None, float | None]:
    """Newcomers until the median holder, and until the first, has so high a probability."""
    reached = likely >= limit
    steps = np.where(reached.any(axis=1), np.array(STEPS)[reached.argmax(axis=1)], np.inf)
    middle = float(np.quantile(steps, 0.5, method="higher"))
    return tuple(float(n) if np.isfinite(n) else None for n in (middle, steps.min()))  # type: ignore[return-value]  # two of them


def _attacked(
    holder: Mapping[str, Any], shared: Sequence[str], is_verified: bool
) -> list[dict[str, Any]]:
    """The holder's row of the account view at each of `STEPS`."""
    index = AccountIndex()
    created = holder["created_at"].replace(tzinfo=UTC)
    number = index.put(LiveAccount.of({**holder, "created_at": created}))
    alone = index.view_of(number)
    rows = [_with(holder, alone, alone)]
    for n in range(1, MOST + 1):
        newcomer = normal_form(f"newcomer {n}", {}, created + n * _APART, "US")
        newcomer |= {name: holder[name] for name in shared}
        newcomer |= {"is_email_verified": is_verified, "is_phone_verified": is_verified}
        index.put(LiveAccount.of(newcomer))
        if n in STEPS:
            rows.append(_with(holder, alone, index.view_of(number)))
    return rows


def _with(
    holder: Mapping[str, Any], alone: Mapping[str, Any], among: Mapping[str, Any]
) -> dict[str, Any]:
    """What the shop's tables say of the holder, and what the newcomers add to it."""
    row = {name: holder[name] for name in VIEW.names}
    for name in _SHARED:
        least = 0 if name in ("links", "link_weight") else 1
        if among[name] is not None and among[name] != alone[name]:
            added = among[name] - (least if alone[name] is None else alone[name])
            row[name] = (least if holder[name] is None else holder[name]) + added
    return row
