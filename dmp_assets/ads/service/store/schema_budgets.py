"""The tables of budgets in the operational store: published ones, plans, what is written to Meta.

Money is in the currency of sums where no currency stands beside it.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from dmp_assets.platform.store.schema import METADATA, PUBLISHED, time_column

_MONEY = sa.Numeric(18, 4)


def _money(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, _MONEY) for name in names]


def _interval(name: str, kind: object = _MONEY) -> list[sa.Column[object]]:
    return [sa.Column(f"{name}{end}", kind) for end in ("_low", "", "_high")]  # type: ignore[arg-type]


ads_budget_forecasts = sa.Table(
    "ads_budget_forecasts",
    METADATA,
    sa.Column("advertiser_id", sa.Text, primary_key=True),
    sa.Column("forecast_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("days", sa.BigInteger, primary_key=True),
    time_column("made_at", required=True),
    sa.Column("learnt_from", sa.Date, nullable=False),
    sa.Column("learnt_until", sa.Date, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    *_money("q025", "q100", "q250", "q500", "q750", "q900", "q975", "planned_spend"),
    sa.Column("planned_by_channel", JSONB, nullable=False),
    sa.Column("data_versions", JSONB, nullable=False),
    sa.Index("ix_ads_budget_forecast_newest", "advertiser_id", sa.desc("made_at")),
    schema=PUBLISHED,
    comment="Forecasts of contribution before ads, as they were made. One row per forecast and "
    "day, and one per total of 7, 14 and 28 days.",
)

ads_forecast_scores = sa.Table(
    "ads_forecast_scores",
    METADATA,
    sa.Column("advertiser_id", sa.Text, primary_key=True),
    sa.Column("forecast_id", sa.Text, primary_key=True),
    sa.Column("horizon", sa.BigInteger, primary_key=True),
    time_column("made_at", required=True),
    sa.Column("first_day", sa.Date, nullable=False),
    sa.Column("last_day", sa.Date, nullable=False),
    sa.Column("days", sa.BigInteger, nullable=False),
    *_money("actual", "expected"),
    sa.Column("within_80", sa.Boolean),
    sa.Column("within_95", sa.Boolean),
    *_money("planned_spend", "actual_spend"),
    *[
        sa.Column(name, sa.Double)
        for name in ("wape", "naive_wape", "mase", "coverage_80", "coverage_95", "pinball")
    ],
    sa.Index("ix_ads_forecast_score_last_day", "advertiser_id", sa.desc("last_day")),
    schema=PUBLISHED,
    comment="How good each forecast was. One row per forecast and horizon whose days are closed.",
)

ads_budget_advice = sa.Table(
    "ads_budget_advice",
    METADATA,
    sa.Column("advertiser_id", sa.Text, primary_key=True),
    sa.Column("campaign_id", sa.Text, primary_key=True),
    sa.Column("campaign_name", sa.Text),
    sa.Column("evidence_version", sa.Text, nullable=False),
    sa.Column("forecast_id", sa.Text),
    time_column("made_at", required=True),
    sa.Column("learnt_from", sa.Date),
    sa.Column("learnt_until", sa.Date),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reasons", ARRAY(sa.Text), nullable=False),
    sa.Column("priors", ARRAY(sa.Text), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("days", sa.BigInteger, nullable=False),
    *_money("present", "advised", "least", "most"),
    sa.Column("is_held", sa.Boolean),
    sa.Column("variation", sa.Double),
    *_interval("marginal", sa.Double),
    *_interval("contribution"),
    *_interval("profit"),
    *_interval("profit_at_present"),
    *_interval("gain"),
    *_interval("sales"),
    sa.Column("wape", sa.Double),
    sa.Column("naive_wape", sa.Double),
    schema=PUBLISHED,
    comment="The newest advice. One row per advertiser and campaign, and one of all (empty).",
)

ads_budget_curves = sa.Table(
    "ads_budget_curves",
    METADATA,
    sa.Column("advertiser_id", sa.Text, primary_key=True),
    sa.Column("campaign_id", sa.Text, primary_key=True),
    sa.Column("evidence_version", sa.Text, nullable=False),
    sa.Column("sales_by_contribution", sa.Double),
    sa.Column("scales", ARRAY(sa.Double), nullable=False),
    sa.Column("draws", ARRAY(sa.Double), nullable=False),
    schema=PUBLISHED,
    comment="Curves by which a budget's outcome is told. One row per advertiser and campaign, and "
    "one of all (empty).",
)

ad_budgets = sa.Table(
    "ad_budgets",
    METADATA,
    sa.Column("advertiser_id", sa.Text, primary_key=True),
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("object_id", sa.Text, primary_key=True),
    sa.Column("object_kind", sa.Text, nullable=False),
    sa.Column("object_name", sa.Text),
    sa.Column("campaign_id", sa.Text),
    sa.Column("effective_status", sa.Text),
    sa.Column("currency", sa.Text),
    *_money("daily_budget"),
    sa.Column("rate", sa.Numeric(18, 8)),
    *_money("daily_budget_in_sums"),
    sa.Column("is_listed", sa.Boolean),
    time_column("read_at"),
    schema=PUBLISHED,
    comment="Budgets as they stood at Meta. One row per campaign or ad set that has one.",
)

PLAN_STATES = ("proposed", "approved", "applying", "applied", "undoing", "undone")
ITEM_STATES = ("planned", "done", "refused", "undone")

ads_plan = sa.Table(
    "ads_plan",
    METADATA,
    sa.Column("plan_id", sa.Uuid, primary_key=True),
    sa.Column("advertiser_id", sa.Text, nullable=False),
    sa.Column("evidence_version", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("lines", JSONB, nullable=False),
    sa.Column("expected", JSONB, nullable=False),
    time_column("proposed_at", required=True),
    sa.Column("proposed_by", sa.Text, nullable=False),
    time_column("approved_at"),
    sa.Column("approved_by", sa.Text),
    time_column("changed_at", required=True),
    sa.CheckConstraint(sa.column("state").in_(PLAN_STATES), name="state_known"),
    sa.Index("ix_ads_plan_newest", "advertiser_id", sa.desc("proposed_at"), "plan_id"),
    comment="A budget that somebody proposes, approves, has written to Meta, has undone. One row "
    "per plan. lines: spend a day by campaign; expected: what it was expected to bring.",
)

ads_plan_item = sa.Table(
    "ads_plan_item",
    METADATA,
    sa.Column(
        "plan_id",
        sa.Uuid,
        sa.ForeignKey("ads_plan.plan_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("object_id", sa.Text, primary_key=True),
    sa.Column("advertiser_id", sa.Text, nullable=False),
    sa.Column("account_id", sa.Text, nullable=False),
    sa.Column("object_kind", sa.Text, nullable=False),
    sa.Column("object_name", sa.Text),
    sa.Column("campaign_id", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("before", _MONEY, nullable=False),
    sa.Column("after", _MONEY, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("told", sa.Text, nullable=False, server_default=""),
    time_column("not_before"),
    time_column("changed_at", required=True),
    sa.CheckConstraint(sa.column("state").in_(ITEM_STATES), name="state_known"),
    comment="A budget a day that a plan changes at Meta. One row per plan and campaign or ad set. "
    "told: why it waits or was refused.",
)

ads_write_intent = sa.Table(
    "ads_write_intent",
    METADATA,
    sa.Column("intent_id", sa.Uuid, primary_key=True),
    sa.Column("advertiser_id", sa.Text, nullable=False),
    sa.Column(
        "plan_id", sa.Uuid, sa.ForeignKey("ads_plan.plan_id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("is_undo", sa.Boolean, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("object_id", sa.Text, nullable=False),
    sa.Column("field", sa.Text, nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    time_column("begun_at", required=True),
    time_column("ended_at"),
    sa.CheckConstraint("state IN ('intended', 'done', 'not done')", name="state_known"),
    sa.Index("ix_ads_write_intent_object", "object_id", "begun_at"),
    sa.Index(
        "ix_ads_write_intent_open",
        "advertiser_id",
        postgresql_where=sa.text("state = 'intended'"),
    ),
    comment="What was about to be written to Meta, noted before it was. One row per write; "
    "before and after in Meta's words.",
)
