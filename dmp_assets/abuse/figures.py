"""What the figures of promo-code abuse are called and mean."""

from dmp_assets.platform.figures.kinds import CataloguedFigure

FIGURES = (
    # accounts: what the model advises of every known account, whatever people decided
    CataloguedFigure(
        "scored_accounts", "Accounts scored",
        "Registered accounts that the serving model, or the rules in its place, has scored.",
        "accounts", "last scoring",
    ),
    CataloguedFigure(
        "flagged_accounts", "Flagged accounts",
        "Accounts that the model advises to review or to block, whether or not they used a code "
        "and whatever people decided.",
        "accounts", "last scoring",
    ),
    CataloguedFigure(
        "accounts_to_block", "Flagged to block",
        "Flagged accounts that the model advises to block.",
        "accounts", "last scoring",
    ),
    CataloguedFigure(
        "accounts_to_review", "Flagged to review",
        "Flagged accounts that the model advises to review.",
        "accounts", "last scoring",
    ),
    CataloguedFigure(
        "flagged_users_of_codes", "Flagged users of codes",
        "Flagged accounts that have redeemed at least one promo code.",
        "accounts", "last scoring",
    ),
    CataloguedFigure(
        "flagged_uses", "Uses by flagged accounts",
        "Redemptions of promo codes by flagged accounts, of all time.",
        "uses", "last scoring",
    ),
    CataloguedFigure(
        "at_risk", "At risk",
        "The least discount on the redemptions of flagged accounts so far; unknown where the terms "
        "of the codes are.",
        "money", "last scoring",
    ),
    # cases: what waits for a person
    CataloguedFigure(
        "cases_waiting", "Cases waiting",
        "Cases that wait for a decision; a cluster of linked accounts is one case. Accounts drawn "
        "at random and those scored since the last run are among them, decided ones are not.",
        "cases", "now",
    ),
    CataloguedFigure(
        "cases_to_block", "Cases to block",
        "Waiting cases with an account that the model advises to block.",
        "cases", "now",
    ),
    CataloguedFigure(
        "cases_to_review", "Cases to review",
        "Waiting cases with an account that the model advises to review.",
        "cases", "now",
    ),
    CataloguedFigure(
        "cases_sampled", "Random sample",
        "Waiting cases with an allowed account that was drawn at random to measure what is missed.",
        "cases", "now",
    ),
    CataloguedFigure(
        "cases_reopened", "Reopened",
        "Waiting cases that were decided before; since then a reason came up or the cluster grew.",
        "cases", "now",
    ),
    CataloguedFigure(
        "expected_loss", "Expected loss",
        "What a case may still cost: abusers expected in its cluster × the discount lost to one.",
        "money", "now",
    ),
    # the shop
    CataloguedFigure(
        "registered_users", "Users registered",
        "Users whose row could be used, counted by the day of their registration.",
        "accounts", "period",
    ),
    CataloguedFigure(
        "promo_codes", "Promo codes", "Codes that the shop has defined.", "codes", "last reading"
    ),
    CataloguedFigure(
        "promo_uses", "Promo usages",
        "Redemptions of promo codes, whether or not an order followed.",
        "uses", "period",
    ),
    CataloguedFigure(
        "users_of_codes", "Users who redeemed",
        "Different users with at least one redemption.",
        "accounts", "period",
    ),
    CataloguedFigure(
        "codes_used", "Codes redeemed",
        "Different codes with at least one redemption.",
        "codes", "period",
    ),
    CataloguedFigure(
        "new_flagged_accounts", "New accounts, flagged",
        "Of the accounts registered in the period, those flagged as of the last scoring.",
        "accounts", "period",
    ),
    CataloguedFigure(
        "data_through", "Data through",
        "Up to when everything that happened at the source is known: when it was last read in "
        "full, or its last event where it was not heard of for longer than it may be quiet.",
        "time", "last reading",
    ),
)  # fmt: skip
