"""Files fetched from a service over real HTTP on loopback: whole, bounded, silent."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dmp_assets.platform.connect.download import download
from dmp_assets.platform.connect.errors import (
    AddressError,
    NoAnswerError,
    StatusError,
    TooLargeError,
)
from dmp_assets.platform.connect.http import Patience

CONTENT = b"a line\n" * 50_000
QUICK = Patience(attempts=3, pause=0.001, longest_pause=0.01, total=5)


@dataclass
class Files:
    """A server; `answers`: what the next requests get (a status, or `broken`), then the file."""

    url: str = ""
    answers: list[int | str] = field(default_factory=list)
    asked: int = 0


@pytest.fixture
def files() -> Iterator[Files]:
    found = Files()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked += 1
            answer = found.answers.pop(0) if found.answers else 200
            status = answer if isinstance(answer, int) else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: len(CONTENT) // 2] if answer == "broken" else CONTENT)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/file?signature=secret"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("before", [[], ["broken"], [500, "broken"], [429], [503, 503]])
def test_a_file_is_fetched_from_its_beginning_until_it_is_whole(
    files: Files, tmp_path: Path, before: list[int | str]
) -> None:
    files.answers = list(before)
    assert download(files.url, tmp_path / "f", limit=10**6, patience=QUICK) == len(CONTENT)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert files.asked == len(before) + 1


@pytest.mark.parametrize(
    ("answers", "error", "asked"),
    [
        (["broken"] * 3, NoAnswerError, 3),
        ([500] * 3, StatusError, 3),
        ([404], StatusError, 1),
        ([302], StatusError, 1),
    ],
)
def test_what_never_comes_whole_is_an_error_that_tells_no_signature(
    files: Files, tmp_path: Path, answers: list[int | str], error: type[Exception], asked: int
) -> None:
    files.answers = list(answers)
    with pytest.raises(error, match=r"a file at 127\.0\.0\.1") as failed:
        download(files.url, tmp_path / "f", limit=10**6, patience=QUICK)
    assert "secret" not in f"{failed.value!r}{failed.value.__cause__!r}"
    assert files.asked == asked


def test_a_file_beyond_the_bound_is_not_read_further(files: Files, tmp_path: Path) -> None:
    with pytest.raises(TooLargeError):
        download(files.url, tmp_path / "f", limit=1000, patience=QUICK)
    assert files.asked == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://files.example/f", "does not reach files.example"),
        ("http://files.example/f", "does not reach|by https"),
        ("ftp://127.0.0.1/f", "must be like"),
    ],
)
def test_no_address_is_fetched_that_must_not_be(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(AddressError, match=said):
        download(url, tmp_path / "f", limit=1000, loopback_only=True)
    with pytest.raises(AddressError, match="by https"):
        download("http://files.example/f", tmp_path / "f", limit=1000)
