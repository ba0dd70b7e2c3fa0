"""The file of dated exchange rates that DMP_ADS_EXCHANGE_RATES names, as it is received."""

from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.faces.probes import NotKnownError

GIVEN = ("date", "currency", "rate")


class RatesError(UserError):
    """The file of exchange rates cannot be used."""


def received(file: Path) -> pa.Table:
    """Its lines, every column as text. Raises RatesError."""
    try:
        options = csv.ConvertOptions(
            column_types={name: pa.string() for name in GIVEN}, include_columns=list(GIVEN)
        )
        return csv.read_csv(file, convert_options=options)
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RatesError(
            f"DMP_ADS_EXCHANGE_RATES: {file} is no list of date,currency,rate: {why}"
        ) from error


def look(file: Path) -> str:
    """What `dmp doctor` says of it. Raises RatesError, NotKnownError for lines that say nothing."""
    lines = received(file).to_pylist()
    bad = [number for number, line in enumerate(lines, 1) if not _is_rate(line)]
    if not lines or len(bad) == len(lines):
        raise RatesError(f"DMP_ADS_EXCHANGE_RATES: {file} holds no rate of a day")
    if bad:
        raise NotKnownError(
            f"{file}: {len(bad)} of {len(lines)} lines have no day, currency and rate, the first "
            f"is line {bad[0]} after the header"
        )
    days = sorted(line["date"].strip() for line in lines)
    currencies = sorted({line["currency"].strip().upper() for line in lines})
    return f"{', '.join(currencies)}, {days[0]} to {days[-1]}"


def _is_rate(line: dict[str, str | None]) -> bool:
    """Whether a line is taken into the table of rates."""
    try:
        date.fromisoformat(str(line["date"]).strip())
        rate = Decimal(str(line["rate"]).strip())
    except (ValueError, InvalidOperation):
        return False
    return rate.is_finite() and rate > 0 and len(str(line["currency"]).strip()) == 3
