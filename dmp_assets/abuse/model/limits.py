"""Velocity limits: what no honest use explains, whatever the model has learnt.

A model that has seen few device farms hesitates; a person does not need twenty accounts on one
device in a day. A limit only ever makes a decision stricter. A shop counter's tablet, from which
many people sign up, belongs on the allow list, which stands above limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmp_assets.abuse.model.money import DECISIONS

CODE = "DEVICE_LIMIT"


@dataclass(frozen=True)
class DeviceLimit:
    """From how many accounts, made on one device within a day of each other, on."""

    review_from: int
    block_from: int

    def on(self, view: Mapping[str, Any]) -> str:
        """The least strict decision that is allowed for a row of the account view."""
        made = view["device_day"] or 0
        return DECISIONS[(made >= self.review_from) + (made >= self.block_from)]

    def reason(self, view: Mapping[str, Any]) -> dict[str, str | float]:
        """Why, as a reason of a score; it has no weight, because it is no evidence but a rule."""
        text = f"{view['device_day']} accounts were made on the device within a day"
        return {"code": CODE, "text": text, "weight": 0.0}


def stricter(decision: str, than: str) -> bool:
    """Whether one decision is stricter than another."""
    return DECISIONS.index(decision) > DECISIONS.index(than)
