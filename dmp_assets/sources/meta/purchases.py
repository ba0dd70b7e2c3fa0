"""Purchases in a row of insights: of one type of action, so that none is counted twice.

Meta tells the same purchases under several types of action. The first that is there of `TYPES` is
taken, from `actions` and `action_values` alike, and noted; a change of it for an account is told.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

TYPES = ("omni_purchase", "purchase", "offsite_conversion.fb_pixel_purchase")
"""Types of action that hold all purchases, the widest first."""
WINDOWS = ("1d_click", "7d_click", "28d_click", "1d_view", "1d_ev")
"""Attribution windows that Meta still gives (7d_view and 28d_view ended on 2026-01-12)."""
DEFAULT = "value"
"""The name of the sum by the ad set's own attribution setting."""


@dataclass(frozen=True)
class Purchases:
    """Of one row. `type`: the type of action taken, None without purchases. `count`, `value`: by
    window, `DEFAULT` among them; a window without any is left out. Values in the account's
    currency."""

    type: str | None
    count: Mapping[str, Decimal]
    value: Mapping[str, Decimal]


def purchases(row: Mapping[str, Any]) -> Purchases:
    """The purchases of a row of insights, as received or with its lists as JSON text."""
    actions, values = _listed(row.get("actions")), _listed(row.get("action_values"))
    kind = purchase_type([*actions, *values])
    return Purchases(kind, _numbers(actions, kind), _numbers(values, kind))


def purchase_type(actions: Iterable[Mapping[str, Any]]) -> str | None:
    """The type of action that is taken of these."""
    there = {action.get("action_type") for action in actions}
    return next((kind for kind in TYPES if kind in there), None)


def widest(kinds: Iterable[str | None]) -> str | None:
    """The widest of the types that the rows of an account hold; None where none holds any."""
    found = set(kinds)
    return next((kind for kind in TYPES if kind in found), None)


def _listed(given: Any) -> Sequence[Mapping[str, Any]]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            return ()
    return [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else ()


def _numbers(actions: Sequence[Mapping[str, Any]], kind: str | None) -> dict[str, Decimal]:
    """Window → number, of the first action of this type."""
    own = next((action for action in actions if action.get("action_type") == kind), {})
    found = {}
    for window in (DEFAULT, *WINDOWS):
        try:
            number = Decimal(str(own.get(window, "")))
        except InvalidOperation:
            continue
        if number.is_finite():
            found[window] = number
    return found
