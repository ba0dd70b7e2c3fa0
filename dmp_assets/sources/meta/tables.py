"""What is received of Meta: what each column is, said here and nowhere else.

Nothing here leads to a person: ads are shown to many, and Meta tells sums.
"""

from collections.abc import Mapping

from dmp_assets.platform.cleaning.received import Kind, Received, ReceivedColumns


def _of(kind: Kind, about: str) -> Received:
    return Received(kind, about, personal=None)


_MINOR = "in the currency's minor unit by Meta's own offsets"
_ACCOUNT_ID = _of("id", "The ad account, without `act_`.")
_NAME = _of("text", "Its name.")
_STATUS = {
    "status": _of("text", "What it was set to."),
    "configured_status": _of("text", "What it was set to."),
    "effective_status": _of("text", "Its status with those above it and the review."),
}
_BUDGETS = {
    "daily_budget": _of("amount", f"Its budget a day, {_MINOR}."),
    "lifetime_budget": _of("amount", f"Its budget in all, {_MINOR}."),
    "budget_remaining": _of("amount", f"What is left of the budget, {_MINOR}."),
}
_TIMES = {
    "created_time": _of("time", "When it was made."),
    "updated_time": _of("time", "When it was changed last."),
}
_ISSUES = _of("text", "What is wrong with it (JSON).")

OBJECTS: Mapping[str, ReceivedColumns] = {
    "accounts": {
        "account_id": _ACCOUNT_ID,
        "name": _NAME,
        "account_status": _of("count", "1 active; anything else stops writing."),
        "disable_reason": _of("count", "Why it was disabled, as Meta numbers it."),
        "currency": _of("text", "Its currency (ISO 4217)."),
        "timezone_name": _of("text", "Its time zone, of which its days are."),
        "timezone_offset_hours_utc": _of("amount", "Hours that its zone is ahead of UTC now."),
        "amount_spent": _of("amount", f"Spent so far, {_MINOR}."),
        "balance": _of("amount", f"What is owed, {_MINOR}."),
        "spend_cap": _of("amount", f"What it may spend in all, {_MINOR}; 0: no cap."),
        "min_daily_budget": _of("amount", f"The least budget a day, {_MINOR}."),
        "business": _of("text", "The business that it belongs to (JSON)."),
        "created_time": _TIMES["created_time"],
    },
    "campaigns": {
        "name": _NAME,
        **_STATUS,
        "objective": _of("text", "What it is to bring."),
        "buying_type": _of("text", "AUCTION or RESERVED."),
        "bid_strategy": _of("text", "How it bids."),
        **_BUDGETS,
        "spend_cap": _of("amount", f"What it may spend in all, {_MINOR}."),
        "start_time": _of("time", "When it begins."),
        "stop_time": _of("time", "When it ends."),
        **_TIMES,
        "issues_info": _ISSUES,
    },
    "adsets": {
        "campaign_id": _of("id", "The campaign that it belongs to."),
        "name": _NAME,
        **_STATUS,
        "optimization_goal": _of("text", "What delivery is optimized for."),
        "billing_event": _of("text", "What is paid for."),
        "attribution_spec": _of("text", "Which purchases count for it (JSON)."),
        "bid_amount": _of("amount", f"Its bid, {_MINOR}."),
        **_BUDGETS,
        "learning_stage_info": _of("text", "Whether delivery still learns (JSON)."),
        "is_incremental_attribution_enabled": _of("flag", "Whether only added purchases count."),
        "start_time": _of("time", "When it begins."),
        "end_time": _of("time", "When it ends."),
        "promoted_object": _of("text", "What it promotes (JSON)."),
        "targeting": _of("text", "Whom it is shown to (JSON)."),
        **_TIMES,
        "issues_info": _ISSUES,
    },
    "ads": {
        "adset_id": _of("id", "The ad set that it belongs to."),
        "campaign_id": _of("id", "The campaign that it belongs to."),
        "name": _NAME,
        **_STATUS,
        "creative": _of("text", "The creative that it shows (JSON)."),
        "tracking_specs": _of("text", "What is tracked (JSON)."),
        "issues_info": _ISSUES,
        **_TIMES,
    },
    "adcreatives": {
        "name": _NAME,
        "title": _of("text", "Its headline."),
        "body": _of("text", "Its text."),
        "object_story_spec": _of("text", "What the post is made of (JSON)."),
        "url_tags": _of("text", "The UTM parameters that it adds to links."),
        "thumbnail_url": _of("text", "A small picture of it."),
        "effective_object_story_id": _of("id", "The post that is shown."),
        "asset_feed_spec": _of("text", "What it is put together from (JSON)."),
    },
}
"""What is listed → its columns, besides the id."""
INSIGHTS: ReceivedColumns = {
    "account_currency": _of("text", "Currency of the amounts (ISO 4217)."),
    "campaign_id": _of("id", "The campaign."),
    "adset_id": _of("id", "The ad set."),
    "impressions": _of("count", "How often it was shown."),
    "reach": _of("count", "How many it was shown to, as Meta estimates."),
    "frequency": _of("amount", "Impressions by reach."),
    "clicks": _of("count", "Clicks of any kind."),
    "inline_link_clicks": _of("count", "Clicks on links to the shop."),
    "spend": _of("amount", "What was spent, in main units of the account's currency."),
    "attribution_setting": _of("text", "Which purchases count, as the ad set has it."),
    "actions": _of("text", "What people did, by type of action and window (JSON)."),
    "action_values": _of("text", "What that was worth, by type of action and window (JSON)."),
}
"""The columns of insights, besides account, ad and day."""
