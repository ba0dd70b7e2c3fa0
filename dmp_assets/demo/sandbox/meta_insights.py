"""Insights of the sandbox's Meta: delivery and purchases as they are known at the moment.

Days are those of the account's time zone. What delivered nothing has no row. Reach of several days
or ads is counted as if nobody was reached twice.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from dmp_assets.demo.sandbox.meta_manner import GraphError, Manner, bad
from dmp_assets.demo.sandbox.meta_world import World

MONTHS_KEPT = 37
MOST_ROWS = 5_000
LEVELS = {"account": "account_id", "campaign": "campaign_id", "adset": "adset_id", "ad": "ad_id"}
WINDOWS = ("1d_click", "7d_click", "28d_click", "1d_view", "1d_ev")
_IGNORED_WINDOWS = ("7d_view", "28d_view", "default", "dda")
"""Taken without an error; no value comes for them (since 2026-01-12)."""
_SPLITS = {
    "person": ("age", "gender"),
    "placement": ("publisher_platform", "platform_position", "impression_device"),
    "place": ("country", "region"),
    "hour": ("hourly_stats_aggregated_by_advertiser_time_zone",),
}
_WITHOUT_PURCHASES = frozenset({"region", "hourly_stats_aggregated_by_advertiser_time_zone"})
"""Breakdowns that off-Meta actions are not split by."""
_HOURS = [({"hourly_stats_aggregated_by_advertiser_time_zone": f"{h:02}:00:00 - {h:02}:59:59"},
           1 / 24) for h in range(24)]  # fmt: skip
_COUNTS = ("impressions", "reach", "clicks", "link_clicks", "spend_cents")
_QUARTERS = 96
_MOST_NAMED = 1_000
"""Ids that a query names; of more all are asked for."""
_JOINED = ("JOIN ad USING (ad_id) JOIN adset s USING (adset_id) "
           "JOIN campaign c ON c.campaign_id = ad.campaign_id")  # fmt: skip
EFFECTIVE = """CASE
  WHEN 'DELETED' IN (ad.status, s.status, c.status) THEN 'DELETED'
  WHEN 'ARCHIVED' IN (ad.status, s.status, c.status) THEN 'ARCHIVED'
  WHEN ad.status <> 'ACTIVE' THEN ad.status
  WHEN ad.review = 'disapproved' THEN 'DISAPPROVED' WHEN ad.review = 'pending' THEN 'PENDING_REVIEW'
  WHEN c.status <> 'ACTIVE' THEN 'CAMPAIGN_PAUSED' WHEN s.status <> 'ACTIVE' THEN 'ADSET_PAUSED'
  ELSE 'ACTIVE' END"""
"""An ad's status with those above it and the review."""
MIXED = "mixed"
"""The attribution setting of a sum over ad sets of different ones; it has no purchases."""
_SETTING = ("s.click_days || 'd_click' || "
            "CASE WHEN s.view_days THEN '_' || s.view_days || 'd_view' ELSE '' END")  # fmt: skip
FIELDS = (
    "account_id", "account_name", "account_currency", "campaign_id", "campaign_name", "adset_id",
    "adset_name", "ad_id", "ad_name", "impressions", "reach", "frequency", "clicks",
    "inline_link_clicks", "spend", "cpm", "ctr", "attribution_setting", "actions", "action_values",
    "purchase_roas", "date_start", "date_stop",
)  # fmt: skip

Row = dict[str, Any]
Purchases = dict[tuple[str, int], list[tuple[str, int, int, int]]]
"""(id, bucket) → (touch, full days after it, purchases, value in hundredths)."""


@dataclass(frozen=True)
class Asked:
    """A request for insights, understood. `scope`: column and id that its rows belong to."""

    account: Row
    scope: tuple[str, str]
    level: str
    fields: tuple[str, ...]
    since: date
    until: date
    step: int | str
    breakdowns: tuple[str, ...]
    windows: tuple[str, ...]
    statuses: tuple[str, ...]

    @property
    def kind(self) -> str | None:
        """The table of cells that its breakdowns are of."""
        return next((k for k, names in _SPLITS.items() if self.breakdowns[:1] and
                     self.breakdowns[0] in names), None)  # fmt: skip


def understood(
    world: World, account: Row, scope: tuple[str, str], given: Mapping[str, str], manner: Manner
) -> Asked:
    """What a request asks for. Raises GraphError for what it must not."""
    today = world.today(account["timezone_name"])
    level = given.get("level") or next(n for n, key in LEVELS.items() if key == scope[0])
    if level not in LEVELS:
        raise GraphError(1, "An unknown error occurred", subcode=99, status=500)
    fields = tuple(name for name in given.get("fields", "impressions,spend").split(",") if name)
    if wrong := [name for name in fields if name not in FIELDS]:
        raise bad(f"{wrong[0]} is not valid for fields param.", "fields")
    since, until = _days(given, today)
    if since > until:
        raise bad("The start date of the time range cannot be after the end date", "time_range")
    if since < _months_before(today, MONTHS_KEPT):
        raise GraphError(3018, "(#3018) The start date of the time range cannot be beyond "
                         "37 months from the current date")  # fmt: skip
    if manner.most_days is not None and (until - since).days + 1 > manner.most_days:
        if manner.too_much == 1:
            raise GraphError(
                1,
                "Please reduce the amount of data you're asking for, then retry your request",
                status=500,
            )
        raise GraphError(100, "(#100) Too much data was requested", subcode=1487534)
    breakdowns = tuple(sorted(_listed(given, "breakdowns")))
    if breakdowns and not any(set(breakdowns) <= set(names) for names in _SPLITS.values()):
        raise bad("This breakdown combination is invalid", "breakdowns")
    windows = _listed(given, "action_attribution_windows")
    if wrong := [w for w in windows if w not in (*WINDOWS, *_IGNORED_WINDOWS)]:
        raise bad(f"{wrong[0]} must be one of {', '.join(WINDOWS)}", "action_attribution_windows")
    return Asked(account, scope, level, fields, since, until, _step(given), breakdowns,
                 tuple(w for w in windows if w in WINDOWS), _statuses(given))  # fmt: skip


def _listed(given: Mapping[str, str], name: str) -> list[str]:
    text = given.get(name, "").strip()
    if not text.startswith("["):
        return [one for one in text.split(",") if one]
    try:
        return [str(one) for one in json.loads(text)]
    except ValueError:
        raise bad(f"param {name} must be an array.", name) from None


def _days(given: Mapping[str, str], today: date) -> tuple[date, date]:
    if text := given.get("time_range"):
        try:
            found = json.loads(text)
            return date.fromisoformat(found["since"]), date.fromisoformat(found["until"])
        except (ValueError, KeyError, TypeError):
            raise bad(
                "param time_range must be an object of since and until", "time_range"
            ) from None
    preset = given.get("date_preset", "last_30d")
    yesterday = today - timedelta(days=1)
    if preset == "today":
        return today, today
    if preset == "maximum":
        return _months_before(today, MONTHS_KEPT), today
    days = {"yesterday": 1, **{f"last_{n}d": n for n in (3, 7, 14, 28, 30, 90)}}.get(preset)
    if days is None:
        raise bad(f"param date_preset must be one of today, yesterday, …; got {preset}",
                  "date_preset")  # fmt: skip
    return today - timedelta(days=days), yesterday


def _months_before(day: date, months: int) -> date:
    month = day.year * 12 + day.month - 1 - months
    return date(month // 12, month % 12 + 1, min(day.day, 28))


def _step(given: Mapping[str, str]) -> int | str:
    text = given.get("time_increment", "all_days")
    if text in ("all_days", "monthly"):
        return text
    if text.isdecimal() and 1 <= int(text) <= 90:
        return int(text)
    raise bad("param time_increment must be 1 to 90, monthly or all_days", "time_increment")


def _statuses(given: Mapping[str, str]) -> tuple[str, ...]:
    """As soon as anything is filtered, only what is active counts, unless statuses are named."""
    text = given.get("filtering")
    if not text or text == "[]":
        return ()
    try:
        filters = json.loads(text)
        named = [f["value"] for f in filters if str(f["field"]).endswith("effective_status")]
    except (ValueError, KeyError, TypeError):
        raise bad("param filtering must be an array of filters", "filtering") from None
    return tuple(named[0]) if named else ("ACTIVE",)


# rows --------------------------------------------------------------------------------------------
def rows(world: World, asked: Asked, manner: Manner, offset: int, limit: int) -> list[Row]:
    """`limit` rows (-1: all) from `offset` on, as the API gives them."""
    taken = (0, -1) if asked.breakdowns else (offset, limit)
    found = _delivered(world, asked, *taken)
    if not found:
        return []
    bought = _bought(world, asked, [row["own"] for row in found])
    if not asked.breakdowns:
        return [_told(asked, row, bought.get((row["own"], row["bucket"]), []), {}, manner)
                for row in found]  # fmt: skip
    split = _split(world, asked, found, bought, manner)
    end = None if limit < 0 else offset + limit
    return list(islice(split, offset, end))


def _filter(asked: Asked) -> tuple[str, list[Any]]:
    column, value = asked.scope
    where, values = f"ad.{column} = ? AND day BETWEEN ? AND ?", [value]
    values += [asked.since.isoformat(), asked.until.isoformat()]
    if asked.statuses:
        where += f" AND {EFFECTIVE} IN ({', '.join('?' for _ in asked.statuses)})"
        values += asked.statuses
    elif LEVELS[asked.level] != column:  # of an object itself all is told, whatever is below it
        where += f" AND {EFFECTIVE} <> 'DELETED'"
    return where, values


def _bucket(asked: Asked) -> str:
    if asked.step == "all_days":
        return "0"
    if asked.step == "monthly":
        return "CAST(substr(day, 1, 4) AS INT) * 12 + CAST(substr(day, 6, 2) AS INT)"
    return f"CAST((julianday(day) - julianday('{asked.since}')) / {int(asked.step)} AS INT)"


def _delivered(world: World, asked: Asked, offset: int, limit: int) -> list[Row]:
    """Sums by what the level is of and step of time, of days that have begun.

    Of today what its quarters of an hour so far have delivered.
    """
    local = world.local(asked.account["timezone_name"])
    today, quarter = local.date().isoformat(), local.hour * 4 + local.minute // 15
    sums = ", ".join(
        f"SUM(CASE WHEN day = ? THEN {name} * {quarter} / {_QUARTERS} ELSE {name} END) AS {name}"
        for name in _COUNTS
    )
    where, values = _filter(asked)
    own = LEVELS[asked.level]
    sql = f"""
        SELECT ad.{own} AS own, {_bucket(asked)} AS bucket, min(day) AS first,
               min(ad.ad_id) AS ad_id, min(ad.adset_id) AS adset_id,
               min(ad.campaign_id) AS campaign_id, min(ad.name) AS ad_name,
               min(s.name) AS adset_name, min(c.name) AS campaign_name,
               CASE WHEN min({_SETTING}) = max({_SETTING}) THEN min({_SETTING}) ELSE '{MIXED}' END
               AS setting, {sums}
        FROM delivery {_JOINED} WHERE {where} AND day <= ?
        GROUP BY 1, 2 ORDER BY 2, 1 LIMIT ? OFFSET ?
    """
    return world.rows(sql, *[today] * len(_COUNTS), *values, today, limit, offset)


def _bought(world: World, asked: Asked, ids: Sequence[str]) -> Purchases:
    """The purchases that are reported by now, of the same sums."""
    today = world.today(asked.account["timezone_name"]).isoformat()
    where, values = _filter(asked)
    own = LEVELS[asked.level]
    chosen = sorted(set(ids))
    if len(chosen) > _MOST_NAMED:
        chosen, own_ids = [], "TRUE"
    else:
        own_ids = f"ad.{own} IN ({', '.join('?' for _ in chosen)})"
    sql = f"""
        SELECT ad.{own} AS own, {_bucket(asked)} AS bucket, touch, after_days,
               SUM(purchases) AS purchases, SUM(value_cents) AS value_cents
        FROM purchase {_JOINED} WHERE {where} AND {own_ids} AND day <= ?
          AND lag_days <= julianday(?) - julianday(day)
        GROUP BY 1, 2, 3, 4
    """
    found: Purchases = defaultdict(list)
    for row in world.rows(sql, *values, *chosen, today, today):
        found[row["own"], row["bucket"]].append(
            (row["touch"], row["after_days"], row["purchases"], row["value_cents"])
        )
    return found


def _split(
    world: World, asked: Asked, found: Sequence[Row], bought: Purchases, manner: Manner
) -> Iterator[Row]:
    """The same rows by the cells of their breakdowns; the parts of each add up to it."""
    cells = _cells(world, asked)
    unknown = [(dict.fromkeys(asked.breakdowns, "unknown"), 1.0)]
    for row in found:
        own = _HOURS if asked.kind == "hour" else cells.get(row["ad_id"], unknown)
        shares = [share for _, share in own]
        counts = {name: parts(row[name], shares) for name in _COUNTS}
        orders = [
            _order_parts(order, shares) for order in bought.get((row["own"], row["bucket"]), [])
        ]
        hidden = _WITHOUT_PURCHASES & set(asked.breakdowns)
        for place, (cell, _) in enumerate(own):
            part = row | {name: counts[name][place] for name in _COUNTS}
            if any(part[name] for name in _COUNTS):
                told = [] if hidden else [order[place] for order in orders]
                yield _told(asked, part, told, cell, manner)


def _order_parts(
    order: tuple[str, int, int, int], shares: Sequence[float]
) -> list[tuple[str, int, int, int]]:
    """Purchases in parts by shares; the value goes with them."""
    touch, after, number, value = order
    numbers = parts(number, shares)
    values = parts(value, numbers)
    return [(touch, after, n, v) for n, v in zip(numbers, values, strict=True)]


def _cells(world: World, asked: Asked) -> dict[str, list[tuple[Row, float]]]:
    """Ad → (cell by the breakdowns that are asked for, its share)."""
    sums: dict[str, dict[tuple[str, ...], float]] = defaultdict(lambda: defaultdict(float))
    column, value = asked.scope
    for row in world.rows(
        "SELECT ad_id, cell, share FROM audience JOIN ad USING (ad_id) "
        f"WHERE kind = ? AND ad.{column} = ? ORDER BY ad_id, cell",
        asked.kind,
        value,
    ):
        cell = json.loads(row["cell"])
        key = tuple(str(cell.get(name, "unknown")) for name in asked.breakdowns)
        sums[row["ad_id"]][key] += row["share"]
    return {
        ad: [(dict(zip(asked.breakdowns, key, strict=True)), share) for key, share in own.items()]
        for ad, own in sums.items()
    }


def parts(total: int, shares: Sequence[float]) -> list[int]:
    """A whole number in parts by shares, which add up to it (largest remainders)."""
    shares = shares if any(shares) else [1.0] * len(shares)
    whole = sum(shares)
    exact = [abs(total) * share / whole for share in shares]
    found = [math.floor(one) for one in exact]
    rest = sorted(range(len(shares)), key=lambda n: found[n] - exact[n])
    for n in rest[: abs(total) - sum(found)]:
        found[n] += 1
    return [one if total >= 0 else -one for one in found]


def _told(
    asked: Asked, row: Row, bought: Sequence[tuple[str, int, int, int]], cell: Row, manner: Manner
) -> Row:
    """A row in the API's words; values are strings."""
    first, last = _span(asked, row)
    spend, shown = Decimal(row["spend_cents"]) / 100, row["impressions"]
    told: Row = {"date_start": first.isoformat(), "date_stop": last.isoformat(), **cell}
    plain = {
        "account_id": asked.account["account_id"],
        "account_name": asked.account["name"],
        "account_currency": asked.account["currency"],
        "impressions": str(shown),
        "reach": str(row["reach"]),
        "clicks": str(row["clicks"]),
        "inline_link_clicks": str(row["link_clicks"]),
        "spend": _decimal(spend),
    }
    if row["reach"]:
        plain["frequency"] = _decimal(Decimal(shown) / row["reach"])
    if shown:
        plain["cpm"] = _decimal(1000 * spend / shown)
        plain["ctr"] = _decimal(Decimal(100 * row["clicks"]) / shown)
    for level in list(LEVELS)[1 : list(LEVELS).index(asked.level) + 1]:
        plain |= {f"{level}_id": row[f"{level}_id"], f"{level}_name": row[f"{level}_name"]}
    told |= {name: plain[name] for name in asked.fields if name in plain}
    told |= _actions(asked, row, bought, spend, manner)
    return told


def _span(asked: Asked, row: Row) -> tuple[date, date]:
    if asked.step == "all_days":
        return asked.since, asked.until
    if asked.step == "monthly":
        year, month = divmod(row["bucket"] - 1, 12)
        following = date(year + month // 11, (month + 1) % 12 + 1, 1)
        return (max(asked.since, date(year, month + 1, 1)),
                min(asked.until, following - timedelta(days=1)))  # fmt: skip
    first = asked.since + timedelta(days=row["bucket"] * int(asked.step))
    return first, min(asked.until, first + timedelta(days=int(asked.step) - 1))


def _decimal(value: Decimal) -> str:
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def counted(bought: Sequence[tuple[str, int, int, int]], window: str) -> tuple[int, int]:
    """(purchases, value in hundredths) within a window such as `7d_click`."""
    days, _, touch = window.partition("d_")
    meant = {"click": "click", "view": "view", "ev": "engaged_view"}[touch]
    own = [(n, value) for kind, after, n, value in bought if kind == meant and after < int(days)]
    return sum(n for n, _ in own), sum(value for _, value in own)


def _actions(
    asked: Asked, row: Row, bought: Sequence[tuple[str, int, int, int]], spend: Decimal,
    manner: Manner,
) -> Row:  # fmt: skip
    """`actions` and what goes with it: the same purchases under several types of action."""
    setting = row["setting"]
    bought = () if setting == MIXED else bought
    by_default = [counted(bought, window) for window in _windows_of(setting)]
    number, value = sum(n for n, _ in by_default), sum(v for _, v in by_default)
    within = {window: counted(bought, window) for window in asked.windows}
    told: Row = {}
    if "attribution_setting" in asked.fields:
        told["attribution_setting"] = setting
    actions = []
    if row["link_clicks"]:
        actions.append({"action_type": "link_click", "value": str(row["link_clicks"])})
    has_any = number or any(n for n, _ in within.values())
    types = manner.purchase_types if has_any else ()
    actions += [
        {"action_type": name, "value": str(number)}
        | {window: str(n) for window, (n, _) in within.items() if n}
        for name in types
    ]
    if actions and "actions" in asked.fields:
        told["actions"] = actions
    if types and "action_values" in asked.fields:
        told["action_values"] = [
            {"action_type": name, "value": _decimal(Decimal(value) / 100)}
            | {window: _decimal(Decimal(v) / 100) for window, (n, v) in within.items() if n}
            for name in types
        ]
    if types and spend > 0 and "purchase_roas" in asked.fields:
        roas = _decimal(Decimal(value) / 100 / spend)
        told["purchase_roas"] = [{"action_type": types[0], "value": roas}]
    return told


def _windows_of(setting: str) -> list[str]:
    """`7d_click_1d_view` → `7d_click`, `1d_view`."""
    words = [] if setting == MIXED else setting.split("_")
    return [f"{days}_{touch}" for days, touch in zip(words[::2], words[1::2], strict=True)]
