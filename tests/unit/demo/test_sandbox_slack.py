"""The sandbox's Slack over real HTTP: as strict as Slack, and faulty on demand."""

import json
import os
import re
import stat
import subprocess
import sys
import time
import urllib.request
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from dmp_assets.demo.sandbox.server import Endpoint, Sandbox
from dmp_assets.demo.sandbox.slack import SlackSandbox
from dmp_assets.home import Home
from dmp_assets.platform.reporting.slack import build_client

STARTER = """
import sys
from pathlib import Path
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.home import Home
with Sandbox(Home(Path(sys.argv[1]))).running():
    print("started", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def slack(home: Home, endpoint: Endpoint) -> WebClient:
    client = build_client(home.settings())
    assert client is not None
    return client


def png() -> bytes:
    out = BytesIO()
    Image.new("RGB", (8, 6), "white").save(out, "PNG")
    return out.getvalue()


def get(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())


def error_of(call: Any, **arguments: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        call(**arguments)
    return str(caught.value.response["error"])


def image_block(file_id: str) -> list[dict[str, Any]]:
    return [{"type": "image", "slack_file": {"id": file_id}, "alt_text": "a chart"}]


def test_a_sandbox_home_finds_its_sandbox_and_forgets_it_afterwards(home: Home) -> None:
    with Sandbox(home).running() as endpoint:
        file = home.sandbox / "endpoint.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert home.settings().slack_base_url == f"{endpoint.url}/api/"
        assert endpoint.url.startswith("http://127.0.0.1:")
    assert not file.exists()
    assert home.settings().slack_token is None


def test_a_living_sandbox_is_joined_and_left_running(home: Home, endpoint: Endpoint) -> None:
    with Sandbox(home).running() as joined:
        assert joined == endpoint
    assert Sandbox(home).living() == endpoint


@pytest.mark.parametrize("is_killed", [False, True])
def test_who_joined_a_sandbox_keeps_it_when_the_process_that_started_it_ends(
    home: Home, is_killed: bool
) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(home.root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert starter.stdout is not None
    assert starter.stdout.readline() == "started\n"
    with Sandbox(home).running() as endpoint:
        assert endpoint.pid == starter.pid
        if is_killed:
            starter.kill()
        starter.communicate(timeout=20)
        end = time.monotonic() + 20
        while (living := Sandbox(home).living()) is None:
            assert home.settings().slack_base_url == f"{endpoint.url}/api/"  # all the while
            assert time.monotonic() < end
            time.sleep(0.01)
        assert (living.pid, living.url) == (os.getpid(), endpoint.url)
    assert Sandbox(home).living() is None
    assert not (home.sandbox / "endpoint.json").exists()
    assert list((home.sandbox / "users").iterdir()) == []


def test_the_endpoint_of_a_dead_process_is_replaced(home: Home) -> None:
    home.sandbox.mkdir()
    (home.sandbox / "endpoint.json").write_text(
        json.dumps({"pid": 2**22 + 1, "url": "http://127.0.0.1:9", "settings": {}})
    )
    with Sandbox(home).running() as endpoint:
        assert endpoint.pid == os.getpid()


def test_what_was_sent_is_still_there_in_the_next_run(home: Home) -> None:
    tokens = []
    for word in ("first", "second"):
        with Sandbox(home).running() as endpoint:
            client = build_client(home.settings())
            assert client is not None
            tokens.append(client.token)
            client.chat_postMessage(channel="C_REPORTS", text=word)
            texts = [m["text"] for m in json.loads(get(f"{endpoint.url}/_sandbox/messages"))]
    assert texts == ["first", "second"]
    assert tokens[0] == tokens[1]


def test_calls_without_the_right_token_are_refused(slack: WebClient) -> None:
    stranger = WebClient(token="xoxb-wrong", base_url=slack.base_url)
    assert error_of(stranger.auth_test) == "invalid_auth"
    assert error_of(WebClient(base_url=slack.base_url).auth_test) == "not_authed"
    assert slack.auth_test()["ok"]


def test_unknown_channels_long_texts_and_empty_messages_are_refused(slack: WebClient) -> None:
    post, nothing = slack.chat_postMessage, {"channel": "C_REPORTS"}
    assert error_of(post, channel="C_NOWHERE", text="hi") == "channel_not_found"
    assert error_of(post, channel="C_WITHOUT_US", text="hi") == "not_in_channel"
    assert error_of(post, channel="C_REPORTS", text="x" * 40_001) == "msg_too_long"
    assert error_of(slack.api_call, api_method="chat.postMessage", json=nothing) == "no_text"
    assert error_of(post, channel="C_REPORTS", text="hi", thread_ts="1.0") == "thread_not_found"


@pytest.mark.parametrize(
    "blocks",
    [
        [{"type": "divider"}] * 51,
        [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
        [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}],
        [{"type": "section"}],
        [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}],
        [{"type": "section", "text": {"type": "mrkdwn", "text": ""}}],
        [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11}],
        [{"type": "context", "elements": []}],
        [{"type": "image", "image_url": "https://example.com/a.png"}],
        [{"type": "divider", "text": "x"}],
        [{"type": "divider", "block_id": "a"}, {"type": "divider", "block_id": "a"}],
        [{"type": "surprise"}],
        image_block("F_NOWHERE"),
    ],
)
def test_blocks_beyond_the_limits_of_block_kit_are_refused(
    slack: WebClient, blocks: list[dict[str, Any]]
) -> None:
    answer = error_of(slack.chat_postMessage, channel="C_REPORTS", text="x", blocks=blocks)
    assert answer == "invalid_blocks"


def test_an_image_block_needs_a_file_that_is_shared_in_the_channel_and_processed(
    slack: WebClient,
) -> None:
    parent = slack.chat_postMessage(channel="C_REPORTS", text="parent")["ts"]
    unshared = slack.files_upload_v2(filename="a.png", file=png())["file"]["id"]
    shared = slack.files_upload_v2(
        filename="a.png", file=png(), channel="C_REPORTS", thread_ts=parent
    )["file"]["id"]

    def post(file_id: str) -> dict[str, Any]:
        return {"channel": "C_REPORTS", "text": "x", "blocks": image_block(file_id)}

    assert slack.files_info(file=shared)["file"]["mimetype"] == ""
    assert error_of(slack.chat_postMessage, **post(shared)) == "invalid_blocks"
    time.sleep(0.35)
    described = slack.files_info(file=shared)["file"]
    assert (described["mimetype"], described["original_w"]) == ("image/png", 8)
    assert described["shares"]["public"]["C_REPORTS"][0]["thread_ts"] == parent
    assert slack.chat_postMessage(**post(shared))["ok"]
    assert error_of(slack.chat_postMessage, **post(unshared)) == "invalid_blocks"
    elsewhere = post(shared) | {"channel": "C_ALERTS"}
    assert error_of(slack.chat_postMessage, **elsewhere) == "invalid_blocks"


def test_an_upload_of_another_length_than_announced_is_refused(slack: WebClient) -> None:
    answer = slack.files_getUploadURLExternal(filename="a.txt", length=5)
    request = urllib.request.Request(answer["upload_url"], data=b"four", method="POST")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request)
    files = [{"id": answer["file_id"], "title": "a"}]
    assert error_of(slack.files_completeUploadExternal, files=files) == "file_not_found"


def test_history_gives_top_level_messages_newest_first_and_metadata_on_demand(
    slack: WebClient,
) -> None:
    metadata = {"event_type": "t", "event_payload": {"id": "1"}}
    first = slack.chat_postMessage(channel="C_REPORTS", text="one", metadata=metadata)["ts"]
    slack.chat_postMessage(channel="C_REPORTS", text="reply", thread_ts=first)
    slack.chat_postMessage(channel="C_REPORTS", text="two")
    plain = slack.conversations_history(channel="C_REPORTS")["messages"]
    assert [m["text"] for m in plain] == ["two", "one"]
    assert "metadata" not in plain[1]
    pages = slack.conversations_history(channel="C_REPORTS", limit=1, include_all_metadata=True)
    full = [m for page in pages for m in page["messages"]]
    assert full[1]["metadata"] == metadata
    replies = slack.conversations_replies(channel="C_REPORTS", ts=first)["messages"]
    assert [m["text"] for m in replies] == ["one", "reply"]
    later = slack.conversations_history(channel="C_REPORTS", oldest=first)["messages"]
    assert [m["text"] for m in later] == ["two"]


def test_the_page_for_people_shows_what_was_sent(slack: WebClient, endpoint: Endpoint) -> None:
    text = "*bold* <https://example.com|a link> <script>"
    slack.chat_postMessage(channel="C_REPORTS", text=text)
    page = get(endpoint.url)
    assert "<b>bold</b>" in page
    assert "<a rel='noreferrer' href='https://example.com'>a link</a>" in page
    assert "<script" not in page
    assert get(f"{endpoint.url}/sandbox/slack").count("<b>bold</b>") == 1


def test_the_page_shows_channels_threads_images_and_files(
    slack: WebClient, endpoint: Endpoint
) -> None:
    ts = slack.chat_postMessage(channel="C_REPORTS", text="parent")["ts"]
    slack.chat_postMessage(
        channel="C_REPORTS", text="corrected", thread_ts=ts, reply_broadcast=True
    )
    slack.files_upload_v2(
        channel="C_REPORTS", thread_ts=ts,
        file_uploads=[
            {"file": png(), "filename": "chart.png", "alt_txt": "a 'chart'"},
            {"content": "<script>alert(1)</script>", "filename": "<b>.html", "title": "<b>Report"},
        ],
    )  # fmt: skip
    page = get(f"{endpoint.url}/sandbox/slack")
    assert page.count("<div class=thread>") == 1
    assert page.count("corrected") == 2  # in the thread and in the channel
    assert "# alerts (0)" in page and "Nothing was sent here." in page
    assert "alt='a &#x27;chart&#x27;'" in page
    assert "&lt;b&gt;Report</a>" in page and "<b>" not in page


def test_a_file_of_a_message_is_downloaded_and_never_run(
    slack: WebClient, endpoint: Endpoint
) -> None:
    slack.files_upload_v2(channel="C_REPORTS", content="<script>1</script>", filename="page.html")
    path = re.findall(r"href='(/api/_view/[^']+)'", get(f"{endpoint.url}/sandbox/slack"))[0]
    with urllib.request.urlopen(endpoint.url + path) as answer:
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="page.html"')
        assert answer.headers["Content-Security-Policy"] == "sandbox"


def test_the_page_can_be_kept_as_a_file_with_all_that_it_shows(
    slack: WebClient, home: Home, endpoint: Endpoint
) -> None:
    slack.files_upload_v2(channel="C_REPORTS", content="<p>report</p>", filename="page.html")
    whole = SlackSandbox(home.sandbox).write_page()
    (link,) = re.findall(r"href='(page/[^']+)'", whole.read_text())
    assert (whole.parent / link).read_text() == "<p>report</p>"


def test_a_sandbox_comes_back_where_it_was(home: Home) -> None:
    with Sandbox(home).running() as first:
        pass
    with Sandbox(home).running() as second:
        assert second.url == first.url


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
        {"Host": "[::1"},
    ],
)
@pytest.mark.parametrize("path", ["/sandbox/slack", "/_sandbox/messages", "/api/auth.test"])
def test_a_page_of_another_site_is_not_answered(
    endpoint: Endpoint, path: str, headers: dict[str, str]
) -> None:
    request = urllib.request.Request(endpoint.url + path, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 403


def test_unknown_faults_are_refused(endpoint: Endpoint) -> None:
    request = urllib.request.Request(
        f"{endpoint.url}/_sandbox/faults", data=b'[{"kind": "gremlin"}]', method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 422
