"""The figures that people read: each with one name, one label and one definition for all places.

Dashboard, messages, API, review pages and run summary take label and definition from here, so that
a label never stands for two numbers. Two things that deserve two numbers have two names.

    from dmp_assets.platform.figures.catalogue import figure

    figure("flagged_accounts").label  # "Flagged accounts"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Unit = Literal["accounts", "cases", "codes", "uses", "conversions", "money", "ratio", "time"]
AsOf = Literal["last scoring", "now", "period", "last reading"]

AS_OF: Mapping[AsOf, str] = MappingProxyType(
    {
        "last scoring": "as of the last run that scored",
        "now": "now, with every decision taken so far",
        "period": "of the days that are named beside it",
        "last reading": "as of the last reading of the source",
    }
)
"""As-of meaning → its words."""


@dataclass(frozen=True)
class CataloguedFigure:
    """One figure: `name` for programs, `label` and `definition` (a sentence) for people.

    `unit` `money` is in the currency of the settings; `ratio` has no unit. `as_of` says of when
    the figure is: a key of `AS_OF`.
    """

    name: str
    label: str
    definition: str
    unit: Unit
    as_of: AsOf

    @property
    def when(self) -> str:
        """Of when the figure is, in words."""
        return AS_OF[self.as_of]

    def titled(self, currency: str = "EUR") -> str:
        """The label with its unit where that is money: `Cost, EUR`."""
        return f"{self.label}, {currency}" if self.unit == "money" else self.label


def _catalogue(*figures: CataloguedFigure) -> Mapping[str, CataloguedFigure]:
    assert len({f.name for f in figures}) == len({f.label for f in figures}) == len(figures)
    return MappingProxyType({f.name: f for f in figures})


CATALOGUE = _catalogue(
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
    # attribution
    CataloguedFigure(
        "conversions", "Conversions",
        "Conversions by their own day, whatever became of them: attributed, without a touchpoint, "
        "failed or unusable.",
        "conversions", "period",
    ),
    CataloguedFigure(
        "attributed_conversions", "Credited conversions",
        "Sum of the credits that sessions of the period earned, whenever the conversion came.",
        "conversions", "period",
    ),
    CataloguedFigure(
        "attributed_revenue", "Credited revenue",
        "Sum of the revenue that sessions of the period earned, whenever the conversion came.",
        "money", "period",
    ),
    CataloguedFigure(
        "cost", "Cost", "What the sessions of the period cost.", "money", "period"
    ),
    CataloguedFigure(
        "cost_per_order", "Cost per order",
        "Cost of all channels / credited conversions of all channels, those without cost included.",
        "money", "period",
    ),
    CataloguedFigure(
        "paid_cost_per_order", "Cost per order, paid channels",
        "Cost / conversions credited to the channels that cost something in the period.",
        "money", "period",
    ),
    CataloguedFigure(
        "channel_cost_per_order", "Cost per order of a channel",
        "Cost of the channel / conversions credited to it; unknown without cost or conversions.",
        "money", "period",
    ),
    CataloguedFigure(
        "channel_roas", "ROAS of a channel",
        "Revenue credited to the channel / its cost; unknown without cost.",
        "ratio", "period",
    ),
    CataloguedFigure(
        "roas", "ROAS, all channels",
        "Revenue credited to all channels, also to those without cost / cost.",
        "ratio", "period",
    ),
    CataloguedFigure(
        "paid_roas", "ROAS, paid channels",
        "Revenue credited to the channels that cost something in the period / their cost.",
        "ratio", "period",
    ),
)  # fmt: skip
"""Name → figure. A name is never given to another figure."""


def figure(name: str) -> CataloguedFigure:
    """The figure of that name. Raises KeyError for a name that the catalogue does not have."""
    return CATALOGUE[name]
