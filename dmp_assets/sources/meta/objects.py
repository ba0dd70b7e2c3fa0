"""Accounts and what is in them: campaigns, ad sets, ads and creatives, as they are now.

Deleted and archived ones are asked for by their status, else they would vanish from the lists.
"""

from collections.abc import Iterator
from typing import Any

from dmp_assets.platform.connect.errors import UnreadableAnswerError
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.errors import PermissionMissingError
from dmp_assets.sources.meta.insights import EVERY_STATUS

ACTIVE_ACCOUNT = 1
"""`account_status` of an account that may be written to; every other one stops writing."""
FIELDS = {
    "accounts": (
        "id", "account_id", "name", "account_status", "disable_reason", "currency",
        "timezone_name", "timezone_offset_hours_utc", "amount_spent", "balance", "spend_cap",
        "min_daily_budget", "business", "created_time",
    ),
    "campaigns": (
        "id", "name", "status", "configured_status", "effective_status", "objective",
        "buying_type", "bid_strategy", "daily_budget", "lifetime_budget", "budget_remaining",
        "spend_cap", "start_time", "stop_time", "created_time", "updated_time", "issues_info",
    ),
    "adsets": (
        "id", "campaign_id", "name", "status", "configured_status", "effective_status",
        "optimization_goal", "billing_event", "attribution_spec", "bid_amount", "daily_budget",
        "lifetime_budget", "budget_remaining", "learning_stage_info",
        "is_incremental_attribution_enabled", "start_time", "end_time", "promoted_object",
        "targeting", "created_time", "updated_time", "issues_info",
    ),
    "ads": (
        "id", "adset_id", "campaign_id", "name", "status", "configured_status",
        "effective_status", "creative{id}", "tracking_specs", "issues_info", "created_time",
        "updated_time",
    ),
    "adcreatives": (
        "id", "name", "title", "body", "object_story_spec", "url_tags", "thumbnail_url",
        "effective_object_story_id", "asset_feed_spec",
    ),
}  # fmt: skip
"""What is listed → the fields that are asked for; `url_tags` are the UTM parameters."""
_LEVELS = {"campaigns": "campaign", "adsets": "adset", "ads": "ad"}

Row = dict[str, Any]


def accounts(client: MetaClient) -> list[Row]:
    """The accounts that the connection may read."""
    try:
        return _accounts(client, FIELDS["accounts"])
    except PermissionMissingError:  # that of `business` may need a scope which reading does not
        return _accounts(client, tuple(n for n in FIELDS["accounts"] if n != "business"))


def _accounts(client: MetaClient, fields: tuple[str, ...]) -> list[Row]:
    listed = client.listed("", "me/adaccounts", fields=",".join(fields))
    return [_checked(row, "id", "account_id", "currency", "timezone_name") for row in listed]


def objects(client: MetaClient, account: str, edge: str) -> Iterator[Row]:
    """What is in an account (`act_…`) of an edge of `FIELDS`, deleted ones included."""
    level = _LEVELS.get(edge)
    statuses = {"effective_status": EVERY_STATUS[level]} if level else {}
    fields = ",".join(FIELDS[edge])
    for row in client.listed(account, f"{account}/{edge}", fields=fields, **statuses):
        yield _checked(row, "id")


def _checked(row: Row, *needed: str) -> Row:
    if any(not isinstance(row.get(name), str) or not row[name] for name in needed):
        raise UnreadableAnswerError(f"Meta: an object came without its {' or '.join(needed)}")
    return row
