"""The settings of attribution, with those of its sources."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator, model_validator

from dmp_assets.attribution.model.models import IHC, names_of
from dmp_assets.platform.text.spelling import meant
from dmp_assets.sources.ihc.settings import IhcSettings
from dmp_assets.sources.web import tables
from dmp_assets.sources.web.settings import WebSettings

WRITTEN = (tables.WRITTEN,)


def attribution_model(given: str, markov_orders: Sequence[int]) -> str:
    """The name of an attribution model."""
    known = names_of(markov_orders)
    if given not in known:
        raise ValueError(
            f"{given!r} is not an attribution model (there are: {', '.join(known)})"
            + meant(given, known)
        )
    return given


class AttributionSettings(WebSettings, IhcSettings):
    """How journeys are made, credited and reported."""

    lookback_days: int | None = Field(
        None, ge=1, description="Touchpoints older than this do not count; empty: all of them do."
    )
    journeys_since_last_conversion: bool = Field(
        False, description="A journey starts after the user's previous conversion."
    )
    journeys_collapse_repeats: bool = Field(
        False, description="Of consecutive sessions of one channel only the first is a touchpoint."
    )
    journey_max_touchpoints: int = Field(
        200, ge=1, description="Of a longer journey the latest so many sessions count."
    )
    markov_orders: list[Annotated[int, Field(ge=1, le=4)]] = Field(
        min_length=1,
        default_factory=lambda: [1, 2],
        description="Orders of the Markov models, 1 to 4.",
    )
    reporting_model: str = Field(
        IHC, description="Attribution model of Slack, CSV and channel_reporting; see dmp show."
    )
    direct_channels: list[str] = Field(
        default_factory=lambda: ["direct"], description="Channels of people who came by themselves."
    )
    half_life_days: float = Field(7, gt=0, description="Half-life of the model time_decay.")
    first_touch_weight: float = Field(
        0.4, ge=0, le=1, description="Weight of the first touchpoint in the model position_based."
    )
    last_touch_weight: float = Field(
        0.4, ge=0, le=1, description="Weight of the last touchpoint in the model position_based."
    )

    @field_validator("reporting_model")
    @classmethod
    def _known_model(cls, value: str, info: ValidationInfo) -> str:
        return attribution_model(value, info.data.get("markov_orders", (1, 2)))

    @model_validator(mode="after")
    def _weights_add_up(self) -> "AttributionSettings":
        if self.first_touch_weight + self.last_touch_weight > 1:
            raise ValueError(
                "DMP_FIRST_TOUCH_WEIGHT and DMP_LAST_TOUCH_WEIGHT are shares of one conversion: "
                "together they are 1 at most"
            )
        return self


SETTINGS = AttributionSettings
