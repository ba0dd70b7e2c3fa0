"""cleaned/meta_insights_by_…: what each ad delivered, by those who saw it and where it was shown.

Grain: an ad on a day of its account's time zone and a part of the breakdown. Sources:
raw/meta_insights, raw/meta_insight_readings, cleaned/meta_exports. DMP_META_BREAKDOWNS says what is
read of the API; files are broken down as they were exported. Sums over parts are those of
cleaned/meta_insights but for reach (who was reached in two places is in both) and for what Meta
does not tell in parts.
"""

from collections.abc import Mapping

import dagster as dg

from dmp_assets.cleaned.meta.meta_insights import COLUMNS as INSIGHTS
from dmp_assets.cleaned.meta.meta_insights import KEY, OWN, SOURCES, write
from dmp_assets.platform.cleaning import machine_values
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import TableRun, table_asset
from dmp_assets.sources.meta.tables import INSIGHTS as RECEIVED


def _table(name: str, cells: Mapping[str, Column], what: str) -> dg.AssetsDefinition:
    key = (*KEY, *cells)

    def by(run: TableRun) -> None:
        write(run, tuple(cells))

    by.__name__ = f"meta_insights_by_{name}"
    by.__doc__ = (
        f"What each ad delivered on each day, by {what}.\n\n"
        f"Grain: an ad, a day and a part. Key: {', '.join(key)}. Sources: {', '.join(SOURCES)}."
    )
    own = {**OWN, **cells}
    return table_asset(
        "cleaned",
        deps=SOURCES,
        columns={
            **{one: INSIGHTS[one] for one in KEY},
            **cells,
            **{one: column for one, column in INSIGHTS.items() if one not in KEY},
        },
        key=key,
        also={f"quarantine/{by.__name__}": machine_values.quarantine_columns(RECEIVED, own)},
        owner="team:marketing",
        kinds=("duckdb", "delta"),
    )(by)


by_age_gender = _table(
    "age_gender",
    {
        "age": Column("string", "Age group of those who saw it, as Meta names it."),
        "gender": Column("string", "Their gender, as Meta names it."),
    },
    "age and gender of those who saw it",
)
by_placement = _table(
    "placement",
    {
        "publisher_platform": Column("string", "Where it was shown: facebook and the like."),
        "platform_position": Column("string", "In which place there: feed and the like."),
    },
    "the place where it was shown",
)
