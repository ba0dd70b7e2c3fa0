"""Plans of budgets, and what is written of them to Meta."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _time(name: str, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "ads_plan",
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        _text("advertiser_id"),
        _text("evidence_version"),
        _text("state"),
        _text("currency"),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("expected", postgresql.JSONB(), nullable=False),
        _time("proposed_at", nullable=False),
        _text("proposed_by"),
        _time("approved_at"),
        _text("approved_by", nullable=True),
        _time("changed_at", nullable=False),
        sa.CheckConstraint(
            "state IN ('proposed', 'approved', 'applying', 'applied', 'undoing', 'undone')",
            name=op.f("ck_ads_plan_state_known"),
        ),
        sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_ads_plan")),
        comment="A budget that somebody proposes, approves, has written to Meta, has undone. One "
        "row per plan. lines: spend a day by campaign; expected: what it was expected to bring.",
    )
    op.create_index(
        "ix_ads_plan_newest",
        "ads_plan",
        ["advertiser_id", sa.literal_column("proposed_at DESC"), "plan_id"],
    )
    op.create_table(
        "ads_plan_item",
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        _text("object_id"),
        _text("advertiser_id"),
        _text("account_id"),
        _text("object_kind"),
        _text("object_name", nullable=True),
        _text("campaign_id"),
        _text("currency"),
        sa.Column("before", sa.Numeric(18, 4), nullable=False),
        sa.Column("after", sa.Numeric(18, 4), nullable=False),
        _text("state"),
        sa.Column("told", sa.Text(), server_default="", nullable=False),
        _time("not_before"),
        _time("changed_at", nullable=False),
        sa.CheckConstraint(
            "state IN ('planned', 'done', 'refused', 'undone')",
            name=op.f("ck_ads_plan_item_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"],
            ["ads_plan.plan_id"],
            name=op.f("fk_ads_plan_item_plan_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("plan_id", "object_id", name=op.f("pk_ads_plan_item")),
        comment="A budget a day that a plan changes at Meta. One row per plan and campaign or ad "
        "set. told: why it waits or was refused.",
    )
    op.create_table(
        "ads_write_intent",
        sa.Column("intent_id", sa.Uuid(), nullable=False),
        _text("advertiser_id"),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("is_undo", sa.Boolean(), nullable=False),
        _text("account"),
        _text("object_id"),
        _text("field"),
        _text("before", nullable=True),
        _text("after"),
        _text("state"),
        _text("actor"),
        _time("begun_at", nullable=False),
        _time("ended_at"),
        sa.CheckConstraint(
            "state IN ('intended', 'done', 'not done')",
            name=op.f("ck_ads_write_intent_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"],
            ["ads_plan.plan_id"],
            name=op.f("fk_ads_write_intent_plan_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("intent_id", name=op.f("pk_ads_write_intent")),
        comment="What was about to be written to Meta, noted before it was. One row per write; "
        "before and after in Meta's words.",
    )
    op.create_index("ix_ads_write_intent_object", "ads_write_intent", ["object_id", "begun_at"])
    op.create_index(
        "ix_ads_write_intent_open",
        "ads_write_intent",
        ["advertiser_id"],
        postgresql_where=sa.text("state = 'intended'"),
    )


def downgrade() -> None:
    """Drop them, and the record of what was written."""
    op.drop_table("ads_write_intent")
    op.drop_table("ads_plan_item")
    op.drop_table("ads_plan")
