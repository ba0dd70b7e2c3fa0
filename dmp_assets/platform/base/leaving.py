"""The end of a process of ours: once all is said and done, it is gone at once."""

import atexit
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it (128 + SIGINT)."""


def run_and_leave(work: Callable[[], Any]) -> NoReturn:
    """Do the work and end the process with its exit code: what it returns, or SystemExit carries.

    Python would take every module down one by one, which is a second where Spark, pandas and
    Dagster are loaded. Threads are waited for, and what the work registers with `atexit` is run, as
    ever. An error leaves as it would: its traceback on stderr, exit code 1 (130: after Ctrl-C).
    """
    code = 1

    def leave() -> None:
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None and not stream.closed:  # `>&-`
                    stream.flush()
        except OSError:  # a full disk, or nobody reads any more
            os._exit(code or 120)  # as Python itself says it
        os._exit(code)

    atexit.register(leave)  # what is registered later is run earlier
    try:
        code = _number(work())
    except SystemExit as end:
        code = _number(end.code)
        raise
    except KeyboardInterrupt:
        code = INTERRUPTED
        raise
    sys.exit(code)


def _number(told: Any) -> int:
    """What a process that exits with this gives its parent; of words it is 1."""
    return 0 if told is None else told & 0xFF if isinstance(told, int) else 1
