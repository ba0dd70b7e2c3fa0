"""cleaned/meta_insights: what each ad delivered on each day, as Meta told of it last.

Grain: an ad on a day of its account's time zone. Key: advertiser_id, account_id, ad_id, date.
Sources: raw/meta_insights, raw/meta_insight_readings, cleaned/meta_exports. Purchases are of one
type of action, which raw chose (`purchase_type`), so that none is counted twice. Files tell of the
days of which the API does not; in their tables they are as in those of the API. What Meta claims is
null, and unknown, of days whose files have no column of it.
"""

from collections.abc import Callable, Sequence

from dmp_assets.cleaned.meta.meta_exports import SUMS, TELLS, holding
from dmp_assets.platform.cleaning import machine_values
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import TableRun, table_asset
from dmp_assets.raw.meta_readings import ACCOUNT, ADVERTISER, READ_AT
from dmp_assets.sources.meta.days import OPEN_DAYS
from dmp_assets.sources.meta.tables import INSIGHTS

OWN = {
    "advertiser_id": ADVERTISER,
    "account_id": ACCOUNT,
    "ad_id": Column("string", "The ad."),
    "date": Column("date", "Its day, of the account's time zone."),
    "purchase_type": Column("string", "The type of action that holds its purchases, if any."),
    "read_at": READ_AT,
}
KEY = ("advertiser_id", "account_id", "ad_id", "date")
SOURCES = ("raw/meta_insights", "raw/meta_insight_readings", "cleaned/meta_exports")
WINDOWS = {"": "value", "_1d_click": "1d_click", "_7d_click": "7d_click", "_1d_view": "1d_view"}
"""End of a column's name → attribution window as Meta calls it; without one: the ad set's own."""
_KEPT = ("campaign_id", "adset_id", "impressions", "reach", "clicks", "inline_link_clicks", "spend",
         "attribution_setting")  # fmt: skip
_SHAPE = (
    '[{"action_type":"VARCHAR","value":"VARCHAR","1d_click":"VARCHAR","7d_click":"VARCHAR",'
    '"1d_view":"VARCHAR"}]'
)


def _of_window(actions: str, window: str) -> str:
    """SQL of the text of the purchases, or of their value, by an attribution window."""
    return f'told_{actions}."{window}"'


def _told(actions: str) -> str:
    """SQL of the purchases, or of their value, by all windows: read once for all that follows."""
    listed = f"from_json(TRY_CAST(nullif(trim({actions}), '') AS JSON), '{_SHAPE}')"
    return f"list_filter({listed}, lambda a: a.action_type = purchase_type)[1] AS told_{actions}"


def _count(window: str) -> str:
    return machine_values.whole(_of_window("actions", window))


TOLD_SQL, PURCHASES_SQL = _told("actions"), f"coalesce({_count(WINDOWS[''])}, 0)"
"""SQL of what a received row tells of its purchases, and around it of how many they are."""


def _value(window: str) -> str:
    return f"TRY_CAST({_of_window('action_values', window)} AS DECIMAL(18, 4))"


def _unread(actions: str, read: Callable[[str], str]) -> str:
    """SQL of whether purchases are told that cannot be read: no JSON, or no number."""
    no_number = " OR ".join(
        f"({_of_window(actions, window)} IS NOT NULL AND {read(window)} IS NULL)"
        for window in WINDOWS.values()
    )
    told = f"received_{actions}"
    return f"({told} IS NOT NULL AND TRY_CAST({told} AS JSON) IS NULL) OR {no_number}"


_READ = machine_values.read_columns(INSIGHTS)
_SEEN = "as Meta attributes it"
PURCHASES = {
    f"purchases{end}": Column("long", f"Purchases, {_SEEN} ({window}); null: unknown.")
    for end, window in WINDOWS.items()
}
VALUES = {
    f"purchase_value{end}": Column(
        machine_values.AMOUNT,
        f"What they were worth, {_SEEN} ({window}); the account's currency; null: unknown.",
    )
    for end, window in WINDOWS.items()
}
COLUMNS = {
    **{name: OWN[name] for name in KEY},
    "currency": Column("string", "Currency of the amounts (ISO 4217); null of a day of zeros."),
    **{name: _READ[name] for name in _KEPT},
    **PURCHASES,
    **VALUES,
    "purchase_type": OWN["purchase_type"],
    "is_open": Column(
        "boolean", f"Meta may still change the day: it was last read within {OPEN_DAYS} days."
    ),
    "read_at": READ_AT,
}


def latest(cells: Sequence[str]) -> str:
    """SQL of what holds of each ad, day and part of a breakdown by `cells`, of nothing the whole:
    what Meta's API told last, and of other days what files tell. All that is received is text."""
    breakdown = ",".join(cells)
    apart = "".join(f", TRY_CAST(i.cell AS JSON)->>'$.{name}' AS {name}" for name in cells)
    by = "".join(f", {name}" for name in cells)
    return f"""
SELECT *, {_told("actions")}, {_told("action_values")} FROM (
SELECT i.*{apart}, r.last_read FROM (
  SELECT * FROM raw.meta_insights WHERE coalesce(breakdown, '') = '{breakdown}'
  QUALIFY row_number() OVER (
    PARTITION BY advertiser_id, account_id, ad_id, date, cell ORDER BY read_at DESC
  ) = 1
) i LEFT JOIN (
  SELECT advertiser_id, account_id, date, max(read_at) AS last_read
  FROM raw.meta_insight_readings WHERE coalesce(breakdown, '') = '{breakdown}' GROUP BY ALL
) r USING (advertiser_id, account_id, date)
UNION ALL BY NAME
SELECT advertiser_id, account_id, ad_id, date{by}, {SUMS}
FROM ({holding(cells)}) GROUP BY advertiser_id, account_id, ad_id, date{by}
)
"""


@table_asset(
    "cleaned",
    deps=SOURCES,
    columns=COLUMNS,
    key=KEY,
    also={"quarantine/meta_insights": machine_values.quarantine_columns(INSIGHTS, OWN)},
    owner="team:marketing",
    kinds=("duckdb", "delta"),
)
def meta_insights(run: TableRun) -> None:
    """What each ad delivered on each day, as Meta told of it last.

    Grain: an ad on a day of its account's time zone. Key: advertiser_id, account_id, ad_id, date.
    Sources: raw/meta_insights, raw/meta_insight_readings, cleaned/meta_exports.
    """
    write(run, ())


def write(run: TableRun, cells: Sequence[str]) -> None:
    """Write a table of insights, broken down by `cells`, and its quarantine."""
    further = {
        "currency": "account_currency",
        **{
            f"{column}{end}": f"CASE WHEN {tells} IS NOT false THEN coalesce({read(w)}, 0) END"
            for column, tells, read in zip(
                ("purchases", "purchase_value"), TELLS, (_count, _value), strict=True
            )
            for end, w in WINDOWS.items()
        },
        "is_open": f"coalesce(last_read::DATE, date) < date + {OPEN_DAYS}",
    }
    own = (*OWN, *cells, *TELLS, "last_read", "told_actions", "told_action_values")
    rules = {
        "actions_unread": _unread("actions", _count),
        "action_values_unread": _unread("action_values", _value),
    }
    order = ", ".join((*KEY, *cells))
    machine_values.write(run, latest(cells), INSIGHTS, own, order, further, rules)
