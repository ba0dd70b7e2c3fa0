"""Where `dmp` begins: a Ctrl-C before a command has begun ends it without a word of Python."""

import os
import signal
from types import FrameType

from dmp_assets.platform.base.leaving import run_and_leave


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def main() -> None:
    """Hand over to the command line, which loads the command that is asked for."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup`, or a job in the background
            signal.signal(number, _leave)
    from dmp_assets.cli.main import app

    run_and_leave(app)
