"""Every message of a report on every home that has next to nothing to say."""

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dmp_assets.demo.sandbox.slack_blocks import block_errors
from dmp_assets.home import Home
from dmp_assets.platform.reporting.delivery import Record
from dmp_assets.platform.reporting.messages import report_message
from dmp_assets.platform.reporting.report_assets import deliver_report, messages
from dmp_assets.platform.reporting.slack import SlackResource
from tests.support import attribution_tables, lakehouse

NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)


def no_rows(table: pa.Table) -> pa.Table | None:
    return table.slice(0, 0)


def one_row(table: pa.Table) -> pa.Table | None:
    return table.slice(0, 1)


def all_null(table: pa.Table) -> pa.Table | None:
    fields = [field.with_nullable(True) for field in table.schema]
    columns = [pa.nulls(min(3, table.num_rows), field.type) for field in fields]
    return pa.table(columns, schema=pa.schema(fields))


def zeros(table: pa.Table) -> pa.Table | None:
    columns = []
    for column in table.columns:
        if any(is_number(column.type) for is_number in NUMBERS):
            zero = Decimal(0) if pa.types.is_decimal(column.type) else 0
            column = pa.array([zero] * len(column), column.type)
        columns.append(column)
    return pa.table(columns, schema=table.schema)


HOMES: dict[str, Callable[[pa.Table], pa.Table | None]] = {
    "no tables": lambda table: None,
    "no rows": no_rows,
    "one row": one_row,
    "all null": all_null,
    "zeros": zeros,
}
KEPT = ("modeled/attribution_runs",)  # a run's own account of its versions, which it always writes


@pytest.fixture(scope="module", params=HOMES)
def degenerate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home")).prepare("sandbox")
    for key, table in (lakehouse.tables(60) | attribution_tables.tables(60)).items():
        change = one_row if key in KEPT and request.param != "no tables" else HOMES[request.param]
        made = change(table)
        if made is not None:
            lakehouse.write(home, key, made, stamp="1")
    return home


@pytest.mark.parametrize("report", messages())
@pytest.mark.parametrize("problem", [None, "The run failed at raw/users."])
def test_a_message_says_nothing_misleading_of_a_home_that_holds_next_to_nothing(
    report: str, problem: str | None, degenerate: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(degenerate.root))
    degenerate.reports.mkdir(exist_ok=True)
    shutil.rmtree(degenerate.outbox, ignore_errors=True)
    told = deliver_report(report, degenerate, SlackResource(), problem)
    file = degenerate.outbox / f"{told.delivery_id}.json"
    record = Record.model_validate_json(file.read_text())
    assert_readable(record.blocks, record.text)
    assert problem is None or f"no numbers. {problem}" in record.text


@pytest.mark.parametrize("report", messages())
def test_numbers_of_next_to_nothing_are_zeros_or_left_out(
    report: str, degenerate: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the source had been read to the end of the period, so that the numbers are shown."""
    monkeypatch.setenv("DMP_HOME", str(degenerate.root))
    degenerate.reports.mkdir(exist_ok=True)
    figures = messages()[report].outline(degenerate, None, None).figures
    read = replace(figures, data_through=datetime(2030, 1, 1, tzinfo=UTC))
    message = report_message(read, report=report, version="1", channel="C_REPORTS", tz="UTC")
    assert_readable(list(message.blocks), message.text)
    assert all(math.isfinite(value) for value in message.facts.values())


def assert_readable(blocks: list[dict[str, Any]], text: str) -> None:
    assert list(block_errors(blocks, lambda _: None)) == []
    said = json.dumps(blocks, ensure_ascii=False) + text
    assert not re.search(r"\b(nan|inf|None|NaT|null)\b", said), said
