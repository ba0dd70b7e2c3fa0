"""What the attribution models are given: what a business chooses, and what the paths taught."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dmp_assets.attribution.model import shapley
from dmp_assets.attribution.model.roles import Roles


@dataclass(frozen=True)
class Parameters:
    """What a business can choose; times in hours. Each model's function says what is allowed."""

    half_life_hours: float = 168.0
    first_weight: float = 0.4
    last_weight: float = 0.4
    direct_channels: tuple[str, ...] = ("direct",)
    markov_orders: tuple[int, ...] = (1, 2)
    shapley_exact_limit: int = shapley.EXACT_LIMIT
    shapley_samples: int = shapley.SAMPLES
    roles: Roles = field(default_factory=Roles)


@dataclass(frozen=True)
class Fitted:
    """What the paths taught, by model, then channel: removal effects, Shapley values."""

    parameters: Parameters
    learnt: Mapping[str, Mapping[str, float]]
