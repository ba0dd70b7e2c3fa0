"""What all tests share: nothing outside loopback is configured, and a skipped test is a failure."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support.demo import demo, folder  # noqa: F401

for name in [name for name in os.environ if name.startswith(("DMP_", "DAGSTER_HOME"))]:
    if name not in ("DMP_JARS_DIR", "DMP_MAVEN_URL"):
        del os.environ[name]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)  # so that tests' programs hear it


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped; a prerequisite is missing: {report.longrepr}"
