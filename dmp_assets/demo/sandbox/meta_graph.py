"""Objects of the sandbox's Meta: lists, single ones, their fields, and what may be written."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from dmp_assets.demo.sandbox.meta_login import Access
from dmp_assets.demo.sandbox.meta_manner import GraphError, bad, gone
from dmp_assets.demo.sandbox.meta_world import KEYS, World

WHOLE_UNITS = frozenset(
    ("CLP", "COP", "CRC", "HUF", "ISK", "IDR", "JPY", "KRW", "PYG", "TWD", "VND")
)
"""Currencies that Meta counts in whole units; all others in hundredths."""
EDGES = {"campaigns": "campaign", "adsets": "adset", "ads": "ad", "adcreatives": "creative"}
HOUR, DAY = 3_600.0, 86_400.0
_STATUSES = ("ACTIVE", "PAUSED", "ARCHIVED", "DELETED")
_ACCOUNT = (
    "id", "account_id", "name", "account_status", "disable_reason", "currency", "timezone_name",
    "timezone_offset_hours_utc", "amount_spent", "balance", "spend_cap", "min_daily_budget",
    "business", "created_time",
)  # fmt: skip
_CAMPAIGN = (
    "id", "account_id", "name", "status", "configured_status", "effective_status", "objective",
    "buying_type", "bid_strategy", "daily_budget", "lifetime_budget", "budget_remaining",
    "spend_cap", "start_time", "stop_time", "created_time", "updated_time", "issues_info",
)  # fmt: skip
_ADSET = (
    "id", "account_id", "campaign_id", "name", "status", "configured_status", "effective_status",
    "optimization_goal", "billing_event", "attribution_spec", "bid_amount", "daily_budget",
    "lifetime_budget", "budget_remaining", "learning_stage_info", "start_time", "end_time",
    "is_incremental_attribution_enabled", "promoted_object", "targeting", "created_time",
    "updated_time", "issues_info",
)  # fmt: skip
_AD = (
    "id", "account_id", "campaign_id", "adset_id", "name", "status", "configured_status",
    "effective_status", "creative", "tracking_specs", "issues_info", "created_time", "updated_time",
)  # fmt: skip
_CREATIVE = (
    "id", "account_id", "name", "title", "body", "url_tags", "thumbnail_url", "object_story_spec",
    "effective_object_story_id", "asset_feed_spec",
)  # fmt: skip
FIELDS = {"account": _ACCOUNT, "campaign": _CAMPAIGN, "adset": _ADSET, "ad": _AD,
          "creative": _CREATIVE}  # fmt: skip
_REVIEWS = {"disapproved": "DISAPPROVED", "pending": "PENDING_REVIEW"}

Row = dict[str, Any]


def names(given: Mapping[str, str], table: str) -> tuple[str, ...]:
    """The fields that are asked for; `id` comes always, and alone where none are."""
    asked = [part.partition("{")[0] for part in given.get("fields", "").split(",") if part]
    if wrong := [one for one in asked if one not in FIELDS[table]]:
        raise GraphError(
            100, f"(#100) Tried accessing nonexisting field ({wrong[0]})", blames=("fields",)
        )
    return tuple(dict.fromkeys(("id", *asked)))


class Objects:
    """What is in accounts, as a token sees it. Raises GraphError."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._changes: list[tuple[str, str, float]] = []

    def forget(self) -> None:
        """Forget which changes are counted."""
        self._changes.clear()

    # looking -------------------------------------------------------------------------------------
    def account(self, account_id: str) -> Row:
        """The row of an account that is there."""
        found = self._world.found(f"act_{account_id}")
        if found is None:
            raise gone(f"act_{account_id}")
        return found[1]

    def seen(self, access: Access, object_id: str, *, writes: bool = False) -> tuple[str, Row]:
        """(table, row) of an object, if the token may read it, or write."""
        found = self._world.found(object_id)
        if found is None or found[0] not in FIELDS:
            raise gone(object_id)
        needed = ("ads_management",) if writes else ("ads_read", "ads_management")
        if not set(needed) & set(access.scopes):
            raise GraphError(200, "(#200) Requires ads_management permission to manage the object"
                             if writes else "(#200) Ad account owner has NOT grant ads_management "
                             "or ads_read permission", status=403)  # fmt: skip
        if found[1]["account_id"] not in access.targets:
            raise GraphError(
                200,
                "(#200) Ad account owner has NOT grant ads_management or ads_read permission",
                status=403,
            )
        return found

    def accounts(self, access: Access, given: Mapping[str, str], business: str | None) -> list[Row]:
        """The accounts that were granted, of a business or of all."""
        rows = self._world.rows("SELECT * FROM account ORDER BY account_id")
        return [
            self.shown("account", row, names(given, "account"))
            for row in rows
            if row["account_id"] in access.targets and business in (None, row["business_id"])
        ]

    def listed(self, edge: str, parent: tuple[str, Row], given: Mapping[str, str]) -> list[Row]:
        """An edge of an object: its campaigns, ad sets, ads or creatives."""
        table, above = EDGES[edge], parent[0]
        column = KEYS[above]
        if table == "creative" and above != "account":
            raise bad("Tried accessing nonexisting field (adcreatives)")
        rows = self._world.rows(
            f"SELECT * FROM {table} WHERE {column} = ? ORDER BY {KEYS[table]}",
            parent[1][column],
        )
        wanted = names(given, table)
        keeps = _kept(given, table)
        shown = ((row, self._effective(table, row)) for row in rows)
        return [self.shown(table, row, wanted) for row, status in shown if keeps(row, status)]

    def shown(self, table: str, row: Row, wanted: tuple[str, ...]) -> Row:
        """A row in the API's words, with these fields; what it does not have is left out."""
        if table == "account":
            told = self._account(row)
        elif table == "creative":
            told = row | {"id": row["creative_id"]}
        else:
            told = self._delivering(row, table)
        return {name: told[name] for name in wanted if told.get(name) is not None}

    def _account(self, row: Row) -> Row:
        spent = self._world.rows(
            "SELECT coalesce(sum(spend_cents), 0) AS n FROM delivery JOIN ad USING (ad_id) "
            "WHERE account_id = ? AND day <= ?",
            row["account_id"], self._world.today(row["timezone_name"]).isoformat(),
        )[0]["n"]  # fmt: skip
        whole = row["currency"] in WHOLE_UNITS
        offset = self._world.local(row["timezone_name"]).utcoffset()
        assert offset is not None
        return {
            "id": f"act_{row['account_id']}",
            **{name: row[name] for name in ("account_id", "name", "account_status",
                                            "disable_reason", "currency", "timezone_name")},
            "timezone_offset_hours_utc": offset.total_seconds() / 3600,
            "amount_spent": str(spent // 100 if whole else spent),
            "balance": "0",
            "spend_cap": str(row["spend_cap"]),
            "min_daily_budget": 100,
            "business": {"id": row["business_id"], "name": row["business_id"]},
            "created_time": _time(row["created_time"], row["timezone_name"]),
        }  # fmt: skip

    def _delivering(self, row: Row, table: str) -> Row:
        """A campaign, an ad set or an ad."""
        zone = self.account(row["account_id"])["timezone_name"]
        effective = self._effective(table, row)
        told = {name: value for name, value in row.items() if name in FIELDS[table]} | {
            "id": row[KEYS[table]],
            "configured_status": row["status"],
            "effective_status": effective,
        }
        for name in ("daily_budget", "lifetime_budget", "spend_cap"):
            if name in row:
                told[name] = None if row[name] is None else str(row[name])
        for name in ("start_time", "stop_time", "end_time", "created_time", "updated_time"):
            if row.get(name) is not None:
                told[name] = _time(row[name], zone)
        if table == "ad":
            told["creative"] = {"id": row["creative_id"]} if row["creative_id"] else None
        if table == "adset":
            told["attribution_spec"] = [
                {"event_type": kind, "window_days": row[column]}
                for kind, column in (("CLICK_THROUGH", "click_days"), ("VIEW_THROUGH", "view_days"))
                if row[column]
            ]
        if effective == "DISAPPROVED":
            told["issues_info"] = [
                {"level": "AD", "error_code": 1487007, "error_summary": "Ad was rejected"}
            ]
        return told

    def _effective(self, table: str, row: Row) -> str:
        """A status with those above it and the review; what is removed takes all below with it."""
        if table == "creative":
            return "ACTIVE"
        own = [row["status"]]
        for parent in {"adset": ("campaign",), "ad": ("adset", "campaign")}.get(table, ()):
            found = self._world.found(row[KEYS[parent]])
            assert found is not None
            own.append(found[1]["status"])
        for removed in ("DELETED", "ARCHIVED"):
            if removed in own:
                return removed
        if row["status"] != "ACTIVE":
            return str(row["status"])
        if table == "ad" and row["review"] in _REVIEWS:
            return _REVIEWS[row["review"]]
        if table != "campaign" and own[-1] != "ACTIVE":
            return "CAMPAIGN_PAUSED"
        return "ADSET_PAUSED" if table == "ad" and own[1] != "ACTIVE" else "ACTIVE"

    # writing -------------------------------------------------------------------------------------
    def write(self, access: Access, object_id: str, given: Mapping[str, str]) -> Row:
        """Change budgets, spend caps, status or name; with `validate_only` only check."""
        table, row = self.seen(access, object_id, writes=True)
        account = self.account(row["account_id"])
        if account["account_status"] != 1:
            raise GraphError(
                200, "(#200) The ad account is disabled or unsettled", subcode=1487194, status=403
            )
        new = self._checked(table, row, given)
        if "validate_only" in given.get("execution_options", ""):
            return {"success": True}
        self._count(table, object_id, new)
        if table != "account":
            new["updated_time"] = int(self._world.now())
        if not new:
            raise bad("Nothing was given to change")
        changes = ", ".join(f"{name} = ?" for name in new)
        with self._world.begin() as db:
            db.execute(
                f"UPDATE {table} SET {changes} WHERE {KEYS[table]} = ?",
                (*new.values(), row[KEYS[table]]),
            )
        return {"success": True}

    def _checked(self, table: str, row: Row, given: Mapping[str, str]) -> Row:
        """The changes, each one that may be."""
        may = {"account": {"spend_cap", "name"}, "campaign": {"daily_budget", "lifetime_budget",
               "spend_cap", "status", "name"}, "adset": {"daily_budget", "lifetime_budget",
               "status", "name"}, "ad": {"status", "name"}}  # fmt: skip
        new: Row = {}
        for name in may.get(table, set()) & set(given):
            value = given[name]
            if name == "status" and value not in _STATUSES:
                raise bad(f"param status must be one of {', '.join(_STATUSES)}", "status")
            if name.endswith(("_budget", "_cap")):
                if not value.isdecimal() or (name.endswith("_budget") and int(value) < 100):
                    raise bad(f"{name} is too low, or no whole number of minor units", name)
                new[name] = int(value)
            else:
                new[name] = value
        if table == "adset" and {"daily_budget", "lifetime_budget"} & set(new):
            campaign = self._world.found(row["campaign_id"])
            assert campaign is not None
            if campaign[1]["daily_budget"] or campaign[1]["lifetime_budget"]:
                raise GraphError(
                    100,
                    "(#100) You can only set an ad set budget or a campaign budget.",
                    subcode=1885621,
                    blames=("daily_budget",),
                )
        return new

    def _count(self, table: str, object_id: str, new: Row) -> None:
        """Four changes of an ad set's budget an hour, ten of an account's cap a day."""
        now = self._world.now()
        for kind, is_it, most, period, error in (
            ("budget", table == "adset" and {"daily_budget", "lifetime_budget"} & set(new), 4, HOUR,
             GraphError(613, "(#613) The ad set budget was changed 4 times this hour",
                        subcode=1487632)),
            ("cap", table == "account" and "spend_cap" in new, 10, DAY,
             GraphError(17, "(#17) The spend cap was changed 10 times today", subcode=1885172)),
        ):  # fmt: skip
            if not is_it:
                continue
            recent = [
                c for c in self._changes if c[:2] == (kind, object_id) and c[2] > now - period
            ]
            if len(recent) >= most:
                raise error
            self._changes.append((kind, object_id, now))


def _kept(given: Mapping[str, str], table: str) -> Callable[[Row, str], bool]:
    """By status and time of change; what is deleted or archived only when it is asked for."""
    try:
        statuses = json.loads(given.get("effective_status", "[]"))
        filters = json.loads(given.get("filtering", "[]"))
        after = max((int(f["value"]) for f in filters if f["field"] == "updated_time"), default=0)
    except (ValueError, KeyError, TypeError):
        raise bad("param filtering must be an array of filters", "filtering") from None

    def keeps(row: Row, effective: str) -> bool:
        removed = ("DELETED", "ARCHIVED")
        is_wanted = effective in statuses if statuses else effective not in removed
        return is_wanted and (table == "creative" or row["updated_time"] > after)

    return keeps


def _time(unix: float, zone: str) -> str:
    """As the API writes times: an offset without a colon."""
    return (
        datetime.fromtimestamp(unix, UTC).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M:%S%z")
    )
