"""The settings of promo-code abuse, with those of the shop."""

from typing import Annotated

from pydantic import AfterValidator, Field

from dmp_assets.platform.config import setting_values
from dmp_assets.sources.shop import tables
from dmp_assets.sources.shop.settings import ShopSettings

WRITTEN = (tables.WRITTEN,)


class AbuseSettings(ShopSettings):
    """What mistakes cost, the model, and scoring while a caller waits."""

    cost_blocked_customer: float = Field(
        60.0, gt=0, description="Cost of blocking one honest customer, in the shop's currency."
    )
    cost_lost_discount: float = Field(
        20.0, gt=0, description="Discount lost to one abuser who is let through."
    )
    review_cost: float = Field(3.0, ge=0, description="Cost of one account reviewed by a person.")
    review_sample_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of allowed accounts that are reviewed too, so that misses are measured.",
    )
    device_day_review: int = Field(
        5, ge=2, description="New accounts made on one device within a day: reviewed from here on."
    )
    device_day_block: int = Field(8, ge=2, description="The same: blocked from here on.")
    train_sample_rows: int = Field(
        200_000, ge=1_000, description="At most this many labelled accounts train a model."
    )
    retrain_min_labels: int = Field(
        50, ge=1, description="New labels needed before persistent drift retrains by itself."
    )
    drift_persistent_runs: int = Field(
        3, ge=1, description="Consecutive drifted evaluations that count as persistent."
    )

    prediction_log_days: int = Field(
        90, ge=1, description="How long the operational store keeps scores that have landed here."
    )

    api_score_rate_limit: Annotated[str, AfterValidator(setting_values.rate)] = Field(
        "6000/minute", description="Accounts of one client that are scored."
    )
    api_dry_run_rate_limit: Annotated[str, AfterValidator(setting_values.rate)] = Field(
        "100/minute", description="Those of them that are dry runs."
    )
    live_account_days: int = Field(
        30,
        ge=1,
        description="How long a new account that was scored counts for others while the shop's "
        "tables do not have it.",
    )
    live_accounts: int = Field(
        20_000,
        ge=1,
        description="So many of these at most, the latest, in each process of the API; each takes "
        "5 kB of its memory.",
    )
    live_accounts_per_client: int | None = Field(
        None,
        ge=1,
        description="So many of them of one client; empty: as many as there is room for, the "
        "client with the most giving way first.",
    )
    spool_scores: int = Field(
        200_000,
        ge=1,
        description="Scores that wait on the disk of a process while the store does not answer; "
        "beyond, callers get 503.",
    )
    spool_scores_per_client: int = Field(50_000, ge=1, description="So many of them of one client.")


SETTINGS = AbuseSettings
