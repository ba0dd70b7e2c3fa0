"""cleaned/meta_exports: rows of Ads Manager's exports, typed, and which of them hold.

Grain: a row of a file. Key: advertiser_id, file, line. Source: raw/meta_exports. The same row twice
in a file is one; the file's own sums are none. Files name ads, and many no ids: an ad without an id
has that of the ad of the same names in the account, where one file tells it, and else one made of
its names. Where files tell of the same ad and day, the one that was taken last holds (`holding`).
What Meta claims is null, which is unknown and not 0, in rows of a file that has no column of it.
"""

from collections.abc import Sequence

from dmp_assets.cleaned.exports import RECEIVED_ROWS, are_none, checks, numbers_read
from dmp_assets.platform.cleaning import machine_values
from dmp_assets.platform.cleaning.machine_values import read_columns
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.raw.exports import COLUMNS as RAW
from dmp_assets.sources.exports import values
from dmp_assets.sources.exports.meta import CELL, CLAIMS
from dmp_assets.sources.exports.meta import COLUMNS as RECEIVED
from dmp_assets.sources.meta.purchases import TYPES

KEY = ("advertiser_id", "file", "line")
EXACT = f"decimal(18,{values.EXACT})"
TELLS = ("tells_purchases", "tells_value")
"""Columns by which it is known whether a file says what Meta claims."""
_OWN = {name: RAW["meta"][name] for name in (*KEY, "file_number", "timezone")} | {
    "received_at": Column("timestamp", "When the file was taken (UTC)."),
    "received_rows": RECEIVED_ROWS,
}
_READ = read_columns(RECEIVED)
COLUMNS = {
    **_OWN,
    "date": Column("date", "Day, of the account's time zone."),
    **{
        name: _READ[name]
        for name in RECEIVED
        if name not in ("day", "reporting_starts", "reporting_ends", "purchases", "purchase_value")
        and "roas" not in name
        and not name.startswith("website_")
    },
    "spend": Column(EXACT, RECEIVED["spend"].about),
    "purchases": Column("long", "Purchases that Meta claims; null: the file has no column of it."),
    "purchase_value": Column(
        EXACT, "What they were worth, in the currency; null: the file has no column of it."
    ),
    "purchase_type": Column("string", "The type of action that holds them, as the API has it."),
    "has_ids": Column("boolean", "Whether the file names the ad by its id."),
}  # fmt: skip
_DAYS = ("day", "reporting_starts", "reporting_ends")


def _tells(claim: str) -> str:
    """SQL of whether the row's file has a column of what Meta claims; where it has it, what is not
    there is 0. A text that is empty stands for nothing, and null for a column that is missing."""
    columns = ", ".join(CLAIMS[claim])
    return f"count(coalesce({columns})) OVER (PARTITION BY advertiser_id, file) > 0"


_LATEST = f"""
WITH named AS (
  SELECT unnest($texts::VARCHAR[]) AS text, unnest($sides::VARCHAR[]) AS side,
         unnest($days::DATE[]) AS named_day
),
row AS (
  SELECT *, count(*) OVER (PARTITION BY advertiser_id, file, row_hash) AS received_rows,
         {_tells("purchases")} AS tells_purchases, {_tells("their value")} AS tells_value
  FROM raw.meta_exports WHERE NOT is_total
  QUALIFY row_number() OVER (PARTITION BY advertiser_id, file, row_hash ORDER BY line) = 1
)
SELECT r.*, r._received_at AS received_at, d.named_day AS read_day,
       s.named_day AS read_reporting_starts, e.named_day AS read_reporting_ends
FROM row r
LEFT JOIN named d ON (d.text, d.side) = (trim(r.day), coalesce(r.dates, ''))
LEFT JOIN named s ON (s.text, s.side) = (trim(r.reporting_starts), coalesce(r.dates, ''))
LEFT JOIN named e ON (e.text, e.side) = (trim(r.reporting_ends), coalesce(r.dates, ''))
"""
_NAMES = ("campaign_name", "adset_name", "ad_name")


def _id(name: str, names: Sequence[str], above: str) -> str:
    """SQL of an id: as told, else that of the same names in the account, else made of these."""
    of = ", ".join(("advertiser_id", "account_id", *(f"coalesce({one}, '')" for one in names)))
    made = "md5(concat_ws(chr(31), " + ", ".join(f"coalesce({n}, '')" for n in names) + "))"
    named = " OR ".join(f"{one} IS NOT NULL" for one in names[-1:])
    return f"""coalesce({name},
        CASE WHEN min({name}) OVER (PARTITION BY {of}) = max({name}) OVER (PARTITION BY {of})
             THEN min({name}) OVER (PARTITION BY {of}) END,
        CASE WHEN {named} THEN '{above}:' || left({made}, 16) END)"""


_CAMPAIGN = _id("campaign_id", _NAMES[:1], "campaign")
_ADSET = _id("adset_id", _NAMES[:2], "adset")
_FURTHER = {
    "date": "coalesce(day, CASE WHEN reporting_starts = reporting_ends THEN reporting_starts END)",
    "campaign_id": _CAMPAIGN,
    "adset_id": _ADSET,
    "ad_id": f"coalesce({_id('ad_id', _NAMES, 'ad')}, {_ADSET}, {_CAMPAIGN})",
    "has_ids": "coalesce(ad_id, adset_id, campaign_id) IS NOT NULL",
    "currency": "upper(currency)",
    "attribution_setting": """coalesce(nullif(array_to_string(list_transform(
        regexp_extract_all(lower(attribution_setting), '[0-9]+-day (?:click|view|engaged-view)'),
        lambda one: replace(replace(replace(one, '-day ', 'd_'), 'engaged-view', 'ev'), ' ', '_')
      ), '_'), ''), attribution_setting)""",
    "purchases": "CASE WHEN tells_purchases THEN coalesce(purchases, website_purchases, 0) END",
    "purchase_value": """CASE WHEN tells_value THEN coalesce(
        purchase_value, round(purchase_roas * spend, 2), website_purchase_value,
        round(website_purchase_roas * spend, 2), 0)::DECIMAL(18, 8) END""",
    "purchase_type": "CASE WHEN coalesce(purchases, purchase_value, purchase_roas) IS NOT NULL "
    f"THEN '{TYPES[0]}' WHEN coalesce(website_purchases, website_purchase_value, "
    f"website_purchase_roas) IS NOT NULL THEN '{TYPES[2]}' END",
}
_RULES = {
    "row_broken": "problem IS NOT NULL",
    "not_of_one_day": "coalesce(day, CASE WHEN reporting_starts = reporting_ends "
    "THEN reporting_starts END) IS NULL",
    "in_the_future": "coalesce(day, reporting_starts) > timezone('UTC', received_at)::DATE + "
    f"{values.AHEAD.days}",
    "ad_not_named": "coalesce(ad_id, ad_name, adset_id, adset_name, campaign_id, campaign_name) "
    "IS NULL",
    "currency_unknown": "length(currency) IS DISTINCT FROM 3",
    "spend_missing": "spend IS NULL",
}


@table_asset(
    "cleaned",
    deps=["raw/meta_exports"],
    columns=COLUMNS,
    key=KEY,
    also={"quarantine/meta_exports": machine_values.quarantine_columns(RECEIVED, _OWN)},
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        *checks("meta_exports"),
        Check(
            "claims_known",
            """
            SELECT count(DISTINCT file) AS offending FROM cleaned.meta_exports
            WHERE purchases IS NULL OR purchase_value IS NULL
            """,
            "Every file has columns of the purchases that Meta claims and of their value; of the "
            "others that is unknown, and their days are in no bridge.",
        ),
    ),
)
def meta_exports(run: TableRun) -> None:
    """Rows of Ads Manager's exports that people gave, typed.

    Grain: a row of a file. Key: advertiser_id, file, line. Source: raw/meta_exports.
    """
    if are_none(run, "meta_exports"):
        return
    own = (*_OWN, "problem", "numbers", *TELLS, *(f"read_{name}" for name in _DAYS))
    reads = numbers_read(run, "meta_exports", RECEIVED, values.EXACT)
    reads |= {name: f"read_{name}" for name in _DAYS}
    machine_values.write(
        run, _LATEST, RECEIVED, own, ", ".join(KEY), _FURTHER, _RULES, reads, _days(run)
    )


def _days(run: TableRun) -> dict[str, object]:
    """The days that the files' texts name, as parameters of `_LATEST`."""
    found = run.sql(
        " UNION ".join(
            f"SELECT trim({name}) AS text, dates FROM raw.meta_exports WHERE trim({name}) <> ''"
            for name in _DAYS
        )
    ).to_pylist()
    read = values.days((row["text"], row["dates"]) for row in found)
    return {
        "texts": [text for text, _ in read],
        "sides": [side or "" for _, side in read],
        "days": list(read.values()),
    }


_API = "advertiser_id, account_id, date"


def holding(cells: Sequence[str]) -> str:
    """SQL of the rows of files that hold, of those that are broken down by `cells`; by nothing: of
    all. Days of an account that Meta's API told of are left out."""
    breakdown = ",".join(cells)
    broken = " AND ".join(f"coalesce({name}, '') <> ''" for name in cells) or "TRUE"
    return f"""
      SELECT * FROM cleaned.meta_exports
      ANTI JOIN (
        SELECT DISTINCT {_API} FROM raw.meta_insight_readings
        WHERE coalesce(breakdown, '') = '{breakdown}' AND NOT coalesce(is_too_old, false)
      ) USING ({_API})
      WHERE {broken}
      QUALIFY (received_at, file_number) = max((received_at, file_number)) OVER (
        PARTITION BY advertiser_id, account_id, ad_id, date)
    """


SUMS = f"""
  any_value(currency) AS account_currency, any_value(campaign_id) AS campaign_id,
  any_value(adset_id) AS adset_id, sum(impressions)::BIGINT::VARCHAR AS impressions,
  CASE WHEN count(DISTINCT ({", ".join(f"coalesce({n}, '')" for n in CELL[2:])})) = 1
       THEN sum(reach)::BIGINT::VARCHAR END AS reach,
  sum(clicks)::BIGINT::VARCHAR AS clicks, sum(inline_link_clicks)::BIGINT::VARCHAR
    AS inline_link_clicks,
  sum(spend)::VARCHAR AS spend, any_value(attribution_setting) AS attribution_setting,
  any_value(purchase_type) AS purchase_type,
  CASE WHEN any_value(purchase_type) IS NOT NULL THEN to_json([{{
    action_type: any_value(purchase_type), value: sum(purchases)::BIGINT::VARCHAR}}])::VARCHAR END
    AS actions,
  CASE WHEN any_value(purchase_type) IS NOT NULL THEN to_json([{{
    action_type: any_value(purchase_type), value: sum(purchase_value)::VARCHAR}}])::VARCHAR END
    AS action_values,
  max(received_at) AS read_at, max(received_at) AS last_read,
  bool_and(purchases IS NOT NULL) AS tells_purchases,
  bool_and(purchase_value IS NOT NULL) AS tells_value
"""
"""SQL of sums over such rows, as texts with the names of what Meta's API tells."""
