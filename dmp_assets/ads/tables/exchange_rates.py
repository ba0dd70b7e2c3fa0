"""raw/exchange_rates and what follows: dated rates of a file, as received and as they hold.

Grain: a currency on a day. What is not in the file is not guessed: sums leave it out and say so.
"""

import hashlib
from pathlib import Path

import pyarrow as pa

from dmp_assets.ads.rates import RatesError, received
from dmp_assets.ads.settings import AdsSettings
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.lake.window import Window

RECEIVED = {
    "date": Column("string", "As received."),
    "currency": Column("string", "As received."),
    "rate": Column("string", "As received."),
    "line": Column("long", "Which line of the file it was, the first after the header being 1."),
}
RATE = "decimal(18,8)"
COLUMNS = {
    "currency": Column("string", "ISO 4217."),
    "date": Column("date", "Day from which the rate holds, until the next one."),
    "rate": Column(RATE, "What one unit is worth in the currency of sums."),
}
LONGEST = 7
"""Days for which a rate holds where no newer one is given: weekends and holidays have none."""


def _file(home: Home) -> Path | None:
    return home.settings().of(AdsSettings).ads_exchange_rates


def _state(lakehouse: Lakehouse, window: Window) -> str | None:
    file = _file(lakehouse.home)
    if file is None:
        return None
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise RatesError(f"DMP_ADS_EXCHANGE_RATES: {file}: {error.strerror}") from error


@table_asset(
    "raw",
    columns=RECEIVED,
    probe=_state,
    owner="team:marketing",
    kinds=("delta",),
)
def exchange_rates(run: TableRun) -> None:
    """Dated exchange rates of the file in DMP_ADS_EXCHANGE_RATES, as received.

    Grain: a line. Key: none. Source: a CSV file `date,currency,rate`.
    """
    file = _file(run.lakehouse.home)
    schema = arrow_schema(RECEIVED)
    if file is None:
        run.overwrite(schema.empty_table())
        return
    read = received(file)
    lines = pa.array(range(1, read.num_rows + 1), pa.int64())
    run.overwrite(read.append_column("line", lines).cast(schema))


@table_asset(
    "cleaned",
    deps=["raw/exchange_rates"],
    columns=COLUMNS,
    key=("currency", "date"),
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "rates_read",
            """
            SELECT count(*) FROM raw.exchange_rates
            WHERE TRY_CAST(trim(date) AS DATE) IS NULL OR length(trim(currency)) <> 3
               OR coalesce(TRY_CAST(trim(rate) AS DECIMAL(18, 8)), 0) <= 0
            """,
            "Every line of the file of exchange rates has a day, a currency and a rate.",
        ),
    ),
)
def rates(run: TableRun) -> None:
    """Exchange rates, of several lines for one day the last one.

    Grain: a currency on a day. Key: currency, date. Source: raw/exchange_rates.
    """
    run.overwrite(
        run.sql("""
            SELECT upper(trim(currency)) AS currency, TRY_CAST(trim(date) AS DATE) AS date,
                   arg_max(TRY_CAST(trim(rate) AS DECIMAL(18, 8)), line) AS rate
            FROM raw.exchange_rates
            WHERE TRY_CAST(trim(date) AS DATE) IS NOT NULL AND length(trim(currency)) = 3
              AND TRY_CAST(trim(rate) AS DECIMAL(18, 8)) > 0
            GROUP BY 1, 2 ORDER BY 1, 2
        """)
    )


def with_rate(rows: str, day: str) -> str:
    """SQL of rows with `rate`, by their `currency` and a day; parameter `currency`: that of sums.

    Null where no rate of the last week is known.
    """
    return f"""
        SELECT p.*, CASE WHEN p.currency = $currency THEN 1::DECIMAL(18, 8)
                         WHEN p.{day} - r.date <= {LONGEST} THEN r.rate END AS rate
        FROM ({rows}) p ASOF LEFT JOIN cleaned.rates r
          ON p.currency = r.currency AND p.{day} >= r.date
    """


def in_sums(amount: str) -> str:
    """SQL of a row's amount in the currency of sums: 0 where it is none, null without a rate."""
    return f"CASE WHEN {_unrated(amount)} THEN NULL ELSE coalesce({amount}_in_sums, 0) END"


def summed(amount: str) -> str:
    """SQL of the sum of rows' amounts in the currency of sums; null where one has no rate, for what
    is not known is not 0."""
    return (
        f"CASE WHEN bool_or({_unrated(amount)}) IS NOT TRUE "
        f"THEN coalesce(sum({amount}_in_sums), 0) END"
    )


def _unrated(amount: str) -> str:
    return f"({amount} <> 0 AND {amount}_in_sums IS NULL)"


def known_sum(name: str) -> str:
    """SQL of the sum of a column; null where it is null in a row."""
    return f"CASE WHEN count(*) = count({name}) THEN sum({name}) END"
