"""What all tests share: nothing outside loopback is configured, and a skipped test is a failure."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.demo import demo, folder  # noqa: F401

for name in [name for name in os.environ if name.startswith(("DMP_", "DAGSTER_HOME"))]:
    if name not in ("DMP_JARS_DIR", "DMP_MAVEN_URL"):
        del os.environ[name]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)  # so that tests' programs hear it


GIVEN = Path(__file__).resolve().parents[2] / "shared"
"""The data that the findings are of, beside the checkout; it is in no repository."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "given_data: needs the data beside the checkout")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs the data where there is none; where it is, nothing is left out."""
    if GIVEN.is_dir():
        return
    without = [item for item in items if item.get_closest_marker("given_data")]
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if item not in without]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped; a prerequisite is missing: {report.longrepr}"
