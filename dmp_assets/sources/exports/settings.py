"""How exports of services are written, where their values do not tell."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from dmp_assets.sources.exports.kinds import known_column

Numbers = Literal["", "decimal-point", "decimal-comma"]
Dates = Literal["", "day-first", "month-first", "year-first"]


def _columns(given: dict[str, str]) -> dict[str, str]:
    return {header.strip(): known_column(column) for header, column in given.items()}


class ExportSettings(BaseModel):
    """How exports of services are written."""

    ads_export_columns: Annotated[dict[str, str], AfterValidator(_columns)] = Field(
        default_factory=dict,
        description='What exports call a column of ours, e.g. {"Kosten": "spend"}; names that Ads '
        "Manager and Shopify give are known.",
    )
    ads_export_numbers: Numbers = Field(
        "",
        description="How exports write numbers: decimal-point or decimal-comma; empty: as each "
        "file's values tell, and one that could be both is refused.",
    )
    ads_export_dates: Dates = Field(
        "",
        description="How exports write days: day-first, month-first or year-first (03/04/24); "
        "empty: as each file's values tell, and one that could be both is refused.",
    )
