"""Answers that are no answers: whatever comes, the client ends by an error of its own."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.connect.http import Patience
from dmp_assets.platform.connect.oauth import Tokens
from dmp_assets.sources.meta import insights, objects, studies
from dmp_assets.sources.meta.budgets import Change, Writer
from dmp_assets.sources.meta.client import FixedToken, MetaClient
from dmp_assets.sources.meta.config import MetaConfig
from dmp_assets.sources.meta.connection import introspected, oauth_client
from dmp_assets.sources.meta.days import Days
from dmp_assets.sources.meta.insights import InsightsReader
from dmp_assets.sources.meta.intents import Journal
from dmp_assets.sources.meta.purchases import purchases
from dmp_assets.sources.meta.sync import text
from dmp_assets.sources.meta.usage import Governor, Pace, usage_of

ONCE = Patience(attempts=1, pause=0, longest_pause=0, total=1)
DAY = date(2026, 10, 20)
NAMES = (
    "data", "paging", "next", "cursors", "after", "id", "error", "code", "error_subcode",
    "error_data", "blame_field_specs", "is_transient", "report_run_id", "async_status",
    "async_percent_completion", "account_id", "date_start", "date_stop", "ad_id", "success",
    "account_status", "currency", "daily_budget", "scopes", "granular_scopes", "is_valid",
    "expires_at", "app_id", "start_time", "end_time", "treatment_percentage", "fbtrace_id",
)  # fmt: skip
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**40), 10**40), st.text(max_size=5),
    st.sampled_from(["2026-10-20", "101", "1", "EUR", "Job Completed", "act_101", "true", "100"]),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=12,
)
answers = st.dictionaries(st.sampled_from(NAMES), values, max_size=6) | values


class Saying:
    """A server that always says the same."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_any(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(outer.status)
                self.send_header("content-length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST = do_DELETE = do_any

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def saying() -> Iterator[Saying]:
    saying = Saying()
    yield saying
    saying.server.shutdown()
    saying.server.server_close()


@pytest.fixture(scope="module")
def config(saying: Saying) -> MetaConfig:
    return MetaConfig(saying.url, saying.url, "1", SecretStr("s"), loopback_only=True)


@pytest.fixture(scope="module")
def client(config: MetaConfig) -> Iterator[MetaClient]:
    fixed, governor = FixedToken(SecretStr("t")), Governor(Pace(longest=0), sleep=lambda _: None)
    with MetaClient(config, fixed, governor, patience=ONCE) as client:
        yield client


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insights, "LONGEST_REPORT", 2.0)


def quietly(act: Any) -> None:
    """Do it; an error of our own is as good as a result."""
    with suppress(UserError):
        act()


def everything(client: MetaClient, config: MetaConfig, folder: Path) -> None:
    """Every reading and writing of the source."""
    reader = InsightsReader(client, "act_101", ("age",))
    change = Change("act_101", "1", "daily_budget", Decimal(3))
    tokens = Tokens(access="t", refresh=None, renew_at=None, expires_at=None,
                    consent_ends_at=None, scopes=())  # fmt: skip
    for act in (
        lambda: objects.accounts(client),
        lambda: list(objects.objects(client, "act_101", "ads")),
        lambda: reader.day(DAY),
        lambda: list(reader.history(Days(DAY, DAY))),
        lambda: client.batch("act_101", [("1", {})]),
        lambda: Writer(client, Journal(folder / "intents.jsonl")).apply(change),
        lambda: studies.read(client, "1"),
        lambda: studies.of(client, "act_101", "1"),
        lambda: introspected(config, oauth_client(config), tokens),
        lambda: oauth_client(config).renewed(tokens, datetime.now(UTC)),
        lambda: oauth_client(config).revoke(tokens),
    ):
        client.governor._not_before.clear()
        quietly(act)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(answer=answers, status=st.sampled_from([200, 400, 403]))
def test_any_json_ends_by_a_result_or_an_error_in_words(
    saying: Saying, client: MetaClient, config: MetaConfig, tmp_path: Path, answer: Any, status: int
) -> None:
    saying.status, saying.body = status, json.dumps(answer).encode()
    everything(client, config, tmp_path)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{", b"[]", b"null", b'"x"', b'{"data": [1]}', b'{"data": {}}',
     b'{"data": [], "paging": {"next": "x", "cursors": []}}',
     b'{"data": [], "paging": {"next": 1}}',
     b'{"data": [NaN]}', b"[" * 3_000, b'{"error": 5}', b'{"error": {}}', b"\xff\xfe",
     b'{"data": [{"account_id": "101", "date_start": "2026-10-20", "date_stop": "2026-10-20"}]}'],
)  # fmt: skip
def test_an_answer_that_is_none_ends_by_an_error_in_words(
    saying: Saying, client: MetaClient, config: MetaConfig, tmp_path: Path, body: bytes
) -> None:
    saying.status, saying.body = 200, body
    everything(client, config, tmp_path)
    with pytest.raises(UserError):
        InsightsReader(client, "act_101").day(DAY)


@given(st.dictionaries(st.sampled_from(["x-app-usage", "x-ad-account-usage",
                                        "x-business-use-case-usage",
                                        "x-fb-ads-insights-throttle"]),
                       st.text(max_size=20) | values.map(json.dumps)))  # fmt: skip
def test_usage_is_read_of_any_header(headers: dict[str, str]) -> None:
    usage = usage_of(headers)
    assert min(usage.account, usage.app, usage.seconds) >= 0


@given(values)
def test_any_value_is_kept_as_text_and_any_action_is_read(value: Any) -> None:
    kept = text(value)
    assert kept is None or isinstance(kept, str)
    purchases({"actions": value, "action_values": kept})
