"""A plan of budgets before anything is written: what it would bring, what it changes, its caps.

Spend is planned a day by campaign, in the currency of sums, and is what the budget at Meta becomes:
the campaign's own, or those of its active ad sets together, in proportion to what they have. So the
same plan twice is the same budget. Amounts are rounded to Meta's smallest unit towards what stands
there, and a budget changes by the greatest step at most, whatever was spent of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from dmp_assets.ads.model.budgets.curves import Outlook, PlanError, outlook
from dmp_assets.ads.service.store.advice import ACTIVE, OTHERS, Budget, Evidence, Outcomes
from dmp_assets.ads.settings import AdsSettings
from dmp_assets.sources.meta.money import offset

DAYS = 28
_ROUNDING = Decimal("0.0001")
"""The last digit of an amount as it is kept."""


@dataclass(frozen=True)
class Refusal:
    """A cap that a plan would pass, or a line that cannot be changed. `campaign_id`: None: all."""

    campaign_id: str | None
    message: str


@dataclass(frozen=True)
class Line:
    """Spend a day of a campaign, at present and as planned. `problem`: why it, or a part of it, is
    not written."""

    campaign_id: str
    campaign_name: str
    present: Decimal
    planned: Decimal
    problem: str = ""

    @property
    def changes(self) -> bool:
        return self.planned != self.present


@dataclass(frozen=True)
class Item:
    """A budget a day at Meta that a plan changes, in the account's currency."""

    object_id: str
    account_id: str
    object_kind: str
    object_name: str | None
    campaign_id: str
    currency: str
    before: Decimal
    after: Decimal


@dataclass(frozen=True)
class Draft:
    """A plan as it would be: its lines, what it writes, and what speaks against it."""

    lines: tuple[Line, ...]
    items: tuple[Item, ...]
    refusals: tuple[Refusal, ...]


def spend_of(evidence: Evidence, given: Mapping[str, Decimal] | None) -> dict[str, Decimal]:
    """Spend a day by campaign: what is given, at present's else; without any, what is advised.

    Raises PlanError for a campaign that the advice does not know, and for an amount that is none.
    """
    if given is None:
        return {row["campaign_id"]: row["advised"] for row in evidence.lines}
    present = evidence.present
    for campaign, amount in given.items():
        if campaign not in present:
            raise PlanError(campaign, f"there is no campaign {campaign} that the model knows")
        if not amount.is_finite() or amount < 0:
            raise PlanError(campaign, "a budget is a finite number, not below 0")
    return {**present, **given}


def draft(
    evidence: Evidence,
    planned: Mapping[str, Decimal],
    standing: Sequence[Budget],
    settings: AdsSettings,
) -> Draft:
    """What a plan of spend a day by campaign comes to."""
    lines, items = list[Line](), list[Item]()
    by_campaign: dict[str, list[Budget]] = {}
    for one in standing:
        by_campaign.setdefault(one.campaign_id, []).append(one)
    for row in evidence.lines:
        campaign, present = row["campaign_id"], row["present"]
        line = Line(campaign, row["campaign_name"] or campaign, present, planned[campaign])
        if line.changes:
            own = by_campaign.get(campaign, [])
            changed, problem = _items(line, own, Decimal(str(settings.ads_greatest_step)))
            items += changed
            line = replace(line, problem=problem)
        lines.append(line)
    advertiser = str(evidence.whole["advertiser_id"])
    refused = refusals(advertiser, lines, items, standing, settings)
    return Draft(tuple(lines), tuple(items), tuple(refused))


def refusals(
    advertiser_id: str,
    lines: Sequence[Line],
    items: Sequence[Item],
    standing: Sequence[Budget],
    settings: AdsSettings,
) -> list[Refusal]:
    """The caps of the settings that a plan would pass."""
    found = [one for line in lines if line.changes
             for one in _of_step(line, settings.ads_greatest_step)]  # fmt: skip
    most = settings.ads_most_per_day.get(advertiser_id)
    return found + _of_total(lines, items, standing, most)


def _of_step(line: Line, greatest: float) -> list[Refusal]:
    if line.campaign_id == OTHERS:
        return [Refusal(OTHERS, "small campaigns are known together and not changed together")]
    step = abs(line.planned - line.present)
    if step <= line.present * Decimal(str(greatest)) + _ROUNDING:
        return []
    return [
        Refusal(
            line.campaign_id,
            f"{line.campaign_name} has {line.present:,.2f} a day: {line.planned:,.2f} is a greater "
            f"step than {greatest:.0%} (DMP_ADS_GREATEST_STEP)",
        )
    ]


def _items(line: Line, own: Sequence[Budget], greatest: Decimal) -> tuple[list[Item], str]:
    """What is changed at Meta for a line, and why not all of it is."""
    active = [one for one in own if one.effective_status == ACTIVE]
    daily = [one for one in active if one.daily_budget and one.currency is not None]
    if not daily:
        if active:
            return [], "its budget is for its whole life, not for a day"
        return [], "nothing of it with a budget is active at Meta"
    unrated = [one.currency for one in daily if not one.daily_budget_in_sums]
    if unrated:
        return [], f"no rate of {unrated[0]} is known"
    total = sum((one.daily_budget_in_sums or Decimal(0) for one in daily), Decimal(0))
    wanted = line.planned / total
    if (wanted < 1) == (line.planned > line.present) and wanted != 1:
        where = "above" if wanted < 1 else "below"
        return [], (
            f"budgets of {total:,.2f} stand there, {where} what is planned: they are left, since "
            f"a plan that {'raises' if wanted < 1 else 'lowers'} spend never "
            f"{'lowers' if wanted < 1 else 'raises'} a budget"
        )
    factor = min(max(wanted, 1 - greatest), 1 + greatest)
    items = [_item(one, factor) for one in daily]
    changed = [item for item in items if item.after != item.before]
    if factor != wanted:
        return changed, (
            f"budgets of {total:,.2f} stand there: at once they change by {greatest:.0%} at most "
            "(DMP_ADS_GREATEST_STEP)"
        )
    return changed, ""


def _item(budget: Budget, factor: Decimal) -> Item:
    assert budget.daily_budget is not None and budget.currency is not None
    units = offset(budget.currency)
    rounding = ROUND_FLOOR if factor > 1 else ROUND_CEILING
    minor = (budget.daily_budget * factor * units).to_integral_value(rounding)
    return Item(
        budget.object_id, budget.account_id, budget.object_kind, budget.object_name,
        budget.campaign_id, budget.currency, budget.daily_budget, minor / units,
    )  # fmt: skip


def _of_total(
    lines: Sequence[Line],
    items: Sequence[Item],
    standing: Sequence[Budget],
    most: Decimal | None,
) -> list[Refusal]:
    """Whether all budgets together stay under what may be spent a day."""
    planned = sum((line.planned for line in lines), Decimal(0))
    present = sum((line.present for line in lines), Decimal(0))
    if most is None:
        if planned > present + len(lines) * _ROUNDING:
            return [
                Refusal(
                    None,
                    f"{planned:,.2f} a day are more than the {present:,.2f} that are spent now: "
                    "say in DMP_ADS_MOST_PER_DAY how much may be",
                )
            ]
        return []
    if planned > most + len(lines) * _ROUNDING:
        return [Refusal(None, _over(planned, most))]
    after = {(item.account_id, item.object_id): item for item in items}
    total = Decimal(0)
    for one in standing:
        if one.effective_status != ACTIVE or one.daily_budget is None:
            continue
        if one.daily_budget_in_sums is None:
            return [Refusal(None, f"no rate of {one.currency} is known, so no sum is")]
        rate = one.daily_budget_in_sums / one.daily_budget
        item = after.get((one.account_id, one.object_id))
        total += (item.after if item else one.daily_budget) * rate
    return [Refusal(None, _over(total, most))] if total > most else []


def _over(total: Decimal, most: Decimal) -> str:
    return f"budgets would sum to {total:,.2f} a day, {most:,.2f} may (DMP_ADS_MOST_PER_DAY)"


def expected(
    outcomes: Outcomes, planned: Mapping[str, Decimal], present: Mapping[str, Decimal]
) -> tuple[Outlook, Outlook]:
    """What is expected of a plan, and of the present spend. Raises PlanError."""
    curves = outcomes.curves
    now = {name: float(amount) for name, amount in present.items()}
    asked = curves.budget({name: float(amount) for name, amount in planned.items()}, now)
    at_present = curves.budget(now, now)
    return outlook(curves, asked, at_present, DAYS), outlook(curves, at_present, at_present, DAYS)


def told(
    outcomes: Outcomes, plan: Outlook, present: Outlook
) -> dict[str, dict[str, Decimal] | None]:
    """Both in amounts: sales, contribution and profit over 28 days, with their intervals."""
    ratio = outcomes.sales_by_contribution

    def amounts(values: Sequence[float]) -> dict[str, Decimal]:
        names = ("low", "middle", "high")
        return {name: _amount(value) for name, value in zip(names, values, strict=True)}

    def sales(of: Outlook) -> dict[str, Decimal] | None:
        return None if ratio is None else amounts([ratio * value for value in of.target])

    return {
        "sales": sales(plan),
        "sales_at_present": sales(present),
        "contribution": amounts(plan.target),
        "contribution_at_present": amounts(present.target),
        "profit": amounts(plan.profit),
        "profit_at_present": amounts(present.profit),
        "gain": amounts(plan.gain),
    }


def _amount(value: float) -> Decimal:
    return Decimal(f"{value:.2f}")


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Amounts as text, for what is kept as JSON."""
    return {
        name: as_json(value) if isinstance(value, Mapping)
        else str(value) if isinstance(value, Decimal) else value
        for name, value in values.items()
    }  # fmt: skip
