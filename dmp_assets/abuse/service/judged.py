"""What scoring works with: a snapshot with its model, accounts in turn, what is said of them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from dmp_assets.abuse.model.features import Floats
from dmp_assets.abuse.model.index import AccountIndex
from dmp_assets.abuse.model.rulings import Ruling
from dmp_assets.abuse.model.store import Model
from dmp_assets.abuse.service.asked import Asked


@dataclass(frozen=True)
class Judgement:
    """What the model, and limits where they are stricter, say of one account."""

    probability: float
    decision: str
    is_limited: bool
    reasons: list[dict[str, str | float]]
    linked: list[str]
    cluster_id: str | None
    cluster_size: int
    expected_abusers: float
    model_version: str
    features: Floats | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """An account as it is asked for, all that its client said of it together.

    `is_new`: the shop does not have it yet; `unreadable`: attributes that could not be used.
    """

    asked: Asked
    ruling: Ruling | None
    is_new: bool
    unreadable: tuple[str, ...] = ()


Judged = tuple[Judgement | None, Seen]
"""What the model says of an account; None: it could not be scored."""


@dataclass
class Prepared:
    """A snapshot, a model, and what the model says of the snapshot's accounts.

    `taken_at`: live accounts of before are in the index.
    """

    index: AccountIndex
    model: Model
    promoted_at: datetime | None
    probabilities: Floats
    linked: npt.NDArray[np.bool_]
    taken_at: datetime
    judged: dict[int, Judgement] = field(default_factory=dict)

    @classmethod
    def of(
        cls, index: AccountIndex, model: Model, promoted_at: datetime | None, taken_at: datetime
    ) -> "Prepared":
        """Score all known accounts with the model."""
        from dmp_assets.abuse.model.models import probability

        known = index.snapshot
        scored = [probability(model.pipeline, rows) for rows in known.feature_batches()]
        linked = [
            batch.column("links").is_valid().to_numpy(zero_copy_only=False)
            for batch in known.batches
        ]
        return cls(
            index=index,
            model=model,
            promoted_at=promoted_at,
            probabilities=np.concatenate(scored) if scored else np.empty(0),
            linked=np.concatenate(linked) if linked else np.empty(0, dtype=bool),
            taken_at=taken_at,
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """An account that is to be judged, as it was when its turn came."""

    is_live: bool
    is_dry: bool
    view: dict[str, Any]
    linked: list[str]
    cluster_id: str | None
    others: list[int | str]
